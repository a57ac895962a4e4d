//! Files that a run writes: whole or not at all, and never in place of what it reads or of what nobody gave up.
//!
//! Everything goes to a partial file beside the output, which gets its name when it is complete.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What comes behind the name of an output in that of a partial file, before the number of its process.
const PARTIAL: &str = ".partial-";

/// May an existing file be replaced?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It may.
    Yes,
    /// It may not.
    No,
}

impl From<bool> for Overwrite {
    /// The flag `--overwrite`.
    fn from(given: bool) -> Self {
        if given { Self::Yes } else { Self::No }
    }
}

/// An output in the making; dropped before the end, it leaves nothing.
#[derive(Debug)]
pub struct Partial {
    partial: PathBuf,
    path: PathBuf,
}

impl Partial {
    /// Begins an output: an empty file beside it.
    ///
    /// # Errors
    ///
    /// When the output exists and may not be replaced, or its folder cannot be written.
    pub fn create(path: &Path, overwrite: Overwrite) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::file(path, "is a folder; name the file to write in it"));
        }
        if overwrite == Overwrite::No && path.exists() {
            return Err(Error::file(
                path,
                "the file exists (it would be lost); give --overwrite or another name",
            ));
        }
        if path.exists() && !path.is_file() {
            return Err(Error::file(path, "is a device or a pipe (it would be lost); name a file"));
        }
        let Some(name) = path.file_name() else {
            return Err(Error::file(path, "this is no file name; name the file to write"));
        };
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(format!("{PARTIAL}{}", std::process::id()));
        let partial = path.with_file_name(partial);
        std::fs::File::create(&partial).map_err(|e| uncreated(path, &e))?;
        Ok(Self { partial, path: path.to_path_buf() })
    }

    /// The file to write until it is complete.
    pub fn file(&self) -> &Path {
        &self.partial
    }

    /// The name it will have.
    pub fn output(&self) -> &Path {
        &self.path
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    ///
    /// When that fails; then nothing is left.
    pub fn finish(self) -> Result<()> {
        std::fs::rename(&self.partial, &self.path)
            .map_err(|e| Error::file(&self.path, format!("cannot be named: {e}")))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // after a finished file there is nothing to remove
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Removes what processes that were killed have left of an output; none may be at work on it.
pub fn remove_partials(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let begins = format!(".{}{PARTIAL}", name.to_string_lossy());
    let files = std::fs::read_dir(folder(path)).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(&begins)) {
        let _ = std::fs::remove_file(file.path());
    }
}

/// A file that could not be begun.
pub fn uncreated(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::file(path, format!("cannot be created: {why}; check the folder and its permissions"))
}

/// Fails before a long run rather than after it: an output that cannot be written, or that would replace one of
/// the files `[(what it is, where)]` that the run reads.
///
/// # Errors
///
/// As [`Partial::create`], and for such a file.
pub fn check(path: &Path, overwrite: Overwrite, read: &[(&str, &Path)]) -> Result<()> {
    if let Some((what, _)) = read.iter().find(|(_, input)| is_same(input, path)) {
        return Err(Error::file(
            path,
            format!("is {what} itself (it would be lost); give the output another name"),
        ));
    }
    Partial::create(path, overwrite).map(drop)
}

/// Writes a small file.
///
/// # Errors
///
/// As [`Partial::create`], or when it cannot be written; then nothing is left.
pub fn write(path: &Path, overwrite: Overwrite, contents: impl AsRef<[u8]>) -> Result<()> {
    let partial = Partial::create(path, overwrite)?;
    std::fs::write(partial.file(), contents)
        .map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
    partial.finish()
}

/// Do two names stand for one file? It need not exist.
pub fn is_same(a: &Path, b: &Path) -> bool {
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = folder(path).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    })
}

/// The folder of a file; `.` for a bare name.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The file of one detector of several: `OUT.h5` becomes `OUT.h50`, as MAPS names them.
pub fn numbered(output: &Path, detector: Option<usize>) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    if let Some(detector) = detector {
        name.push(detector.to_string());
    }
    PathBuf::from(name)
}
