//! A fly scan: positions and scalers in an MDA file, spectra in a MAPS_RAW HDF5 file beside it.
//!
//! The rows and columns are those of the spectra. The MDA file counts the positions that were asked
//! for, which are two columns more.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, s};

use super::{FORMAT, Positions};
use crate::error::{Error, Result};
use crate::scan::maps_raw::MapsRaw;
use crate::scan::{Axes, Metadata, OpenOptions, Scalers, ScanInfo, ScanReader, Times};

/// A fly scan with its spectra.
pub(super) struct FlyScan {
    info: ScanInfo,
    positions: Positions<File>,
    spectra: MapsRaw,
}

impl FlyScan {
    /// Finds and opens the spectra of a fly scan.
    pub(super) fn open(positions: Positions<File>, options: OpenOptions) -> Result<Self> {
        let path = positions.info.path.clone();
        let found = candidates(&path)?;
        let Some(spectra_path) = found.first() else { return Err(no_spectra(&path)) };
        let spectra = MapsRaw::open(spectra_path, options)?.ok_or_else(|| {
            Error::file(spectra_path, "holds no /MAPS_RAW/data_a, the spectra of a fly scan")
        })?;
        let mut info = spectra.info().clone();
        info.files.insert(0, path.clone());
        info.path = path;
        info.format = FORMAT;
        info.notes.push(format!("a fly scan; its spectra are in {}", spectra_path.display()));
        for other in &found[1..] {
            info.notes.push(format!("{} is left aside", other.display()));
        }
        let (rows, cols) = (positions.raster.rows, positions.raster.cols);
        if (rows, cols) != (info.rows, info.cols) {
            info.notes.push(format!(
                "the MDA file has {rows} x {cols} positions, the spectra {} x {}; the spectra count",
                info.rows, info.cols
            ));
        }
        Ok(Self { info, positions, spectra })
    }
}

/// `<dir>/../flyXRF.h5/<base>_*_0.h5`, the same in `<dir>/flyXRF.h5`, and beside the MDA file.
fn candidates(path: &Path) -> Result<Vec<PathBuf>> {
    let prefix = format!("{}_", path.file_stem().unwrap_or_default().to_string_lossy());
    let mut found = Vec::new();
    for folder in folders(path) {
        let Ok(entries) = folder.read_dir() else { continue };
        let mut here = Vec::new();
        for entry in entries {
            let entry =
                entry.map_err(|e| Error::file(&folder, format!("cannot be listed: {e}")))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix(&prefix).is_some_and(|rest| rest.ends_with("_0.h5")) {
                here.push(entry.path());
            }
        }
        here.sort();
        found.append(&mut here);
    }
    Ok(found)
}

fn folders(path: &Path) -> [PathBuf; 3] {
    let here = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    [here.join("../flyXRF.h5"), here.join("flyXRF.h5"), here]
}

fn no_spectra(path: &Path) -> Error {
    let base = path.file_stem().unwrap_or_default().to_string_lossy();
    let places =
        folders(path).map(|folder| folder.join(format!("{base}_*_0.h5")).display().to_string());
    Error::file(
        path,
        format!(
            "a fly scan without its spectra (they are in a HDF5 file of their own); put it where it is \
             looked for: {}",
            places.join(", ")
        ),
    )
}

impl ScanReader for FlyScan {
    fn info(&self) -> &ScanInfo {
        &self.info
    }

    fn spectra(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>> {
        self.spectra.spectra(detector, pixels)
    }

    fn times(&mut self, detector: usize) -> Result<Times> {
        self.spectra.times(detector)
    }

    fn scalers(&mut self) -> Result<Scalers> {
        let all = self.positions.scalers()?;
        let mut values =
            Array3::from_elem((all.names.len(), self.info.rows, self.info.cols), f32::NAN);
        let (rows, cols) = self.common();
        values.slice_mut(s![.., ..rows, ..cols]).assign(&all.values.slice(s![.., ..rows, ..cols]));
        Ok(Scalers { values, ..all })
    }

    fn axes(&mut self) -> Result<Axes> {
        let all = self.positions.axes()?;
        let (rows, cols) = self.common();
        let part = |values: &Array2<f32>| {
            let mut part = Array2::from_elem((self.info.rows, self.info.cols), f32::NAN);
            part.slice_mut(s![..rows, ..cols]).assign(&values.slice(s![..rows, ..cols]));
            part
        };
        Ok(Axes { y: part(&all.y), x: part(&all.x), y_unit: all.y_unit, x_unit: all.x_unit })
    }

    fn metadata(&self) -> &Metadata {
        &self.positions.metadata
    }
}

impl FlyScan {
    /// Rows and columns that both files have.
    fn common(&self) -> (usize, usize) {
        let raster = &self.positions.raster;
        (self.info.rows.min(raster.rows), self.info.cols.min(raster.cols))
    }
}
