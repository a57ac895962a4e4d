//! The CUDA engine: batches in pieces, on two streams, so that one piece is copied while another is fitted.
//!
//! What the device cannot do is done all the same: short of memory, pieces become smaller; a failed launch is
//! tried once more, then its spectra go to the CPU engine, and the log says so.

pub mod compile;
pub mod constants;
mod device;
mod layout;
mod loaded;
mod pieces;
mod resident;
mod slot;

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use ndarray::{Array2, ArrayView1, ArrayView2};

use device::Device;
use layout::Job;
use pieces::{Failed, Workshop};
use slot::Input;

use super::cpu::Cpu;
use super::found::Found;
use super::{Batch, Engine, Evaluation, Fits, Precision, Starts, check_case};
use crate::error::{Error, Result};
use crate::problem::Problem;

/// Spectra that fill a large card a few times over, and so many that starting and ending do not matter.
const LEAST_AT_ONCE: usize = 4096;
const MOST_AT_ONCE: usize = 16384;
/// After so many batches in a row that the device failed on, it is not asked again.
const PATIENCE: usize = 2;

/// What may be done when the device cannot be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The CPU engine was not asked for: an error.
    Fail,
    /// Any engine will do.
    Cpu,
}

pub(super) struct Cuda {
    device: Device,
    precision: Precision,
    cpu: Cpu,
    otherwise: Otherwise,
    workshop: Mutex<Workshop>,
    /// Spectra of fits that the device failed on.
    taken_over: AtomicUsize,
}

pub(super) fn has_device() -> bool {
    device::count().is_ok()
}

/// Every device with its memory, or why there is none; where its kernels come from.
pub(super) fn found() -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = device::list().into_iter().map(|line| ("CUDA", line)).collect();
    lines.push(("NVRTC", compile::nvrtc().unwrap_or_else(|why| format!("none: {why}"))));
    let image = compile::ahead_of_time().map(|path| path.display().to_string());
    lines.push(("image", image.unwrap_or_else(|| "none: kernels are compiled when needed".into())));
    lines
}

impl Cuda {
    /// Opens the device of the `local`-th process of this machine.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn open(precision: Precision, local: usize, otherwise: Otherwise) -> Result<Self> {
        let devices = device::count().map_err(Error::Engine)?;
        let device = Device::open(local % devices)?;
        compile::available(device.capability, device.driver)?;
        log::debug!("{devices} CUDA devices; this process takes {}", device.describe());
        let workshop = Mutex::new(Workshop::new(&device)?);
        let cpu = Cpu::new(precision)?;
        Ok(Self { device, precision, cpu, otherwise, workshop, taken_over: AtomicUsize::new(0) })
    }

    fn workshop(&self) -> MutexGuard<'_, Workshop> {
        self.workshop.lock().unwrap_or_else(|left_by_a_panic| {
            let mut workshop = left_by_a_panic.into_inner();
            workshop.forget();
            workshop
        })
    }

    /// Runs a job; the spectra that remain for the CPU.
    fn run<S: Copy + Into<f64> + Sync>(
        &self,
        job: Job,
        input: &Input<S>,
        sink: pieces::Sink,
    ) -> Result<Vec<Range<usize>>> {
        let all = 0..input.counts.nrows();
        let mut workshop = self.workshop();
        if workshop.failures >= PATIENCE {
            return Ok(vec![all]);
        }
        let mut left = vec![all];
        for try_again in [true, false] {
            let failed = match workshop.run(&self.device, job, input, &left, sink) {
                Ok(failed) => failed,
                Err(error) if self.otherwise == Otherwise::Cpu => {
                    log::warn!("{error}; the CPU takes over");
                    workshop.failures = PATIENCE;
                    return Ok(left);
                }
                Err(error) => return Err(error),
            };
            let Some(Failed { error, .. }) = failed.first() else {
                workshop.failures = 0;
                return Ok(Vec::new());
            };
            let short = device::is_out_of_memory(error);
            let spectra: usize = failed.iter().map(|f| f.spectra.len()).sum();
            let next = if try_again { "they are tried once more" } else { "the CPU takes them" };
            log::warn!(
                "the CUDA device failed on {spectra} spectra: {}; {next}",
                device::words(error)
            );
            workshop.failures += usize::from(!try_again && !short);
            left = failed.into_iter().map(|f| f.spectra).collect();
        }
        if workshop.failures == PATIENCE {
            log::warn!("the CUDA device failed again and again; the CPU fits the rest of this run");
        }
        Ok(left)
    }
}

