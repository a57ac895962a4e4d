//! What is known of a pixel's shapes before its fit: how much they scatter over the scan.
//!
//! A sample of pixels is fitted with priors too wide to matter. What a fit then says beyond its prior is a measurement
//! with a known error, and the scatter that explains all measurements best, beyond their errors, is the prior of the rest.
//! Too wide costs little and too narrow costs much, so the width is twice that.
//!
//! Knows the problem and the engine; no files and no ranks.

use ndarray::{ArrayView2, Axis};

use crate::engine::{Batch, Engine};
use crate::error::Result;
use crate::kernels;
use crate::problem::{Prior, Problem};

/// Widths over the scatter that was found.
const SAFETY: f64 = 2.0;
/// Widths while the sample is fitted, and least widths, over the parameter's value.
const WIDE: f64 = 0.15;
const LEAST: f64 = 0.003;
/// Those of parameters that may well be 0 \[keV\].
const OF_OFFSET: (f64, f64) = (0.03, 0.0005);
/// Fewer fits than these say nothing about a scan.
const FEWEST: usize = 16;

/// What a sample of pixels says about a shape parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scatter {
    /// Index among the shape parameters.
    pub parameter: usize,
    /// Mean over the pixels.
    pub mean: f64,
    /// Standard deviation over the pixels, less what noise makes of it.
    pub deviation: f64,
}

impl Scatter {
    /// What is known of a pixel's parameter.
    pub fn prior(&self) -> Prior {
        let least = widths(self.parameter, self.mean).1;
        Prior { center: self.mean, width: (SAFETY * self.deviation).max(least) }
    }
}

/// Widths of a parameter near `value`: too wide to matter, and the least.
fn widths(parameter: usize, value: f64) -> (f64, f64) {
    let scale = |by: (f64, f64)| (by.0 * value.abs(), by.1 * value.abs());
    match kernels::parameters()[parameter].name {
        "ENERGY_OFFSET" => OF_OFFSET,
        "ENERGY_SLOPE" => scale((0.01, 1e-4)),
        _ if value == 0.0 => (WIDE, LEAST),
        _ => scale((WIDE, LEAST)),
    }
}

/// How the free shapes without a prior scatter over a sample of pixels, `[n, channels]` \[counts\]; nothing where too few
/// pixels have a fit.
///
/// # Errors
///
/// When the engine fails.
pub fn of_sample(
    engine: &dyn Engine,
    problem: &Problem,
    sample: ArrayView2<f32>,
) -> Result<Vec<Scatter>> {
    let sought: Vec<usize> = problem
        .free_parameters()
        .into_iter()
        .filter(|&p| problem.parameters[p].prior.is_none())
        .collect();
    let mut wide = problem.clone();
    for &p in &sought {
        let variable = &mut wide.parameters[p];
        variable.prior = Some(Prior { center: variable.start, width: widths(p, variable.start).0 });
    }
    let fits = engine.fit(&wide, Batch::of(sample))?;
    let fitted: Vec<usize> =
        (0..sample.len_of(Axis(0))).filter(|&i| fits.status[i].is_fitted()).collect();
    if fitted.len() < FEWEST {
        return Ok(Vec::new());
    }
    let scatter = |p: usize| {
        let prior = wide.parameters[p].prior.expect("it was given");
        let one = |&i: &usize| beyond(prior, fits.parameters[[i, p]], fits.parameter_sigma[[i, p]]);
        let measured: Vec<Measured> = fitted.iter().filter_map(one).collect();
        let (mean, deviation) = spread(&measured, prior.center);
        Scatter { parameter: p, mean, deviation: deviation.min(prior.width) }
    };
    Ok(sought.into_iter().map(scatter).collect())
}

/// A value and the variance of its error.
#[derive(Clone, Copy)]
struct Measured {
    value: f64,
    variance: f64,
}

/// What a fit says beyond its prior; `None` where that is nothing.
fn beyond(prior: Prior, value: f64, sigma: f64) -> Option<Measured> {
    let (posterior, known) = (sigma.powi(-2), prior.width.powi(-2));
    let information = posterior - known;
    let says = information.is_finite() && information > 1e-6 * known;
    says.then(|| Measured {
        value: (value * posterior - prior.center * known) / information,
        variance: 1.0 / information,
    })
}

/// Mean and standard deviation of values beyond their errors, by maximum likelihood.
fn spread(measured: &[Measured], otherwise: f64) -> (f64, f64) {
    let mean = |between: f64| {
        let weight = |m: &Measured| 1.0 / (between + m.variance);
        let all: f64 = measured.iter().map(weight).sum();
        let sum: f64 = measured.iter().map(|m| weight(m) * m.value).sum();
        if all > 0.0 { sum / all } else { otherwise }
    };
    // d log L / d between, up to a factor
    let slope = |between: f64| {
        let center = mean(between);
        let of = |m: &Measured| {
            let all = between + m.variance;
            (m.value - center).powi(2) / (all * all) - 1.0 / all
        };
        measured.iter().map(of).sum::<f64>()
    };
    let (mut low, mut high) = (0.0, measured.iter().map(|m| m.variance).fold(0.0, f64::max));
    if slope(0.0) <= 0.0 || high == 0.0 {
        return (mean(0.0), 0.0);
    }
    while slope(high) > 0.0 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    (mean(high), high.sqrt())
}
