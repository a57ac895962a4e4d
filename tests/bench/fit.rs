//! What a pixel costs on one core: `cargo bench --bench fit`.
//!
//! E15 and scatter, 1052 channels, twelve free shapes (`--free paper`), f32, all 500 steps of Adam; and SNIP.
//! Each figure is the median of several batches on one thread; the last column relates it to a bare loop of
//! f32 exponentials timed between the batches, which a loaded or a slower machine stretches alike. Then Newton to the end,
//! on the deviance, from the first-pass shapes: the true ones scatter by 5 eV and 2 % of the width. The background is
//! known, or, where it is pooled, its shape is, and its height a variable more; spectra per second, how many converged,
//! in how many steps.
//! `cargo bench --bench fit -- 'no tails'` runs the rows of that name alone.

mod case;

use case::{E15, median, seconds, set, spectra};
use ndarray::{Array2, ArrayView1, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};
use xrfit::background::start_from_mean;
use xrfit::config::FOUR;
use xrfit::engine::{Batch, Choice, Engine, Precision, Starts, open};
use xrfit::kernels::{self, Simd, Status};
use xrfit::problem::{Background, Objective, Optimizer, Problem, Tail};

/// First channel and channels.
const WINDOW: (usize, usize) = (105, 1052);
const BATCHES: usize = 7;
const SPECTRA: usize = 8;
/// Of the yardstick.
const EXPONENTIALS: usize = 10_000_000;

/// The case with a change that makes the variant.
fn problem(change: impl FnOnce(&mut Problem)) -> Problem {
    let mut problem = case::problem(&E15, WINDOW, 0.00952);
    change(&mut problem);
    problem
}

/// Median seconds of `work`, and of the exponentials run beside it.
fn timed(simd: Simd, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let yardstick = || {
        std::hint::black_box(simd.exponentials(EXPONENTIALS));
    };
    let both: Vec<(f64, f64)> =
        (0..BATCHES).map(|_| (seconds(&mut work), seconds(yardstick))).collect();
    (median(both.iter().map(|b| b.0).collect()), median(both.iter().map(|b| b.1).collect()))
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("one thread starts");
    let engine = open(Choice::Cpu, Precision::F32).expect("the CPU engine opens");
    let simd = Simd::choose().expect("a set of instructions is chosen");
    println!("{}; one thread, {}", cpu(), engine.describe());
    println!("{:<34} {:>10} {:>8} {:>22}", "per spectrum", "", "bar", "exponentials each");
    let row = |name: &str, bar: &str, unit: f64, (time, yardstick): (f64, f64), n: usize| {
        let each = time / n as f64;
        let exponentials = each / yardstick * EXPONENTIALS as f64;
        println!("{name:<34} {:>10.3} {bar:>8} {exponentials:>22.0}", each / unit);
    };
    let asked = std::env::args().nth(1).filter(|a| !a.starts_with('-')).unwrap_or_default();
    for (name, bar, problem) in [
        ("Adam 500, no tails [ms]", "3", problem(|p| p.tail = Tail::None)),
        ("Adam 500, tails [ms]", "15", problem(|_| ())),
        ("Adam 500, tails and step [ms]", "18", problem(|p| set(p, "F_STEP_OFFSET", 1e-4))),
    ]
    .into_iter()
    .filter(|row| row.0.contains(&asked))
    {
        let counts = spectra(&*engine, &problem, SPECTRA);
        let mut steps = 0;
        let times = timed(simd, || {
            let fits = engine.fit(&problem, Batch::of(counts.view())).expect("the engine fits");
            steps = fits.steps.iter().copied().min().unwrap_or(0);
        });
        assert_eq!(steps, 500, "every step is taken");
        row(name, bar, 1e-3, times, SPECTRA);
    }
    newton(&*engine, simd, &asked);
    if !"SNIP".contains(&asked) {
        return;
    }
    let problem = problem(|_| ());
    let counts = spectra(&*engine, &problem, SPECTRA);
    let many = ndarray::concatenate(Axis(0), &vec![counts.view(); 64]).expect("rows of one length");
    let times = timed(simd, || {
        std::hint::black_box(engine.snip(&problem, many.view()).expect("the engine fits"));
    });
    row("SNIP [us]", "25", 1e-6, times, many.nrows());
}

/// Spectra of one row of Newton's.
const PIXELS: usize = 2000;
/// Part of the counts that is background.
const CONTINUUM: f64 = 0.085;

