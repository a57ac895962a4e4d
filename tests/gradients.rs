//! Promise: the hand-derived adjoint is the derivative of the model that the engine computes, by every shape
//! parameter and every log10 amplitude, for every kind of line and every choice of shape; in f64 to 1e-7 and in
//! f32 to 1e-3 of the sum of the absolute values of an entry's terms.
//!
//! An entry is a sum over channels of residual times derivative of the model. Its terms cancel, by chance or at a
//! minimum, so that sum of absolute values is the scale that rounding errors have. It is never below |entry|.

#[path = "common/differences.rs"]
mod differences;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use differences::Entry;
use random::Case;
use rayon::prelude::*;
use xrfit::engine::Precision;
use xrfit::kernels;
use xrfit::problem::Tail;

/// Allowed difference from central differences, over the scale of the entry.
const F64_ERROR: f64 = 1e-7;
/// Allowed difference of the f32 gradient from differences of the f64 model, over the scale of the entry.
const F32_ERROR: f64 = 1e-3;

/// Central differences of every case by every variable, `[cases][variables]`.
fn differences(cases: &[Case]) -> Vec<Vec<Entry>> {
    let of = |case: &Case| {
        (0..case.variables.len()).map(|i| differences::central(case, i)).collect::<Vec<_>>()
    };
    cases.par_iter().map(of).collect()
}

fn compare(case: &Case, entries: &[Entry], precision: Precision, allowed: f64) {
    let gradient = case.evaluate(precision).gradient;
    for ((name, entry), &ours) in case.names().iter().zip(entries).zip(&gradient) {
        let error = (ours - entry.value).abs();
        assert!(
            error <= allowed * entry.scale,
            "{}: d/d {name} in {precision:?} is {ours:e}, differences give {:e}: {:.1e} of the terms' absolute \
             sum, allowed {allowed:e}",
            case.name,
            entry.value,
            error / entry.scale
        );
    }
}

#[test]
fn every_entry_is_the_central_difference() {
    let cases = random::cases();
    let entries = differences(&cases);
    for (case, entries) in cases.iter().zip(&entries) {
        compare(case, entries, Precision::F64, F64_ERROR);
        compare(case, entries, Precision::F32, F32_ERROR);
    }
    every_variable_matters(&cases, &entries);
}

/// Each shape parameter in some case, and each amplitude in its own, moves the objective visibly.
fn every_variable_matters(cases: &[Case], entries: &[Vec<Entry>]) {
    let shapes = kernels::parameters().len();
    let mut most = vec![0.0_f64; shapes];
    for (case, entries) in cases.iter().zip(entries) {
        let objective = case.evaluate(Precision::F64).objective;
        let effect = |e: &Entry| e.scale * e.unit / objective;
        for (most, entry) in most.iter_mut().zip(entries) {
            *most = most.max(effect(entry));
        }
        for (k, entry) in entries[shapes..].iter().enumerate() {
            let effect = effect(entry);
            let component = &case.problem.components[k];
            assert!(
                effect > 1e-4,
                "{}: {component} moves the objective by {effect:.1e}",
                case.name
            );
        }
    }
    for (parameter, most) in kernels::parameters().iter().zip(most) {
        assert!(most > 1e-4, "no case tests {}: it moves objectives by {most:.1e}", parameter.name);
    }
}

/// Fractions, and the others that make the same term.
const GATES: [(&str, &[&str]); 9] = [
    ("COMPTON_F_STEP", &[]),
    ("COMPTON_F_TAIL", &[]),
    ("COMPTON_HI_F_TAIL", &[]),
    ("F_STEP_OFFSET", &["F_STEP_LINEAR"]),
    ("F_STEP_LINEAR", &["F_STEP_OFFSET"]),
    ("F_TAIL_OFFSET", &["F_TAIL_LINEAR"]),
    ("KB_F_TAIL_LINEAR", &["KB_F_TAIL_OFFSET"]),
    ("SI_ESCAPE", &[]),
    ("GE_ESCAPE", &[]),
];

#[test]
fn a_free_fraction_at_0_has_the_derivative_from_above() {
    let index = |name: &str| kernels::parameter_index(name).expect("a parameter of the model");
    for (name, others) in GATES {
        let mut case = random::cases()
            .into_iter()
            .find(|c| c.problem.tail == Tail::Maps)
            .expect("one is there");
        for other in others.iter().chain([&name]) {
            case.variables[index(other)] = 0.0;
        }
        case.problem.parameters[index(name)].free = true;
        let entry = differences::upward(&case, index(name));
        let ours = case.evaluate(Precision::F64).gradient[index(name)];
        let error = (ours - entry.value).abs() / entry.scale;
        assert!(
            error <= F64_ERROR,
            "d/d {name} at 0 is {ours:e}, differences give {:e}: {error:.1e} of the terms' absolute sum, \
             allowed {F64_ERROR:e}",
            entry.value
        );
    }
}

#[test]
fn the_objective_is_the_mean_square_of_the_residuals() {
    for case in &random::cases() {
        let evaluation = case.evaluate(Precision::F64);
        let window = &case.counts[case.problem.first..];
        let square = |c: usize| (evaluation.total[c] + case.background[c] - window[c]).powi(2);
        let n = case.problem.count;
        let expected = (0..n).map(square).sum::<f64>() / n as f64;
        let error = (evaluation.objective / expected - 1.0).abs();
        assert!(
            error < 1e-13,
            "{}: objective {}, residuals give {expected}: {error:.1e}, allowed 1e-13",
            case.name,
            evaluation.objective
        );
    }
}
