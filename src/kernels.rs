//! The C ABI of `kernels/` and its parameter table; the only `unsafe extern` of the program.
//!
//! Nothing here computes. `kernels/abi.h` states the same layouts.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// One shape parameter of the model, from `kernels/parameters.cuh`.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterInfo {
    /// MAPS name.
    pub name: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Default value.
    pub value: f64,
    /// Default lower bound.
    pub lower: f64,
    /// Default upper bound.
    pub upper: f64,
    /// Adam's learning rate, in the parameter's unit per step.
    pub rate: f64,
}

#[repr(C)]
struct ParameterRow {
    name: *const c_char,
    unit: *const c_char,
    meaning: *const c_char,
    value: f64,
    lower: f64,
    upper: f64,
    rate: f64,
}

unsafe extern "C" {
    fn xrf_parameters_v2(count: *mut i32) -> *const ParameterRow;
}

/// Every shape parameter, in the kernels' order.
pub fn parameters() -> &'static [ParameterInfo] {
    static TABLE: OnceLock<Vec<ParameterInfo>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut count = 0;
        // SAFETY: the function returns a static table of `count` rows of this layout.
        let rows = unsafe {
            let first = xrf_parameters_v2(&mut count);
            std::slice::from_raw_parts(first, count as usize)
        };
        // SAFETY: every name is a NUL-terminated string literal of ASCII in the table.
        let text = |p| unsafe { CStr::from_ptr(p) }.to_str().expect("the parameter table is ASCII");
        rows.iter()
            .map(|r| ParameterInfo {
                name: text(r.name),
                unit: text(r.unit),
                meaning: text(r.meaning),
                value: r.value,
                lower: r.lower,
                upper: r.upper,
                rate: r.rate,
            })
            .collect()
    })
}

/// Index of a shape parameter by its MAPS name.
pub fn parameter_index(name: &str) -> Option<usize> {
    parameters().iter().position(|p| p.name == name)
}

/// How the fit of one spectrum ended; the codes of `kernels/abi.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The optimiser's own criterion was met.
    Converged = 0,
    /// All steps were used.
    StepLimit = 1,
    /// No counts in the fit window.
    Empty = 2,
    /// A count is NaN, infinite or negative.
    NotFinite = 3,
    /// A channel is at the largest count its type can hold.
    Saturated = 4,
    /// The objective stopped being finite.
    Diverged = 5,
}

impl Status {
    /// All codes, in order.
    pub const ALL: [Status; 6] = [
        Status::Converged,
        Status::StepLimit,
        Status::Empty,
        Status::NotFinite,
        Status::Saturated,
        Status::Diverged,
    ];

    /// True when the spectrum has a fit.
    pub fn is_fitted(self) -> bool {
        matches!(self, Status::Converged | Status::StepLimit)
    }

    /// The code's meaning, for result files and the summary.
    pub const fn meaning(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::StepLimit => "all steps used",
            Status::Empty => "no counts in the fit window",
            Status::NotFinite => "a count is NaN, infinite or negative",
            Status::Saturated => "a channel is saturated",
            Status::Diverged => "the fit diverged",
        }
    }
}
