//! Raw scans: one file per input format behind one trait.
//!
//! A reader hands out the spectra of a range of pixels and what was recorded beside them. It knows
//! nothing of fitting, ranks or elements. Units are converted here, once: seconds, counts, counts/s.

mod detector;
mod hdf5_file;
mod inspect;
mod maps_analysed;
mod maps_raw;
mod mask;
pub mod mda;
mod npy;
pub mod simulated;
mod truth;
mod volumes;

use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};

pub use self::detector::{Detector, spectra_of, times_of};
pub use self::inspect::{describe, inspect};
pub use self::mask::{mask, mask_file};
pub use self::npy::npy_spectrum;
pub use self::truth::{Truth, truth};
use crate::error::{Error, Result};

/// What a scan file holds, known after opening it and before reading any spectrum.
#[derive(Clone, Debug)]
pub struct ScanInfo {
    /// The file that was opened.
    pub path: PathBuf,
    /// Every file that the scan is read from, the one that was opened first.
    pub files: Vec<PathBuf>,
    /// Format in words, e.g. `EPICS MDA`.
    pub format: &'static str,
    /// Rows of the map (the slow axis).
    pub rows: usize,
    /// Columns of the map (the fast axis).
    pub cols: usize,
    /// Channels of each spectrum.
    pub channels: usize,
    /// Detector elements, each with spectra of its own.
    pub detectors: usize,
    /// Incident photon energy \[keV\], when the file records it.
    pub incident_kev: Option<f64>,
    /// Largest count the stored type can hold, for integer types of 16 bits or fewer: a channel at
    /// this value is saturated.
    pub saturation: Option<f32>,
    /// Where a HDF5 input stores all spectra as `[channel, row, col]` (the MAPS order): file and dataset path by
    /// detector, so that an output can link instead of copy. Empty for every other input.
    pub spectra_links: Vec<(PathBuf, String)>,
    /// What is missing or odd, one sentence each, for `xrfit inspect` and the log.
    pub notes: Vec<String>,
}

impl ScanInfo {
    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    /// Panics unless the scan has this detector and these pixels.
    fn check(&self, detector: usize, pixels: &Range<usize>) {
        assert!(detector < self.detectors, "detector {detector} of {}", self.detectors);
        assert!(
            pixels.start <= pixels.end && pixels.end <= self.pixels(),
            "pixels {pixels:?} of {}",
            self.pixels()
        );
    }
}

/// Time and rate of each pixel of one detector, `[row, col]`; `None` where the file has none.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Time the detector was counting \[s\], as recorded.
    pub live: Option<Array2<f32>>,
    /// Time on the clock \[s\].
    pub real: Option<Array2<f32>>,
    /// Input count rate \[1/s\].
    pub input_rate: Option<Array2<f32>>,
    /// Output count rate \[1/s\].
    pub output_rate: Option<Array2<f32>>,
}

/// Everything else that was recorded per pixel: ion chambers, ring current, ...
#[derive(Clone, Debug, Default)]
pub struct Scalers {
    /// Names, length S.
    pub names: Vec<String>,
    /// Units, length S; empty where unknown.
    pub units: Vec<String>,
    /// Values, `[S, row, col]`.
    pub values: Array3<f32>,
}

/// Positions of the pixels, right in every row.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Vertical position, `[row, col]`, in `y_unit`.
    pub y: Array2<f32>,
    /// Horizontal position, `[row, col]`, in `x_unit`.
    pub x: Array2<f32>,
    /// Unit as recorded, empty when unknown.
    pub y_unit: String,
    /// Unit as recorded, empty when unknown.
    pub x_unit: String,
}

impl Axes {
    /// Row and column numbers, for want of positions.
    fn pixel_numbers(rows: usize, cols: usize) -> Self {
        Self {
            y: Array2::from_shape_fn((rows, cols), |(row, _)| row as f32),
            x: Array2::from_shape_fn((rows, cols), |(_, col)| col as f32),
            y_unit: String::new(),
            x_unit: String::new(),
        }
    }
}

/// One extra process variable of the scan.
#[derive(Clone, Debug, Default)]
pub struct ExtraPv {
    /// PV name.
    pub name: String,
    /// Value in text form.
    pub value: String,
    /// Description.
    pub description: String,
    /// Unit.
    pub unit: String,
}

/// What was recorded once per scan.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Scan name.
    pub name: String,
    /// Time stamp as recorded.
    pub time_stamp: String,
    /// Rows asked for, which an aborted scan does not reach.
    pub requested_rows: usize,
    /// Columns asked for.
    pub requested_cols: usize,
    /// Rotation angle \[degrees\], when recorded.
    pub theta: Option<f64>,
    /// Everything else.
    pub extra_pvs: Vec<ExtraPv>,
}

/// One open scan.
pub trait ScanReader: Send {
    /// What the file holds.
    fn info(&self) -> &ScanInfo;

    /// Spectra of one detector, `[pixels.len(), channels]` \[counts\]; pixels count row by row,
    /// `row * cols + col`. Reads those pixels only.
    ///
    /// # Errors
    ///
    /// A file error naming the file, the place and the cause.
    fn spectra(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>>;

    /// Times and rates of one detector.
    ///
    /// # Errors
    ///
    /// As [`ScanReader::spectra`]; what the file lacks is `None`, not an error.
    fn times(&mut self, detector: usize) -> Result<Times>;

    /// Scalers of the scan; empty when there are none.
    ///
    /// # Errors
    ///
    /// As [`ScanReader::spectra`].
    fn scalers(&mut self) -> Result<Scalers>;

    /// Positions of the pixels; pixel numbers without unit when the file has none.
    ///
    /// # Errors
    ///
    /// As [`ScanReader::spectra`].
    fn axes(&mut self) -> Result<Axes>;

    /// What was recorded once.
    fn metadata(&self) -> &Metadata;
}

/// How to open a scan.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Lock HDF5 files while they are open; parallel file systems without flock need `false`.
    pub file_locking: bool,
}

/// The HDF5 library of this program, in words.
pub fn library() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}

/// A way to read a file: `None` when the content is of another format.
type Open = fn(&Path, OpenOptions) -> Result<Option<Box<dyn ScanReader>>>;

/// The input formats, in the order they are tried.
const FORMATS: [(&str, Open); 3] = [
    ("EPICS MDA (step scan, or fly scan with its HDF5 file)", mda::open),
    ("MAPS_RAW fly-scan HDF5 (/MAPS_RAW/data_a)", maps_raw::open),
    ("analysed MAPS HDF5 (/MAPS/Spectra/mca_arr or /MAPS/mca_arr)", maps_analysed::open),
];

/// Opens a scan of any known format, whatever its name.
///
/// # Errors
///
/// A file error when the file cannot be read, when no format knows it (naming those tried), or when
/// it is damaged.
pub fn open(path: &Path, options: OpenOptions) -> Result<Box<dyn ScanReader>> {
    check_file(path)?;
    for (_, open) in FORMATS {
        if let Some(reader) = open(path, options)? {
            return Ok(reader);
        }
    }
    let tried = FORMATS.map(|(name, _)| name).join("; ");
    Err(Error::file(
        path,
        format!("no known scan format ({}); tried: {tried}", hdf5_file::kind(path, options)),
    ))
}

/// Is there such a file at all?
fn check_file(path: &Path) -> Result<()> {
    match path.metadata() {
        Err(error) => Err(Error::file(path, format!("cannot be opened: {error}"))),
        Ok(kind) if kind.is_dir() => {
            Err(Error::file(path, "is a folder; name the scan file in it"))
        }
        Ok(_) => Ok(()),
    }
}
