//! Where the arrays of one launch lie: one block of device memory, whose beginning is copied to the device before
//! and whose end back to the host after it.

use std::ops::Range;

use crate::kernels::abi::{RawLayout, RawTile};
use crate::problem::{Precision, Problem};

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Fit,
    Evaluate,
    Snip,
}

/// How many spectra a launch has, and what comes with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub job: Job,
    pub spectra: usize,
    /// CUDA blocks.
    pub blocks: usize,
    pub own_starts: bool,
    pub background: bool,
}

/// Byte ranges of the arrays in the block; empty where a job has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub counts: Range<usize>,
    pub background: Range<usize>,
    pub start: Range<usize>,
    /// End of what goes to the device.
    pub inputs: usize,
    near: Range<usize>,
    far: Range<usize>,
    /// Beginning of what comes back.
    pub outputs: usize,
    pub variables: Range<usize>,
    pub sigma: Range<usize>,
    pub signed_amplitudes: Range<usize>,
    pub limits: Range<usize>,
    pub objective: Range<usize>,
    pub r_squared: Range<usize>,
    pub r_squared_log: Range<usize>,
    pub deviance: Range<usize>,
    pub background_counts: Range<usize>,
    pub steps: Range<usize>,
    pub status: Range<usize>,
    /// The sums are zero before the launch.
    pub fitted_sum: Range<usize>,
    pub background_sum: Range<usize>,
    pub total: Range<usize>,
    pub components: Range<usize>,
    pub gradient: Range<usize>,
    /// Size of the block.
    pub bytes: usize,
}

/// Arrays begin at multiples of this, as the kernels' vector loads like it.
const ALIGNED: usize = 256;

fn take(used: &mut usize, bytes: usize) -> Range<usize> {
    let first = used.next_multiple_of(ALIGNED);
    *used = first + bytes;
    first..*used
}

/// Bytes of a value of the channel loops.
pub(super) fn scalar(precision: Precision) -> usize {
    match precision {
        Precision::F32 => size_of::<f32>(),
        Precision::F64 => size_of::<f64>(),
    }
}

impl Places {
    /// * `near_in_memory`: the workspaces that should be shared memory do not fit there.
    pub fn new(
        problem: &Problem,
        precision: Precision,
        layout: &RawLayout,
        near_in_memory: bool,
        load: Load,
    ) -> Self {
        let (n, k, window) = (load.spectra, problem.components.len(), problem.count);
        let variables = problem.variable_count();
        let scalar = scalar(precision);
        let fits = usize::from(load.job == Job::Fit);
        let evaluates = usize::from(load.job == Job::Evaluate);
        let near = if near_in_memory { layout.near_bytes as usize } else { 0 };
        let mut p = Self::default();
        let mut used = 0;
        p.counts = take(&mut used, n * problem.channels * scalar);
        p.background = take(&mut used, usize::from(load.background) * n * window * scalar);
        p.start = take(&mut used, if load.own_starts { n } else { 1 } * variables * 8);
        p.inputs = used;
        p.near = take(&mut used, load.blocks * near);
        p.far = take(&mut used, load.blocks * layout.far_bytes as usize);
        p.objective = take(&mut used, n * 8);
        p.outputs = p.objective.start;
        p.variables = take(&mut used, fits * n * variables * 8);
        p.sigma = take(&mut used, fits * n * variables * 8);
        p.signed_amplitudes = take(&mut used, fits * n * k * 8);
        p.limits = take(&mut used, fits * n * 2 * problem.limited() * 8);
        p.r_squared = take(&mut used, fits * n * 8);
        p.r_squared_log = take(&mut used, fits * n * 8);
        p.deviance = take(&mut used, fits * n * 8);
        p.background_counts = take(&mut used, fits * n * 8);
        p.steps = take(&mut used, fits * n * 4);
        p.status = take(&mut used, fits * n * 4);
        p.fitted_sum = take(&mut used, fits * window * 8);
        p.background_sum = take(&mut used, fits * window * 8);
        p.total = take(&mut used, (1 - fits) * n * window * scalar);
        p.components = take(&mut used, evaluates * n * k * window * scalar);
        p.gradient = take(&mut used, evaluates * n * variables * 8);
        p.bytes = used;
        p
    }

    /// The tile as the kernels see it, in a block that begins at `block`, with what its problem shares.
    pub fn tile(
        &self,
        block: u64,
        load: Load,
        variables: usize,
        layout: &RawLayout,
        shared: &RawTile,
    ) -> RawTile {
        let at = |range: &Range<usize>| {
            if range.is_empty() { 0 } else { block + range.start as u64 }
        };
        RawTile {
            n_spectra: load.spectra as i32,
            start_stride: if load.own_starts { variables as i32 } else { 0 },
            counts: at(&self.counts),
            background: at(&self.background),
            start: at(&self.start),
            near: at(&self.near),
            far: at(&self.far),
            near_bytes: layout.near_bytes,
            far_bytes: layout.far_bytes,
            variables: at(&self.variables),
            sigma: at(&self.sigma),
            signed_amplitudes: at(&self.signed_amplitudes),
            limits: at(&self.limits),
            objective: at(&self.objective),
            r_squared: at(&self.r_squared),
            r_squared_log: at(&self.r_squared_log),
            deviance: at(&self.deviance),
            background_counts: at(&self.background_counts),
            steps: at(&self.steps),
            status: at(&self.status),
            fitted_sum: at(&self.fitted_sum),
            background_sum: at(&self.background_sum),
            total: at(&self.total),
            components: at(&self.components),
            gradient: at(&self.gradient),
            ..*shared
        }
    }
}
