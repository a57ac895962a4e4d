//! Promise: what a batch may ask for, the CUDA engine does as the CPU engine does: backgrounds, optimisers, starts,
//! bad spectra, and spectra of more channels than shared memory holds. On stand-in devices, in f64 to rounding.

#![cfg(feature = "cuda")]

#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;
#[path = "common/standin.rs"]
mod standin;

use ndarray::{Array2, ArrayView1, s};
use standin::{is_started, succeeds};
use xrfit::engine::{Batch, Choice, Engine, Fits, Precision, Starts, open};
use xrfit::problem::{Background, Optimizer, Problem, SnipOrder};

use random::Case;

/// More than a batch needs to go to the device; a prime.
const SPECTRA: usize = 37;
/// Of each value's scale.
const ALLOWED: f64 = 1e-8;

fn engines(precision: Precision) -> [Box<dyn Engine + Send>; 2] {
    let cuda = open(Choice::Cuda, precision).expect("a stand-in device");
    assert!(cuda.describe().starts_with("cuda:0, stand-in device 0"), "{}", cuda.describe());
    [cuda, open(Choice::Cpu, precision).expect("the CPU engine")]
}

/// A case's problem, to be fitted in a few steps: what it asks for besides goes round with its number.
fn problem(case: &Case, number: usize) -> Problem {
    let mut problem = case.problem.clone();
    for (v, info) in problem.parameters.iter_mut().zip(xrfit::kernels::parameters()) {
        (v.free, v.rate) = (v.start != 0.0, 0.1 * info.rate);
        (v.lower, v.upper) = (0.5 * v.start.min(0.0) - 1e-3, 2.0 * v.start.abs() + 1e-3);
    }
    for v in &mut problem.amplitudes {
        (v.free, v.rate, v.lower, v.upper) = (true, 0.02, -3.0, 12.0);
    }
    problem.background = [Background::Snip, Background::Given, Background::None][number % 3];
    problem.snip_order = [SnipOrder::Simultaneous, SnipOrder::InPlace][number % 2];
    problem.optimizer = [Optimizer::Adam, Optimizer::Adam, Optimizer::Nnls][number / 2 % 3];
    problem.clip_net_counts = number % 4 > 1;
    // at the solution of a linear start its derivatives are nothing but rounding errors, which Adam scales up:
    // there the shapes of the start are others
    problem.solve_start = number % 2 == 1;
    problem.saturation = [Some(1e8), None][number % 2];
    problem.steps = 4;
    problem
}

/// Spectra of different strengths; four that cannot be fitted are among them.
fn counts(case: &Case, problem: &Problem) -> Array2<f32> {
    let inside = problem.first + problem.count / 3;
    Array2::from_shape_fn((SPECTRA, problem.channels), |(i, c)| match i {
        5 => 0.0,
        7 if c == inside => f32::NAN,
        11 if c == inside => -1.0,
        13 if c == inside => 1e9,
        _ => (case.counts[c] * (0.2 + 0.05 * i as f64)).round() as f32,
    })
}

fn near(found: f64, expected: f64, scale: f64, what: &str) {
    assert_eq!(found.is_nan(), expected.is_nan(), "{what}: {found}, expected {expected}");
    let off = (found - expected).abs() / scale.max(1e-300);
    assert!(
        expected.is_nan() || off <= ALLOWED,
        "{what}: {found}, expected {expected}: off by {off:.1e} of {scale:.1e}, allowed {ALLOWED:.0e}"
    );
}

fn compare(found: &Fits, expected: &Fits, name: &str) {
    assert_eq!(found.status, expected.status, "{name}: status");
    assert_eq!(found.steps, expected.steps, "{name}: steps");
    for i in 0..SPECTRA {
        let each = |what: &str, a: ArrayView1<f64>, b: ArrayView1<f64>, scale: f64| {
            for (k, (&a, &b)) in a.iter().zip(b).enumerate() {
                near(a, b, scale.max(b.abs()), &format!("{name}: {what} {k} of spectrum {i}"));
            }
        };
        each("parameter", found.parameters.row(i), expected.parameters.row(i), 0.0);
        let largest = expected.amplitudes.row(i).iter().fold(0.0, |m: f64, a| m.max(a.abs()));
        each("amplitude", found.amplitudes.row(i), expected.amplitudes.row(i), largest);
        for (what, a, b) in [
            ("objective", &found.objective, &expected.objective),
            ("R²", &found.r_squared, &expected.r_squared),
            ("log R²", &found.r_squared_log, &expected.r_squared_log),
        ] {
            near(a[i], b[i], b[i].abs().max(1.0), &format!("{name}: {what} of spectrum {i}"));
        }
    }
    let sums = [(&found.fitted, &expected.fitted), (&found.background, &expected.background)];
    for (a, b) in sums.map(|(a, b)| (a.counts(), b.counts())) {
        let scale = b.iter().fold(1.0, |m: f64, y| m.max(y.abs()));
        a.iter().zip(&b).for_each(|(&a, &b)| near(a, b, scale, &format!("{name}: a sum")));
    }
}

