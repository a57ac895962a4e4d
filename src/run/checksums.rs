//! SHA-256 of the files that a run reads, found beside its work.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Each file with its SHA-256, hexadecimal.
type Sums = Vec<(PathBuf, String)>;

/// What a thread finds; all clones know the same.
#[derive(Clone)]
pub(super) struct Checksums(Arc<OnceLock<Result<Sums>>>);

impl Checksums {
    /// Begins to look.
    pub(super) fn begin(files: Vec<PathBuf>) -> Self {
        let found = Self(Arc::new(OnceLock::new()));
        let own = found.clone();
        thread::spawn(move || own.0.get_or_init(|| checksums(files)).is_ok());
        found
    }

    /// The sums, once they are found.
    pub(super) fn known(&self) -> Option<&[(PathBuf, String)]> {
        self.0.get().and_then(|found| found.as_deref().ok())
    }

    /// Waits for them.
    ///
    /// # Errors
    ///
    /// When a file could not be read.
    pub(super) fn wait(&self) -> Result<Sums> {
        match self.0.wait() {
            Ok(sums) => Ok(sums.clone()),
            Err(error) => Err(Error::configuration(error)),
        }
    }
}

/// SHA-256 of each file.
///
/// # Errors
///
/// When one cannot be read.
pub(super) fn checksums(files: Vec<PathBuf>) -> Result<Sums> {
    files.into_iter().map(|file| checksum(&file).map(|sum| (file, sum))).collect()
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn checksum(path: &Path) -> Result<String> {
    let unreadable = |e| Error::file(path, format!("cannot be read: {e}"));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block).map_err(unreadable)?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&block[..n]);
    }
}
