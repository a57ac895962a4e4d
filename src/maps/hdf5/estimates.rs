//! Reads fitted amplitudes back from a map file.

use std::path::Path;

use hdf5::types::{FixedAscii, VarLenUnicode};
use hdf5::{File, Group, H5Type, Result};
use ndarray::{Array, Dimension};

use crate::error::Error;
use crate::maps::Estimates;

/// Where xrfit's own results are, in the order of preference.
const GROUPS: [&str; 2] = ["/MAPS/XRF_Analyzed/Fitted/xrfit", "/MAPS/XRF_Analyzed/NNLS/xrfit"];

/// Reads the amplitudes of a map file that xrfit wrote, and their standard deviations and what may be below 0 where
/// they are.
///
/// # Errors
///
/// When it is none, or cannot be read.
pub fn read_estimates(path: &Path) -> crate::error::Result<Estimates> {
    open_results(path, read)
}

/// Opens a map file where xrfit's own results are, and reads from there.
pub(super) fn open_results<T>(
    path: &Path,
    read: impl FnOnce(&Group) -> Result<T>,
) -> crate::error::Result<T> {
    let file = File::open(path)
        .map_err(|e| Error::file(path, format!("cannot be opened as a map file: {e}")))?;
    let name = GROUPS.into_iter().find(|name| file.link_exists(name)).ok_or_else(|| {
        Error::file(path, "is no map file of xrfit; name one that `xrfit map` wrote")
    })?;
    let group = file.group(name).map_err(|e| unread(path, name, &e))?;
    read(&group).map_err(|e| unread(path, name, &e))
}

fn unread(path: &Path, name: &str, why: &hdf5::Error) -> Error {
    Error::file(path, format!("{name} cannot be read: {why}; make the maps again"))
}

fn read(group: &Group) -> Result<Estimates> {
    let names: Vec<FixedAscii<256>> = group.dataset("Names")?.read_raw()?;
    let configuration: VarLenUnicode = group.dataset("Provenance/configuration")?.read_scalar()?;
    let beside = |name| group.link_exists(name).then(|| array(group, name)).transpose();
    Ok(Estimates {
        components: names.iter().map(|n| n.as_str().trim_end().to_string()).collect(),
        amplitudes: array(group, "Counts")?,
        uncertainties: beside("Counts_Sigma")?,
        signed: beside("Counts_Signed")?,
        status: array(group, "Status")?,
        configuration: configuration.to_string(),
    })
}

fn array<T: H5Type, D: Dimension>(group: &Group, name: &str) -> Result<Array<T, D>> {
    group.dataset(name)?.read()
}
