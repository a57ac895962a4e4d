//! `kernels/abi.h` in Rust: the same layouts, and the table of entry points per instruction set.

use std::ffi::{c_char, c_void};

#[repr(C)]
pub(crate) struct ParameterRow {
    pub name: *const c_char,
    pub unit: *const c_char,
    pub meaning: *const c_char,
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
    pub rate: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawProblem {
    pub n_channels: i32,
    pub first: i32,
    pub count: i32,
    pub n_components: i32,
    pub n_templates: i32,
    pub elastic: i32,
    pub compton: i32,
    pub n_lines: i32,
    pub templates: *const f64,
    pub energy: *const f64,
    pub ratio: *const f64,
    pub mu: *const f64,
    pub width: *const f64,
    pub edge: *const f64,
    pub component: *const i32,
    pub family: *const i32,
    pub start: *const f64,
    pub lower: *const f64,
    pub upper: *const f64,
    pub rate: *const f64,
    pub prior: *const f64,
    pub prior_width: *const f64,
    pub free: *const u8,
    pub pair_energy_ev: f64,
    pub snip_width: f64,
    pub tolerance: f64,
    pub tail: i32,
    pub escape_shift: i32,
    pub snip_order: i32,
    pub background: i32,
    pub objective: i32,
    pub optimizer: i32,
    pub steps: i32,
    pub start_amplitudes: i32,
    pub clip_net_counts: i32,
    pub weights: i32,
    pub saturation: f32,
}

#[repr(C)]
pub(crate) struct RawSpectrum {
    pub counts: *const c_void,
    pub background: *const c_void,
    pub start: *const f64,
}

#[repr(C)]
pub(crate) struct RawEvaluation {
    pub total: *mut c_void,
    pub components: *mut c_void,
    pub gradient: *mut f64,
    pub objective: f64,
}

#[repr(C)]
pub(crate) struct RawEngine {
    pub new_shared: unsafe extern "C" fn(*const RawProblem) -> *mut c_void,
    pub drop_shared: unsafe extern "C" fn(*mut c_void),
    pub workspace_bytes: unsafe extern "C" fn(*const RawProblem) -> u64,
    pub lay_out: unsafe extern "C" fn(*const RawProblem, *mut c_void),
    pub fit: unsafe extern "C" fn(*const RawProblem, *const c_void, *mut c_void, *const RawTile),
    pub evaluate: unsafe extern "C" fn(
        *const RawProblem,
        *mut c_void,
        *const RawSpectrum,
        *mut RawEvaluation,
    ),
    pub background: unsafe extern "C" fn(
        *const RawProblem,
        *const c_void,
        *mut c_void,
        *const c_void,
        *mut c_void,
    ),
}

/// What a fit, or a launch of `kernels/fit.cu`, works on: `kernels/tile.h`. Addresses are those of the engine's memory; 0
/// is null.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawTile {
    pub n_spectra: i32,
    pub start_stride: i32,
    pub counts: u64,
    pub background: u64,
    pub start: u64,
    pub snip_passes: u64,
    pub snip_low: u64,
    pub snip_high: u64,
    pub columns: u64,
    pub reach: u64,
    pub start_weight: u64,
    pub gram: u64,
    pub near: u64,
    pub far: u64,
    pub near_bytes: u64,
    pub far_bytes: u64,
    pub variables: u64,
    pub sigma: u64,
    pub signed_amplitudes: u64,
    pub limits: u64,
    pub objective: u64,
    pub r_squared: u64,
    pub r_squared_log: u64,
    pub deviance: u64,
    pub background_counts: u64,
    pub steps: u64,
    pub status: u64,
    pub fitted_sum: u64,
    pub background_sum: u64,
    pub total: u64,
    pub components: u64,
    pub gradient: u64,
}

/// What a CUDA block needs: `kernels/tile.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "its size is compared all the same"))]
pub(crate) struct RawLayout {
    pub near_bytes: u64,
    pub far_bytes: u64,
    pub threads: i32,
    pub block: i32,
    pub problem_bytes: u64,
    pub tile_bytes: u64,
    pub parameters: i32,
    pub snip_rows: i32,
}

/// The entry points of one instruction set.
pub(crate) struct EntryPoints {
    pub parameters: unsafe extern "C" fn(*mut i32) -> *const ParameterRow,
    pub engine: unsafe extern "C" fn(i32) -> *const RawEngine,
    pub sizes: unsafe extern "C" fn(*mut u64),
    pub special: unsafe extern "C" fn(i32, i32, *const f64, *mut f32, *mut f64),
    pub exponentials: unsafe extern "C" fn(i32) -> f32,
}

macro_rules! entry_points {
    ($name:ident, $parameters:ident, $engine:ident, $sizes:ident, $special:ident, $exponentials:ident) => {
        unsafe extern "C" {
            fn $parameters(count: *mut i32) -> *const ParameterRow;
            fn $engine(f64: i32) -> *const RawEngine;
            fn $sizes(sizes: *mut u64);
            fn $special(function: i32, n: i32, x: *const f64, single: *mut f32, twice: *mut f64);
            fn $exponentials(n: i32) -> f32;
        }
        pub(crate) static $name: EntryPoints = EntryPoints {
            parameters: $parameters,
            engine: $engine,
            sizes: $sizes,
            special: $special,
            exponentials: $exponentials,
        };
    };
}

entry_points!(
    V2,
    xrf_parameters_v2,
    xrf_engine_v2,
    xrf_sizes_v2,
    xrf_special_v2,
    xrf_exponentials_v2
);
#[cfg(xrf_v3)]
entry_points!(
    V3,
    xrf_parameters_v3,
    xrf_engine_v3,
    xrf_sizes_v3,
    xrf_special_v3,
    xrf_exponentials_v3
);
#[cfg(xrf_v4)]
entry_points!(
    V4,
    xrf_parameters_v4,
    xrf_engine_v4,
    xrf_sizes_v4,
    xrf_special_v4,
    xrf_exponentials_v4
);

/// Sizes of the structures shared with the kernels, Rust's view.
pub(crate) fn sizes() -> [u64; 5] {
    [
        size_of::<RawProblem>() as u64,
        size_of::<RawSpectrum>() as u64,
        size_of::<RawEvaluation>() as u64,
        size_of::<RawTile>() as u64,
        size_of::<RawLayout>() as u64,
    ]
}
