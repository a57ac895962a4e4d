//! A problem on the device: its arrays, its kernels, and what its spectra share.

use std::sync::Arc;

use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg,
};

use super::device::Device;
use super::layout::{Job, scalar};
use super::loaded::{Failure, Kernels};
use crate::engine::laid_out::LaidOut;
use crate::kernels::abi::{RawLayout, RawProblem, RawTile};
use crate::problem::{Optimizer, Precision, Problem};

pub(super) struct Resident {
    pub problem: Problem,
    /// What the kernels were compiled for.
    pub constants: Vec<String>,
    raw: RawProblem,
    /// The arrays that `raw` and `shared` point to.
    _memory: [CudaSlice<u8>; 2],
    pub shared: RawTile,
    kernels: Kernels,
    /// Where the kernels come from, in words.
    pub origin: String,
}

// SAFETY: the pointers of `raw` are addresses of the device; no thread of the host follows them.
unsafe impl Send for Resident {}

impl Resident {
    pub fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        precision: Precision,
        problem: &Problem,
        constants: Vec<String>,
    ) -> std::result::Result<Self, Failure> {
        let laid_out = LaidOut::new(problem);
        let (bytes, places) = laid_out.packed();
        let arrays = stream.clone_htod(&bytes)?;
        let raw = laid_out.moved_to(address(&arrays, stream), &places);
        let (kernels, origin) = Kernels::choose(device, stream, precision, &raw, &constants)?;
        let (memory, shared) = room_for_shared(stream, precision, problem, &kernels.layout)?;
        let resident = Self {
            problem: problem.clone(),
            constants,
            raw,
            _memory: [arrays, memory],
            shared,
            kernels,
            origin,
        };
        resident.prepare(stream)?;
        Ok(resident)
    }

    /// Fills the tables that all spectra of the problem share.
    fn prepare(&self, stream: &Arc<CudaStream>) -> std::result::Result<(), DriverError> {
        let near = if self.kernels.near_in_memory { self.kernels.layout.near_bytes } else { 0 };
        // SAFETY: the kernel writes the whole of its workspace before it reads it.
        let far =
            unsafe { stream.alloc::<u8>((self.kernels.layout.far_bytes + near) as usize + 256)? };
        let at = address(&far, stream);
        let tile = RawTile {
            far: at,
            near: if near > 0 {
                at + self.kernels.layout.far_bytes.next_multiple_of(256)
            } else {
                0
            },
            near_bytes: self.kernels.layout.near_bytes,
            far_bytes: self.kernels.layout.far_bytes,
            ..self.shared
        };
        self.start(&self.kernels.prepare, stream, 1, &tile)?;
        // other streams read the tables
        stream.synchronize()
    }

    pub fn layout(&self) -> &RawLayout {
        &self.kernels.layout
    }

    pub fn near_in_memory(&self) -> bool {
        self.kernels.near_in_memory
    }

    fn shared_bytes(&self) -> u32 {
        self.kernels.shared_bytes()
    }

    fn kernel(&self, job: Job) -> &CudaFunction {
        match job {
            Job::Fit if self.problem.optimizer == Optimizer::Newton => &self.kernels.newton,
            Job::Fit => &self.kernels.fit,
            Job::Evaluate => &self.kernels.evaluate,
            Job::Snip => &self.kernels.snip,
        }
    }

    /// Blocks of a kernel that the device holds at once.
    pub fn blocks_at_once(
        &self,
        device: &Device,
        job: Job,
    ) -> std::result::Result<usize, DriverError> {
        device.context.bind_to_thread()?;
        let each = self.kernel(job).occupancy_max_active_blocks_per_multiprocessor(
            self.kernels.layout.threads as u32,
            self.shared_bytes() as usize,
            None,
        )?;
        Ok((each as usize).max(1) * device.multiprocessors.max(1))
    }

    /// Starts a job's kernels over a tile.
    pub fn launch(
        &self,
        job: Job,
        stream: &Arc<CudaStream>,
        blocks: usize,
        tile: &RawTile,
    ) -> std::result::Result<(), DriverError> {
        self.start(self.kernel(job), stream, blocks, tile)?;
        if job == Job::Fit && self.problem.optimizer != Optimizer::Nnls {
            self.start(&self.kernels.errors, stream, blocks, tile)?;
        }
        Ok(())
    }

    fn start(
        &self,
        kernel: &CudaFunction,
        stream: &Arc<CudaStream>,
        blocks: usize,
        tile: &RawTile,
    ) -> std::result::Result<(), DriverError> {
        let shape = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (self.kernels.layout.threads as u32, 1, 1),
            shared_mem_bytes: self.shared_bytes(),
        };
        // SAFETY: the kernel takes these two structures; all arrays have the lengths that tile.h states, and
        // workspaces for as many blocks.
        unsafe { stream.launch_builder(kernel).arg(&self.raw).arg(tile).launch(shape) }?;
        Ok(())
    }
}

/// Memory for the tables that all spectra share, and a tile that points to them.
fn room_for_shared(
    stream: &Arc<CudaStream>,
    precision: Precision,
    problem: &Problem,
    layout: &RawLayout,
) -> std::result::Result<(CudaSlice<u8>, RawTile), DriverError> {
    let k = problem.components.len() + problem.templates.nrows();
    let padded = problem.count.next_multiple_of(layout.block as usize);
    let snip = layout.snip_rows as usize * problem.count * 4;
    let channel = padded * scalar(precision);
    let sizes = [4, snip, snip, k * channel, 2 * k * 4, channel, k * k * 8]
        .map(|bytes| bytes.next_multiple_of(256));
    let memory = stream.alloc_zeros::<u8>(sizes.iter().sum())?;
    let mut at = address(&memory, stream);
    let [snip_passes, snip_low, snip_high, columns, reach, start_weight, gram] =
        sizes.map(|bytes| {
            let here = at;
            at += bytes as u64;
            here
        });
    Ok((
        memory,
        RawTile {
            snip_passes,
            snip_low,
            snip_high,
            columns,
            reach,
            start_weight,
            gram,
            ..RawTile::default()
        },
    ))
}

/// The device's address of a block of memory.
pub(super) fn address(memory: &CudaSlice<u8>, stream: &Arc<CudaStream>) -> u64 {
    memory.device_ptr(stream).0
}
