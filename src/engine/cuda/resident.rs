//! A problem on the device: its arrays, its kernels, and what its spectra share.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;

use super::compile::{self, Kind, Team, Wanted};
use super::device::{Device, SHARED_AT_HAND, words};
use super::layout::{Job, scalar};
use crate::engine::laid_out::LaidOut;
use crate::error::Error;
use crate::kernels::abi::{RawLayout, RawProblem, RawTile};
use crate::problem::{Precision, Problem};

// SAFETY: plain data of the layout that the kernels take by value; a test compares the sizes.
unsafe impl DeviceRepr for RawProblem {}
// SAFETY: as above.
unsafe impl DeviceRepr for RawTile {}

/// Widest windows of SNIP; the rows of its tables.
const SNIP_ROWS: usize = 64;
/// Blocks that a multiprocessor should have room for, of one warp each, before wider teams are better.
const FEWEST_WARPS: usize = 4;

/// What a failure costs: nothing that can be tried again, or the run.
pub(super) enum Failure {
    /// The device said no; another try or engine may do.
    Device(DriverError),
    /// Nothing can be done on this device.
    Hopeless(Error),
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Device(error)
    }
}

pub(super) struct Resident {
    pub problem: Problem,
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

struct Kernels {
    prepare: CudaFunction,
    fit: CudaFunction,
    evaluate: CudaFunction,
    snip: CudaFunction,
    layout: RawLayout,
    near_in_memory: bool,
}

impl Resident {
    pub fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        precision: Precision,
        problem: &Problem,
    ) -> std::result::Result<Self, Failure> {
        let laid_out = LaidOut::new(problem);
        let (bytes, places) = laid_out.packed();
        let arrays = stream.clone_htod(&bytes)?;
        let raw = laid_out.moved_to(address(&arrays, stream), &places);
        let (kernels, origin) = Kernels::choose(device, stream, precision, &raw)?;
        let (memory, shared) = room_for_shared(stream, precision, problem, &kernels.layout)?;
        let resident = Self {
            problem: problem.clone(),
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

    /// Starts a kernel over a tile.
    pub fn launch(
        &self,
        job: Job,
        stream: &Arc<CudaStream>,
        blocks: usize,
        tile: &RawTile,
    ) -> std::result::Result<(), DriverError> {
        self.start(self.kernel(job), stream, blocks, tile)
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

impl Kernels {
    /// A warp for each spectrum, unless its workspace leaves a multiprocessor with few of them.
    fn choose(
        device: &Device,
        stream: &Arc<CudaStream>,
        precision: Precision,
        raw: &RawProblem,
    ) -> std::result::Result<(Self, String), Failure> {
        let warp = Self::load(device, stream, Kind { team: Team::Warp, precision }, raw)?;
        if warp.0.layout.near_bytes as usize * FEWEST_WARPS <= device.shared_memory {
            return Ok(warp);
        }
        Self::load(device, stream, Kind { team: Team::Block, precision }, raw)
    }

    fn load(
        device: &Device,
        stream: &Arc<CudaStream>,
        kind: Kind,
        raw: &RawProblem,
    ) -> std::result::Result<(Self, String), Failure> {
        let wanted =
            Wanted { kind, capability: device.capability, driver: device.driver, defines: &[] };
        let image = compile::image(&wanted).map_err(Failure::Hopeless)?;
        let module =
            device.context.load_module(Ptx::from_binary(image.bytes)).map_err(|error| {
                Failure::Hopeless(Error::Engine(format!(
                    "the CUDA driver does not take the kernels ({}): {}; see `xrfit devices`",
                    image.origin,
                    words(&error)
                )))
            })?;
        let function = |name: &str| module.load_function(&format!("xrf_{name}_{}", kind.suffix()));
        let layout = measure(&function("layout")?, stream, raw)?;
        let mut kernels = Self {
            prepare: function("prepare")?,
            fit: function("fit")?,
            evaluate: function("evaluate")?,
            snip: function("background")?,
            near_in_memory: false,
            layout,
        };
        kernels.take_shared_memory(device)?;
        Ok((kernels, image.origin))
    }

    /// Gets the workspaces into shared memory, beside what the kernels have there of their own, if they fit.
    fn take_shared_memory(&mut self, device: &Device) -> std::result::Result<(), DriverError> {
        use CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST;
        let all = [&self.prepare, &self.fit, &self.evaluate, &self.snip];
        let mut own = 0;
        for kernel in all {
            own = own.max(kernel.shared_size_bytes()? as usize);
        }
        let wanted = self.layout.near_bytes as usize;
        self.near_in_memory = wanted + own > device.shared_memory;
        if !self.near_in_memory && wanted + own > SHARED_AT_HAND {
            for kernel in all {
                kernel.set_attribute(MOST, wanted as i32)?;
            }
        }
        Ok(())
    }

    /// Dynamic shared memory of a block.
    fn shared_bytes(&self) -> u32 {
        if self.near_in_memory { 0 } else { self.layout.near_bytes as u32 }
    }
}

/// Asks the kernels how much memory a block needs.
fn measure(
    kernel: &CudaFunction,
    stream: &Arc<CudaStream>,
    raw: &RawProblem,
) -> std::result::Result<RawLayout, DriverError> {
    let answer = stream.alloc_zeros::<u64>(size_of::<RawLayout>() / 8)?;
    let shape = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel takes a problem and writes one layout, which is three words.
    unsafe { stream.launch_builder(kernel).arg(raw).arg(&answer).launch(shape) }?;
    let words = stream.clone_dtoh(&answer)?;
    stream.synchronize()?;
    let half = |shift: u32| (words[2] >> shift) as u32 as i32;
    Ok(RawLayout { near_bytes: words[0], far_bytes: words[1], threads: half(0), block: half(32) })
}

/// Memory for the tables that all spectra share, and a tile that points to them.
fn room_for_shared(
    stream: &Arc<CudaStream>,
    precision: Precision,
    problem: &Problem,
    layout: &RawLayout,
) -> std::result::Result<(CudaSlice<u8>, RawTile), DriverError> {
    let k = problem.components.len();
    let padded = problem.count.next_multiple_of(layout.block as usize);
    let sizes = [
        4,
        SNIP_ROWS * problem.count * 4,
        SNIP_ROWS * problem.count * 4,
        k * padded * scalar(precision),
        k * k * 8,
    ]
    .map(|bytes| bytes.next_multiple_of(256));
    let memory = stream.alloc_zeros::<u8>(sizes.iter().sum())?;
    let mut at = address(&memory, stream);
    let [snip_passes, snip_low, snip_high, columns, gram] = sizes.map(|bytes| {
        let here = at;
        at += bytes as u64;
        here
    });
    Ok((memory, RawTile { snip_passes, snip_low, snip_high, columns, gram, ..RawTile::default() }))
}

/// The device's address of a block of memory.
pub(super) fn address(memory: &CudaSlice<u8>, stream: &Arc<CudaStream>) -> u64 {
    memory.device_ptr(stream).0
}
