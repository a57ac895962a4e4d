//! Where the ledger of a map file is, and how far it is.

use std::path::{Path, PathBuf};

use crate::error::Result;

/// How far a map is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Pixels that are done.
    pub done: usize,
    /// All pixels.
    pub pixels: usize,
}

/// The ledger beside a map file.
pub fn ledger_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".ledger");
    PathBuf::from(name)
}

/// How far a ledger is; `None` where there is none.
///
/// # Errors
///
/// When it cannot be read.
pub fn progress(_ledger: &Path) -> Result<Option<Progress>> {
    Ok(None)
}
