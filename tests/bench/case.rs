//! Problems and spectra that the benches fit.
#![allow(dead_code, reason = "each bench uses its part")]

use std::time::Instant;

use ndarray::{Array2, ArrayView1, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use xrfit::config::{Choices, Free, Settings, Sources};
use xrfit::engine::Engine;
use xrfit::problem::Problem;

/// The elements of the paper's case, which is called E15.
pub const E15: [&str; 15] =
    ["Si", "P", "S", "Cl", "Ar", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"];

/// A beam of 10 keV on these elements, twelve free shapes (`--free paper`), 500 steps of Adam; with the shapes of a
/// real detector, and a window of `count` channels from `first` on.
pub fn problem(elements: &[&str], (first, count): (usize, usize), slope: f64) -> Problem {
    let choices = Choices {
        elements: Some(elements.iter().map(ToString::to_string).collect()),
        incident_kev: Some(10.0),
        free: Some(Free::Paper),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    let settings = Settings::resolve(&sources).expect("the configuration holds").settings;
    let mut problem = settings.problem((first + count).next_power_of_two()).expect("a window");
    for (name, value) in [
        ("ENERGY_OFFSET", -0.004),
        ("ENERGY_SLOPE", slope),
        ("ENERGY_QUADRATIC", 1e-8),
        ("FWHM_OFFSET", 0.097),
        ("FWHM_FANOPRIME", 2.2e-4),
    ] {
        set(&mut problem, name, value);
    }
    (problem.first, problem.count, problem.tolerance) = (first, count, 0.0);
    problem
}

pub fn set(problem: &mut Problem, name: &str, value: f64) {
    problem.parameters[xrfit::kernels::parameter_index(name).expect("it exists")].start = value;
}

/// Poisson counts of the model at shapes a little off the start, about 100,000 a spectrum.
pub fn spectra(engine: &dyn Engine, problem: &Problem, n: usize) -> Array2<f32> {
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
    let mut counts = Array2::zeros((n, truth.channels));
    for mut row in counts.axis_iter_mut(Axis(0)) {
        for (c, &mean) in model.iter().enumerate() {
            let drawn = Poisson::new(mean.max(1e-6) + 2.0).expect("the mean is positive");
            row[truth.first + c] = drawn.sample(&mut rng) as f32;
        }
    }
    counts
}

pub fn seconds(mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What all threads have spent so far, where the system tells; in steps of 10 ms.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = |nth: usize| after_name.clone().nth(nth).and_then(|t| t.parse::<f64>().ok());
    // user and system time; Linux gives both in hundredths of a second
    ticks(11).zip(ticks(12)).map_or(f64::NAN, |(user, system)| (user + system) / 100.0)
}
