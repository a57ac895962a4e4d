//! The map file: what a run found, and how.
//!
//! [`MapFile`] is everything about one detector; a writer per output format ([`create`] for HDF5,
//! [`png`] for pictures). This module knows no fitting and no ranks.

mod colours;
mod estimates;
mod family;
mod hdf5;
mod ledger;
pub mod png;
mod regions;

use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3, Axis};

pub use self::colours::viridis;
pub use self::estimates::Estimates;
pub use self::family::sum;
pub use self::hdf5::{Writer, create, read_estimates, write_modelled, write_regions};
pub use self::ledger::{Extent, Ledger, Piece, Progress, ledger_of, progress};
pub use self::regions::RegionFile;
use crate::error::Result;
pub use crate::output::Overwrite;
use crate::scan::{Axes, Metadata, Scalers, Times};

/// The maps of one detector. NaN where a pixel could not be fitted.
#[derive(Clone, Debug)]
pub struct Maps {
    /// Component names, length K: elements by Z (K lines), then `*_L` by Z, `*_M` by Z, then pile-ups and scatter.
    pub components: Vec<String>,
    /// Net counts in each component's first line, `[K, row, col]` \[counts\].
    pub amplitudes: Array3<f32>,
    /// Standard deviations of the amplitudes, `[K, row, col]` \[counts\]; NaN where a fit has none, as linear ones.
    pub amplitude_sigma: Array3<f32>,
    /// Amplitudes that may be below 0, `[K, row, col]` \[counts\]: without bias, to be averaged over pixels.
    pub signed_amplitudes: Array3<f32>,
    /// Where asked for, what 95 % of each amplitude's likelihood lies below, and the amplitudes that would be found,
    /// `[K, row, col]` each \[counts\]; else without components.
    pub limits: [Array3<f32>; 2],
    /// Free shape parameters: MAPS name and unit, length P.
    pub parameters: Vec<(String, String)>,
    /// Their fitted values, `[P, row, col]`.
    pub parameter_values: Array3<f32>,
    /// Their standard deviations, `[P, row, col]`.
    pub parameter_sigma: Array3<f32>,
    /// The objective at the end, `[row, col]`, in `objective_unit`.
    pub objective: Array2<f32>,
    /// Coefficient of determination of the counts in the fit window, `[row, col]` \[1\].
    pub r_squared: Array2<f32>,
    /// The same of log10(counts + 1), `[row, col]` \[1\].
    pub r_squared_log: Array2<f32>,
    /// Poisson deviance over the channels less the free variables, `[row, col]` \[1\].
    pub deviance: Array2<f32>,
    /// Counts of the background in the fit window, `[row, col]` \[counts\].
    pub background_counts: Array2<f32>,
    /// Optimiser steps taken, `[row, col]`.
    pub steps: Array2<u32>,
    /// How the fit ended, `[row, col]`; codes in [`crate::kernels::Status`].
    pub status: Array2<u8>,
    /// All counts of the pixel, over all channels, `[row, col]` \[counts\].
    pub total_counts: Array2<f32>,
    /// Time that makes counts into counts per second, `[row, col]` \[s\]; `None` when unknown.
    pub live_time: Option<Array2<f32>>,
    /// Counts per second that are no counts over one time, `[K, row, col]` \[cts/s\]: of a sum of detectors that
    /// each have a live time.
    pub added_rates: Option<Array3<f32>>,
}

impl Maps {
    /// Counts per second where the live time is known, else counts; and their unit. NaN in a pixel that
    /// counted for no time.
    pub fn rates(&self) -> (Array3<f32>, &'static str) {
        if let Some(rates) = &self.added_rates {
            return (rates.clone(), "cts/s");
        }
        match self.seconds() {
            Some(live) => (&self.amplitudes / &live.insert_axis(Axis(0)), "cts/s"),
            None => (self.amplitudes.clone(), "counts"),
        }
    }

    /// All counts of each pixel, over all channels, in the unit of [`Maps::rates`].
    pub fn total_rates(&self) -> Array2<f32> {
        self.seconds().map_or_else(|| self.total_counts.clone(), |live| &self.total_counts / &live)
    }

    fn seconds(&self) -> Option<Array2<f32>> {
        let live = self.live_time.as_ref()?;
        Some(live.mapv(|t| if t > 0.0 { t } else { f32::NAN }))
    }
}

