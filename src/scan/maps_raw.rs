//! MAPS_RAW: the HDF5 file a fly scan writes its spectra to, and what `xrfit simulate` writes.
//!
//! One dataset `[channel, row, col]` per detector; times and counts `[detector, row, col]`. Opened
//! alone, or through the MDA file of the scan, which then knows the positions ([`super::mda`]).

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, Zip};

use super::hdf5_file::{Direction, Hdf5File};
use super::volumes::Volumes;
use super::{Axes, Metadata, OpenOptions, Scalers, ScanInfo, ScanReader, Times};
use crate::error::Result;

/// The group everything is in.
const GROUP: &str = "/MAPS_RAW";

/// Opens a MAPS_RAW file; `None` when it is none.
///
/// # Errors
///
/// A file error when it is damaged or its parts do not fit together.
pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Option<Box<dyn ScanReader>>> {
    Ok(MapsRaw::open(path, options)?.map(|scan| Box::new(scan) as _))
}

/// An open MAPS_RAW file.
pub(super) struct MapsRaw {
    info: ScanInfo,
    metadata: Metadata,
    file: Hdf5File,
    spectra: Volumes,
}

impl MapsRaw {
    /// As [`open`].
    pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Option<Self>> {
        let Some(file) = Hdf5File::open(path, options)?.filter(|file| file.has(GROUP)) else {
            return Ok(None);
        };
        let names = ('a'..='z').map(|letter| format!("{GROUP}/data_{letter}"));
        let names: Vec<_> = names.take_while(|name| file.has(name)).collect();
        if names.is_empty() {
            return Err(file.error(format!(
                "{GROUP}/data_a is missing (the spectra of the first detector); nothing was recorded"
            )));
        }
        let spectra = Volumes::open(&file, &names)?;
        let [channels, rows, cols] = spectra.shape();
        let info = ScanInfo {
            path: path.to_path_buf(),
            files: vec![path.to_path_buf()],
            format: "MAPS_RAW fly-scan HDF5",
            rows,
            cols,
            channels,
            detectors: names.len(),
            incident_kev: file
                .number(&format!("{GROUP}/incident_energy"))?
                .filter(|kev| *kev > 0.0),
            saturation: spectra.saturation(),
            spectra_links: names.into_iter().map(|name| (path.to_path_buf(), name)).collect(),
            notes: Vec::new(),
        };
        let metadata = Metadata {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            requested_rows: rows,
            requested_cols: cols,
            ..Metadata::default()
        };
        Ok(Some(Self { info, metadata, file, spectra }))
    }

    /// A map of one detector.
    fn plane(&self, name: &str, detector: usize) -> Result<Option<Array2<f32>>> {
        let stack = [self.info.detectors, self.info.rows, self.info.cols];
        self.file.plane_of(&format!("{GROUP}/{name}"), detector, stack)
    }
}

impl ScanReader for MapsRaw {
    fn info(&self) -> &ScanInfo {
        &self.info
    }

    fn spectra(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>> {
        self.info.check(detector, &pixels);
        self.spectra.read(detector, pixels)
    }

    /// The file holds counts, not rates. Incoming photons are counted while the detector is live,
    /// outgoing ones all the time.
    fn times(&mut self, detector: usize) -> Result<Times> {
        let live = self.plane("livetime", detector)?;
        let real = self.plane("realtime", detector)?;
        let input = self.plane("inputcounts", detector)?;
        // The misspelt name is the one that the beamlines write.
        let output = match self.plane("ouputcounts", detector)? {
            None => self.plane("outputcounts", detector)?,
            output => output,
        };
        Ok(Times {
            input_rate: rate(input, live.as_ref()),
            output_rate: rate(output, real.as_ref()),
            live,
            real,
        })
    }

    fn scalers(&mut self) -> Result<Scalers> {
        Ok(Scalers::default())
    }

    fn axes(&mut self) -> Result<Axes> {
        let shape = [self.info.rows, self.info.cols];
        let mut axes = Axes::pixel_numbers(self.info.rows, self.info.cols);
        if let Some(y) = self.file.positions(&format!("{GROUP}/y_axis"), shape, Direction::Rows)? {
            (axes.y, axes.y_unit) = y;
        }
        if let Some(x) = self.file.positions(&format!("{GROUP}/x_axis"), shape, Direction::Cols)? {
            (axes.x, axes.x_unit) = x;
        }
        Ok(axes)
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Counts per second; NaN where no time passed.
fn rate(counts: Option<Array2<f32>>, seconds: Option<&Array2<f32>>) -> Option<Array2<f32>> {
    let mut rates = counts?;
    Zip::from(&mut rates)
        .and(seconds?)
        .for_each(|rate, &seconds| *rate = if seconds > 0.0 { *rate / seconds } else { f32::NAN });
    Some(rates)
}
