//! The coarse search of the first pass: gains and offsets on a grid, amplitudes by a linear fit at each.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::{ProblemAt, fit, index, lowest, unfit};
use crate::engine::Engine;
use crate::error::Result;
use crate::problem::{Optimizer, Problem};

/// Gains of the grid: this part below and above the configured one, in steps of this part of it. At 10 keV a
/// step is half a peak's width.
const GAIN_RANGE: f64 = 0.25;
const GAIN_STEP: f64 = 0.006;

/// Offsets of the grid: this far to both sides of the configured one, in this many steps \[keV\].
const OFFSET_RANGE: f64 = 0.2;
const OFFSET_STEPS: i32 = 4;

/// Grid points that Adam starts from.
const CANDIDATES: usize = 4;

/// Calibrations of the grid, the best of each valley, the best first.
pub(super) fn coarse(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    configured: &[f64],
    spectrum: ArrayView2<f32>,
) -> Result<Vec<Vec<f64>>> {
    let steps = (GAIN_RANGE / GAIN_STEP) as i32;
    let best_of_gain = |step: i32| {
        let gain = (1.0 + GAIN_STEP).powi(step);
        best_offset(engine, problem_at, configured, gain, spectrum)
    };
    let gains: Vec<Point> =
        (-steps..=steps).into_par_iter().map(best_of_gain).collect::<Result<_>>()?;
    let lowest = |i: usize| {
        let around = &gains[i.saturating_sub(2)..gains.len().min(i + 3)];
        around.iter().all(|other| gains[i].unexplained <= other.unexplained)
    };
    let mut valleys: Vec<&Point> =
        (0..gains.len()).filter(|&i| lowest(i)).map(|i| &gains[i]).collect();
    valleys.sort_by(|a, b| a.unexplained.total_cmp(&b.unexplained));
    Ok(valleys.into_iter().take(CANDIDATES).map(|point| point.parameters.clone()).collect())
}

/// A point of the grid.
struct Point {
    parameters: Vec<f64>,
    /// Sum of the squares that a linear fit leaves, over the whole spectrum \[counts²\].
    unexplained: f64,
}

/// The best offset at a gain.
fn best_offset(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    configured: &[f64],
    gain: f64,
    spectrum: ArrayView2<f32>,
) -> Result<Point> {
    let [offset, slope] = ["ENERGY_OFFSET", "ENERGY_SLOPE"].map(index);
    let at = |step: i32| {
        let mut parameters = configured.to_vec();
        parameters[slope] *= gain;
        parameters[offset] += f64::from(step) * OFFSET_RANGE / f64::from(OFFSET_STEPS);
        parameters
    };
    let starts: Vec<Vec<f64>> = (-OFFSET_STEPS..=OFFSET_STEPS).map(at).collect();
    let problem = Problem { optimizer: Optimizer::Nnls, ..problem_at(&at(0))? };
    let window = problem.first..problem.first + problem.count;
    let outside: f64 = (0..problem.channels)
        .filter(|c| !window.contains(c))
        .map(|c| f64::from(spectrum[[0, c]]).powi(2))
        .sum();
    let fits = fit(engine, &problem, &starts, spectrum)?;
    let best = lowest(&fits).ok_or_else(|| unfit(&fits))?;
    Ok(Point {
        parameters: starts[best].clone(),
        unexplained: outside + fits.objective[best] * window.len() as f64,
    })
}
