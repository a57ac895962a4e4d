//! The MAPS v10 tree in HDF5, with NeXus attributes on the same groups.
//!
//! Everything goes to a temporary file beside the output, which gets its name when it is complete.

mod modelled;
mod put;
mod tree;

use std::path::{Path, PathBuf};

pub use modelled::write_modelled;

use super::MapFile;
use crate::error::{Error, Result};

/// May an existing file be replaced?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It may.
    Yes,
    /// It may not.
    No,
}

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
    let file = hdf5::File::create(&partial).map_err(|e| {
        Error::file(path, format!("cannot be created ({e}); check the folder and its permissions"))
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
    /// * `link`: file and dataset where the spectra are, `[channel, row, col]`, to be linked.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(self, content: &MapFile, link: Option<(&Path, &str)>) -> Result<()> {
        let link = link.map(|(target, dataset)| (relative(target, &self.path), dataset));
        self.fill(|file| tree::write(file, content, link))
    }

    /// Lets `tree` write everything, closes the file and gives it its name.
    fn fill(mut self, tree: impl FnOnce(&hdf5::Group) -> hdf5::Result<()>) -> Result<()> {
        let file = self.file.take().expect("a writer writes once");
        let done = tree(&file).and_then(|()| file.close());
        done.map_err(|e| Error::file(&self.path, format!("cannot be written: {e}")))?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(|e| Error::file(&self.path, format!("cannot be named: {e}")))
    }
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
