//! What several test files need.

use std::path::PathBuf;

/// A file of the shared test data, or `None` (with one line saying so) where there is none.
///
/// The data lie beside the repository in `../shared`, or where `XRFIT_SHARED` points.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("XRFIT_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")),
        PathBuf::from,
    );
    let file = root.join(path);
    if file.exists() {
        Some(file)
    } else {
        println!("skipped: {} is not here (set XRFIT_SHARED)", file.display());
        None
    }
}