/// Spectra of the whole scan, each over all N channels.
#[derive(Clone, Debug)]
pub struct Summed {
    /// Energy of each channel at the first-pass calibration, `[N]` \[keV\].
    pub energy: Array1<f64>,
    /// First-pass calibration: offset \[keV\], slope \[keV/channel\], quadratic \[keV/channel²\].
    pub calibration: [f64; 3],
    /// Fit window: first channel and number of channels.
    pub window: (usize, usize),
    /// Sum of all pixels' counts, `[N]` \[counts\].
    pub spectrum: Array1<f64>,
    /// Sum of all pixels' fitted spectra with background, `[N]`, zero outside the window \[counts\].
    pub fitted: Array1<f64>,
    /// Sum of all pixels' backgrounds, `[N]`, zero outside the window \[counts\].
    pub background: Array1<f64>,
    /// Fit of the summed spectrum itself, background included, `[N]`, zero outside the window \[counts\].
    pub fit_of_sum: Array1<f64>,
    /// Background of the summed spectrum, `[N]`, zero outside the window \[counts\].
    pub background_of_sum: Array1<f64>,
    /// Poisson deviance of the summed spectrum, fitted to find the pixels' background, over its channels less the free
    /// variables; NaN where it was not.
    pub deviance_of_sum: f64,
}

/// One row of the parameter table.
#[derive(Clone, Debug)]
pub struct ParameterRow {
    /// MAPS name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// First-pass value, lower bound, upper bound.
    pub value: [f64; 3],
    /// Fitted per pixel?
    pub free: bool,
    /// Standard deviation of what is known of a pixel's before its fit, around the first-pass value; NaN: nothing.
    pub prior: f64,
}

/// How a result was made.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// xrfit's version.
    pub version: String,
    /// Commit it was built from, `unknown` outside a repository.
    pub commit: String,
    /// The command line.
    pub command: String,
    /// The resolved configuration, TOML.
    pub configuration: String,
    /// Engine and device, e.g. `cpu, x86_64 v4, f32`; where ranks had several, each with its ranks.
    pub engine: String,
    /// Spectra that the CPU fitted because a device failed.
    pub taken_over: usize,
    /// Ranks and their threads, and what carries the messages.
    pub cluster: String,
    /// Which run fitted which pixels, where their engines differ.
    pub runs: Option<Runs>,
    /// Every file of the scan, the one that was opened first, with its SHA-256, hexadecimal.
    pub inputs: Vec<(PathBuf, String)>,
    /// When the run began, ISO 8601, UTC.
    pub started: String,
    /// How long it took \[s\].
    pub seconds: f64,
}

/// The runs of a map that was gone on with.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Engine of each, from the first on.
    pub engines: Vec<String>,
    /// `[row, col]`: by which run, counted from 1.
    pub of_pixel: Array2<u8>,
}

/// What a map file does about the spectra themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpectraPolicy {
    /// An external link to the input.
    Link,
    /// A copy of the counts.
    Copy,
    /// Nothing.
    None,
}

/// Reads the spectra of pixels, `[pixels.len(), channels]` \[counts\].
pub type ReadSpectra<'a> = dyn FnMut(Range<usize>) -> Result<Array2<f32>> + 'a;

/// Where the spectra that go into a map file are.
pub enum Spectra<'a> {
    /// File and dataset, `[channel, row, col]`, to be linked.
    Link(&'a Path, &'a str),
    /// To be copied, piece by piece.
    Copy(&'a mut ReadSpectra<'a>),
    /// None go into it.
    None,
}

/// Which MAPS analysis group the maps go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analysis {
    /// `/MAPS/XRF_Analyzed/Fitted`: nonlinear fits.
    Fitted,
    /// `/MAPS/XRF_Analyzed/NNLS`: linear non-negative fits.
    Nnls,
}

/// Everything a map file holds.
#[derive(Clone, Debug)]
pub struct MapFile {
    /// Which group.
    pub analysis: Analysis,
    /// The maps.
    pub maps: Maps,
    /// Unit of `maps.objective`, e.g. `counts^2`.
    pub objective_unit: String,
    /// Meaning of each status code: code and sentence.
    pub status_meanings: Vec<(u8, String)>,
    /// The whole-scan spectra.
    pub summed: Summed,
    /// Every model parameter.
    pub parameters: Vec<ParameterRow>,
    /// Times as recorded.
    pub times: Times,
    /// Scalers.
    pub scalers: Scalers,
    /// Positions.
    pub axes: Axes,
    /// Scan metadata.
    pub metadata: Metadata,
    /// How it was made.
    pub provenance: Provenance,
}

/// One evaluation of the forward model over a window of N channels.
#[derive(Clone, Debug)]
pub struct Modelled {
    /// Energy of each channel, `[N]` \[keV\].
    pub energy: Array1<f64>,
    /// Component names, length K.
    pub components: Vec<String>,
    /// Each component without escape, `[K, N]` \[counts\].
    pub spectra: Array2<f64>,
    /// All components with escape, `[N]` \[counts\].
    pub sum: Array1<f64>,
    /// Background of the observed spectrum, `[N]` \[counts\].
    pub background: Array1<f64>,
    /// Observed counts, `[N]`, and the objective against them.
    pub observed: Option<(Array1<f64>, f64)>,
    /// Unit of the objective.
    pub objective_unit: String,
    /// Names of the shape parameters, length P.
    pub parameters: Vec<String>,
    /// Derivative of the objective by shape parameter, `[P]`, and by log10 amplitude, `[K]`.
    pub gradient: Option<(Array1<f64>, Array1<f64>)>,
}
