//! A problem laid out for the kernels, and its spectra on one thread.

use ndarray::ArrayView1;

use super::memory::{Numbers, Owned, Rows};
use super::pool::Workspace;
use super::{Batch, Cpu};
use crate::engine::laid_out::LaidOut;
use crate::engine::{ExactSum, Starts};
use crate::kernels::abi::RawTile;
use crate::problem::Problem;

/// A problem laid out for the kernels, with what its spectra share.
pub(super) struct Prepared<'a> {
    engine: &'a Cpu,
    problem: &'a Problem,
    laid_out: LaidOut,
    shared: Owned,
}

/// What one thread works with: its memory, and the sums of what it has fitted.
pub(super) struct Desk<'a> {
    workspace: Workspace<'a>,
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

    pub fn desk(&self) -> Desk<'a> {
        let zeros = || ExactSum::zeros(self.problem.count);
        Desk { workspace: self.workspace(), fitted: zeros(), background: zeros() }
    }

    /// Fits some spectra, one after another; their results go where `results` says, and onto the desk's sums.
    ///
    /// # Safety
    ///
    /// `Batch::check` has seen the spectra, and `results` are rows of a [`Found`](crate::engine::found::Found) that lives,
    /// has as many from there on, and that nobody else uses meanwhile.
    pub unsafe fn fit(&self, desk: &mut Desk, batch: &Batch, results: RawTile) {
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
        let tile = RawTile {
            n_spectra: batch.counts.nrows() as i32,
            counts: counts.address(),
            background: background.as_ref().map_or(0, Rows::address),
            start: start as u64,
            start_stride,
            fitted_sum: desk.fitted.0.as_mut_ptr() as u64,
            background_sum: desk.background.0.as_mut_ptr() as u64,
            ..results
        };
        // SAFETY: all arrays have the lengths that tile.h states, by what the caller promises; workspace and sums are this
        // thread's own.
        unsafe {
            (self.engine.kernels.fit)(
                &self.laid_out.raw,
                self.shared.memory,
                desk.workspace.pointer_mut(),
                &tile,
            );
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
