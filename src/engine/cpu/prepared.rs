//! A problem laid out for the kernels, and its spectra on one thread.

use ndarray::ArrayView1;

use super::memory::{Numbers, Owned};
use super::pool::Workspace;
use super::{Batch, Cpu, ExactSum, Starts};
use crate::engine::laid_out::LaidOut;
use crate::kernels::Status;
use crate::kernels::abi::{RawFit, RawSpectrum};
use crate::problem::Problem;

/// A problem laid out for the kernels, with what its spectra share.
pub(super) struct Prepared<'a> {
    engine: &'a Cpu,
    problem: &'a Problem,
    laid_out: LaidOut,
    shared: Owned,
}

/// What one spectrum gives back beside the sums.
pub(super) struct One {
    pub variables: Vec<f64>,
    pub sigma: Vec<f64>,
    pub signed_amplitudes: Vec<f64>,
    /// Upper limits, then detection limits.
    pub limits: Vec<f64>,
    pub objective: f64,
    pub r_squared: f64,
    pub r_squared_log: f64,
    pub deviance: f64,
    pub background_counts: f64,
    pub steps: u32,
    pub status: Status,
}

/// Consecutive spectra of one thread.
pub(super) struct Chunk {
    pub fits: Vec<One>,
    pub fitted: ExactSum,
    pub background: ExactSum,
}

impl<'a> Prepared<'a> {
    pub fn new(engine: &'a Cpu, problem: &'a Problem) -> Self {
        let laid_out = LaidOut::new(problem);
        // SAFETY: `laid_out.raw` is complete and outlives the call.
        let memory = unsafe { (engine.kernels.new_shared)(&laid_out.raw) };
        let shared = Owned { memory, free: engine.kernels.drop_shared };
        Self { engine, problem, laid_out, shared }
    }

    pub fn workspace(&self) -> Workspace<'a> {
        self.engine.workspace(&self.laid_out)
    }

    pub fn fit_chunk(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        first: usize,
        end: usize,
    ) -> Chunk {
        let precision = self.engine.precision;
        let window = self.problem.count;
        let mut chunk = Chunk {
            fits: Vec::with_capacity(end - first),
            fitted: ExactSum::zeros(window),
            background: ExactSum::zeros(window),
        };
        let mut fitted = Numbers::zeros(precision, window);
        let mut background = Numbers::zeros(precision, window);
        for i in first..end {
            let row = |v: ArrayView1<f32>| Numbers::of(precision, v.iter().map(|&x| f64::from(x)));
            let counts = row(batch.counts.row(i));
            let given = batch.background.map(|b| row(b.row(i)));
            let start = match batch.starts {
                Starts::FirstPass => self.problem.start_values().collect(),
                Starts::Each(starts) => starts.row(i).to_vec(),
            };
            let one = self.fit_one(
                workspace,
                &counts,
                given.as_ref(),
                &start,
                (&mut fitted, &mut background),
            );
            if one.status.is_fitted() {
                fitted.add_to(&mut chunk.fitted);
                background.add_to(&mut chunk.background);
            }
            chunk.fits.push(one);
        }
        chunk
    }

    fn fit_one(
        &self,
        workspace: &mut Workspace,
        counts: &Numbers,
        given: Option<&Numbers>,
        start: &[f64],
        (fitted, background): (&mut Numbers, &mut Numbers),
    ) -> One {
        let mut variables = vec![f64::NAN; start.len()];
        let mut sigma = variables.clone();
        let mut signed_amplitudes = vec![f64::NAN; self.problem.components.len()];
        let mut limits = vec![f64::NAN; 2 * self.problem.limited()];
        let spectrum = RawSpectrum {
            counts: counts.pointer(),
            background: given.map_or(std::ptr::null(), Numbers::pointer),
            start: start.as_ptr(),
        };
        let mut out = RawFit {
            variables: variables.as_mut_ptr(),
            sigma: sigma.as_mut_ptr(),
            signed_amplitudes: signed_amplitudes.as_mut_ptr(),
            limits: if limits.is_empty() { std::ptr::null_mut() } else { limits.as_mut_ptr() },
            fitted: fitted.pointer_mut(),
            background: background.pointer_mut(),
            objective: f64::NAN,
            r_squared: f64::NAN,
            r_squared_log: f64::NAN,
            deviance: f64::NAN,
            background_counts: f64::NAN,
            steps: 0,
            status: 0,
        };
        // SAFETY: all arrays have the lengths that abi.h states: `fit` checked the batch, and the workspace is
        // this thread's own.
        unsafe {
            (self.engine.kernels.fit)(
                &self.laid_out.raw,
                self.shared.memory,
                workspace.pointer_mut(),
                &spectrum,
                &mut out,
            );
        }
        One {
            variables,
            sigma,
            signed_amplitudes,
            limits,
            objective: out.objective,
            r_squared: out.r_squared,
            r_squared_log: out.r_squared_log,
            deviance: out.deviance,
            background_counts: out.background_counts,
            steps: out.steps as u32,
            status: Status::from_code(out.status),
        }
    }

    pub fn snip_one(&self, workspace: &mut Workspace, counts: ArrayView1<f32>) -> Vec<f64> {
        let precision = self.engine.precision;
        let counts = Numbers::of(precision, counts.iter().map(|&y| f64::from(y)));
        let mut out = Numbers::zeros(precision, self.problem.count);
        // SAFETY: counts are [channels], out is [count], the workspace is this thread's own.
        unsafe {
            (self.engine.kernels.background)(
                &self.laid_out.raw,
                self.shared.memory,
                workspace.pointer_mut(),
                counts.pointer(),
                out.pointer_mut(),
            );
        }
        out.get()
    }
}
