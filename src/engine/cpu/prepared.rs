//! A problem laid out for the kernels, and its spectra on one thread.

use ndarray::ArrayView1;

use super::memory::{Numbers, Owned, Rows};
use super::pool::Workspace;
use super::{Batch, Cpu, Fits};
use crate::engine::Starts;
use crate::engine::found::Found;
use crate::engine::laid_out::LaidOut;
use crate::kernels::abi::RawTile;
use crate::problem::Problem;

/// A problem laid out for the kernels, with what its spectra share.
pub(super) struct Prepared<'a> {
    engine: &'a Cpu,
    problem: &'a Problem,
    laid_out: LaidOut,
    shared: Owned,
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

    /// Fits some spectra, one after another.
    pub fn fit(&self, workspace: &mut Workspace, batch: &Batch) -> Fits {
        let n = batch.counts.nrows();
        let rows = |numbers| Rows::of(self.engine.precision, numbers);
        let counts = rows(&batch.counts);
        let background = batch.background.as_ref().map(rows);
        let starts = match &batch.starts {
            Starts::FirstPass => None,
            Starts::Each(starts) => Some(starts.as_standard_layout()),
        };
        let (start, start_stride) = match &starts {
            None => (self.laid_out.raw.start, 0),
            Some(starts) => (starts.as_ptr(), starts.ncols() as i32),
        };
        let mut found = Found::room(self.problem, n);
        let tile = RawTile {
            n_spectra: n as i32,
            counts: counts.address(),
            background: background.as_ref().map_or(0, Rows::address),
            start: start as u64,
            start_stride,
            ..room_of(&mut found)
        };
        // SAFETY: all arrays have the lengths that tile.h states: `check` looked at the batch; the workspace is this
        // thread's own.
        unsafe {
            (self.engine.kernels.fit)(
                &self.laid_out.raw,
                self.shared.memory,
                workspace.pointer_mut(),
                &tile,
            );
        }
        found.into_fits(self.problem)
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

/// A tile whose results go there; it has no spectra yet.
fn room_of(found: &mut Found) -> RawTile {
    RawTile {
        variables: found.variables.as_mut_ptr() as u64,
        sigma: found.sigma.as_mut_ptr() as u64,
        signed_amplitudes: found.signed_amplitudes.as_mut_ptr() as u64,
        limits: if found.limits.is_empty() { 0 } else { found.limits.as_mut_ptr() as u64 },
        objective: found.objective.as_mut_ptr() as u64,
        r_squared: found.r_squared.as_mut_ptr() as u64,
        r_squared_log: found.r_squared_log.as_mut_ptr() as u64,
        deviance: found.deviance.as_mut_ptr() as u64,
        background_counts: found.background_counts.as_mut_ptr() as u64,
        steps: found.steps.as_mut_ptr() as u64,
        status: found.status.as_mut_ptr() as u64,
        fitted_sum: found.fitted_sum.as_mut_ptr() as u64,
        background_sum: found.background_sum.as_mut_ptr() as u64,
        ..RawTile::default()
    }
}
