//! What fits spectra. An engine knows a [`Problem`] and numbers; no files, ranks or element names.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod laid_out;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::error::{Error, Result};
use crate::kernels::Status;
pub use crate::problem::Precision;
use crate::problem::Problem;

/// Where each spectrum starts.
#[derive(Clone, Copy, Debug)]
pub enum Starts<'a> {
    /// All at the problem's first-pass values.
    FirstPass,
    /// Each at its own, `[n, parameters + components]`: shape parameters, then log10 amplitudes. Not with
    /// [`Optimizer::Nnls`](crate::problem::Optimizer::Nnls), whose components are made once, at the problem's own shapes.
    Each(ArrayView2<'a, f64>),
}

/// A batch of spectra.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[n, channels]` \[counts\].
    pub counts: ArrayView2<'a, f32>,
    /// `[n, window]` \[counts\], where the problem says that the background is given.
    pub background: Option<ArrayView2<'a, f32>>,
    /// Where they start.
    pub starts: Starts<'a>,
}

impl<'a> Batch<'a> {
    /// Spectra that start at the first-pass values and find their own background.
    pub fn of(counts: ArrayView2<'a, f32>) -> Self {
        Self { counts, background: None, starts: Starts::FirstPass }
    }
}

/// Counts summed exactly, so that the order of spectra does not matter: fixed point with 20 binary places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactSum(pub Vec<i64>);

impl ExactSum {
    const SCALE: f64 = 1_048_576.0;

    /// `n` zeros.
    pub fn zeros(n: usize) -> Self {
        Self(vec![0; n])
    }

    /// Adds counts, channel by channel.
    pub fn add(&mut self, counts: impl IntoIterator<Item = f64>) {
        for (sum, y) in self.0.iter_mut().zip(counts) {
            *sum = sum.saturating_add((y * Self::SCALE).round() as i64);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (sum, y) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*y);
        }
    }

    /// The sums \[counts\].
    pub fn counts(&self) -> Array1<f64> {
        self.0.iter().map(|&s| s as f64 / Self::SCALE).collect()
    }
}

/// Fits of a batch, in its order; NaN where a spectrum could not be fitted.
#[derive(Clone, Debug)]
pub struct Fits {
    /// Shape parameters in the kernels' order, `[n, parameters]`.
    pub parameters: Array2<f64>,
    /// Net counts in each component's first line, `[n, components]` \[counts\].
    pub amplitudes: Array2<f64>,
    /// Objective at the end, `[n]`.
    pub objective: Array1<f64>,
    /// R² of the counts in the window, `[n]`.
    pub r_squared: Array1<f64>,
    /// R² of log10(counts + 1), `[n]`.
    pub r_squared_log: Array1<f64>,
    /// Steps taken, `[n]`.
    pub steps: Array1<u32>,
    /// How each ended, `[n]`.
    pub status: Vec<Status>,
    /// Sum of the fitted spectra, background included, over the window.
    pub fitted: ExactSum,
    /// Sum of the backgrounds over the window.
    pub background: ExactSum,
}

/// The model at given variables.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// All components with escape, `[window]` \[counts\].
    pub total: Array1<f64>,
    /// Each component without escape, `[components, window]` \[counts\].
    pub components: Array2<f64>,
    /// Objective against the given counts and background.
    pub objective: f64,
    /// Its derivative by shape parameter and log10 amplitude, `[parameters + components]`.
    pub gradient: Array1<f64>,
}

/// Fits spectra; the only interface between a fit and the hardware.
pub trait Engine: Sync {
    /// Engine and device in words, for the log and the result file.
    fn describe(&self) -> String;

    /// Fits every spectrum of the batch, each on its own.
    ///
    /// # Errors
    ///
    /// When the device fails. A bad spectrum is a status, not an error.
    fn fit(&self, problem: &Problem, batch: Batch) -> Result<Fits>;

    /// The model at `variables` (shape parameters, then log10 amplitudes), compared with `counts`
    /// `[channels]` and `background` `[window]`.
    ///
    /// # Errors
    ///
    /// When the device fails.
    fn evaluate(
        &self,
        problem: &Problem,
        variables: &[f64],
        counts: ArrayView1<f64>,
        background: ArrayView1<f64>,
    ) -> Result<Evaluation>;

    /// SNIP background of each spectrum over the window, `[n, window]` \[counts\], whatever
    /// background the problem asks for.
    ///
    /// # Errors
    ///
    /// When the device fails.
    fn snip(&self, problem: &Problem, counts: ArrayView2<f32>) -> Result<Array2<f64>>;
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The best one there is.
    Auto,
    /// The processor's cores.
    Cpu,
    /// A CUDA device.
    Cuda,
}

/// Opens an engine.
///
/// # Errors
///
/// When it cannot be had.
pub fn open(choice: Choice, precision: Precision) -> Result<Box<dyn Engine + Send>> {
    match choice {
        Choice::Auto | Choice::Cpu => Ok(Box::new(cpu::Cpu::new(precision)?)),
        Choice::Cuda => Err(Error::Engine(
            "this version has no CUDA engine; use --engine cpu or leave --engine out".into(),
        )),
    }
}
