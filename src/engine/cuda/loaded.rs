//! The kernels of one kind on a device.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{
    CudaFunction, CudaStream, DeviceRepr, DriverError, LaunchConfig, PushKernelArg, ValidAsZeroBits,
};
use cudarc::nvrtc::Ptx;

use super::compile::{self, Kind, Team, Wanted};
use super::constants;
use super::device::{Device, SHARED_AT_HAND, is_out_of_memory, words};
use crate::error::Error;
use crate::kernels;
use crate::kernels::abi::{RawLayout, RawProblem, RawTile};
use crate::problem::Precision;

// SAFETY: plain data of the layout that the kernels take by value; a test compares the sizes.
unsafe impl DeviceRepr for RawProblem {}
// SAFETY: as above.
unsafe impl DeviceRepr for RawTile {}
// SAFETY: as above.
unsafe impl DeviceRepr for RawLayout {}
// SAFETY: it is made of whole numbers.
unsafe impl ValidAsZeroBits for RawLayout {}

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

pub(super) struct Kernels {
    pub prepare: CudaFunction,
    pub fit: CudaFunction,
    pub newton: CudaFunction,
    pub errors: CudaFunction,
    pub evaluate: CudaFunction,
    pub snip: CudaFunction,
    pub layout: RawLayout,
    /// The workspaces that should be shared memory do not fit there.
    pub near_in_memory: bool,
}

impl Kernels {
    /// A warp for each spectrum, unless its workspace leaves a multiprocessor with few of them; and where the kernels
    /// come from, in words.
    pub fn choose(
        device: &Device,
        stream: &Arc<CudaStream>,
        precision: Precision,
        raw: &RawProblem,
        constants: &[String],
    ) -> Result<(Self, String), Failure> {
        let of = |team| Self::of_kind(device, stream, Kind { team, precision }, raw, constants);
        let warp = of(Team::Warp)?;
        if warp.0.layout.near_bytes as usize * FEWEST_WARPS <= device.shared_memory {
            return Ok(warp);
        }
        of(Team::Block)
    }

    /// Kernels that take their workspace for shared memory, unless it does not fit there.
    fn of_kind(
        device: &Device,
        stream: &Arc<CudaStream>,
        kind: Kind,
        raw: &RawProblem,
        constants: &[String],
    ) -> Result<(Self, String), Failure> {
        let near_shared = [constants, &[constants::NEAR_SHARED.into()]].concat();
        let kernels = Self::load(device, stream, kind, raw, &near_shared)?;
        if kernels.0.near_in_memory {
            return Self::load(device, stream, kind, raw, constants);
        }
        Ok(kernels)
    }

    fn load(
        device: &Device,
        stream: &Arc<CudaStream>,
        kind: Kind,
        raw: &RawProblem,
        defines: &[String],
    ) -> Result<(Self, String), Failure> {
        let wanted = Wanted { kind, capability: device.capability, driver: device.driver, defines };
        let image = compile::image(&wanted).map_err(Failure::Hopeless)?;
        let refused = |error: DriverError| match is_out_of_memory(&error) {
            true => Failure::Device(error),
            false => Failure::Hopeless(Error::Engine(format!(
                "the CUDA driver does not take the kernels ({}): {}; see `xrfit devices`",
                image.origin,
                words(&error)
            ))),
        };
        let module = device.context.load_module(Ptx::from_binary(image.bytes)).map_err(&refused)?;
        let function = |name: &str| {
            module.load_function(&format!("xrf_{name}_{}", kind.suffix())).map_err(&refused)
        };
        let layout = measure(&function("layout")?, stream, raw)?;
        if !is_of_this_version(&layout) {
            return Err(Failure::Hopeless(Error::Engine(format!(
                "the kernels of {} belong to another version of xrfit (what they give would mean nothing); make the \
                 image anew, or unset XRFIT_KERNELS",
                image.origin
            ))));
        }
        let mut kernels = Self {
            prepare: function("prepare")?,
            fit: function("fit")?,
            newton: function("newton")?,
            errors: function("errors")?,
            evaluate: function("evaluate")?,
            snip: function("background")?,
            near_in_memory: false,
            layout,
        };
        kernels.take_shared_memory(device)?;
        Ok((kernels, image.origin))
    }

    /// Gets the workspaces into shared memory, beside what the kernels have there of their own, if they fit.
    fn take_shared_memory(&mut self, device: &Device) -> Result<(), DriverError> {
        use CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST;
        let all =
            [&self.prepare, &self.fit, &self.newton, &self.errors, &self.evaluate, &self.snip];
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
    pub fn shared_bytes(&self) -> u32 {
        if self.near_in_memory { 0 } else { self.layout.near_bytes as u32 }
    }
}

/// Asks the kernels how much memory a block needs, and what they were made for.
fn measure(
    kernel: &CudaFunction,
    stream: &Arc<CudaStream>,
    raw: &RawProblem,
) -> Result<RawLayout, DriverError> {
    let answer = stream.alloc_zeros::<RawLayout>(1)?;
    let shape = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel takes a problem and writes one layout.
    unsafe { stream.launch_builder(kernel).arg(raw).arg(&answer).launch(shape) }?;
    let layout = stream.clone_dtoh(&answer)?;
    stream.synchronize()?;
    Ok(layout[0])
}

fn is_of_this_version(layout: &RawLayout) -> bool {
    let theirs = [layout.problem_bytes, layout.tile_bytes, layout.parameters as u64];
    let parameters = kernels::parameters().len();
    theirs == [size_of::<RawProblem>(), size_of::<RawTile>(), parameters].map(|n| n as u64)
}
