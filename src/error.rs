//! What can go wrong through no fault of ours, in sentences a user can act on.
//!
//! The form of a message: what is wrong (why it matters); what to do. Our own mistakes are panics.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Exit code of a run that failed.
pub const EXIT_FAILED: i32 = 1;
/// Exit code of a run that a signal stopped and that can be gone on with (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_STOPPED: i32 = 75;

/// An error that ends the run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, written or understood.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A configuration that asks for something impossible, or does not say enough.
    #[error("{0}")]
    Configuration(String),
    /// An engine that cannot be had or that failed.
    #[error("{0}")]
    Engine(String),
    /// Another rank failed first.
    #[error("rank {rank}: {what}")]
    Rank {
        /// The rank that failed.
        rank: usize,
        /// Its message.
        what: String,
    },
    /// A signal asked the run to end early; what it did is kept.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// What the program ends with.
    pub fn exit_code(&self) -> i32 {
        if matches!(self, Self::Stopped) { EXIT_STOPPED } else { EXIT_FAILED }
    }

    /// An error about a file.
    pub fn file(path: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), what: what.to_string() }
    }

    /// An error about what the user asked for.
    pub fn configuration(what: impl std::fmt::Display) -> Self {
        Self::Configuration(what.to_string())
    }
}
