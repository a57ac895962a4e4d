//! How good fitted amplitudes are where the truth is known: bias, scatter over the Cramér-Rao bound, pulls.
//!
//! Knows the engine and the problem; no files and no ranks.

mod bound;

use ndarray::Array1;
use serde::Serialize;

pub use self::bound::Bound;

/// Estimates below this are zeros \[counts\]: an amplitude that moves as a logarithm never is exactly.
const ZERO: f64 = 1e-3;
/// A line of at least this many counts is strong where its bound is at most this part of it, and weak below where
/// it has at least a count.
const STRONG: f64 = 20.0;
const STRONG_BOUND: f64 = 0.5;
const WEAK: f64 = 1.0;

/// One pixel's amplitude of one component \[counts\].
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// What is true.
    pub truth: f64,
    /// What was fitted.
    pub fitted: f64,
    /// What the fit says its standard deviation is.
    pub uncertainty: Option<f64>,
    /// The least standard deviation of an unbiased estimate.
    pub bound: f64,
}

/// How well a line can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// At least 20 counts, and a bound of at most half of them.
    Strong,
    /// 1 to 20 counts.
    Weak,
    /// Neither.
    Other,
}

impl Line {
    /// The word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Line::Strong => "strong",
            Line::Weak => "weak",
            Line::Other => "",
        }
    }
}

/// The score of a component at a level. NaN where there is nothing to say.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Mean counts of the level's pixels, where the scan has several.
    pub level_counts: Option<f64>,
    /// Component.
    pub component: String,
    /// How well it can be known.
    pub line: Line,
    /// Number of pixels.
    pub pixels: usize,
    /// Mean truth \[counts\].
    pub truth_counts: f64,
    /// Root mean square of the bounds \[counts\].
    pub bound_counts: f64,
    /// Mean of estimate less truth, over the mean truth \[%\].
    pub bias_percent: f64,
    /// Mean of (estimate less truth) over bound \[1\].
    pub bias_sigma: f64,
    /// Root mean square of estimate less truth \[counts\].
    pub rmse_counts: f64,
    /// Root mean square of (estimate less truth) over bound \[1\].
    pub rmse_over_bound: f64,
    /// Mean of the pulls, (estimate less truth) over the fit's own uncertainty \[1\].
    pub pull_mean: Option<f64>,
    /// Their standard deviation \[1\].
    pub pull_width: Option<f64>,
    /// Share of the pixels with a truth above 0 whose estimate is 0 \[%\].
    pub false_zeros_percent: f64,
}

impl Score {
    /// The score of some pixels.
    pub fn of(level: Option<f64>, component: &str, all: &[Estimate]) -> Self {
        let column = |f: &dyn Fn(&Estimate) -> f64| all.iter().map(f).collect::<Array1<f64>>();
        let missed = column(&|e| e.fitted - e.truth);
        let over_bound = column(&|e| (e.fitted - e.truth) / e.bound);
        let truth = mean(&column(&|e| e.truth));
        let bound = root_mean_square(&column(&|e| e.bound));
        let pulls: Option<Array1<f64>> = all
            .iter()
            .map(|e| e.uncertainty.map(|u| (e.fitted - e.truth) / u))
            .collect::<Option<Vec<f64>>>()
            .map(|pulls| pulls.into_iter().filter(|pull| pull.is_finite()).collect());
        let there = all.iter().filter(|e| e.truth > 0.0).count();
        let zeros = all.iter().filter(|e| e.truth > 0.0 && e.fitted < ZERO).count();
        Self {
            level_counts: level,
            component: component.into(),
            line: line(truth, bound),
            pixels: all.len(),
            truth_counts: truth,
            bound_counts: bound,
            bias_percent: 100.0 * mean(&missed) / truth,
            bias_sigma: mean(&over_bound),
            rmse_counts: root_mean_square(&missed),
            rmse_over_bound: root_mean_square(&over_bound),
            pull_mean: pulls.as_ref().map(mean),
            pull_width: pulls.as_ref().map(|pulls| pulls.std(1.0)),
            false_zeros_percent: 100.0 * zeros as f64 / there as f64,
        }
    }
}

fn line(truth: f64, bound: f64) -> Line {
    if truth >= STRONG && bound <= STRONG_BOUND * truth {
        Line::Strong
    } else if (WEAK..STRONG).contains(&truth) {
        Line::Weak
    } else {
        Line::Other
    }
}

fn mean(values: &Array1<f64>) -> f64 {
    values.mean().unwrap_or(f64::NAN)
}

fn root_mean_square(values: &Array1<f64>) -> f64 {
    mean(&(values * values)).sqrt()
}
