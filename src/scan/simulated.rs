//! Writes simulated scans: the MAPS_RAW layout of fly scans, with the truth beside it.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use ndarray::{Array2, s};

use crate::error::{Error, Result};
use crate::output::{Overwrite, Partial, uncreated};

/// What is known before the first pixel.
pub struct Truth {
    /// Rows, columns, channels.
    pub shape: (usize, usize, usize),
    /// Component names.
    pub components: Vec<String>,
    /// Shape parameters that vary from pixel to pixel.
    pub parameters: Vec<String>,
    /// Every shape parameter, in the order of [`DetectorTruth::shapes`].
    pub shapes: Vec<String>,
    /// Mean counts of a pixel in each band of rows (see [`level_of`]).
    pub levels: Vec<f64>,
    /// What is known of each detector.
    pub detectors: Vec<DetectorTruth>,
    /// Incident photon energy \[keV\].
    pub incident_kev: f64,
    /// Relative error of the line data \[1\].
    pub model_error: f64,
}

/// What is known of a detector before the first pixel.
pub struct DetectorTruth {
    /// Continuum of each level, `[levels, channels]` \[counts\].
    pub background: Array2<f64>,
    /// Values of all shape parameters, before any drift.
    pub shapes: Vec<f64>,
    /// Solid angle, over the first detector's \[1\].
    pub solid_angle: f64,
}

/// The level of a row where `levels` of them share `rows` rows in bands.
pub fn level_of(row: usize, rows: usize, levels: usize) -> usize {
    row * levels / rows
}

/// Detectors that the layout has letters for.
pub const MOST_DETECTORS: usize = 26;

/// Consecutive pixels, whole rows.
pub struct Tile {
    /// First pixel.
    pub first: usize,
    /// `[n, channels]`.
    pub counts: Array2<u16>,
    /// `[n, components]` \[counts in the first line\].
    pub amplitudes: Array2<f64>,
    /// `[n, parameters]`.
    pub parameters: Array2<f64>,
    /// Live time, real time \[s\], input and output counts, `[n, 4]`.
    pub times: Array2<f64>,
    /// Status code by pixel.
    pub status: Vec<u8>,
}

/// Dataset names of `/MAPS_RAW`, in the order of [`Tile::times`]; `ouputcounts` is the format's spelling.
const TIMES: [&str; 4] = ["livetime", "realtime", "inputcounts", "ouputcounts"];

/// A scan that is being written; without [`Writer::finish`] nothing is left of it.
pub struct Writer {
    // closed before the partial file goes
    file: hdf5::File,
    partial: Partial,
    truth: (Vec<String>, Vec<String>),
    size: (usize, usize, usize),
    detectors: usize,
}

impl Writer {
    /// Begins a scan.
    ///
    /// # Errors
    ///
    /// When the file exists and may not be replaced, or cannot be created.
    pub fn create(path: &Path, overwrite: Overwrite, truth: &Truth) -> Result<Self> {
        let partial = Partial::create(path, overwrite)?;
        let file = hdf5::File::create(partial.file()).map_err(|e| uncreated(path, &e))?;
        let writer = Self {
            file,
            partial,
            truth: (truth.components.clone(), truth.parameters.clone()),
            size: truth.shape,
            detectors: truth.detectors.len(),
        };
        writer.lay_out(truth).map_err(|e| Error::file(path, e))?;
        Ok(writer)
    }

    /// Name of a detector's spectra: `data_a`, `data_b`, ...
    fn spectra(detector: usize) -> String {
        format!("MAPS_RAW/data_{}", char::from(b'a' + detector as u8))
    }

    /// The group of a detector's truth: `/truth` where there is but one.
    fn group(&self, detector: usize) -> String {
        if self.detectors == 1 { "truth".into() } else { format!("truth/detector{detector}") }
    }

