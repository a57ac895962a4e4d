//! Promise: a background made of templates is fitted with the peaks by every optimiser: its gradient is that of
//! differences, Newton ends where no change of a template's amplitude helps, and the GPU's kernels agree with the CPU's.

#[path = "common/emulator.rs"]
mod emulator;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use emulator::{Spectra, Way};
use ndarray::{Array1, Array2, ArrayView1};
use random::Case;
use xrfit::engine::{Batch, Choice, Engine, Fits, Precision, Starts, open};
use xrfit::kernels::{self, Status};
use xrfit::problem::{Background, Objective, Optimizer, Weights};

/// What the recorded background has of its falling and of its rising half.
const PARTS: [f64; 2] = [0.7, 1.6];

/// Cases whose background is made of two templates; the counts are those of the model and of [`PARTS`].
fn cases() -> Vec<Case> {
    let all = random::cases().into_iter().step_by(3);
    all.map(|mut case| {
        let n = case.problem.count;
        let ramp = |c: usize| c as f64 / n as f64;
        case.problem.templates = Array2::from_shape_fn((2, n), |(side, c)| {
            case.background[c] * if side == 0 { 1.0 - ramp(c) } else { ramp(c) }
        });
        case.problem.background = Background::Pooled;
        let mixed = Array1::from(PARTS.to_vec()).dot(&case.problem.templates);
        for c in 0..n {
            let count = &mut case.counts[case.problem.first + c];
            *count = (*count + mixed[c] - case.background[c]).round().max(0.0);
        }
        case.variables.extend(PARTS.map(f64::log10));
        case
    })
    .collect()
}

fn exact() -> Box<dyn Engine + Send> {
    open(Choice::Cpu, Precision::F64).expect("the CPU engine opens")
}

fn objective(engine: &dyn Engine, case: &Case, variables: &[f64]) -> f64 {
    let none = Array1::zeros(case.problem.count);
    let counts = ArrayView1::from(&case.counts);
    engine.evaluate(&case.problem, variables, counts, none.view()).expect("it evaluates").objective
}

#[test]
fn the_gradient_by_templates_is_that_of_differences() {
    let engine = exact();
    for mut case in cases() {
        for objective_of in [Objective::Mse, Objective::Poisson] {
            case.problem.objective = objective_of;
            // away from where it is 0
            let mut variables = case.variables.clone();
            let first = variables.len() - 2;
            (variables[first], variables[first + 1]) = (0.1, -0.2);
            let none = Array1::zeros(case.problem.count);
            let counts = ArrayView1::from(&case.counts);
            let ours = engine
                .evaluate(&case.problem, &variables, counts, none.view())
                .expect("it evaluates")
                .gradient;
            for i in [first, first + 1] {
                let at = |step: f64| {
                    let mut moved = variables.clone();
                    moved[i] += step;
                    objective(&*engine, &case, &moved)
                };
                let expected = (8.0 * (at(1e-3) - at(-1e-3)) - (at(2e-3) - at(-2e-3))) / 12e-3;
                let error = (ours[i] / expected - 1.0).abs();
                assert!(
                    error < 1e-7,
                    "{}, {objective_of:?}: d/d template {} is {}, differences give {expected}: {error:.1e}, allowed 1e-7",
                    case.name,
                    i - first,
                    ours[i]
                );
            }
        }
    }
}

/// Fitted by an optimiser, with no shape free.
fn fixed(case: &Case, optimizer: Optimizer) -> Case {
    let mut case = case.clone();
    for (v, value) in case.problem.parameters.iter_mut().zip(&case.variables) {
        (v.free, v.start) = (false, *value);
    }
    for v in &mut case.problem.amplitudes {
        (v.free, v.lower, v.upper, v.rate) = (true, -11.0, 20.0, 1e-2);
    }
    (case.problem.objective, case.problem.weights) = (Objective::Poisson, Weights::None);
    (case.problem.optimizer, case.problem.solve_start) = (optimizer, true);
    case.problem.steps = if optimizer == Optimizer::Adam { 40 } else { 60 };
    case
}

