//! What fits spectra. An engine knows a [`Problem`] and numbers; no files, ranks or element names.

mod batch;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
mod cuda;
mod found;
mod laid_out;
mod model;

use std::ops::RangeInclusive;

use ndarray::{Array2, ArrayView1, ArrayView2};

use self::batch::check_case;
pub use self::batch::{Batch, Evaluation, ExactSum, Fits, Starts, single};
pub use self::model::{model, units};
use crate::error::{Error, Result};
pub use crate::problem::Precision;
use crate::problem::Problem;

/// Fits spectra; the only interface between a fit and the hardware.
pub trait Engine: Sync {
    /// Engine and device in words, for the log and the result file.
    fn describe(&self) -> String;

    /// Spectra that it was given to fit and that the CPU fitted instead, as a device failed.
    fn taken_over(&self) -> usize {
        0
    }

    /// How many spectra at a time keep it busy, and how many are of no more use.
    fn useful_batches(&self) -> RangeInclusive<usize>;

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

/// An engine, and what the user should know about the choice.
pub struct Opened {
    /// The engine.
    pub engine: Box<dyn Engine + Send>,
    /// Why it is not a faster one.
    pub note: Option<String>,
}

/// Opens an engine for a process that is alone on its machine.
///
/// # Errors
///
/// When it cannot be had.
pub fn open(choice: Choice, precision: Precision) -> Result<Box<dyn Engine + Send>> {
    Ok(choose(choice, precision, 0)?.engine)
}

/// Opens an engine. Where a machine has several CUDA devices, its `local`-th process takes the `local`-th of them.
///
/// # Errors
///
/// When it cannot be had.
pub fn choose(choice: Choice, precision: Precision, local: usize) -> Result<Opened> {
    let opened = |otherwise| cuda::Cuda::open(precision, local, otherwise);
    let boxed = |engine: cuda::Cuda| Opened { engine: Box::new(engine), note: None };
    match choice {
        Choice::Cpu => Ok(Opened { engine: Box::new(cpu::Cpu::new(precision)?), note: None }),
        Choice::Cuda => opened(cuda::Otherwise::Fail).map(boxed).map_err(|error| {
            Error::Engine(format!("{error}; use --engine cpu or leave --engine out"))
        }),
        Choice::Auto => match opened(cuda::Otherwise::Cpu) {
            Ok(engine) => Ok(boxed(engine)),
            Err(why) => {
                let engine = Box::new(cpu::Cpu::new(precision)?);
                Ok(Opened { engine, note: Some(format!("fitting on the CPU: {why}")) })
            }
        },
    }
}

/// Is there a device on this machine, whether or not it can be used?
pub fn has_device() -> bool {
    cuda::has_device()
}

/// What this machine offers to engines, as pairs of a heading and words.
pub fn found() -> Vec<(&'static str, String)> {
    let cpu = match crate::kernels::Simd::choose() {
        Ok(simd) => format!("{}, instruction set {}", std::env::consts::ARCH, simd.level()),
        Err(why) => why.to_string(),
    };
    std::iter::once(("CPU", cpu)).chain(cuda::found()).collect()
}
