//! The truth of a simulated scan, as [`super::simulated`] writes it.

use std::path::Path;

use ndarray::{Array, Array2, Array3, Axis, Dimension};

use super::hdf5_file::Hdf5File;
use super::{OpenOptions, check_file};
use crate::error::Result;

/// What is true of one detector's spectra.
pub struct Truth {
    /// Component names, length K.
    pub components: Vec<String>,
    /// Net counts in each component's first line, `[K, row, col]` \[counts\].
    pub amplitudes: Array3<f32>,
    /// Shape parameters that are the same in all pixels: MAPS name and value. Empty in files that do not tell.
    pub shapes: Vec<(String, f64)>,
    /// Shape parameters by pixel: MAPS name and `[row, col]`.
    pub parameters: Vec<(String, Array2<f64>)>,
    /// Mean counts of a pixel by level; one level of unknown counts where there is but one.
    pub levels: Vec<Option<f64>>,
    /// Level of each pixel, `[row, col]`.
    pub level: Array2<u32>,
    /// Background by level, `[L, channel]` \[counts\].
    pub background: Array2<f64>,
    /// Status code that a fit of the pixel should have, `[row, col]`.
    pub status: Array2<u8>,
    /// Relative error of the line data that fits know \[1\].
    pub model_error: f64,
}

/// Reads the truth of a detector; of the only one where nobody says which.
///
/// # Errors
///
/// A file error when the scan has no truth or not that of the detector, when several have one and nobody says
/// which, or when its parts do not fit together.
pub fn truth(path: &Path, detector: Option<usize>, options: OpenOptions) -> Result<Truth> {
    check_file(path)?;
    let file = Hdf5File::open(path, options)?;
    let file = file.filter(|file| file.has("/truth")).ok_or_else(|| {
        crate::error::Error::file(
            path,
            "has no /truth (only a simulated scan knows it); name a scan that `xrfit simulate` wrote",
        )
    })?;
    let group = group(&file, detector)?;
    let within = |name: &str| format!("{group}/{name}");
    let amplitudes: Array3<f32> = array(&file, &within("amplitudes"))?;
    let size = (amplitudes.len_of(Axis(1)), amplitudes.len_of(Axis(2)));
    let names = file.members(&within("parameters"));
    let parameters = names.into_iter().map(|name| {
        let values = array(&file, &within(&format!("parameters/{name}")))?;
        Ok((name, values))
    });
    let background = match array::<f64, ndarray::IxDyn>(&file, &within("background"))? {
        one if one.ndim() == 1 => one.insert_axis(Axis(0)),
        several => several,
    };
    let background = background.into_dimensionality().map_err(|e| file.error(e))?;
    let levels = file.numbers("/truth/levels")?;
    let truth = Truth {
        components: texts(&file, "/truth/names")?,
        amplitudes,
        shapes: shapes(&file, &within("shapes"))?,
        parameters: parameters.collect::<Result<_>>()?,
        level: match &levels {
            Some(_) => array(&file, "/truth/level")?,
            None => Array2::zeros(size),
        },
        levels: levels.map_or(vec![None], |levels| levels.into_iter().map(Some).collect()),
        background,
        status: array(&file, &within("status"))?,
        model_error: file.attribute("/truth", "model_error").unwrap_or(0.0),
    };
    if truth.fits_together(size) {
        return Ok(truth);
    }
    Err(file.error("the parts of /truth do not belong together; simulate the scan again"))
}

impl Truth {
    fn fits_together(&self, size: (usize, usize)) -> bool {
        let planes = self.parameters.iter().all(|(_, values)| values.dim() == size);
        planes
            && self.status.dim() == size
            && self.level.dim() == size
            && self.components.len() == self.amplitudes.len_of(Axis(0))
            && self.background.nrows() == self.levels.len()
            && self.level.iter().all(|&level| (level as usize) < self.levels.len())
    }
}

/// The group of a detector's truth.
fn group(file: &Hdf5File, detector: Option<usize>) -> Result<String> {
    let of = |i| format!("/truth/detector{i}");
    let detectors = (0..).take_while(|&i| file.has(&of(i))).count();
    match detector {
        None | Some(0) if detectors == 0 => Ok("/truth".into()),
        Some(i) if i < detectors => Ok(of(i)),
        Some(i) => Err(file.error(format!(
            "has no truth of detector {i} (there are {}, counted from 0); give --detector",
            detectors.max(1)
        ))),
        None => Err(file.error(format!(
            "has the truth of {detectors} detectors, and the map file does not say which is its; give --detector"
        ))),
    }
}

fn shapes(file: &Hdf5File, name: &str) -> Result<Vec<(String, f64)>> {
    let values = file.numbers(name)?.unwrap_or_default();
    let names = file.texts("/truth/shape_names")?.unwrap_or_default();
    Ok(names.into_iter().zip(values).collect())
}

fn texts(file: &Hdf5File, name: &str) -> Result<Vec<String>> {
    file.texts(name)?.ok_or_else(|| missing(file, name))
}

fn missing(file: &Hdf5File, name: &str) -> crate::error::Error {
    file.error(format!("{name} is missing (this is no complete truth); simulate the scan again"))
}

fn array<T: hdf5::H5Type, D: Dimension>(file: &Hdf5File, name: &str) -> Result<Array<T, D>> {
    let dataset = file.dataset(name)?.ok_or_else(|| missing(file, name))?;
    dataset.read().map_err(|e| file.error(format!("{name} cannot be read: {e}")))
}
