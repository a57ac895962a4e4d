//! What every HDF5 reader needs: opening a file, looking for things, small arrays and texts.
//!
//! Spectra are read by [`super::volumes`].

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use ndarray::{Array2, s};

use super::OpenOptions;
use crate::error::{Error, Result};

/// First bytes of a HDF5 file, behind a user block of 0, 512, 1024, ... bytes.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Decompressed chunks that libhdf5 keeps per dataset \[bytes\]; matters where it decompresses itself.
const LIBRARY_CACHE: usize = 32 << 20;

/// What libhdf5 reads at least for each run of neighbouring pixels of an image \[bytes\]. Its default of 64 KiB
/// reads a contiguous scan 128 times over.
const SIEVE: usize = 4096;

/// More values than any list of a scan has, and characters than any text.
const LONGEST_LIST: usize = 100_000;
const LONGEST_TEXT: usize = 1024;

/// A direction of the map.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    /// From row to row: y.
    Rows,
    /// From column to column: x.
    Cols,
}

/// An open HDF5 file.
pub(super) struct Hdf5File {
    path: PathBuf,
    file: hdf5::File,
}

impl Hdf5File {
    /// Opens a file for reading; `None` when it is no HDF5 file.
    pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Option<Self>> {
        if !has_signature(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))? {
            return Ok(None);
        }
        let file = hdf5::File::with_options()
            .with_fapl(|access| {
                access.chunk_cache(521, LIBRARY_CACHE, 0.75).sieve_buf_size(SIEVE);
                if options.file_locking { access } else { access.file_locking(false) }
            })
            .open(path);
        let file = file.map_err(|e| {
            Error::file(path, format!("HDF5 cannot open it: {e}{}", lock_advice(&e)))
        })?;
        Ok(Some(Self { path: path.to_path_buf(), file }))
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about something in the file.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, what)
    }

    /// Is there something of this name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.file.link_exists(name)
    }

    /// Names in a group, empty when it cannot be listed.
    pub(super) fn members(&self, group: &str) -> Vec<String> {
        self.file.group(group).and_then(|group| group.member_names()).unwrap_or_default()
    }

    /// A dataset, `None` when the file has none of this name.
    pub(super) fn dataset(&self, name: &str) -> Result<Option<hdf5::Dataset>> {
        if !self.has(name) {
            return Ok(None);
        }
        self.file
            .dataset(name)
            .map(Some)
            .map_err(|e| self.error(format!("{name} cannot be opened: {e}")))
    }

    /// A map of numbers, `[row, col]`.
    pub(super) fn plane(&self, name: &str, rows_cols: [usize; 2]) -> Result<Option<Array2<f32>>> {
        let Some(dataset) = self.dataset(name)? else { return Ok(None) };
        self.expect_shape(name, &dataset, &rows_cols)?;
        let values = dataset.read_2d().map_err(|e| self.unreadable(name, &e))?;
        Ok(Some(values))
    }

    /// Plane `index` of a stack of maps, `[index, row, col]`.
    pub(super) fn plane_of(
        &self,
        name: &str,
        index: usize,
        stack: [usize; 3],
    ) -> Result<Option<Array2<f32>>> {
        let Some(dataset) = self.dataset(name)? else { return Ok(None) };
        self.expect_shape(name, &dataset, &stack)?;
        let values =
            dataset.read_slice_2d(s![index, .., ..]).map_err(|e| self.unreadable(name, &e))?;
        Ok(Some(values))
    }

    /// A single number, from a scalar or the first of an array.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.numbers(name)?.and_then(|values| values.first().copied()))
    }

    /// A list of numbers; `None` too where it is of another size than a list has.
    pub(super) fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(dataset) = self.dataset(name)? else { return Ok(None) };
        if dataset.size() > LONGEST_LIST {
            return Ok(None);
        }
        dataset.read_raw().map(Some).map_err(|e| self.unreadable(name, &e))
    }

    /// A number that is an attribute of something.
    pub(super) fn attribute(&self, of: &str, name: &str) -> Option<f64> {
        self.file.group(of).ok()?.attr(name).ok()?.read_scalar().ok()
    }

    /// Texts, from fixed or variable-length strings, ASCII or UTF-8.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(dataset) = self.dataset(name)? else { return Ok(None) };
        if dataset.size() > LONGEST_LIST {
            let n = dataset.size();
            return Err(self.error(format!("{name} has {n} texts; the file is damaged")));
        }
        texts(&dataset).map(Some).map_err(|e| self.unreadable(name, &e))
    }

    /// Positions along a direction, `[row, col]`, from values per pixel or along the `direction` alone,
    /// with their unit.
    pub(super) fn positions(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        direction: Direction,
    ) -> Result<Option<(Array2<f32>, String)>> {
        let Some(dataset) = self.dataset(name)? else { return Ok(None) };
        let unit = dataset.attr("units").and_then(|units| texts(&units)).unwrap_or_default();
        let unit = unit.into_iter().next().unwrap_or_default();
        if dataset.ndim() != 1 {
            return Ok(self.plane(name, [rows, cols])?.map(|values| (values, unit)));
        }
        let length = match direction {
            Direction::Rows => rows,
            Direction::Cols => cols,
        };
        self.expect_shape(name, &dataset, &[length])?;
        let values: Vec<f32> = dataset.read_raw().map_err(|e| self.unreadable(name, &e))?;
        let at = |(row, col)| match direction {
            Direction::Rows => values[row],
            Direction::Cols => values[col],
        };
        Ok(Some((Array2::from_shape_fn((rows, cols), at), unit)))
    }

    fn expect_shape(&self, name: &str, dataset: &hdf5::Dataset, expected: &[usize]) -> Result<()> {
        let shape = dataset.shape();
        if shape == expected {
            return Ok(());
        }
        Err(self.error(format!(
            "{name} has the shape {shape:?}, but {expected:?} belongs to the spectra; the file is damaged \
             or was put together from two scans"
        )))
    }

    fn unreadable(&self, name: &str, cause: &hdf5::Error) -> Error {
        self.error(format!("{name} cannot be read: {cause}"))
    }
}

