//! Analysed MAPS HDF5 files: what XRF-Maps and xrfit write, read back for their spectra.
//!
//! Version 10 has groups (`/MAPS/Spectra/mca_arr`, `/MAPS/Scan`, `/MAPS/Scalers`), version 9 a flat list
//! (`/MAPS/mca_arr`, `/MAPS/scalers`). Each file is one detector. The maps inside are not read here.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, Array3, Axis};

use super::hdf5_file::{Direction, Hdf5File};
use super::volumes::Volumes;
use super::{Axes, ExtraPv, Metadata, OpenOptions, Scalers, ScanInfo, ScanReader, Times};
use crate::error::Result;

/// Spectra of version 10 and version 9.
const SPECTRA: [&str; 2] = ["/MAPS/Spectra/mca_arr", "/MAPS/mca_arr"];

/// An open analysed file.
struct MapsAnalysed {
    info: ScanInfo,
    metadata: Metadata,
    file: Hdf5File,
    spectra: Volumes,
}

/// Opens an analysed file; `None` when it is none.
///
/// # Errors
///
/// A file error when it is damaged, has no spectra, or its parts do not fit together.
pub(super) fn open(path: &Path, options: OpenOptions) -> Result<Option<Box<dyn ScanReader>>> {
    let Some(file) = Hdf5File::open(path, options)?.filter(|file| file.has("/MAPS")) else {
        return Ok(None);
    };
    let Some(name) = SPECTRA.into_iter().find(|name| file.has(name)) else {
        return Err(file.error(format!(
            "a MAPS file without spectra ({} is missing, which only maps need not have); name the scan it was \
             made from",
            SPECTRA[0]
        )));
    };
    let spectra = Volumes::open(&file, &[name.to_owned()])?;
    let [channels, rows, cols] = spectra.shape();
    let mut info = ScanInfo {
        path: path.to_path_buf(),
        files: vec![path.to_path_buf()],
        format: if name == SPECTRA[0] {
            "analysed MAPS HDF5, version 10"
        } else {
            "analysed MAPS HDF5, version 9"
        },
        rows,
        cols,
        channels,
        detectors: 1,
        incident_kev: None,
        saturation: spectra.saturation(),
        spectra_links: vec![(path.to_path_buf(), name.to_owned())],
        notes: Vec::new(),
    };
    if let Some(kev) = fitted_energy(&file)? {
        info.incident_kev = Some(kev);
        info.notes.push(format!(
            "the incident energy of {kev:.3} keV is COHERENT_SCT_ENERGY of the earlier analysis"
        ));
    }
    let metadata = metadata(&file, [rows, cols])?;
    Ok(Some(Box::new(MapsAnalysed { info, metadata, file, spectra })))
}

/// The elastic peak's energy in the parameters of the analysis.
fn fitted_energy(file: &Hdf5File) -> Result<Option<f64>> {
    let group = "/MAPS/Fit_Parameters_Override";
    let names = file.texts(&format!("{group}/Fit_Parameters_Names"))?.unwrap_or_default();
    let values = file.numbers(&format!("{group}/Fit_Parameters_Values"))?.unwrap_or_default();
    let index = names.iter().position(|name| name == "COHERENT_SCT_ENERGY");
    // Each parameter has a row of value, lower bound, upper bound and step.
    let per_row = values.len().checked_div(names.len()).unwrap_or(0);
    let energy = index.and_then(|index| values.get(index * per_row).copied());
    Ok(energy.filter(|kev| kev.is_finite() && *kev > 0.0))
}

fn metadata(file: &Hdf5File, [rows, cols]: [usize; 2]) -> Result<Metadata> {
    let text = |name: &str| {
        Ok(file.texts(name)?.unwrap_or_default().into_iter().next().unwrap_or_default())
    };
    let requested = |name: &str, recorded: usize| {
        let number = file.number(name)?.filter(|number| *number >= 1.0);
        Ok(number.map_or(recorded, |number| number as usize))
    };
    let time_stamp =
        if file.has("/MAPS/Scan") { "/MAPS/Scan/scan_time_stamp" } else { "/MAPS/scan_time_stamp" };
    Ok(Metadata {
        name: text("/MAPS/Scan/name")?,
        time_stamp: text(time_stamp)?,
        requested_rows: requested("/MAPS/Scan/requested_rows", rows)?,
        requested_cols: requested("/MAPS/Scan/requested_cols", cols)?,
        theta: file.number("/MAPS/Scan/theta")?,
        extra_pvs: extra_pvs(file)?,
    })
}

