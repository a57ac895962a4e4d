//! The MAPS v10 tree in HDF5, with NeXus attributes on the same groups.
//!
//! Everything goes to a temporary file beside the output, which gets its name when it is complete.

mod elements;
mod modelled;
mod put;
mod recorded;
mod spectra;
mod tree;

use std::path::{Path, PathBuf};

pub use modelled::write_modelled;

use super::{MapFile, Overwrite, Spectra};
use crate::error::{Error, Result};

/// A map file in the making; dropped before the end, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    file: Option<hdf5::File>,
    partial: PathBuf,
    path: PathBuf,
}

/// Begins a map file.
///
/// # Errors
///
/// When the file exists and may not be replaced, or its folder cannot be written.
pub fn create(path: &Path, overwrite: Overwrite) -> Result<Writer> {
    if path.is_dir() {
        return Err(Error::file(path, "is a folder; name the map file to write in it"));
    }
    if overwrite == Overwrite::No && path.exists() {
        return Err(Error::file(
            path,
            "the file exists (its maps would be lost); give --overwrite or another name",
        ));
    }
    let Some(name) = path.file_name() else {
        return Err(Error::file(path, "this is no file name; name the map file to write"));
    };
    let partial =
        path.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    // the system says in a few words why not; HDF5 takes many
    let file = std::fs::File::create(&partial)
        .map_err(|e| e.to_string())
        .and_then(|_| hdf5::File::create(&partial).map_err(|e| e.to_string()))
        .map_err(|e| {
            let _ = std::fs::remove_file(&partial);
            Error::file(
                path,
                format!("cannot be created: {e}; check the folder and its permissions"),
            )
        })?;
    Ok(Writer { file: Some(file), partial, path: path.to_path_buf() })
}

impl From<bool> for Overwrite {
    /// The flag `--overwrite`.
    fn from(given: bool) -> Self {
        if given { Self::Yes } else { Self::No }
    }
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
    fn fill(mut self, tree: impl FnOnce(&hdf5::File, &Path) -> Result<()>) -> Result<()> {
        let file = self.file.take().expect("a writer writes once");
        tree(&file, &self.path)?;
        file.close().map_err(|e| unwritten(&self.path, &e))?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(|e| Error::file(&self.path, format!("cannot be named: {e}")))
    }
}

fn unwritten(path: &Path, error: &hdf5::Error) -> Error {
    Error::file(path, format!("cannot be written: {error}"))
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.file = None;
        // after a finished file there is nothing to remove
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// The target of a link as HDF5 resolves it: relative where it lies beside the output, else absolute.
fn relative(target: &Path, output: &Path) -> PathBuf {
    let folder = |p: &Path| p.parent().and_then(|d| std::path::absolute(d).ok());
    match (folder(target), folder(output), target.file_name()) {
        (Some(a), Some(b), Some(name)) if a == b => PathBuf::from(name),
        _ => std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf()),
    }
}
