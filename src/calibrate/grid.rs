//! The coarse search of the first pass: gains and offsets on a grid, amplitudes by a linear fit at each.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::ProblemAt;
use super::descent::unexplained;
use crate::engine::{Batch, Engine};
use crate::error::Result;
use crate::kernels::known_parameter;
use crate::problem::{Optimizer, Problem};

/// Gains of the grid: this part below and above the configured one, in steps of this part of it. At 10 keV a
/// step is less than a peak's width.
const GAIN_RANGE: f64 = 0.25;
const GAIN_STEP: f64 = 0.009;

/// Offsets of the grid: this far to both sides of the configured one, in this many steps \[keV\].
const OFFSET_RANGE: f64 = 0.2;
const OFFSET_STEPS: i32 = 3;

/// Grid points that the way down starts from.
pub(super) const CANDIDATES: usize = 4;

/// Peak widths that are tried at these, over the configured ones.
const WIDTHS: [f64; 4] = [0.5, 0.7, 1.4, 2.0];

/// Calibrations of the grid, the best of each valley, the best first. What is fixed stays as configured, and
/// nothing leaves its bounds.
pub(super) fn coarse(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    configured: &[f64],
    spectrum: ArrayView2<f32>,
) -> Result<Vec<Vec<f64>>> {
    let [offset, slope] = ["ENERGY_OFFSET", "ENERGY_SLOPE"].map(known_parameter);
    let variables = problem_at(configured)?.parameters;
    let within = |i: usize, value: f64| {
        let v = variables[i];
        (v.free || value == configured[i]) && (v.lower..=v.upper).contains(&value)
    };
    let steps = (GAIN_RANGE / GAIN_STEP) as i32;
    let gains = (-steps..=steps).map(|step| configured[slope] * (1.0 + GAIN_STEP).powi(step));
    let gains: Vec<f64> = gains.filter(|&gain| within(slope, gain)).collect();
    let offsets = (-OFFSET_STEPS..=OFFSET_STEPS)
        .map(|step| configured[offset] + f64::from(step) * OFFSET_RANGE / f64::from(OFFSET_STEPS));
    let offsets: Vec<f64> = offsets.filter(|&kev| within(offset, kev)).collect();
    let best_of_gain = |&gain: &f64| {
        let mut best: Option<Point> = None;
        for &kev in &offsets {
            let mut parameters = configured.to_vec();
            (parameters[slope], parameters[offset]) = (gain, kev);
            let point = point(engine, problem_at, parameters, spectrum)?;
            if best.as_ref().is_none_or(|b| point.unexplained < b.unexplained) {
                best = Some(point);
            }
        }
        Ok(best)
    };
    let gains: Vec<Option<Point>> = gains.par_iter().map(best_of_gain).collect::<Result<_>>()?;
    let gains: Vec<Point> = gains.into_iter().flatten().collect();
    let is_valley = |i: usize| {
        let around = &gains[i.saturating_sub(2)..gains.len().min(i + 3)];
        around.iter().all(|other| gains[i].unexplained <= other.unexplained)
    };
    let mut valleys: Vec<&Point> =
        (0..gains.len()).filter(|&i| is_valley(i)).map(|i| &gains[i]).collect();
    valleys.sort_by(|a, b| a.unexplained.total_cmp(&b.unexplained));
    let best: Vec<&Point> = valleys.into_iter().take(CANDIDATES).collect();
    best.par_iter().map(|point| best_width(engine, problem_at, point, spectrum)).collect()
}

/// The shapes of a grid point with the peak width that leaves least.
fn best_width(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    valley: &Point,
    spectrum: ArrayView2<f32>,
) -> Result<Vec<f64>> {
    let variables = problem_at(&valley.parameters)?.parameters;
    let mut best = valley.clone();
    for width in WIDTHS {
        let mut parameters = valley.parameters.clone();
        for (name, factor) in [("FWHM_OFFSET", width), ("FWHM_FANOPRIME", width * width)] {
            let (i, v) = (known_parameter(name), variables[known_parameter(name)]);
            if v.free {
                parameters[i] = (parameters[i] * factor).clamp(v.lower, v.upper);
            }
        }
        let point = point(engine, problem_at, parameters, spectrum)?;
        if point.unexplained < best.unexplained {
            best = point;
        }
    }
    Ok(best.parameters)
}

/// A point of the grid.
#[derive(Clone)]
struct Point {
    parameters: Vec<f64>,
    /// Sum of the squares that a linear fit leaves, over the whole spectrum \[counts²\].
    unexplained: f64,
}

/// A linear fit at one gain and offset, over the window that belongs to them.
fn point(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    parameters: Vec<f64>,
    spectrum: ArrayView2<f32>,
) -> Result<Point> {
    let problem =
        Problem { optimizer: Optimizer::Nnls, saturation: None, ..problem_at(&parameters)? };
    let fits = engine.fit(&problem, Batch::of(spectrum))?;
    let unexplained = unexplained(&problem, spectrum, &fits);
    Ok(Point { parameters, unexplained })
}
