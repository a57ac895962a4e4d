//! CUDA devices of this machine, and the words for what goes wrong with them.

use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{CudaContext, DriverError};

use crate::error::{Error, Result};

/// How many devices there are.
///
/// # Errors
///
/// Why there are none, in words.
pub(super) fn count() -> std::result::Result<usize, String> {
    // SAFETY: the call only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no CUDA driver (libcuda.so.1)".into());
    }
    match CudaContext::device_count() {
        Ok(0) => Err("there is no CUDA device".into()),
        Ok(n) => Ok(n as usize),
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => {
            Err("there is no CUDA device".into())
        }
        Err(error) => Err(format!("the CUDA driver does not start: {}", words(&error))),
    }
}

/// The driver's own words for an error.
pub(super) fn words(error: &DriverError) -> String {
    let said = |text: std::result::Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", said(error.error_string()), said(error.error_name()))
}

/// A device in use.
pub(super) struct Device {
    ordinal: usize,
    pub context: Arc<CudaContext>,
    pub name: String,
    /// Compute capability: 9, 0 for sm_90.
    pub capability: (i32, i32),
    /// CUDA version of the driver: 12080 for 12.8.
    pub driver: i32,
    pub multiprocessors: usize,
    /// Shared memory that a block can have \[bytes\].
    pub shared_memory: usize,
}

impl Device {
    pub fn open(ordinal: usize) -> Result<Self> {
        let opened = || {
            let context = CudaContext::new(ordinal)?;
            // every stream of this engine orders its own work
            // SAFETY: no memory is used on two streams without a wait between them.
            unsafe { context.disable_event_tracking() };
            let driver = driver_version()?;
            // who waits for the device leaves the core to others; older drivers lack the call
            if driver >= 12010 {
                context.set_blocking_synchronize()?;
            }
            Ok(Self {
                ordinal,
                name: context.name()?,
                capability: context.compute_capability()?,
                driver,
                multiprocessors: context
                    .attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?
                    as usize,
                shared_memory: context
                    .attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?
                    as usize,
                context,
            })
        };
        opened().map_err(|error: DriverError| {
            Error::Engine(format!("CUDA device {ordinal} cannot be used: {}", words(&error)))
        })
    }

    /// Its memory, free and in all \[bytes\].
    pub fn memory(&self) -> std::result::Result<(usize, usize), DriverError> {
        self.context.bind_to_thread()?;
        self.context.mem_get_info()
    }

    /// `cuda:0, NVIDIA H100 (sm_90, driver 12.8)`.
    pub fn describe(&self) -> String {
        let (major, minor) = self.capability;
        let driver = version(self.driver);
        format!("cuda:{}, {} (sm_{major}{minor}, driver {driver})", self.ordinal, self.name)
    }
}

fn driver_version() -> std::result::Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: the call writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

/// `12.8` of 12080.
pub(super) fn version(code: i32) -> String {
    format!("{}.{}", code / 1000, code % 1000 / 10)
}

/// What a list of devices says: each with its memory, or why there is none.
pub(super) fn list() -> Vec<String> {
    let n = match count() {
        Ok(n) => n,
        Err(why) => return vec![format!("none: {why}")],
    };
    (0..n).map(|i| one(i).unwrap_or_else(|error| format!("cuda:{i}: {error}"))).collect()
}

fn one(ordinal: usize) -> Result<String> {
    let device = Device::open(ordinal)?;
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let memory = device.memory().map_or_else(
        |error| format!("memory unknown: {}", words(&error)),
        |(free, all)| format!("{:.1} of {:.1} GiB free", gib(free), gib(all)),
    );
    Ok(format!("{}, {memory}", device.describe()))
}

/// Is it lack of memory?
pub(super) fn is_out_of_memory(error: &DriverError) -> bool {
    error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

/// Most bytes of dynamic shared memory that a kernel gets without being asked.
pub(super) const SHARED_AT_HAND: usize = 48 << 10;
