//! Spectra with known truth: elements, incident energies, detectors, scatter, continua and counts that are drawn.
#![allow(dead_code, reason = "each bench uses its part")]

use ndarray::Array1;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use xrfit::config::{Choices, Settings, Sources};
use xrfit::engine::Engine;
use xrfit::kernels::parameter_index;

pub const CHANNELS: usize = 2048;
/// What a spectrum may show at all these incident energies.
const ELEMENTS: [&str; 19] = [
    "Si", "P", "S", "Cl", "Ar", "K", "Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
    "La_L", "Ba_L", "Ce_L",
];
pub struct Drawn {
    pub settings: Settings,
    pub shapes: Vec<f64>,
    pub counts: Array1<f64>,
    /// The elements' parts of the drawn net counts.
    pub shares: Vec<(String, f64)>,
    /// R² of what the counts were drawn from.
    pub r_squared: f64,
}

fn settings(elements: &[&str], incident_kev: f64) -> Settings {
    let choices = Choices {
        elements: Some(elements.iter().map(ToString::to_string).collect()),
        incident_kev: Some(incident_kev),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    Settings::resolve(&sources).expect("the configuration holds").settings
}

pub fn drawn(engine: &dyn Engine, seed: u64) -> Drawn {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = rng.random_range(3..=12);
    let elements: Vec<&str> = ELEMENTS.choose_multiple(&mut rng, n).copied().collect();
    let incident = rng.random_range(9.8..13.0);
    let settings = settings(&elements, incident);
    let mut shapes = settings.shapes();
    let mut within = |low: f64, high: f64| rng.random_range(low..high);
    for (name, value) in [
        ("ENERGY_SLOPE", 0.01 * (1.0 + within(-0.2, 0.2))),
        ("ENERGY_OFFSET", within(-0.15, 0.15)),
        ("FWHM_OFFSET", 0.12 * within(-1.0, 1.0).exp2()),
        ("FWHM_FANOPRIME", 1.5e-4 * within(-0.5, 0.5).exp2()),
        ("COHERENT_SCT_ENERGY", incident + within(-0.03, 0.03)),
        ("COMPTON_ANGLE", within(80.0, 130.0)),
        ("COMPTON_FWHM_CORR", within(1.1, 2.2)),
        ("COMPTON_F_TAIL", within(0.05, 0.3)),
    ] {
        shapes[parameter_index(name).expect("it exists")] = value;
    }
    let mut problem = settings.with_calibrated(&shapes).problem(CHANNELS).expect("a window");
    let total = 10f64.powf(within(4.0, 6.5));
    let shares: Vec<f64> =
        problem.components.iter().map(|_| 10f64.powf(within(-2.0, 0.0))).collect();
    let sum: f64 = shares.iter().sum();
    let continuum = within(0.05, 0.15) * total;
    let mut variables = shapes.clone();
    variables.extend(shares.iter().map(|s| (0.6 * s / sum * total).log10()));
    (problem.first, problem.count) = (0, CHANNELS);
    let zero = Array1::zeros(CHANNELS);
    let model = engine.evaluate(&problem, &variables, zero.view(), zero.view());
    let fall = 0.25 * CHANNELS as f64;
    let mean = model.expect("the engine evaluates").total
        + Array1::from_shape_fn(CHANNELS, |c| continuum / fall * (-(c as f64) / fall).exp());
    let counts = mean.mapv(|m| Poisson::new(m.max(1e-9)).expect("a mean").sample(&mut rng));
    let window = settings.with_calibrated(&shapes).problem(CHANNELS).expect("a window");
    let inside = window.first..window.first + window.count;
    let middle = inside.clone().map(|c| counts[c]).sum::<f64>() / window.count as f64;
    let squares = |f: &dyn Fn(usize) -> f64| inside.clone().map(|c| f(c).powi(2)).sum::<f64>();
    let r_squared = 1.0 - squares(&|c| counts[c] - mean[c]) / squares(&|c| counts[c] - middle);
    let shares = problem.components.iter().cloned().zip(shares.iter().map(|s| s / sum));
    let shares = shares.take(settings.components.len()).collect();
    Drawn { settings, shapes, counts, shares, r_squared }
}