fn row(values: &[f64]) -> Array2<f64> {
    Array2::from_shape_vec((1, values.len()), values.to_vec()).expect("one row")
}

fn fit(case: &Case, precision: Precision) -> Fits {
    let counts = row(&case.counts).mapv(|y| y as f32);
    let starts = row(&case.variables);
    let starts = match case.problem.optimizer {
        Optimizer::Nnls => Starts::FirstPass,
        _ => Starts::Each(starts.view()),
    };
    let batch = Batch { counts: counts.view(), background: None, starts };
    open(Choice::Cpu, precision).expect("it opens").fit(&case.problem, batch).expect("it fits")
}

#[test]
fn newton_ends_where_no_other_amplitude_is_better() {
    let engine = exact();
    for case in cases().iter().map(|case| fixed(case, Optimizer::Newton)) {
        let fits = fit(&case, Precision::F64);
        assert_eq!(fits.status[0], Status::Converged, "{}", case.name);
        let found = fits.template_amplitudes.row(0);
        let linear = fits.amplitudes.row(0);
        let logs = linear.iter().chain(found).map(|a| a.max(1e-12).log10());
        let shapes = kernels::parameters().len();
        let end: Vec<f64> = case.variables[..shapes].iter().copied().chain(logs).collect();
        let best = objective(&*engine, &case, &end);
        for i in shapes..end.len() {
            for step in [-1e-3, 1e-3] {
                let mut moved = end.clone();
                moved[i] += step;
                let there = objective(&*engine, &case, &moved);
                assert!(
                    there >= best * (1.0 - 1e-10),
                    "{}: variable {i} moved by {step} has {there}, the end {best}",
                    case.name
                );
            }
        }
        let counts: f64 = found.dot(&case.problem.templates).sum();
        let error = (fits.background_counts[0] / counts - 1.0).abs();
        assert!(error < 1e-9, "{}: background counts off by {error:.1e}", case.name);
    }
}

#[test]
fn the_gpus_kernels_end_where_the_cpu_does() {
    if emulator::folder().is_none() {
        return;
    }
    let optimizers = [Optimizer::Newton, Optimizer::Adam, Optimizer::Nnls];
    let ways = [("warp_f64", "forward"), ("block_f64", "reverse"), ("warp_f32", "reverse")];
    for (i, case) in cases().iter().enumerate() {
        for (j, optimizer) in optimizers.into_iter().enumerate() {
            let case = fixed(case, optimizer);
            let (team, order) = ways[(i + j) % 3];
            let way = Way { team, memory: "shared", order, blocks: 1 };
            let expected = fit(&case, way.precision());
            let spectra = Spectra {
                problem: &case.problem,
                counts: row(&case.counts),
                background: row(&vec![0.0; case.problem.count]),
                starts: row(&case.variables),
            };
            let mut numbers = spectra.run("fit", way);
            let shapes = kernels::parameters().len();
            numbers.take(case.problem.count);
            let found = numbers.take(case.problem.variable_count()).split_off(shapes);
            let wanted = expected.amplitudes.row(0);
            let wanted = wanted.iter().chain(expected.template_amplitudes.row(0));
            let allowed = if way.precision() == Precision::F64 { 1e-6 } else { 2e-3 };
            let scale = found.iter().fold(1.0, |most: f64, a| most.max(a.abs()));
            for (k, (a, e)) in found.iter().zip(wanted).enumerate() {
                let off = (a - e).abs() / e.abs().max(1e-3 * scale);
                assert!(
                    off < allowed,
                    "{}, {optimizer:?}, {way:?}: amplitude {k} is {a}, the CPU's {e}: {off:.1e}, allowed {allowed:.0e}",
                    case.name
                );
            }
        }
    }
}
