//! The MAPS v10 tree in HDF5, with NeXus attributes on the same groups.
//!
//! Everything goes to a temporary file beside the output, which gets its name when it is complete.

mod elements;
mod estimates;
mod modelled;
mod put;
mod recorded;
mod regions;
mod spectra;
mod summary;
mod tree;

use std::path::{Path, PathBuf};

pub use estimates::read_estimates;
pub use modelled::write_modelled;
pub use regions::write_regions;
pub use summary::{read_status, read_summary, write_summary};

use super::{MapFile, Overwrite, Spectra};
use crate::error::{Error, Result};
use crate::output::{self, Partial, uncreated};

/// A map file in the making; dropped before the end, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    // closed before the partial file goes
    file: hdf5::File,
    partial: Partial,
}

/// Begins a map file.
///
/// # Errors
///
/// When the file exists and may not be replaced, or its folder cannot be written.
pub fn create(path: &Path, overwrite: Overwrite) -> Result<Writer> {
    // the system says in a few words why not; HDF5 takes many
    let partial = Partial::create(path, overwrite)?;
    let file = hdf5::File::create(partial.file()).map_err(|e| uncreated(path, &e))?;
    Ok(Writer { file, partial })
}

impl Writer {
    /// Writes everything, closes the file and gives it its name.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or spectra that it copies cannot be read.
    pub fn write(self, content: &MapFile, spectra: Spectra<'_>) -> Result<()> {
        self.fill(|file, path| {
            let failed = |e| unwritten(path, &e);
            tree::write(file, content).map_err(failed)?;
            match spectra {
                Spectra::Link(target, dataset) => {
                    spectra::link(file, &relative(target, path), dataset).map_err(failed)
                }
                Spectra::Copy(read) => spectra::copy(file, content, read, failed),
                Spectra::None => Ok(()),
            }
        })
    }

    /// Lets `tree` write everything, closes the file and gives it its name.
    fn fill(self, tree: impl FnOnce(&hdf5::File, &Path) -> Result<()>) -> Result<()> {
        let Self { partial, file } = self;
        tree(&file, partial.output())?;
        file.close().map_err(|e| unwritten(partial.output(), &e))?;
        partial.finish()
    }
}

fn unwritten(path: &Path, error: &hdf5::Error) -> Error {
    Error::file(path, format!("cannot be written: {error}"))
}

/// The target of a link as HDF5 resolves it: relative where it lies beside the output, else absolute.
fn relative(target: &Path, output: &Path) -> PathBuf {
    let folder = |p: &Path| std::path::absolute(output::folder(p)).ok();
    match (folder(target), folder(output), target.file_name()) {
        (Some(a), Some(b), Some(name)) if a == b => PathBuf::from(name),
        _ => std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf()),
    }
}
