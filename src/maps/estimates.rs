//! What a score needs of a map file.

use ndarray::{Array2, Array3};

/// The fitted amplitudes of a map file, and how they were fitted.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// Component names, length K.
    pub components: Vec<String>,
    /// Net counts in each component's first line, `[K, row, col]` \[counts\].
    pub amplitudes: Array3<f32>,
    /// Their standard deviations, `[K, row, col]` \[counts\], where the fit knows them.
    pub uncertainties: Option<Array3<f32>>,
    /// Amplitudes that may be below 0, `[K, row, col]` \[counts\].
    pub signed: Option<Array3<f32>>,
    /// Status of each fit, `[row, col]`.
    pub status: Array2<u8>,
    /// The resolved configuration, TOML.
    pub configuration: String,
}
