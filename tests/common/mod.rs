//! What several test files need.

<<<<<<< HEAD
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
=======
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
>>>>>>> scan
}
