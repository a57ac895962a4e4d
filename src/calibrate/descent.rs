//! The way down from a start: Newton in stages, each from where the one before ended, with the amplitudes solved again
//! and with the window and the background that belong to it.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::ProblemAt;
use crate::engine::{Batch, Engine, Fits};
use crate::error::Result;
use crate::kernels::{Status, known_parameter};
use crate::problem::{Objective, Optimizer, Prior, Problem};

/// Steps at most of each stage into the valley.
pub(super) const ROUGH: [usize; 1] = [40];
/// To its floor.
pub(super) const FINE: [usize; 2] = [30, 30];

/// Standard deviations of what is known before: the beam's energy \[keV\] and the axis' curvature \[keV/channel²\]. Few
/// counts say little about either, and together they make any gain look right.
const BELIEVED: [(&str, f64); 2] = [("COHERENT_SCT_ENERGY", 0.03), ("ENERGY_QUADRATIC", 1e-8)];

/// Where a way ended.
#[derive(Clone)]
pub(super) struct Place {
    pub parameters: Vec<f64>,
    /// Sum of the squares that are left over the whole spectrum \[counts²\]: windows differ.
    pub unexplained: f64,
    /// Poisson deviance of the window, and the counts outside.
    pub deviance: f64,
    pub status: Status,
    pub r_squared: f64,
    pub r_squared_log: f64,
    /// Net counts in each component's first line.
    pub amplitudes: Vec<f64>,
}

impl Place {
    /// What the only fit of `fits` says.
    fn of(problem: &Problem, spectrum: ArrayView2<f32>, fits: &Fits) -> Self {
        Self {
            parameters: fits.parameters.row(0).to_vec(),
            unexplained: unexplained(problem, spectrum, fits),
            deviance: deviance(problem, spectrum, fits),
            status: fits.status[0],
            r_squared: fits.r_squared[0],
            r_squared_log: fits.r_squared_log[0],
            amplitudes: fits.amplitudes.row(0).to_vec(),
        }
    }
}

fn deviance(problem: &Problem, spectrum: ArrayView2<f32>, fits: &Fits) -> f64 {
    let window = problem.first..problem.first + problem.count;
    let outside = (0..problem.channels).filter(|c| !window.contains(c));
    let outside: f64 = outside.map(|c| f64::from(spectrum[[0, c]])).sum();
    fits.deviance[0] * problem.count as f64 + outside
}

/// Sum of the squares that a fit leaves over the whole spectrum; a spectrum without a fit is left as it is.
pub(super) fn unexplained(problem: &Problem, spectrum: ArrayView2<f32>, fits: &Fits) -> f64 {
    let window = problem.first..problem.first + problem.count;
    let fitted = fits.status[0].is_fitted();
    let left = (0..problem.channels).filter(|c| !fitted || !window.contains(c));
    let left: f64 = left.map(|c| f64::from(spectrum[[0, c]]).powi(2)).sum();
    let inside = fits.fitted.counts();
    let square = |c: usize| (f64::from(spectrum[[0, c]]) - inside[c - problem.first]).powi(2);
    left + if fitted { window.clone().map(square).sum::<f64>() } else { 0.0 }
}

/// Whence and how.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub problem_at: &'a ProblemAt<'a>,
    /// Steps at most of each stage.
    pub stages: &'a [usize],
    /// Names of parameters that stay.
    pub frozen: &'a [&'a str],
    /// Configured shapes.
    pub configured: &'a [f64],
}

/// The ends of the ways from all starts, in their order.
pub(super) fn all(
    engine: &dyn Engine,
    way: Way,
    starts: &[Vec<f64>],
    spectrum: ArrayView2<f32>,
) -> Result<Vec<Place>> {
    starts.par_iter().map(|start| one(engine, way, start, spectrum)).collect()
}

fn one(engine: &dyn Engine, way: Way, start: &[f64], spectrum: ArrayView2<f32>) -> Result<Place> {
    let mut best: Option<Place> = None;
    for &steps in way.stages {
        let from = best.as_ref().map_or(start, |place| &place.parameters);
        let problem = believing((way.problem_at)(from)?, way, steps);
        let fits = engine.fit(&problem, Batch::of(spectrum))?;
        let place = Place::of(&problem, spectrum, &fits);
        if !place.status.is_fitted() {
            return Ok(best.unwrap_or(place));
        }
        best = Some(place);
    }
    Ok(best.expect("a way has stages"))
}

/// The problem of a stage.
fn believing(problem: Problem, way: Way, steps: usize) -> Problem {
    let mut parameters = problem.parameters.clone();
    for (name, width) in BELIEVED {
        let p = known_parameter(name);
        parameters[p].prior = Some(Prior { center: way.configured[p], width });
    }
    for name in way.frozen {
        parameters[known_parameter(name)].free = false;
    }
    Problem {
        parameters,
        optimizer: Optimizer::Newton,
        objective: Objective::Mse,
        steps,
        saturation: None,
        solve_start: true,
        ..problem
    }
}
