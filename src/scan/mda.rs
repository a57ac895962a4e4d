//! EPICS MDA files, as the sscan record writes them at APS.
//!
//! A step scan holds its spectra itself, `[row][col][channel]`, one record per pixel: [`StepScan`].
//! A fly scan holds positions and scalers only; its spectra are in a HDF5 file beside it:
//! see `fly.rs`. Only records that are asked for are read. Rows and columns are what was recorded, not
//! what was asked for.

mod fly;
mod names;
mod raster;
mod record;
mod xdr;

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::Path;

use ndarray::Array2;

use self::raster::Raster;
use self::record::{Header, Record, extra_pvs};
use self::xdr::{DAMAGED, Xdr};
use super::{Axes, Metadata, OpenOptions, Scalers, ScanInfo, ScanReader, Times};
use crate::constants::MOST_CHANNELS;
use crate::error::{Error, Result};

/// Format name.
const FORMAT: &str = "EPICS MDA";

/// Channels that spectrometers at APS have; a line of so many points without a positioner is a spectrum.
const SPECTRUM_CHANNELS: [usize; 5] = [1000, 1024, 2000, 2048, 4096];

/// Opens an MDA file; `None` when it is none.
///
/// # Errors
///
/// A file error when it is damaged, not two-dimensional, or a fly scan without its spectra.
pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Option<Box<dyn ScanReader>>> {
    let source =
        File::open(path).map_err(|e| Error::file(path, format!("cannot be opened: {e}")))?;
    Ok(match Scan::read(path, source)? {
        None => None,
        Some(Scan::Step(scan)) => Some(Box::new(scan)),
        Some(Scan::Fly(positions)) => Some(Box::new(fly::FlyScan::open(positions, options)?)),
    })
}

/// What an MDA file can be.
pub enum Scan<S: Read + Seek> {
    /// Spectra inside.
    Step(StepScan<S>),
    /// Spectra elsewhere.
    Fly(Positions<S>),
}

/// Everything of an MDA scan but its spectra.
pub struct Positions<S: Read + Seek> {
    info: ScanInfo,
    metadata: Metadata,
    raster: Raster,
    xdr: Xdr<S>,
}

/// A scan that stopped at every pixel to record its spectra.
pub struct StepScan<S: Read + Seek> {
    positions: Positions<S>,
}

impl<S: Read + Seek> Scan<S> {
    /// Reads everything but numbers from `source`; `None` when it is no MDA file. `path` is what
    /// messages call it.
    ///
    /// # Errors
    ///
    /// A file error when it is damaged or not two-dimensional.
    pub fn read(path: &Path, source: S) -> Result<Option<Self>> {
        let damaged = |what| Error::file(path, what);
        let mut xdr =
            Xdr::new(source).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let Some(header) = Header::read(&mut xdr).map_err(damaged)? else { return Ok(None) };
        let outer = xdr.at();
        let outer = Record::read(&mut xdr, outer).map_err(damaged)?;
        if outer.rank != header.rank {
            let (header, scan) = (header.rank, outer.rank);
            return Err(damaged(format!(
                "{header} dimensions in the header, {scan} in the scan; {DAMAGED}"
            )));
        }
        match Positions::read(path, xdr, outer, header.extra_pvs_at).map_err(damaged)? {
            positions if positions.info.channels == 0 => Ok(Some(Self::Fly(positions))),
            positions => Ok(Some(Self::Step(StepScan { positions }))),
        }
    }
}

impl<S: Read + Seek> Positions<S> {
    fn read(
        path: &Path,
        mut xdr: Xdr<S>,
        outer: Record,
        extra_at: Option<u64>,
    ) -> xdr::Result<Self> {
        let with_spectra = outer.rank == 3 || is_spectrum(&mut xdr, &outer)?;
        let raster = match outer.rank {
            3 => Raster::read(&mut xdr, outer)?,
            2 if with_spectra => Raster::line(&xdr, outer)?,
            2 => Raster::read(&mut xdr, outer)?,
            rank => return Err(format!("a scan of {rank} dimensions; maps need rows and columns")),
        };
        let mut info = ScanInfo {
            path: path.to_path_buf(),
            files: vec![path.to_path_buf()],
            format: FORMAT,
            rows: raster.rows,
            cols: raster.cols,
            channels: 0,
            detectors: 0,
            incident_kev: None,
            saturation: None,
            spectra_links: Vec::new(),
            notes: notes(&raster),
        };
        if let Some(at) = (0..info.pixels()).find_map(|pixel| raster.spectra_at(pixel)) {
            (info.channels, info.detectors) = spectrum_size(&mut xdr, at)?;
            check_spectra(&xdr, &raster, info.channels * info.detectors)?;
            let missing = raster.missing();
            if missing > 0 {
                info.notes
                    .push(format!("{missing} pixels have no spectra; they read as zero counts"));
            }
        } else if with_spectra {
            return Err("no spectrum was recorded (the scan was stopped before its first)".into());
        }
        let (extra_pvs, complete) =
            extra_at.map_or((Vec::new(), Ok(())), |at| extra_pvs(&mut xdr, at));
        if let Err(what) = complete {
            info.notes.push(format!("not all extra PVs can be read: {what}"));
        }
        let (requested_rows, requested_cols) = raster.requested();
        let metadata = Metadata {
            name: raster.name().into(),
            time_stamp: raster.time_stamp().into(),
            requested_rows,
            requested_cols,
            theta: None,
            extra_pvs,
        };
        Ok(Self { info, metadata, raster, xdr })
    }