fn extra_pvs(file: &Hdf5File) -> Result<Vec<ExtraPv>> {
    let columns = if file.has("/MAPS/Scan/Extra_PVs") {
        let column = |name: &str| {
            Ok(file.texts(&format!("/MAPS/Scan/Extra_PVs/{name}"))?.unwrap_or_default())
        };
        [column("Names")?, column("Values")?, column("Description")?, column("Unit")?]
    } else {
        // Version 9 stacks the four: [4, P].
        let all = file.texts("/MAPS/extra_pvs")?.unwrap_or_default();
        let length = all.len() / 4;
        [0, 1, 2, 3].map(|k| all[k * length..(k + 1) * length].to_vec())
    };
    let [names, values, descriptions, units] = &columns;
    let at = |column: &[String], index: usize| column.get(index).cloned().unwrap_or_default();
    Ok((0..names.len())
        .map(|index| ExtraPv {
            name: at(names, index),
            value: at(values, index),
            description: at(descriptions, index),
            unit: at(units, index),
        })
        .collect())
}

impl MapsAnalysed {
    fn map_shape(&self) -> [usize; 2] {
        [self.info.rows, self.info.cols]
    }

    /// Positions from `/MAPS/Scan`, else, as in version 9, from `/MAPS`.
    fn positions(&self, name: &str, direction: Direction) -> Result<Option<(Array2<f32>, String)>> {
        let shape = self.map_shape();
        match self.file.positions(&format!("/MAPS/Scan/{name}"), shape, direction)? {
            None => self.file.positions(&format!("/MAPS/{name}"), shape, direction),
            positions => Ok(positions),
        }
    }

    /// A time of version 10, or the scaler of version 9 that holds it.
    fn timed(&mut self, name: &str, scaler: &str) -> Result<Option<Array2<f32>>> {
        let plane = self.file.plane(&format!("/MAPS/Spectra/{name}"), self.map_shape())?;
        if plane.is_some() {
            return Ok(plane);
        }
        let Scalers { names, values, .. } = self.scalers()?;
        // Each detector has a file, `.h50` for the first; scalers count from 1.
        let extension = self.info.path.extension().unwrap_or_default().to_string_lossy();
        let detector =
            extension.strip_prefix("h5").and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
        let scaler = format!("{scaler}{}", u64::from(detector) + 1);
        let index = names.iter().position(|name| *name == scaler);
        Ok(index.map(|index| values.index_axis(Axis(0), index).to_owned()))
    }
}

impl ScanReader for MapsAnalysed {
    fn info(&self) -> &ScanInfo {
        &self.info
    }

    fn spectra(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>> {
        self.info.check(detector, &pixels);
        self.spectra.read(detector, pixels)
    }

    fn times(&mut self, _detector: usize) -> Result<Times> {
        Ok(Times {
            live: self.timed("Elapsed_Livetime", "ELT")?,
            real: self.timed("Elapsed_Realtime", "ERT")?,
            input_rate: self.timed("Input_Counts", "ICR")?,
            output_rate: self.timed("Output_Counts", "OCR")?,
        })
    }

    fn scalers(&mut self) -> Result<Scalers> {
        let paths = if self.file.has("/MAPS/Scalers") {
            ["/MAPS/Scalers/Names", "/MAPS/Scalers/Units", "/MAPS/Scalers/Values"]
        } else {
            ["/MAPS/scaler_names", "/MAPS/scaler_units", "/MAPS/scalers"]
        };
        let names = self.file.texts(paths[0])?.unwrap_or_default();
        let mut units = self.file.texts(paths[1])?.unwrap_or_default();
        units.resize(names.len(), String::new());
        let [rows, cols] = self.map_shape();
        let stack = [names.len(), rows, cols];
        let mut values = Array3::zeros(stack);
        for (index, mut to) in values.outer_iter_mut().enumerate() {
            let plane = self.file.plane_of(paths[2], index, stack)?;
            let plane = plane.ok_or_else(|| {
                self.file.error(format!(
                    "{} is missing (the scalers have names but no values)",
                    paths[2]
                ))
            })?;
            to.assign(&plane);
        }
        Ok(Scalers { names, units, values })
    }

    fn axes(&mut self) -> Result<Axes> {
        let mut axes = Axes::pixel_numbers(self.info.rows, self.info.cols);
        if let Some(y) = self.positions("y_axis", Direction::Rows)? {
            (axes.y, axes.y_unit) = y;
            repair_first_row(&mut axes.y);
        }
        if let Some(x) = self.positions("x_axis", Direction::Cols)? {
            (axes.x, axes.x_unit) = x;
        }
        Ok(axes)
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// XRF-Maps writes the positions of all rows into row 0 of `y_axis`, whose first is right.
fn repair_first_row(y: &mut Array2<f32>) {
    let n = y.nrows().min(y.ncols());
    let constant = y.outer_iter().skip(1).all(|row| row.iter().all(|value| *value == row[0]));
    if n > 1 && constant && (1..n).all(|k| y[[0, k]] == y[[k, 0]]) {
        let first = y[[0, 0]];
        y.row_mut(0).fill(first);
    }
}
