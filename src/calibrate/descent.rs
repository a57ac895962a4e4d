//! The way down from a start: Adam in stages, each from where the one before ended, with the amplitudes solved again
//! and with the window and the background that belong to it.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::ProblemAt;
use crate::engine::{Batch, Engine, Fits};
use crate::error::Result;
use crate::kernels::{Status, known_parameter};
use crate::problem::{Optimizer, Problem};

/// Steps of a stage, and how long they are, over Adam's rates.
pub(super) type Stage = (usize, f64);

/// Into the valley.
pub(super) const ROUGH: [Stage; 2] = [(150, 2.0), (150, 0.7)];
/// To its floor.
pub(super) const FINE: [Stage; 4] = [(300, 1.0), (300, 0.3), (300, 0.1), (300, 0.03)];

/// Rates of the parameters that those for pixels leave where they start; over those.
const FASTER: [(&str, f64); 5] = [
    ("FWHM_OFFSET", 4.0),
    ("FWHM_FANOPRIME", 100.0),
    ("COMPTON_F_TAIL", 10.0),
    ("COMPTON_GAMMA", 3.0),
    ("COMPTON_HI_F_TAIL", 100.0),
];

/// Where a way ended.
#[derive(Clone)]
pub(super) struct Place {
    pub parameters: Vec<f64>,
    /// Sum of the squares that are left over the whole spectrum \[counts²\]: windows differ.
    pub unexplained: f64,
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
            status: fits.status[0],
            r_squared: fits.r_squared[0],
            r_squared_log: fits.r_squared_log[0],
            amplitudes: fits.amplitudes.row(0).to_vec(),
        }
    }
}

/// Sum of the squares that a fit leaves over the whole spectrum; a spectrum without a fit is left as it is.
pub(super) fn unexplained(problem: &Problem, spectrum: ArrayView2<f32>, fits: &Fits) -> f64 {
    let window = problem.first..problem.first + problem.count;
    let fitted = fits.status[0].is_fitted();
    let left = (0..problem.channels).filter(|c| !fitted || !window.contains(c));
    let left: f64 = left.map(|c| f64::from(spectrum[[0, c]]).powi(2)).sum();
    left + if fitted { fits.objective[0] * problem.count as f64 } else { 0.0 }
}

/// The ends of the ways from all starts, in their order; `frozen` parameters stay.
pub(super) fn all(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    starts: &[Vec<f64>],
    spectrum: ArrayView2<f32>,
    (stages, frozen): (&[Stage], &[&str]),
) -> Result<Vec<Place>> {
    let way = |start: &Vec<f64>| one(engine, problem_at, start, spectrum, (stages, frozen));
    starts.par_iter().map(way).collect()
}

fn one(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    start: &[f64],
    spectrum: ArrayView2<f32>,
    (stages, frozen): (&[Stage], &[&str]),
) -> Result<Place> {
    let mut best: Option<Place> = None;
    for &(steps, pace) in stages {
        let from = best.as_ref().map_or(start, |place| &place.parameters);
        let mut problem = paced(problem_at(from)?, pace);
        for name in frozen {
            problem.parameters[known_parameter(name)].free = false;
        }
        (problem.optimizer, problem.steps, problem.tolerance) = (Optimizer::Adam, steps, 0.0);
        (problem.saturation, problem.solve_start) = (None, true);
        let fits = engine.fit(&problem, Batch::of(spectrum))?;
        let place = Place::of(&problem, spectrum, &fits);
        if !place.status.is_fitted() {
            return Ok(best.unwrap_or(place));
        }
        best = Some(place);
    }
    Ok(best.expect("a way has stages"))
}

/// The problem with Adam's rates of a stage.
fn paced(mut problem: Problem, pace: f64) -> Problem {
    for (name, faster) in FASTER {
        problem.parameters[known_parameter(name)].rate *= faster;
    }
    for variable in problem.parameters.iter_mut().chain(&mut problem.amplitudes) {
        variable.rate *= pace;
    }
    problem
}
