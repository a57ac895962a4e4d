//! What a pixel costs on one core: `cargo bench --bench fit`.
//!
//! E15 and scatter, 1052 channels, twelve free shapes (`--free paper`), f32, all 500 steps of Adam; and SNIP.
//! Each figure is the median of several batches on one thread; the last column relates it to a bare loop of
//! f32 exponentials timed between the batches, which a loaded or a slower machine stretches alike.
//! `cargo bench --bench fit -- 'no tails'` runs the rows of that name alone.

use std::time::Instant;

use ndarray::{Array2, ArrayView1, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use xrfit::config::{Choices, Free, Settings, Sources};
use xrfit::engine::{Batch, Choice, Engine, Precision, open};
use xrfit::kernels::Simd;
use xrfit::problem::{Problem, Tail};

const ELEMENTS: [&str; 15] =
    ["Si", "P", "S", "Cl", "Ar", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"];
const CHANNELS: usize = 1052;
const FIRST: usize = 105;
const BATCHES: usize = 7;
const SPECTRA: usize = 8;
/// Of the yardstick.
const EXPONENTIALS: usize = 10_000_000;

/// The problem with a real detector's shapes; `change` makes the variant.
fn problem(change: impl FnOnce(&mut Problem)) -> Problem {
    let choices = Choices {
        elements: Some(ELEMENTS.map(String::from).to_vec()),
        incident_kev: Some(10.0),
        free: Some(Free::Paper),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    let settings = Settings::resolve(&sources).expect("the configuration holds").settings;
    let mut problem = settings.problem(2048).expect("there is a window");
    for (name, value) in [
        ("ENERGY_OFFSET", -0.004),
        ("ENERGY_SLOPE", 0.00952),
        ("ENERGY_QUADRATIC", 1e-8),
        ("FWHM_OFFSET", 0.097),
        ("FWHM_FANOPRIME", 2.2e-4),
    ] {
        problem.parameters[xrfit::kernels::parameter_index(name).expect("it exists")].start = value;
    }
    (problem.first, problem.count, problem.tolerance) = (FIRST, CHANNELS, 0.0);
    change(&mut problem);
    problem
}

fn set(problem: &mut Problem, name: &str, value: f64) {
    problem.parameters[xrfit::kernels::parameter_index(name).expect("it exists")].start = value;
}

/// Poisson counts of the model at shapes a little off the start, about 100,000 a spectrum.
fn spectra(engine: &dyn Engine, problem: &Problem) -> Array2<f32> {
    let mut truth = problem.clone();
    set(&mut truth, "ENERGY_OFFSET", 0.003);
    set(&mut truth, "FWHM_OFFSET", 0.102);
    let variables: Vec<f64> = truth
        .parameters
        .iter()
        .map(|v| v.start)
        .chain((0..truth.components.len()).map(|k| 3.0 + 0.1 * (k % 9) as f64))
        .collect();
    let zeros = vec![0.0; truth.channels];
    let nothing = ArrayView1::from(&zeros);
    let model = engine
        .evaluate(&truth, &variables, nothing, ArrayView1::from(&zeros[..truth.count]))
        .expect("the engine evaluates")
        .total;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut counts = Array2::zeros((SPECTRA, truth.channels));
    for mut row in counts.axis_iter_mut(Axis(0)) {
        for (c, &mean) in model.iter().enumerate() {
            let drawn = Poisson::new(mean.max(1e-6) + 2.0).expect("the mean is positive");
            row[truth.first + c] = drawn.sample(&mut rng) as f32;
        }
    }
    counts
}

fn seconds(mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
        let counts = spectra(&*engine, &problem);
        let mut steps = 0;
        let times = timed(simd, || {
            let fits = engine.fit(&problem, Batch::of(counts.view())).expect("the engine fits");
            steps = fits.steps.iter().copied().min().unwrap_or(0);
        });
        assert_eq!(steps, 500, "every step is taken");
        row(name, bar, 1e-3, times, SPECTRA);
    }
    if !"SNIP".contains(&asked) {
        return;
    }
    let problem = problem(|_| ());
    let counts = spectra(&*engine, &problem);
    let many = ndarray::concatenate(Axis(0), &vec![counts.view(); 64]).expect("rows of one length");
    let times = timed(simd, || {
        std::hint::black_box(engine.snip(&problem, many.view()).expect("the engine fits"));
    });
    row("SNIP [us]", "25", 1e-6, times, many.nrows());
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