impl Engine for Cuda {
    fn describe(&self) -> String {
        let precision = self.precision.name();
        let kernels = self.workshop().origin.clone();
        format!("{}{kernels}, {precision}", self.device.describe())
    }

    fn taken_over(&self) -> usize {
        self.taken_over.load(Ordering::Relaxed)
    }

    fn useful_batches(&self) -> RangeInclusive<usize> {
        LEAST_AT_ONCE..=MOST_AT_ONCE
    }

    fn fit(&self, problem: &Problem, batch: Batch) -> Result<Fits> {
        batch.check(problem);
        let mut fits = Fits::unfitted(problem, batch.counts.nrows());
        let input = Input {
            problem,
            precision: self.precision,
            counts: batch.counts,
            background: batch.background,
            starts: batch.starts,
        };
        let left = self.run(Job::Fit, &input, &mut |results, started| {
            fits.put(started.spectra.start, &of_piece(problem, results, started));
        })?;
        for spectra in left {
            self.taken_over.fetch_add(spectra.len(), Ordering::Relaxed);
            fits.put(spectra.start, &self.cpu.fit(problem, batch.part(spectra))?);
        }
        Ok(fits)
    }

    fn evaluate(
        &self,
        problem: &Problem,
        variables: &[f64],
        counts: ArrayView1<f64>,
        background: ArrayView1<f64>,
    ) -> Result<Evaluation> {
        check_case(problem, variables, counts, background);
        let starts = ArrayView2::from_shape((1, variables.len()), variables).expect("one row");
        let input = Input {
            problem,
            precision: self.precision,
            counts: counts.insert_axis(ndarray::Axis(0)),
            background: Some(background.insert_axis(ndarray::Axis(0))),
            starts: Starts::Each(starts),
        };
        let shape = (problem.components.len(), problem.count);
        let mut found = None;
        self.run(Job::Evaluate, &input, &mut |results, started| {
            let components = results.scalars(&started.places.components, self.precision);
            found = Some(Evaluation {
                total: results.scalars(&started.places.total, self.precision).into(),
                components: Array2::from_shape_vec(shape, components).expect("all components"),
                objective: results.f64(&started.places.objective)[0],
                gradient: results.f64(&started.places.gradient).into(),
            });
        })?;
        match found {
            Some(found) => Ok(found),
            None => self.cpu.evaluate(problem, variables, counts, background),
        }
    }

    fn snip(&self, problem: &Problem, counts: ArrayView2<f32>) -> Result<Array2<f64>> {
        Batch::of(counts).check_counts(problem);
        let mut all = Array2::zeros((counts.nrows(), problem.count));
        let input = Input {
            problem,
            precision: self.precision,
            counts,
            background: None,
            starts: Starts::FirstPass,
        };
        let left = self.run(Job::Snip, &input, &mut |results, started| {
            let of_piece = results.scalars(&started.places.total, self.precision);
            let shape = (started.spectra.len(), problem.count);
            let of_piece = ArrayView2::from_shape(shape, &of_piece).expect("all rows");
            all.slice_mut(ndarray::s![started.spectra.clone(), ..]).assign(&of_piece);
        })?;
        for spectra in left {
            let rows = self.cpu.snip(problem, counts.slice(ndarray::s![spectra.clone(), ..]))?;
            all.slice_mut(ndarray::s![spectra, ..]).assign(&rows);
        }
        Ok(all)
    }
}

/// Fits of a piece, from the device's bytes.
fn of_piece(problem: &Problem, results: &slot::Results, started: &slot::Started) -> Fits {
    let places = &started.places;
    let found = Found {
        variables: results.f64(&places.variables),
        sigma: results.f64(&places.sigma),
        signed_amplitudes: results.f64(&places.signed_amplitudes),
        limits: results.f64(&places.limits),
        objective: results.f64(&places.objective),
        r_squared: results.f64(&places.r_squared),
        r_squared_log: results.f64(&places.r_squared_log),
        deviance: results.f64(&places.deviance),
        background_counts: results.f64(&places.background_counts),
        steps: results.i32(&places.steps),
        status: results.i32(&places.status),
        fitted_sum: results.i64(&places.fitted_sum),
        background_sum: results.i64(&places.background_sum),
    };
    found.into_fits(problem)
}
