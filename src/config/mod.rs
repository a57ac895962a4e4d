//! What the user configured, and what it means.
