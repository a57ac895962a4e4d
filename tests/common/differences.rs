//! The gradient of the objective from differences of the model alone.
#![allow(dead_code, reason = "each test uses its part")]

use xrfit::engine::Precision;
use xrfit::kernels;

use crate::oracle;
use crate::random::Case;

/// One variable's derivative of the objective, as a sum over channels of residual times model derivative.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The derivative.
    pub value: f64,
    /// Sum of the absolute values of its terms.
    pub scale: f64,
    /// A change of the variable that changes a spectrum visibly.
    pub unit: f64,
}

/// A change of a shape parameter that changes a spectrum visibly.
fn unit(case: &Case, index: usize) -> f64 {
    let channels = case.problem.channels as f64;
    let value = case.variables[index].abs();
    match kernels::parameters().get(index).map(|p| p.name) {
        None => 0.3,
        Some("ENERGY_OFFSET" | "COHERENT_SCT_ENERGY") => 0.05,
        Some("ENERGY_SLOPE") => 0.05 / channels,
        Some("ENERGY_QUADRATIC") => 0.05 / (channels * channels),
        Some("COMPTON_ANGLE") => 5.0,
        Some("GAMMA_LINEAR") => 0.02,
        Some("FWHM_FANOPRIME") => value,
        Some("F_STEP_LINEAR" | "F_STEP_OFFSET" | "F_TAIL_LINEAR" | "KB_F_TAIL_LINEAR") => {
            value.max(1e-4)
        }
        Some(_) => value.max(1e-2),
    }
}

/// Places in steps and weights of a rule for the first derivative.
type Rule = [(f64, f64)];

/// Central differences; their error is of the sixth order in the step.
const CENTRAL: [(f64, f64); 6] = [
    (1.0, 3.0 / 4.0),
    (-1.0, -3.0 / 4.0),
    (2.0, -3.0 / 20.0),
    (-2.0, 3.0 / 20.0),
    (3.0, 1.0 / 60.0),
    (-3.0, -1.0 / 60.0),
];

/// Differences upward; their error is of the fourth order in the step.
const UPWARD: [(f64, f64); 5] =
    [(0.0, -25.0 / 12.0), (1.0, 4.0), (2.0, -3.0), (3.0, 4.0 / 3.0), (4.0, -1.0 / 4.0)];

fn moved(case: &Case, index: usize, by: f64) -> Vec<f64> {
    let mut variables = case.variables.clone();
    variables[index] += by;
    variables
}

/// Derivative of the model over the window, `[window]`.
fn difference(case: &Case, index: usize, step: f64, rule: &Rule) -> Vec<f64> {
    let mut derivative = vec![0.0; case.problem.count];
    for &(place, weight) in rule {
        let model = case.evaluate_at(Precision::F64, &moved(case, index, place * step)).total;
        derivative.iter_mut().zip(&model).for_each(|(d, m)| *d += weight * m / step);
    }
    derivative
}

/// Is the model smooth between all places of the central rule?
fn is_smooth(case: &Case, index: usize, step: f64) -> bool {
    let pieces = |by| oracle::pieces(&case.problem, &moved(case, index, by));
    let here = pieces(0.0);
    CENTRAL.iter().all(|(place, _)| pieces(place * step) == here)
}

/// Is this a fraction at 0 that is not free? Then its term is not evaluated.
fn is_off(case: &Case, index: usize) -> bool {
    let fractions = ["COMPTON_F_STEP", "F_STEP_OFFSET", "F_STEP_LINEAR", "SI_ESCAPE", "GE_ESCAPE"];
    let name = kernels::parameters().get(index).map_or("", |p| p.name);
    fractions.contains(&name) && case.variables[index] == 0.0
}

/// Derivative of the model over the window, `[window]`, where its term is on. The escape's shift of whole channels has no derivative,
/// and MAPS' tail has a kink at its line, so the step stays below the next change of either.
pub fn of_model(case: &Case, index: usize) -> Option<Vec<f64>> {
    if is_off(case, index) {
        return None;
    }
    let mut step = 3e-3 * unit(case, index);
    while !is_smooth(case, index, step) {
        step *= 0.5;
    }
    Some(difference(case, index, step, &CENTRAL))
}

/// The derivative by one variable, 0 where its term is off.
pub fn central(case: &Case, index: usize) -> Entry {
    let unit = unit(case, index);
    match of_model(case, index) {
        Some(derivative) => entry(case, unit, &derivative),
        None => Entry { value: 0.0, scale: 0.0, unit },
    }
}

/// The derivative from above, of a fraction that stands at 0.
pub fn upward(case: &Case, index: usize) -> Entry {
    let unit = unit(case, index);
    entry(case, unit, &difference(case, index, 1e-3 * unit, &UPWARD))
}

/// dL/dv = 2/n sum over channels of (model + background - counts) dmodel/dv
fn entry(case: &Case, unit: f64, derivative: &[f64]) -> Entry {
    let model = case.evaluate(Precision::F64).total;
    let window = &case.counts[case.problem.first..];
    let n = case.problem.count;
    let terms: Vec<f64> = (0..n)
        .map(|c| 2.0 / n as f64 * (model[c] + case.background[c] - window[c]) * derivative[c])
        .collect();
    Entry { value: terms.iter().sum(), scale: terms.iter().map(|t| t.abs()).sum(), unit }
}
