//! What the user configured, and what it means.
//!
//! Raw sources, the strongest first: the command line ([`Choices`]), a configuration file (TOML), a
//! MAPS override file, the scan, the defaults. [`Settings::resolve`] merges them into [`Settings`],
//! which say everything; [`Settings::problem`] gives the fit of a detector. No spectra are known
//! here, no ranks and no engine.

mod bystanders;
mod case;
mod choices;
mod compat;
mod components;
mod model;
pub mod override_file;
mod override_keys;
mod override_writer;
mod parameters;
mod raw;
mod recorded;
mod reference;
mod resolve;
mod settings;
mod written;

pub use case::Case;
pub use choices::{
    Choices, Compat, DEFAULT_FREE, Detector, FOUR, FirstPass, Free, PAPER, ParameterName, Priors,
    Start,
};
pub use override_writer::write as write_override;
pub use reference::{check, reference};
pub use resolve::{Resolved, Sources};
pub use settings::{Fit, Model, Settings, Snip};
