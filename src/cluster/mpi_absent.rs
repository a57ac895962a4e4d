//! Stands in for MPI in a build without the feature `mpi`: one process is enough, several are not.

use super::{Cluster, Launcher, Solo};
use crate::error::{Error, Result};

/// There is none.
pub(super) fn library() -> String {
    "none: this xrfit was built without MPI (cargo feature `mpi`)".into()
}

/// Alone, unless a launcher started several processes.
///
/// # Errors
///
/// When it did.
pub(super) fn join(launcher: &Launcher) -> Result<Box<dyn Cluster>> {
    if launcher.has_several() {
        return Err(Error::configuration(format!(
            "{} started several processes of an xrfit that was built without MPI (each would map the \
             whole scan); build it with `--features mpi`, or start one process without {}",
            launcher.name, launcher.name
        )));
    }
    Ok(Box::new(Solo))
}
