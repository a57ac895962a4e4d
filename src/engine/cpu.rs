//! The CPU engine: the kernels on every core, one spectrum per thread at a time.

mod memory;
mod pool;
mod prepared;

use std::ops::RangeInclusive;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use memory::Numbers;
use pool::{Pool, Workspace};
use prepared::Prepared;

use super::found::{Found, beginning_at};
use super::{Batch, Engine, Evaluation, Fits, Precision, check_case};
use crate::engine::laid_out::LaidOut;
use crate::error::Result;
use crate::kernels::Simd;
use crate::kernels::abi::{RawEngine, RawEvaluation, RawSpectrum};
use crate::problem::Problem;

/// Spectra that one thread takes at a time: enough to make a hand-over cheap, few enough to share evenly.
const CHUNK: usize = 8;
/// Spectra that keep a thread busy between two batches.
const SPECTRA_PER_THREAD: usize = 32;
/// More spectra at a time gain nothing.
const MOST_SPECTRA: usize = 4096;

pub(super) struct Cpu {
    simd: Simd,
    precision: Precision,
    kernels: &'static RawEngine,
    pool: Pool,
}

impl Cpu {
    pub fn new(precision: Precision) -> Result<Self> {
        let simd = Simd::choose()?;
        // SAFETY: the call returns a static table; `simd` was found on this machine.
        let kernels =
            unsafe { &*(simd.entry_points().engine)(i32::from(precision == Precision::F64)) };
        Ok(Self { simd, precision, kernels, pool: Pool::default() })
    }

    fn workspace(&self, laid_out: &LaidOut) -> Workspace<'_> {
        // SAFETY: `laid_out.raw` is complete and outlives the call.
        let bytes = unsafe { (self.kernels.workspace_bytes)(&laid_out.raw) };
        let mut workspace = self.pool.take(bytes as usize);
        // SAFETY: as above, and the workspace has the bytes and the alignment that abi.h asks for.
        unsafe { (self.kernels.lay_out)(&laid_out.raw, workspace.pointer_mut()) };
        workspace
    }
}

impl Engine for Cpu {
    fn describe(&self) -> String {
        let precision = self.precision.name();
        format!("cpu, {} {}, {precision}", std::env::consts::ARCH, self.simd.level())
    }

    fn useful_batches(&self) -> RangeInclusive<usize> {
        SPECTRA_PER_THREAD * rayon::current_num_threads()..=MOST_SPECTRA
    }

    fn fit(&self, problem: &Problem, batch: Batch) -> Result<Fits> {
        let n = batch.counts.nrows();
        batch.check(problem);
        let prepared = Prepared::new(self, problem);
        let mut found = Found::room(problem, n);
        let results = found.tile();
        let sums = (0..n.div_ceil(CHUNK))
            .into_par_iter()
            .fold(
                || prepared.desk(),
                |mut desk, c| {
                    let first = c * CHUNK;
                    let part = batch.part(first..n.min(first + CHUNK));
                    let results = beginning_at(first, &results, problem);
                    // SAFETY: `check` has seen the batch; each chunk has its own rows of `found`.
                    unsafe { prepared.fit(&mut desk, &part, results) };
                    desk
                },
            )
            .map(|desk| [desk.fitted, desk.background])
            .reduce_with(|mut all, of_desk| {
                all.iter_mut().zip(&of_desk).for_each(|(sum, part)| sum.merge(part));
                all
            });
        if let Some([fitted, background]) = sums {
            (found.fitted_sum, found.background_sum) = (fitted.0, background.0);
        }
        Ok(found.into_fits(problem))
    }

    fn evaluate(
        &self,
        problem: &Problem,
        variables: &[f64],
        counts: ArrayView1<f64>,
        background: ArrayView1<f64>,
    ) -> Result<Evaluation> {
        check_case(problem, variables, counts, background);
        let (k, n) = (problem.components.len(), problem.count);
        let laid_out = LaidOut::new(problem);
        let mut workspace = self.workspace(&laid_out);
        let counts = Numbers::of(self.precision, counts.iter().copied());
        let background = Numbers::of(self.precision, background.iter().copied());
        let mut total = Numbers::zeros(self.precision, n);
        let mut components = Numbers::zeros(self.precision, k * n);
        let mut gradient = vec![0.0; problem.variable_count()];
        let spectrum = RawSpectrum {
            counts: counts.pointer(),
            background: background.pointer(),
            start: variables.as_ptr(),
        };
        let mut out = RawEvaluation {
            total: total.pointer_mut(),
            components: components.pointer_mut(),
            gradient: gradient.as_mut_ptr(),
            objective: f64::NAN,
        };
        // SAFETY: all arrays have the lengths that abi.h states, checked above.
        unsafe {
            (self.kernels.evaluate)(&laid_out.raw, workspace.pointer_mut(), &spectrum, &mut out);
        }
        let objective = out.objective;
        let components =
            Array2::from_shape_vec((k, n), components.get()).expect("k rows of n channels");
        Ok(Evaluation {
            total: Array1::from(total.get()),
            components,
            objective,
            gradient: Array1::from(gradient),
        })
    }

    fn snip(&self, problem: &Problem, counts: ArrayView2<f32>) -> Result<Array2<f64>> {
        Batch::of(counts).check_counts(problem);
        let prepared = Prepared::new(self, problem);
        let rows: Vec<f64> = (0..counts.nrows())
            .into_par_iter()
            .map_init(|| prepared.workspace(), |w, i| prepared.snip_one(w, counts.row(i)))
            .flatten()
            .collect();
        Ok(Array2::from_shape_vec((counts.nrows(), problem.count), rows)
            .expect("n rows of the window"))
    }
}
