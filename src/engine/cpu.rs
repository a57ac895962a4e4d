//! The CPU engine: the kernels on every core, one spectrum per thread at a time.

use std::ffi::c_void;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::{Batch, Engine, Evaluation, ExactSum, Fits, Precision, Starts};
use crate::error::Result;
use crate::kernels::abi::{LaidOut, RawEngine, RawEvaluation, RawFit, RawSpectrum};
use crate::kernels::{Simd, Status};
use crate::problem::Problem;

/// Spectra that one thread takes at a time: enough to make a hand-over cheap, few enough to share evenly.
const CHUNK: usize = 8;

pub(super) struct Cpu {
    simd: Simd,
    precision: Precision,
    kernels: &'static RawEngine,
}

impl Cpu {
    pub fn new(precision: Precision) -> Result<Self> {
        let simd = Simd::choose()?;
        // SAFETY: the call returns a static table; `simd` was found on this machine.
        let kernels =
            unsafe { &*(simd.entry_points().engine)(i32::from(precision == Precision::F64)) };
        Ok(Self { simd, precision, kernels })
    }
}

/// Memory of the kernels, freed with the function that belongs to it.
struct Owned {
    memory: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Owned {}
// SAFETY: shared access only reads (the kernels take it const).
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: `memory` came from the allocator that `free` belongs to, and is freed once.
        unsafe { (self.free)(self.memory) }
    }
}

/// Numbers in the engine's own type.
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Numbers {
    fn zeros(precision: Precision, n: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(vec![0.0; n]),
            Precision::F64 => Self::F64(vec![0.0; n]),
        }
    }

    fn of(precision: Precision, values: impl Iterator<Item = f64>) -> Self {
        match precision {
            Precision::F32 => Self::F32(values.map(|v| v as f32).collect()),
            Precision::F64 => Self::F64(values.collect()),
        }
    }

    fn pointer(&self) -> *const c_void {
        match self {
            Self::F32(v) => v.as_ptr().cast(),
            Self::F64(v) => v.as_ptr().cast(),
        }
    }

    fn pointer_mut(&mut self) -> *mut c_void {
        match self {
            Self::F32(v) => v.as_mut_ptr().cast(),
            Self::F64(v) => v.as_mut_ptr().cast(),
        }
    }

    fn get(&self) -> Vec<f64> {
        match self {
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }

    fn add_to(&self, sum: &mut ExactSum) {
        match self {
            Self::F32(v) => sum.add(v.iter().map(|&x| f64::from(x))),
            Self::F64(v) => sum.add(v.iter().copied()),
        }
    }
}

/// A problem laid out for the kernels, with what its spectra share.
struct Prepared<'a> {
    engine: &'a Cpu,
    problem: &'a Problem,
    laid_out: LaidOut,
    shared: Owned,
}

/// What one spectrum gives back beside the sums.
struct One {
    variables: Vec<f64>,
    objective: f64,
    r_squared: f64,
    r_squared_log: f64,
    steps: u32,
    status: Status,
}

/// Consecutive spectra of one thread.
struct Chunk {
    fits: Vec<One>,
    fitted: ExactSum,
    background: ExactSum,
}

impl<'a> Prepared<'a> {
    fn new(engine: &'a Cpu, problem: &'a Problem) -> Self {
        check(problem);
        let laid_out = LaidOut::new(problem);
        // SAFETY: `laid_out.raw` is complete and outlives the call.
        let memory = unsafe { (engine.kernels.new_shared)(&laid_out.raw) };
        let shared = Owned { memory, free: engine.kernels.drop_shared };
        Self { engine, problem, laid_out, shared }
    }

    fn workspace(&self) -> Owned {
        // SAFETY: `laid_out.raw` is complete and outlives the call.
        let memory = unsafe { (self.engine.kernels.new_workspace)(&self.laid_out.raw) };
        Owned { memory, free: self.engine.kernels.drop_workspace }
    }

    fn fit_chunk(&self, workspace: &mut Owned, batch: &Batch, first: usize, end: usize) -> Chunk {
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
                Starts::FirstPass => start_of(self.problem),
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
        workspace: &mut Owned,
        counts: &Numbers,
        given: Option<&Numbers>,
        start: &[f64],
        (fitted, background): (&mut Numbers, &mut Numbers),
    ) -> One {
        let mut variables = vec![f64::NAN; start.len()];
        let spectrum = RawSpectrum {
            counts: counts.pointer(),
            background: given.map_or(std::ptr::null(), Numbers::pointer),
            start: start.as_ptr(),
        };
        let mut out = RawFit {
            variables: variables.as_mut_ptr(),
            fitted: fitted.pointer_mut(),
            background: background.pointer_mut(),
            objective: f64::NAN,
            r_squared: f64::NAN,
            r_squared_log: f64::NAN,
            counts: 0.0,
            steps: 0,
            status: 0,
        };
        // SAFETY: all arrays have the lengths that abi.h states: `fit` checked the batch, and the workspace is
        // this thread's own.
        unsafe {
            (self.engine.kernels.fit)(
                &self.laid_out.raw,
                self.shared.memory,
                workspace.memory,
                &spectrum,
                &mut out,
            );
        }
        One {
            variables,
            objective: out.objective,
            r_squared: out.r_squared,
            r_squared_log: out.r_squared_log,
            steps: out.steps as u32,
            status: Status::from_code(out.status),
        }
    }
}