    fn damaged(&self, what: String) -> Error {
        Error::file(&self.info.path, what)
    }

    fn scalers(&mut self) -> Result<Scalers> {
        self.raster.scalers(&mut self.xdr).map_err(|what| self.damaged(what))
    }

    fn axes(&mut self) -> Result<Axes> {
        self.raster.axes(&mut self.xdr).map_err(|what| self.damaged(what))
    }

    /// A scaler such as `ELT1` for detector 0.
    fn timed(&mut self, name: &str, detector: usize) -> Result<Option<Array2<f32>>> {
        let name = format!("{name}{}", detector + 1);
        self.raster.scaler(&mut self.xdr, &name).map_err(|what| self.damaged(what))
    }
}

fn notes(raster: &Raster) -> Vec<String> {
    let (rows, cols) = raster.requested();
    if (rows, cols) == (raster.rows, raster.cols) {
        return Vec::new();
    }
    vec![format!(
        "the scan was stopped: {} x {} of {rows} x {cols} rows and columns are recorded",
        raster.rows, raster.cols
    )]
}

/// Is the inner dimension of a scan of two dimensions that of a spectrum?
fn is_spectrum<S: Read + Seek>(xdr: &mut Xdr<S>, outer: &Record) -> xdr::Result<bool> {
    let Some(&at) = outer.inner.iter().find(|&&at| at != 0) else { return Ok(false) };
    let inner = Record::read(xdr, at.into())?;
    Ok(inner.positioners.is_empty() && SPECTRUM_CHANNELS.contains(&inner.points))
}

/// Channels and detectors of the spectra at a place.
fn spectrum_size<S: Read + Seek>(xdr: &mut Xdr<S>, at: u64) -> xdr::Result<(usize, usize)> {
    let record = Record::read(xdr, at)?;
    match (record.points, record.detectors.len()) {
        (channels @ 1..=MOST_CHANNELS, detectors @ 1..) => Ok((channels, detectors)),
        (channels, detectors) => {
            Err(format!("spectra of {channels} channels from {detectors} detectors; {DAMAGED}"))
        }
    }
}

/// Makes sure that the spectra of every pixel are in the file.
fn check_spectra<S: Read + Seek>(xdr: &Xdr<S>, raster: &Raster, floats: usize) -> xdr::Result<()> {
    for pixel in 0..raster.rows * raster.cols {
        let end = raster.spectra_at(pixel).map_or(0, |at| at + 4 * floats as u64);
        if end > xdr.len() {
            let (row, col) = (pixel / raster.cols, pixel % raster.cols);
            return Err(format!(
                "the file ends at byte {}, before the spectra of row {row}, column {col}; {DAMAGED}",
                xdr.len()
            ));
        }
    }
    Ok(())
}

impl<S: Read + Seek> StepScan<S> {
    /// The spectrum of one pixel; zeros where nothing was recorded.
    fn spectrum(&mut self, detector: usize, pixel: usize) -> xdr::Result<Vec<f32>> {
        let Positions { info, raster, xdr, .. } = &mut self.positions;
        let Some(at) = raster.spectra_at(pixel) else { return Ok(vec![0.0; info.channels]) };
        let record = Record::read(xdr, at)?;
        if (record.points, record.detectors.len()) != (info.channels, info.detectors) {
            return Err(format!(
                "{} channels from {} detectors in row {}, column {}, but {} from {} elsewhere; {DAMAGED}",
                record.points,
                record.detectors.len(),
                pixel / info.cols,
                pixel % info.cols,
                info.channels,
                info.detectors
            ));
        }
        record.readings(xdr, detector)
    }
}

impl<S: Read + Seek + Send> ScanReader for StepScan<S> {
    fn info(&self) -> &ScanInfo {
        &self.positions.info
    }

    fn spectra(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>> {
        self.info().check(detector, &pixels);
        let mut spectra = Array2::zeros((pixels.len(), self.info().channels));
        for (mut spectrum, pixel) in spectra.rows_mut().into_iter().zip(pixels) {
            let counts =
                self.spectrum(detector, pixel).map_err(|what| self.positions.damaged(what))?;
            spectrum.assign(&ndarray::aview1(&counts));
        }
        Ok(spectra)
    }

    fn times(&mut self, detector: usize) -> Result<Times> {
        Ok(Times {
            live: self.positions.timed("ELT", detector)?,
            real: self.positions.timed("ERT", detector)?,
            input_rate: self.positions.timed("ICR", detector)?,
            output_rate: self.positions.timed("OCR", detector)?,
        })
    }

    fn scalers(&mut self) -> Result<Scalers> {
        self.positions.scalers()
    }

    fn axes(&mut self) -> Result<Axes> {
        self.positions.axes()
    }

    fn metadata(&self) -> &Metadata {
        &self.positions.metadata
    }
}