#[test]
fn every_choice_of_a_problem_is_fitted_alike() {
    succeeds("fits_every_choice", &[]);
}

#[test]
#[ignore = "started by the test above"]
fn fits_every_choice() {
    if !is_started() {
        return;
    }
    let [cuda, cpu] = engines(Precision::F64);
    for (number, case) in random::cases().iter().enumerate() {
        let problem = problem(case, number);
        let counts = counts(case, &problem);
        let background =
            Array2::from_shape_fn((SPECTRA, problem.count), |(_, c)| case.background[c] as f32);
        let starts = Array2::from_shape_fn((SPECTRA, case.variables.len()), |(i, j)| {
            case.variables[j] * (1.0 + 1e-3 * (i + 3) as f64)
        });
        let each = number % 2 == 1 && problem.optimizer != Optimizer::Nnls;
        let batch = Batch {
            counts: counts.view(),
            background: (problem.background == Background::Given).then(|| background.view()),
            starts: if each { Starts::Each(starts.view()) } else { Starts::FirstPass },
        };
        let [found, expected] =
            [&cuda, &cpu].map(|engine| engine.fit(&problem, batch).expect("it fits"));
        compare(&found, &expected, case.name);
    }
}

#[test]
fn the_model_and_backgrounds_are_alike() {
    succeeds("evaluates_and_finds_backgrounds", &[]);
}

#[test]
#[ignore = "started by the test above"]
fn evaluates_and_finds_backgrounds() {
    if !is_started() {
        return;
    }
    let [cuda, cpu] = engines(Precision::F64);
    for case in random::cases().iter().step_by(3) {
        models_are_alike(&*cuda, &*cpu, case);
        backgrounds_are_alike(&*cuda, &*cpu, case);
    }
}

fn models_are_alike(cuda: &dyn Engine, cpu: &dyn Engine, case: &Case) {
    let of = |engine: &dyn Engine| {
        let [counts, background] = [&case.counts, &case.background].map(ArrayView1::from);
        engine.evaluate(&case.problem, &case.variables, counts, background).expect("a model")
    };
    let (found, expected) = (of(cuda), of(cpu));
    let top = expected.total.iter().fold(0.0, |m: f64, y| m.max(*y));
    let steepest = expected.gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    let name = case.name;
    found.total.iter().zip(&expected.total).for_each(|(&a, &b)| near(a, b, top, name));
    found.components.iter().zip(&expected.components).for_each(|(&a, &b)| near(a, b, top, name));
    found.gradient.iter().zip(&expected.gradient).for_each(|(&a, &b)| near(a, b, steepest, name));
    near(found.objective, expected.objective, expected.objective, name);
}

fn backgrounds_are_alike(cuda: &dyn Engine, cpu: &dyn Engine, case: &Case) {
    let counts = counts(case, &case.problem);
    let sound = counts.slice(s![14.., ..]);
    let [found, expected] = [cuda, cpu].map(|e| e.snip(&case.problem, sound).expect("backgrounds"));
    assert_eq!(found.dim(), expected.dim(), "{}: backgrounds", case.name);
    found.iter().zip(&expected).for_each(|(&a, &b)| near(a, b, b.abs().max(1.0), case.name));
}

/// Workspaces that leave a multiprocessor few warps, and such as do not fit into shared memory at all.
#[test]
fn long_spectra_are_fitted_by_blocks_and_in_plain_memory() {
    let Some((log, _)) = succeeds("fits_long_spectra", &[]) else { return };
    assert!(!log.of("launch xrf_fit_block_f64").is_empty(), "blocks: {:?}", log.events());
    let plain = log.of("launch xrf_fit_block_f64").iter().any(|e| e.what.ends_with("shared 0"));
    assert!(plain, "no workspace in plain memory: {:?}", log.events());
}

#[test]
#[ignore = "started by the test above"]
fn fits_long_spectra() {
    if !is_started() {
        return;
    }
    let [cuda, cpu] = engines(Precision::F64);
    for channels in [4_099, 32_771] {
        let mut case = random::cases().swap_remove(5);
        case.counts.resize(channels, 3.0);
        case.background.resize(channels, 20.0);
        (case.problem.channels, case.problem.first, case.problem.count) = (channels, 0, channels);
        let mut problem = problem(&case, 2);
        problem.steps = 1;
        let counts = counts(&case, &problem);
        let batch = Batch::of(counts.view());
        assert!(!problem.solve_start && problem.optimizer == Optimizer::Adam);
        let [found, expected] = [&cuda, &cpu].map(|e| e.fit(&problem, batch).expect("it fits"));
        compare(&found, &expected, &format!("{channels} channels"));
    }
}
