//! The C ABI of `kernels/` and its parameter table; the only `unsafe extern` of the program.
//!
//! Nothing here computes. `kernels/abi.h` states the same layouts.

pub(crate) mod abi;

use std::ffi::CStr;
use std::sync::OnceLock;

use crate::error::{Error, Result};

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

/// The instruction set the CPU kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// What every machine of the architecture has (x86-64-v2: SSE4.2).
    Baseline,
    /// x86-64-v3: AVX2 and FMA.
    Avx2,
    /// x86-64-v4: AVX-512.
    Avx512,
}

/// A function of `kernels/special.cuh`; the codes of `kernels/abi.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Special {
    /// exp(x).
    Exponential = 0,
    /// Natural logarithm.
    Logarithm = 1,
    /// erfcx(x) = exp(x²) erfc(x).
    ScaledErfc = 2,
    /// exp(-x² / 2).
    Gaussian = 3,
}

impl Simd {
    /// The best one of this machine and build, or the one that `XRFIT_SIMD` (v2, v3, v4) forces.
    ///
    /// # Errors
    ///
    /// When `XRFIT_SIMD` names a set this machine does not have.
    pub fn choose() -> Result<Self> {
        let best = *Self::available().last().expect("the baseline is always there");
        let Ok(forced) = std::env::var("XRFIT_SIMD") else { return Ok(best) };
        Self::available().into_iter().find(|s| s.level() == forced).ok_or_else(|| {
            Error::Engine(format!(
                "XRFIT_SIMD={forced} cannot be had (this machine offers {}); unset it or choose one of these",
                Self::available().iter().map(|s| s.level()).collect::<Vec<_>>().join(", ")
            ))
        })
    }

    /// Every set this machine and this build have, ascending.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Simd::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi2")
            {
                sets.push(Simd::Avx2);
                if ["f", "bw", "cd", "dq", "vl"].iter().all(|&f| has_avx512(f)) {
                    sets.push(Simd::Avx512);
                }
            }
        }
        sets
    }

    /// Its psABI level: `v2`, `v3` or `v4`.
    pub const fn level(self) -> &'static str {
        match self {
            Simd::Baseline => "v2",
            Simd::Avx2 => "v3",
            Simd::Avx512 => "v4",
        }
    }

    pub(crate) fn entry_points(self) -> &'static abi::EntryPoints {
        match self {
            #[cfg(xrf_v3)]
            Simd::Avx2 => &abi::V3,
            #[cfg(xrf_v4)]
            Simd::Avx512 => &abi::V4,
            _ => &abi::V2,
        }
    }

    /// A function at every `x` as the kernels compute it, in f32 and in f64.
    pub fn special(self, function: Special, x: &[f64]) -> (Vec<f32>, Vec<f64>) {
        let (mut single, mut twice) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let special = self.entry_points().special;
        let n = x.len() as i32;
        // SAFETY: all three arrays have n entries; the set was found on this machine.
        unsafe {
            special(function as i32, n, x.as_ptr(), single.as_mut_ptr(), twice.as_mut_ptr());
        }
        (single, twice)
    }

    /// Sums `n` f32 exponentials: the yardstick that benchmarks compare a fit with.
    pub fn exponentials(self, n: usize) -> f32 {
        // SAFETY: the function only computes; the set was found on this machine.
        unsafe { (self.entry_points().exponentials)(n as i32) }
    }

    /// Sizes of the structures shared with the kernels: theirs and ours, which must agree.
    pub fn layout_sizes(self) -> ([u64; 5], [u64; 5]) {
        let mut theirs = [0; 5];
        // SAFETY: the function writes five values.
        unsafe { (self.entry_points().sizes)(theirs.as_mut_ptr()) };
        (theirs, abi::sizes())
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512(part: &str) -> bool {
    match part {
        "f" => is_x86_feature_detected!("avx512f"),
        "bw" => is_x86_feature_detected!("avx512bw"),
        "cd" => is_x86_feature_detected!("avx512cd"),
        "dq" => is_x86_feature_detected!("avx512dq"),
        _ => is_x86_feature_detected!("avx512vl"),
    }
}

/// Every shape parameter, in the kernels' order.
pub fn parameters() -> &'static [ParameterInfo] {
    static TABLE: OnceLock<Vec<ParameterInfo>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut count = 0;
        // SAFETY: the function returns a static table of `count` rows of this layout.
        let rows = unsafe {
            let first = (abi::V2.parameters)(&mut count);
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

/// Index of a shape parameter that the program itself names.
///
/// # Panics
///
/// When the model has no such parameter.
pub fn known_parameter(name: &str) -> usize {
    parameter_index(name).unwrap_or_else(|| panic!("the model has no parameter {name}"))
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
    /// No step lowers the objective any more, though one should.
    NoDescent = 6,
    /// Converged, but some variables make up for each other.
    Singular = 7,
}

impl Status {
    /// All codes, in order.
    pub const ALL: [Status; 8] = [
        Status::Converged,
        Status::StepLimit,
        Status::Empty,
        Status::NotFinite,
        Status::Saturated,
        Status::Diverged,
        Status::NoDescent,
        Status::Singular,
    ];

    /// The status of a code.
    ///
    /// # Panics
    ///
    /// When there is no such code.
    pub fn from_code(code: i32) -> Self {
        Self::ALL[usize::try_from(code).expect("status codes count from 0")]
    }

    /// True when the spectrum has a fit.
    pub fn is_fitted(self) -> bool {
        use Status::{Converged, NoDescent, Singular, StepLimit};
        matches!(self, Converged | StepLimit | NoDescent | Singular)
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
            Status::NoDescent => "no step lowers the objective",
            Status::Singular => "some variables make up for each other",
        }
    }
}