/// Newton's rows: spectra per second, and how fits ended.
fn newton(engine: &dyn Engine, simd: Simd, asked: &str) {
    println!(
        "{:<34} {:>10} {:>8} {:>22} {:>10} {:>12}",
        "", "spectra/s", "bar", "exponentials each", "converged", "steps, p99"
    );
    for (name, free, tail, pooled, bar) in [
        ("Newton, 4 shapes, no tails", &FOUR[..], Tail::None, false, "8000"),
        ("Newton, 4 shapes, tails", &FOUR[..], Tail::Maps, false, "3000"),
        ("Newton, amplitudes alone", &[][..], Tail::None, false, "50000"),
        ("Newton, amplitudes, pooled", &[][..], Tail::None, true, "50000"),
    ] {
        for counts in [300.0, 1000.0, 10_000.0] {
            let name = format!("{name}, {counts} counts");
            if !name.contains(asked) {
                continue;
            }
            let mut problem = problem(|p| to_newton(p, free, tail));
            let (spectra, background) = scattered(engine, &problem, counts);
            if pooled {
                problem.background = Background::Pooled;
                problem.templates = background.slice(s![..1, ..]).mapv(f64::from);
                let sum = spectra.mapv(f64::from).sum_axis(Axis(0));
                start_from_mean(engine, &mut problem, sum.view(), PIXELS)
                    .expect("the sum is fitted");
            }
            let batch = Batch {
                counts: spectra.view(),
                background: (!pooled).then_some(background.view()),
                starts: Starts::FirstPass,
            };
            let mut fits = None;
            let (time, yardstick) =
                timed(simd, || fits = Some(engine.fit(&problem, batch).expect("the engine fits")));
            let fits = fits.expect("it was run");
            let mut steps = fits.steps.to_vec();
            steps.sort_unstable();
            let converged = fits.status.iter().filter(|&&s| s == Status::Converged).count();
            println!(
                "{name:<34} {:>10.0} {bar:>8} {:>22.0} {:>8.2} % {:>6} {:>5}",
                PIXELS as f64 / time,
                time / PIXELS as f64 / yardstick * EXPONENTIALS as f64,
                100.0 * converged as f64 / PIXELS as f64,
                steps[PIXELS / 2],
                steps[PIXELS * 99 / 100]
            );
        }
    }
}

fn to_newton(problem: &mut Problem, free: &[&str], tail: Tail) {
    for (variable, info) in problem.parameters.iter_mut().zip(kernels::parameters()) {
        variable.free = free.contains(&info.name);
    }
    (problem.objective, problem.optimizer) = (Objective::Poisson, Optimizer::Newton);
    (problem.background, problem.tail, problem.steps) = (Background::Given, tail, 50);
}

/// Poisson counts of the model and a smooth background, `counts` a spectrum, from shapes that scatter where they are
/// free; and that background.
fn scattered(engine: &dyn Engine, problem: &Problem, counts: f64) -> (Array2<f32>, Array2<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let normal = Normal::new(0.0, 1.0).expect("a width above 0");
    let index = |name| kernels::parameter_index(name).expect("it exists");
    let drifts = problem.parameters.iter().any(|v| v.free);
    let zeros = vec![0.0; problem.channels];
    let nothing = ArrayView1::from(&zeros);
    let model = |shapes: &[f64]| {
        let amplitudes = (0..problem.components.len()).map(|k| 3.0 + 0.1 * (k % 9) as f64);
        let variables: Vec<f64> = shapes.iter().copied().chain(amplitudes).collect();
        let none = ArrayView1::from(&zeros[..problem.count]);
        engine.evaluate(problem, &variables, nothing, none).expect("the engine evaluates").total
    };
    let shapes = problem.shapes();
    let scale = counts * (1.0 - CONTINUUM) / model(&shapes).sum();
    let shape = |c: usize| (-(c as f64) / 500.0).exp() + 0.3;
    let all: f64 = (0..problem.count).map(shape).sum();
    let continuum = |c: usize| counts * CONTINUUM * shape(c) / all;
    let mut spectra = Array2::zeros((PIXELS, problem.channels));
    for mut row in spectra.rows_mut() {
        let mut drifted = shapes.clone();
        if drifts {
            drifted[index("ENERGY_OFFSET")] += 0.005 * normal.sample(&mut rng);
            let wider: f64 = 1.0 + 0.02 * normal.sample(&mut rng);
            drifted[index("FWHM_OFFSET")] *= wider;
            drifted[index("FWHM_FANOPRIME")] *= wider * wider;
        }
        for (c, m) in model(&drifted).iter().enumerate() {
            let drawn = Poisson::new(m * scale + continuum(c)).expect("the mean is positive");
            row[problem.first + c] = drawn.sample(&mut rng) as f32;
        }
    }
    let background = Array2::from_shape_fn((PIXELS, problem.count), |(_, c)| continuum(c) as f32);
    (spectra, background)
}

/// The processor's name, where the system tells.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|l| l.trim_start_matches([' ', '\t', ':']));
    name.unwrap_or("unknown processor").to_string()
}
