//! Promise: five hundred steps of Adam in single precision end alike on both engines, over random problems of every
//! family of lines and every choice of shape, with every shape in use free: objectives within 1e-5, amplitudes within
//! 1e-4 or a twentieth of their standard deviation, whichever is more. kernels/fit.cu runs on tests/emulator.

#![cfg(feature = "cuda")]

#[path = "common/emulator.rs"]
mod emulator;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use emulator::{Spectra, Way};
use ndarray::{Array1, Array2, ArrayView1};
use random::Case;
use xrfit::engine::{Batch, Choice, Precision, Starts, open};
use xrfit::problem::{Background, Problem};
use xrfit::score::Bound;

const WAYS: [Way; 2] = [
    Way { team: "warp_f32", memory: "shared", order: "forward", blocks: 1 },
    Way { team: "block_f32", memory: "shared", order: "reverse", blocks: 1 },
];

/// The case's problem, in which all shapes that are in use, within a factor of two, and all amplitudes move for 500 steps.
fn to_fit(case: &Case) -> Problem {
    let mut problem = case.problem.clone();
    for (v, info) in problem.parameters.iter_mut().zip(xrfit::kernels::parameters()) {
        (v.free, v.rate) = (v.start != 0.0, 0.1 * info.rate);
        let bounds = [0.5 * v.start, 2.0 * v.start];
        (v.lower, v.upper) = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
        if info.name == "ENERGY_OFFSET" {
            (v.lower, v.upper) = (v.start - 0.05, v.start + 0.05);
        }
    }
    for v in &mut problem.amplitudes {
        (v.free, v.rate, v.lower, v.upper) = (true, 0.02, -3.0, 12.0);
    }
    problem.background = Background::Given;
    problem.solve_start = true;
    problem.steps = 500;
    problem
}

/// Starts a little off the shapes that the counts are of.
fn start(case: &Case) -> Vec<f64> {
    let names = case.names();
    let off = |(value, name): (&f64, &String)| match name.as_str() {
        "ENERGY_OFFSET" => value + 0.004,
        "FWHM_OFFSET" => 1.05 * value,
        _ => *value,
    };
    case.variables.iter().zip(&names).map(off).collect()
}

/// Standard deviations of the amplitudes at the case's own values \[counts\].
fn deviations(case: &Case, problem: &Problem) -> Array1<f64> {
    let engine = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let (shapes, logs) = case.variables.split_at(problem.parameters.len());
    let amplitudes: Vec<f64> = logs.iter().map(|log| 10f64.powf(*log)).collect();
    let fitted: Vec<usize> = (0..amplitudes.len()).collect();
    let free = problem.free_parameters();
    let priors = vec![None; free.len()];
    let bound = Bound { engine: &*engine, problem, fitted: &fitted, free: &free, priors: &priors };
    let background = ArrayView1::from(&case.background);
    bound.at(shapes, &amplitudes, background).expect("the bound is found")
}

#[test]
fn five_hundred_steps_end_alike() {
    let Some(_) = emulator::folder() else { return };
    for (number, case) in random::cases().iter().enumerate() {
        let problem = to_fit(case);
        let row = |v: Vec<f64>| Array2::from_shape_vec((1, v.len()), v).expect("one row");
        let spectra = Spectra {
            problem: &problem,
            counts: row(case.counts.iter().map(|y| y.round()).collect()),
            background: row(case.background.clone()),
            starts: row(start(case)),
        };
        let counts = spectra.counts.mapv(|y| y as f32);
        let background = spectra.background.mapv(|y| y as f32);
        let batch = Batch {
            counts: counts.view(),
            background: Some(background.view()),
            starts: Starts::Each(spectra.starts.view()),
        };
        let engine = open(Choice::Cpu, Precision::F32).expect("the CPU engine opens");
        let expected = engine.fit(&problem, batch).expect("the CPU engine fits");
        let sigma = deviations(case, &problem);
        let way = WAYS[number % WAYS.len()];
        let mut numbers = spectra.run("fit", way);
        numbers.take(problem.count);
        let found = numbers.take(case.variables.len()).split_off(problem.parameters.len());
        numbers.take(case.variables.len() + 3 * problem.components.len());
        let objective = numbers.take(1)[0];
        let off = (objective / expected.objective[0] - 1.0).abs();
        assert!(off <= 1e-5, "{}, {way:?}: objective off by {off:.1e}, allowed 1e-5", case.name);
        for (k, (a, e)) in found.iter().zip(expected.amplitudes.row(0)).enumerate() {
            let (off, allowed) = ((a - e).abs(), (1e-4 * e.abs()).max(0.05 * sigma[k]));
            assert!(
                off <= allowed,
                "{}, {way:?}: {} is {a}, the CPU's {e}: off by {off:.2e}, allowed {allowed:.2e}",
                case.name,
                problem.components[k]
            );
        }
    }
}
