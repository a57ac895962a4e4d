//! What an engine's model says where there are no counts to compare it with.

use ndarray::{Array1, Array2};

use super::{Engine, Evaluation};
use crate::error::Result;
use crate::kernels::known_parameter;
use crate::problem::Problem;

/// log10 amplitude of a component that is not there.
const ABSENT: f64 = -300.0;
/// What escapes of a component shows in the total alone.
const ESCAPES: [&str; 2] = ["SI_ESCAPE", "GE_ESCAPE"];

/// The model of a problem without templates at these shape parameters (in the kernels' order) and amplitudes \[counts\].
///
/// # Errors
///
/// When the engine fails.
pub fn model(
    engine: &dyn Engine,
    problem: &Problem,
    shapes: &[f64],
    amplitudes: &[f64],
) -> Result<Evaluation> {
    let log = |a: &f64| if *a > 0.0 { a.log10() } else { ABSENT };
    let variables: Vec<f64> = shapes.iter().copied().chain(amplitudes.iter().map(log)).collect();
    let (counts, background) = (Array1::zeros(problem.channels), Array1::zeros(problem.count));
    engine.evaluate(problem, &variables, counts.view(), background.view())
}

/// Each component at one count in its first line, escape included, `[components, window]` \[counts\].
///
/// # Errors
///
/// When the engine fails.
pub fn units(engine: &dyn Engine, problem: &Problem, shapes: &[f64]) -> Result<Array2<f64>> {
    let n = problem.components.len();
    if ESCAPES.iter().all(|name| shapes[known_parameter(name)] == 0.0) {
        return Ok(model(engine, problem, shapes, &vec![1.0; n])?.components);
    }
    let mut units = Array2::zeros((n, problem.count));
    for (component, mut unit) in units.rows_mut().into_iter().enumerate() {
        let mut amplitudes = vec![0.0; n];
        amplitudes[component] = 1.0;
        unit.assign(&model(engine, problem, shapes, &amplitudes)?.total);
    }
    Ok(units)
}
