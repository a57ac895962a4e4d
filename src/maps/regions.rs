//! What the file of a scan's regions holds.

use ndarray::{Array1, Array2, Array3};

use super::{ParameterRow, Provenance};

/// Fits of the summed spectra of R regions with K components, over spectra of N channels. NaN where a sum could not
/// be fitted, and outside the fit window.
#[derive(Clone, Debug)]
pub struct RegionFile {
    /// Their names, length R.
    pub names: Vec<String>,
    /// Where they lie, `[row, col]`: each region's number from 1, 0 outside; of several the last one's.
    pub map: Array2<u32>,
    /// Pixels whose spectra were added, length R.
    pub pixels: Vec<u64>,
    /// Pixels that were left out: a count is negative, saturated or no number.
    pub left_out: Vec<u64>,
    /// Energy of each channel at the first-pass calibration, `[N]` \[keV\].
    pub energy: Array1<f64>,
    /// Summed spectra, `[R, N]` \[counts\].
    pub spectra: Array2<f64>,
    /// Model and background, `[R, N]` \[counts\].
    pub fitted: Array2<f64>,
    /// Backgrounds, `[R, N]` \[counts\].
    pub backgrounds: Array2<f64>,
    /// Component names, length K.
    pub components: Vec<String>,
    /// Each component without escape and background, `[R, K, N]` \[counts\].
    pub component_spectra: Array3<f64>,
    /// Net counts in each component's first line, `[R, K]` \[counts\].
    pub amplitudes: Array2<f64>,
    /// Every shape parameter, length P: where it started.
    pub parameters: Vec<ParameterRow>,
    /// And where it ended, `[R, P]`.
    pub parameter_values: Array2<f64>,
    /// The objective at the end, `[R]`, and its unit.
    pub objective: Array1<f64>,
    /// Its unit.
    pub objective_unit: String,
    /// Coefficient of determination of the counts in the fit window, `[R]` \[1\].
    pub r_squared: Array1<f64>,
    /// The same of log10(counts + 1), `[R]` \[1\].
    pub r_squared_log: Array1<f64>,
    /// Optimiser steps taken, `[R]`.
    pub steps: Array1<u32>,
    /// How each fit ended, `[R]`.
    pub status: Vec<u8>,
    /// Meaning of each status code: code and sentence.
    pub status_meanings: Vec<(u8, String)>,
    /// How it was made.
    pub provenance: Provenance,
}