    fn lay_out(&self, truth: &Truth) -> hdf5::Result<()> {
        let (rows, cols, _) = self.size;
        let raw = self.file.create_group("MAPS_RAW")?;
        for name in TIMES {
            raw.new_dataset::<f32>().shape((self.detectors, rows, cols)).create(name)?;
        }
        let axis =
            |f: fn((usize, usize)) -> usize| Array2::from_shape_fn((rows, cols), |at| f(at) as f32);
        raw.new_dataset_builder().with_data(&axis(|at| at.1)).create("x_axis")?;
        raw.new_dataset_builder().with_data(&axis(|at| at.0)).create("y_axis")?;
        raw.new_dataset::<f64>().create("incident_energy")?.write_scalar(&truth.incident_kev)?;
        let group = self.file.create_group("truth")?;
        let names: Vec<VarLenUnicode> =
            truth.components.iter().map(|n| n.parse().expect("a name without NUL")).collect();
        group.new_dataset_builder().with_data(&names).create("names")?;
        group.new_attr::<f64>().create("model_error")?.write_scalar(&truth.model_error)?;
        let shapes: Vec<VarLenUnicode> =
            truth.shapes.iter().map(|n| n.parse().expect("a name without NUL")).collect();
        group.new_dataset_builder().with_data(&shapes).create("shape_names")?;
        let levels = &truth.levels;
        if levels.len() > 1 {
            group.new_dataset_builder().with_data(levels).create("levels")?;
            let level = |(row, _)| level_of(row, rows, levels.len()) as u32;
            let level = Array2::from_shape_fn((rows, cols), level);
            group.new_dataset_builder().with_data(&level).create("level")?;
        }
        for (index, detector) in truth.detectors.iter().enumerate() {
            self.lay_out_detector(index, detector, truth)?;
        }
        Ok(())
    }

    fn lay_out_detector(
        &self,
        index: usize,
        detector: &DetectorTruth,
        truth: &Truth,
    ) -> hdf5::Result<()> {
        let (rows, cols, channels) = self.size;
        self.file
            .new_dataset::<u16>()
            .chunk((channels, 1, cols.min(64)))
            .shuffle()
            .deflate(1)
            .shape((channels, rows, cols))
            .create(Self::spectra(index).as_str())?;
        let name = self.group(index);
        let group = match self.detectors {
            1 => self.file.group(&name)?,
            _ => self.file.create_group(&name)?,
        };
        group.new_attr::<f64>().create("solid_angle")?.write_scalar(&detector.solid_angle)?;
        group
            .new_dataset::<f32>()
            .shape((truth.components.len(), rows, cols))
            .create("amplitudes")?;
        let background = &detector.background;
        let builder = group.new_dataset_builder();
        match background.nrows() {
            1 => builder.with_data(&background.row(0)).create("background")?,
            _ => builder.with_data(background).create("background")?,
        };
        group.new_dataset_builder().with_data(&detector.shapes).create("shapes")?;
        group.new_dataset::<u8>().shape((rows, cols)).create("status")?;
        let parameters = group.create_group("parameters")?;
        for name in &truth.parameters {
            parameters.new_dataset::<f64>().shape((rows, cols)).create(name.as_str())?;
        }
        Ok(())
    }

    /// Writes a detector's tile of whole rows.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&mut self, detector: usize, tile: &Tile) -> Result<()> {
        self.write_tile(detector, tile)
            .map_err(|e| Error::file(self.partial.output(), format!("cannot be written: {e}")))
    }

    fn write_tile(&self, detector: usize, tile: &Tile) -> hdf5::Result<()> {
        let (_, cols, channels) = self.size;
        let (n, first) = (tile.counts.nrows() / cols, tile.first / cols);
        let rows = first..first + n;
        let image = |column: ndarray::ArrayView1<f64>| {
            Array2::from_shape_fn((n, cols), |(r, c)| column[r * cols + c] as f32)
        };
        let counts = tile.counts.t().as_standard_layout().into_owned();
        let counts = counts.into_shape_with_order((channels, n, cols)).expect("whole rows");
        let spectra = self.file.dataset(&Self::spectra(detector))?;
        spectra.write_slice(&counts, s![.., rows.clone(), ..])?;
        for (i, name) in TIMES.iter().enumerate() {
            let data = self.file.dataset(&format!("MAPS_RAW/{name}"))?;
            data.write_slice(&image(tile.times.column(i)), s![detector, rows.clone(), ..])?;
        }
        let truth = self.file.group(&self.group(detector))?;
        let amplitudes = truth.dataset("amplitudes")?;
        for k in 0..self.truth.0.len() {
            amplitudes.write_slice(&image(tile.amplitudes.column(k)), s![k, rows.clone(), ..])?;
        }
        for (i, name) in self.truth.1.iter().enumerate() {
            let values = tile.parameters.column(i);
            let values = Array2::from_shape_fn((n, cols), |(r, c)| values[r * cols + c]);
            truth
                .dataset(&format!("parameters/{name}"))?
                .write_slice(&values, s![rows.clone(), ..])?;
        }
        let status = Array2::from_shape_fn((n, cols), |(r, c)| tile.status[r * cols + c]);
        truth.dataset("status")?.write_slice(&status, s![rows, ..])
    }

    /// Closes the scan and gives it its name.
    ///
    /// # Errors
    ///
    /// When that fails; then nothing is left.
    pub fn finish(self) -> Result<()> {
        let Self { file, partial, .. } = self;
        file.close()
            .map_err(|e| Error::file(partial.output(), format!("cannot be closed: {e}")))?;
        partial.finish()
    }
}