impl Prepared<'_> {
    fn snip_one(&self, workspace: &mut Owned, counts: ArrayView1<f32>) -> Vec<f64> {
        let precision = self.engine.precision;
        let counts = Numbers::of(precision, counts.iter().map(|&y| f64::from(y)));
        let mut out = Numbers::zeros(precision, self.problem.count);
        // SAFETY: counts are [channels], out is [count], the workspace is this thread's own.
        unsafe {
            (self.engine.kernels.background)(
                &self.laid_out.raw,
                self.shared.memory,
                workspace.memory,
                counts.pointer(),
                out.pointer_mut(),
            );
        }
        out.get()
    }
}

fn start_of(problem: &Problem) -> Vec<f64> {
    problem.parameters.iter().chain(&problem.amplitudes).map(|v| v.start).collect()
}

/// The kernels trust these; a problem that breaks them is our mistake.
fn check(p: &Problem) {
    assert!(p.count > 0 && p.first + p.count <= p.channels, "the fit window lies in the spectrum");
    assert_eq!(
        p.parameters.len(),
        crate::kernels::parameters().len(),
        "every shape parameter has a value"
    );
    assert_eq!(p.amplitudes.len(), p.components.len(), "every component has an amplitude");
    assert!(p.lines.iter().all(|l| l.component < p.components.len()), "lines belong to components");
    assert!(
        p.elastic.into_iter().chain(p.compton).all(|i| i < p.components.len()),
        "scatter is a component"
    );
}

fn gather(problem: &Problem, chunks: Vec<Chunk>) -> Fits {
    let (p, k) = (problem.parameters.len(), problem.components.len());
    let mut fitted = ExactSum::zeros(problem.count);
    let mut background = ExactSum::zeros(problem.count);
    for chunk in &chunks {
        fitted.merge(&chunk.fitted);
        background.merge(&chunk.background);
    }
    let ones: Vec<One> = chunks.into_iter().flat_map(|c| c.fits).collect();
    let table = |first: usize, n: usize| {
        Array2::from_shape_fn((ones.len(), n), |(i, j)| ones[i].variables[first + j])
    };
    Fits {
        parameters: table(0, p),
        amplitudes: table(p, k),
        objective: ones.iter().map(|o| o.objective).collect(),
        r_squared: ones.iter().map(|o| o.r_squared).collect(),
        r_squared_log: ones.iter().map(|o| o.r_squared_log).collect(),
        steps: ones.iter().map(|o| o.steps).collect(),
        status: ones.iter().map(|o| o.status).collect(),
        fitted,
        background,
    }
}

impl Engine for Cpu {
    fn describe(&self) -> String {
        let precision = if self.precision == Precision::F64 { "f64" } else { "f32" };
        format!("cpu, {} {}, {precision}", std::env::consts::ARCH, self.simd.level())
    }

    fn fit(&self, problem: &Problem, batch: Batch) -> Result<Fits> {
        let n = batch.counts.nrows();
        assert_eq!(batch.counts.ncols(), problem.channels, "spectra have the problem's channels");
        if let Some(b) = batch.background {
            assert_eq!(b.dim(), (n, problem.count), "one background per spectrum, over the window");
        }
        if let Starts::Each(s) = batch.starts {
            let variables = problem.parameters.len() + problem.components.len();
            assert_eq!(s.dim(), (n, variables), "one start per spectrum");
        }
        let given = problem.background == crate::problem::Background::Given;
        assert_eq!(
            given,
            batch.background.is_some(),
            "a background is given where the problem wants one"
        );
        let prepared = Prepared::new(self, problem);
        let chunks = (0..n.div_ceil(CHUNK))
            .into_par_iter()
            .map_init(
                || prepared.workspace(),
                |workspace, c| {
                    prepared.fit_chunk(workspace, &batch, c * CHUNK, n.min((c + 1) * CHUNK))
                },
            )
            .collect();
        Ok(gather(problem, chunks))
    }

    fn evaluate(
        &self,
        problem: &Problem,
        variables: &[f64],
        counts: ArrayView1<f64>,
        background: ArrayView1<f64>,
    ) -> Result<Evaluation> {
        check(problem);
        let (p, k, n) = (problem.parameters.len(), problem.components.len(), problem.count);
        assert_eq!(variables.len(), p + k, "one value per variable");
        assert_eq!(
            (counts.len(), background.len()),
            (problem.channels, n),
            "counts by channel, background by window"
        );
        let laid_out = LaidOut::new(problem);
        // SAFETY: `laid_out.raw` is complete and outlives the call.
        let memory = unsafe { (self.kernels.new_workspace)(&laid_out.raw) };
        let workspace = Owned { memory, free: self.kernels.drop_workspace };
        let counts = Numbers::of(self.precision, counts.iter().copied());
        let background = Numbers::of(self.precision, background.iter().copied());
        let mut total = Numbers::zeros(self.precision, n);
        let mut components = Numbers::zeros(self.precision, k * n);
        let mut gradient = vec![0.0; p + k];
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
        unsafe { (self.kernels.evaluate)(&laid_out.raw, workspace.memory, &spectrum, &mut out) };
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
        assert_eq!(counts.ncols(), problem.channels, "spectra have the problem's channels");
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