fn has_signature(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut at = 0;
    while at + SIGNATURE.len() as u64 <= len {
        let mut bytes = [0; SIGNATURE.len()];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        if bytes == SIGNATURE {
            return Ok(true);
        }
        at = (2 * at).max(512);
    }
    Ok(false)
}

fn lock_advice(error: &hdf5::Error) -> &'static str {
    if error.to_string().contains("lock") {
        " (another program writes to it, or the file system knows no locks); wait, or use --no-file-locking"
    } else {
        ""
    }
}

/// What a file is that no format knows, for a message.
pub(super) fn kind(path: &Path, options: OpenOptions) -> String {
    match Hdf5File::open(path, options) {
        Ok(Some(file)) => {
            let members: Vec<_> = file.members("/").iter().map(|name| format!("/{name}")).collect();
            format!("a HDF5 file with {}", members.join(", "))
        }
        Ok(None) => "neither HDF5 nor MDA by its first bytes".into(),
        Err(error) => error.to_string(),
    }
}

/// Strings of a dataset or an attribute. libhdf5 converts between lengths, but not between character sets or
/// between fixed and variable length.
fn texts(dataset: &hdf5::Container) -> hdf5::Result<Vec<String>> {
    type Ascii = FixedAscii<LONGEST_TEXT>;
    type Unicode = FixedUnicode<LONGEST_TEXT>;
    match dataset.dtype()?.to_descriptor()? {
        TypeDescriptor::VarLenUnicode => texts_as(dataset, VarLenUnicode::as_bytes),
        TypeDescriptor::VarLenAscii => texts_as(dataset, VarLenAscii::as_bytes),
        TypeDescriptor::FixedAscii(n) if n <= LONGEST_TEXT => texts_as(dataset, Ascii::as_bytes),
        TypeDescriptor::FixedUnicode(n) if n <= LONGEST_TEXT => {
            texts_as(dataset, Unicode::as_bytes)
        }
        other => Err(format!("it holds {other} and no text").into()),
    }
}

/// MAPS files hold Latin-1 under the name of ASCII (`\u{b5}m`), so the bytes are looked at, not the text.
fn texts_as<T: hdf5::H5Type>(
    dataset: &hdf5::Container,
    bytes: fn(&T) -> &[u8],
) -> hdf5::Result<Vec<String>> {
    let latin1 = |raw: &[u8]| raw.iter().map(|&byte| char::from(byte)).collect();
    let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).unwrap_or_else(|_| latin1(raw));
    Ok(dataset.read_raw::<T>()?.iter().map(|raw| text(bytes(raw)).trim_end().to_owned()).collect())
}
