//! `kernels/abi.h` in Rust: the same layouts, and the table of entry points per instruction set.

use std::ffi::{c_char, c_void};

use crate::problem::Problem;

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
pub(crate) struct RawProblem {
    n_channels: i32,
    first: i32,
    count: i32,
    n_components: i32,
    elastic: i32,
    compton: i32,
    n_lines: i32,
    energy: *const f64,
    ratio: *const f64,
    mu: *const f64,
    width: *const f64,
    edge: *const f64,
    component: *const i32,
    family: *const i32,
    start: *const f64,
    lower: *const f64,
    upper: *const f64,
    rate: *const f64,
    free: *const u8,
    pair_energy_ev: f64,
    snip_width: f64,
    tolerance: f64,
    tail: i32,
    escape_shift: i32,
    snip_order: i32,
    background: i32,
    objective: i32,
    optimizer: i32,
    steps: i32,
    start_amplitudes: i32,
    clip_net_counts: i32,
    saturation: f32,
}

#[repr(C)]
pub(crate) struct RawSpectrum {
    pub counts: *const c_void,
    pub background: *const c_void,
    pub start: *const f64,
}

#[repr(C)]
pub(crate) struct RawFit {
    pub variables: *mut f64,
    pub fitted: *mut c_void,
    pub background: *mut c_void,
    pub objective: f64,
    pub r_squared: f64,
    pub r_squared_log: f64,
    pub counts: f64,
    pub steps: i32,
    pub status: i32,
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
    pub new_workspace: unsafe extern "C" fn(*const RawProblem) -> *mut c_void,
    pub drop_workspace: unsafe extern "C" fn(*mut c_void),
    pub fit: unsafe extern "C" fn(
        *const RawProblem,
        *const c_void,
        *mut c_void,
        *const RawSpectrum,
        *mut RawFit,
    ),
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

/// The entry points of one instruction set.
pub(crate) struct EntryPoints {
    pub parameters: unsafe extern "C" fn(*mut i32) -> *const ParameterRow,
    pub engine: unsafe extern "C" fn(i32) -> *const RawEngine,
    pub sizes: unsafe extern "C" fn(*mut u64),
    pub exponentials: unsafe extern "C" fn(i32) -> f32,
}

macro_rules! entry_points {
    ($name:ident, $parameters:ident, $engine:ident, $sizes:ident, $exponentials:ident) => {
        unsafe extern "C" {
            fn $parameters(count: *mut i32) -> *const ParameterRow;
            fn $engine(f64: i32) -> *const RawEngine;
            fn $sizes(sizes: *mut u64);
            fn $exponentials(n: i32) -> f32;
        }
        pub(crate) static $name: EntryPoints = EntryPoints {
            parameters: $parameters,
            engine: $engine,
            sizes: $sizes,
            exponentials: $exponentials,
        };
    };
}

entry_points!(V2, xrf_parameters_v2, xrf_engine_v2, xrf_sizes_v2, xrf_exponentials_v2);
#[cfg(xrf_v3)]
entry_points!(V3, xrf_parameters_v3, xrf_engine_v3, xrf_sizes_v3, xrf_exponentials_v3);
#[cfg(xrf_v4)]
entry_points!(V4, xrf_parameters_v4, xrf_engine_v4, xrf_sizes_v4, xrf_exponentials_v4);

/// Sizes of the four structures shared with the kernels, Rust's view.
pub(crate) fn sizes() -> [u64; 4] {
    [
        size_of::<RawProblem>() as u64,
        size_of::<RawSpectrum>() as u64,
        size_of::<RawFit>() as u64,
        size_of::<RawEvaluation>() as u64,
    ]
}

/// A [`Problem`] laid out for the kernels: the pointers of `raw` lead into the vectors beside it, which
/// never change.
pub(crate) struct LaidOut {
    pub raw: RawProblem,
    _lines: [Vec<f64>; 5],
    _indices: [Vec<i32>; 2],
    _variables: [Vec<f64>; 4],
    _free: Vec<u8>,
}

// SAFETY: the pointers lead to memory this value owns and nobody writes.
unsafe impl Send for LaidOut {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for LaidOut {}

impl LaidOut {
    pub fn new(p: &Problem) -> Self {
        let line = |f: fn(&crate::problem::Line) -> f64| p.lines.iter().map(f).collect::<Vec<_>>();
        let lines = [
            line(|l| l.energy),
            line(|l| l.ratio),
            line(|l| l.mu),
            line(|l| l.width),
            line(|l| l.edge),
        ];
        let indices = [
            p.lines.iter().map(|l| l.component as i32).collect(),
            p.lines.iter().map(|l| l.family as i32).collect::<Vec<_>>(),
        ];
        let all = || p.parameters.iter().chain(&p.amplitudes);
        let variables = [
            all().map(|v| v.start).collect::<Vec<_>>(),
            all().map(|v| v.lower).collect(),
            all().map(|v| v.upper).collect(),
            all().map(|v| v.rate).collect(),
        ];
        let free: Vec<u8> = all().map(|v| u8::from(v.free)).collect();
        let index = |i: Option<usize>| i.map_or(-1, |i| i as i32);
        let raw = RawProblem {
            n_channels: p.channels as i32,
            first: p.first as i32,
            count: p.count as i32,
            n_components: p.components.len() as i32,
            elastic: index(p.elastic),
            compton: index(p.compton),
            n_lines: p.lines.len() as i32,
            energy: lines[0].as_ptr(),
            ratio: lines[1].as_ptr(),
            mu: lines[2].as_ptr(),
            width: lines[3].as_ptr(),
            edge: lines[4].as_ptr(),
            component: indices[0].as_ptr(),
            family: indices[1].as_ptr(),
            start: variables[0].as_ptr(),
            lower: variables[1].as_ptr(),
            upper: variables[2].as_ptr(),
            rate: variables[3].as_ptr(),
            free: free.as_ptr(),
            pair_energy_ev: p.pair_energy_ev,
            snip_width: p.snip_width,
            tolerance: p.tolerance,
            tail: p.tail as i32,
            escape_shift: p.escape_shift as i32,
            snip_order: p.snip_order as i32,
            background: p.background as i32,
            objective: p.objective as i32,
            optimizer: p.optimizer as i32,
            steps: p.steps as i32,
            start_amplitudes: i32::from(p.solve_start),
            clip_net_counts: i32::from(p.clip_net_counts),
            saturation: p.saturation.unwrap_or(f32::INFINITY),
        };
        Self { raw, _lines: lines, _indices: indices, _variables: variables, _free: free }
    }
}
