//! What the kernels are given, as kernels/abi.h and kernels/tile.h lay it out; addresses are the device's.

use cudarc::driver::DeviceRepr;

/// XrfProblem of kernels/abi.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawProblem {
    pub sizes: [i32; 8],
    pub templates: u64,
    pub lines: [u64; 5],
    pub indices: [u64; 2],
    pub variables: [u64; 6],
    pub free: u64,
    pub numbers: [f64; 3],
    pub choices: [i32; 10],
    pub saturation: f32,
}

/// XrfTile of kernels/tile.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RawTile {
    pub n_spectra: i32,
    pub start_stride: i32,
    pub counts: u64,
    pub background: u64,
    pub start: u64,
    pub snip: [u64; 3],
    pub columns: u64,
    pub reach: u64,
    pub start_weight: u64,
    pub gram: u64,
    pub near: u64,
    pub far: u64,
    pub near_bytes: u64,
    pub far_bytes: u64,
    pub variables: u64,
    /// Standard deviations, amplitudes that may be below 0, and limits.
    pub errors: [u64; 3],
    /// Objective, R², log R², deviance, background counts.
    pub measures: [u64; 5],
    /// Steps, status.
    pub codes: [u64; 2],
    pub sums: [u64; 2],
    pub total: u64,
    pub components: u64,
    pub gradient: u64,
}

/// XrfLayout of kernels/tile.h without its last three words, which say what the kernels were made for.
pub struct RawLayout {
    pub near_bytes: u64,
    pub far_bytes: u64,
    pub threads: i32,
    pub block: i32,
}

// SAFETY: plain numbers and addresses.
unsafe impl DeviceRepr for RawProblem {}
// SAFETY: as above.
unsafe impl DeviceRepr for RawTile {}
