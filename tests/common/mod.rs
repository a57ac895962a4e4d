//! What several test files need.

use std::path::{Path, PathBuf};

/// A path below the shared test data, `None` (and a line that says so) where they are absent.
/// `XRFIT_SHARED` names their folder; the default is `shared` beside the repository.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("XRFIT_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data at {}", path.display());
    None
}
