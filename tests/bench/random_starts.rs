//! The table of the paper on simulated spectra: how good fits are from random starts and from tuned ones, by Adam, by
//! Newton and by NLopt's Subplex, which is XRF-Maps' search: `cargo bench --bench random_starts`.
//!
//! All three minimise the same squares over the same window, bounds and frozen SNIP background, with the paper's twelve
//! shapes and all amplitudes free. `cargo bench --bench random_starts -- 120 5000` takes 120 spectra in place of 1,200
//! and 5,000 evaluations of Subplex in place of 20,000.

mod case;
mod drawn;

use std::fmt;

use case::{cpu_seconds, median};
use drawn::{CHANNELS, Drawn, drawn};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use xrfit::config::PAPER;
use xrfit::engine::{Batch, Choice, Engine, Precision, Starts, open};
use xrfit::kernels::known_parameter;
use xrfit::problem::{Background, Optimizer, Problem};

const SPECTRA: u64 = 1200;
/// As XRF-Maps stops.
const EVALUATIONS: u32 = 20_000;
const TOLERANCE: f64 = 1e-10;
/// R² whose shares are counted.
const LEVELS: [f64; 4] = [0.7, 0.9, 0.95, 0.99];

/// Ranges of random starts: of the gain over the right one, of the others by themselves.
const RANDOM: [(&str, [f64; 2]); 11] = [
    ("ENERGY_SLOPE", [0.98, 1.02]),
    ("ENERGY_OFFSET", [-0.05, 0.05]),
    ("ENERGY_QUADRATIC", [-1e-8, 1e-8]),
    ("COHERENT_SCT_ENERGY", [0.97, 1.03]),
    ("COMPTON_ANGLE", [80.0, 140.0]),
    ("COMPTON_FWHM_CORR", [1.0, 3.0]),
    ("COMPTON_F_TAIL", [0.0, 0.8]),
    ("COMPTON_HI_F_TAIL", [0.0, 0.1]),
    ("FWHM_OFFSET", [0.06, 0.15]),
    ("FWHM_FANOPRIME", [1e-4, 3e-4]),
    ("F_TAIL_OFFSET", [0.0, 0.1]),
];

/// Those that are ranges around the right value: of a quotient, and of a difference.
const AROUND: [&str; 2] = ["ENERGY_SLOPE", "COHERENT_SCT_ENERGY"];
const BESIDE: [&str; 1] = ["ENERGY_OFFSET"];

/// By how much tuned shapes are off, over the right ones; the offset by 3 eV.
const TUNED: [(&str, f64); 6] = [
    ("ENERGY_SLOPE", 3e-4),
    ("COHERENT_SCT_ENERGY", 5e-4),
    ("COMPTON_ANGLE", 0.02),
    ("COMPTON_FWHM_CORR", 0.05),
    ("FWHM_OFFSET", 0.03),
    ("FWHM_FANOPRIME", 0.03),
];

#[derive(Clone, Copy)]
enum From {
    Random,
    Tuned,
}

#[derive(Clone, Copy)]
enum By {
    Adam,
    Newton,
    Subplex(u32),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Adam => f.pad("Adam, 500 steps"),
            By::Newton => f.pad("Newton, 100 steps"),
            By::Subplex(n) => f.pad(&format!("Subplex, {n}")),
        }
    }
}

/// A spectrum, and from where it is fitted.
struct Task {
    problem: Problem,
    counts: Array2<f32>,
    background: Array2<f32>,
    /// Shapes and log10 amplitudes.
    start: Vec<f64>,
}

impl Task {
    fn new(engine: &dyn Engine, seed: u64, from: From) -> Self {
        let drawn = drawn(engine, seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shapes = match from {
            From::Random => random(&drawn, &mut rng),
            From::Tuned => tuned(&drawn, &mut rng),
        };
        let problem = drawn.settings.with_calibrated(&shapes).problem(CHANNELS);
        let mut problem = problem.expect("a window");
        for (p, v) in problem.parameters.iter_mut().enumerate() {
            v.free = PAPER.iter().any(|name| known_parameter(name) == p);
        }
        (problem.tolerance, problem.solve_start) = (0.0, false);
        let counts = drawn.counts.mapv(|y| y as f32).insert_axis(Axis(0));
        let background = engine.snip(&problem, counts.view()).expect("a background");
        let amplitudes: Vec<f64> = match from {
            From::Random => problem.components.iter().map(|_| rng.random_range(0.0..5.0)).collect(),
            From::Tuned => {
                let linear = Problem { optimizer: Optimizer::Nnls, ..problem.clone() };
                let fits = engine.fit(&linear, Batch::of(counts.view())).expect("a linear fit");
                fits.amplitudes.iter().map(|a| a.max(0.1).log10()).collect()
            }
        };
        problem.background = Background::Given;
        let start = shapes.into_iter().chain(amplitudes).collect();
        Self { problem, counts, background: background.mapv(|b| b as f32), start }
    }

    /// R² of the fit.
    fn fit(&self, engine: &dyn Engine, by: By) -> f64 {
        let (optimizer, steps) = match by {
            By::Adam => (Optimizer::Adam, 500),
            By::Newton => (Optimizer::Newton, 100),
            By::Subplex(evaluations) => return self.search(engine, evaluations),
        };
        let problem = Problem { optimizer, steps, ..self.problem.clone() };
        let start = ArrayView1::from(&self.start).insert_axis(Axis(0));
        let batch = Batch {
            counts: self.counts.view(),
            background: Some(self.background.view()),
            starts: Starts::Each(start),
        };
        let r_squared = engine.fit(&problem, batch).expect("it fits").r_squared[0];
        if r_squared.is_finite() { r_squared } else { f64::NEG_INFINITY }
    }

    /// R² where Subplex ends.
    fn search(&self, engine: &dyn Engine, evaluations: u32) -> f64 {
        let p = &self.problem;
        let all: Vec<_> = p.parameters.iter().chain(&p.amplitudes).collect();
        let free: Vec<usize> = (0..all.len()).filter(|&i| all[i].free).collect();
        let (counts, background) =
            (self.counts.row(0).mapv(f64::from), self.background.row(0).mapv(f64::from));
        let inside = counts.slice(s![p.first..p.first + p.count]);
        let squares = inside.mapv(|y| (y - inside.mean().unwrap_or(0.0)).powi(2)).sum();
        let objective = |x: &[f64], _: Option<&mut [f64]>, (): &mut ()| {
            let mut variables = self.start.clone();
            free.iter().zip(x).for_each(|(&i, &x)| variables[i] = x);
            let there = engine.evaluate(p, &variables, counts.view(), background.view());
            let there = there.expect("the engine evaluates").objective;
            if there.is_finite() { there } else { f64::MAX }
        };
        let bounds = |f: &dyn Fn(usize) -> f64| free.iter().map(|&i| f(i)).collect::<Vec<f64>>();
        let mut x = bounds(&|i| self.start[i].clamp(all[i].lower, all[i].upper));
        let mut search = nlopt::Nlopt::new(
            nlopt::Algorithm::Sbplx,
            free.len(),
            objective,
            nlopt::Target::Minimize,
            (),
        );
        search.set_lower_bounds(&bounds(&|i| all[i].lower)).expect("bounds");
        search.set_upper_bounds(&bounds(&|i| all[i].upper)).expect("bounds");
        search.set_xtol_rel(TOLERANCE).expect("a tolerance");
        search.set_maxeval(evaluations).expect("a number");
        let least = match search.optimize(&mut x) {
            Ok((_, least)) | Err((_, least)) => least,
        };
        1.0 - least * p.count as f64 / squares
    }
}

fn within(v: &xrfit::problem::Variable, value: f64) -> f64 {
    value.clamp(v.lower, v.upper)
}

fn random(drawn: &Drawn, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut shapes = drawn.shapes.clone();
    for (name, [low, high]) in RANDOM {
        let (p, value) = (known_parameter(name), rng.random_range(low..high));
        let right = drawn.shapes[p];
        shapes[p] = match name {
            name if AROUND.contains(&name) => right * value,
            name if BESIDE.contains(&name) => right + value,
            _ => value,
        };
        shapes[p] = within(&drawn.settings.parameters[p], shapes[p]);
    }
    shapes
}

fn tuned(drawn: &Drawn, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut shapes = drawn.shapes.clone();
    for (name, part) in TUNED {
        let p = known_parameter(name);
        shapes[p] *= 1.0 + part * rng.random_range(-1.0..1.0);
        shapes[p] = within(&drawn.settings.parameters[p], shapes[p]);
    }
    shapes[known_parameter("ENERGY_OFFSET")] += 0.003 * rng.random_range(-1.0..1.0);
    shapes
}

fn row(what: &str, tasks: &[Task], engine: &dyn Engine, by: By) {
    let began = cpu_seconds();
    let ends: Array1<f64> =
        tasks.par_iter().map(|task| task.fit(engine, by)).collect::<Vec<f64>>().into();
    let spent = (cpu_seconds() - began) / tasks.len() as f64;
    let above =
        |level: f64| 100.0 * ends.iter().filter(|r| **r > level).count() as f64 / ends.len() as f64;
    // a diverged fit counts as one that explains nothing
    let bounded = ends.mapv(|r| r.max(0.0));
    print!(
        "{what:<8} {by:<18} {:>7.4} {:>7.4} {:>6.3}",
        median(ends.to_vec()),
        bounded.mean().unwrap_or(f64::NAN),
        bounded.std(0.0)
    );
    LEVELS.iter().for_each(|&level| print!(" {:>7.1} %", above(level)));
    println!(" {:>11.4}", spent);
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let n = numbers.first().copied().unwrap_or(SPECTRA);
    let evaluations = numbers.get(1).map_or(EVALUATIONS, |&e| e as u32);
    let engine = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    println!("{n} simulated spectra, {}", engine.describe());
    print!("{:<27} {:>7} {:>7} {:>6}", "start    by", "median", "mean", "sd");
    LEVELS.iter().for_each(|level| print!(" {:>9}", format!("> {level}")));
    println!(" {:>11}", "CPU-seconds");
    for (what, from) in [("random", From::Random), ("tuned", From::Tuned)] {
        let tasks: Vec<Task> =
            (0..n).into_par_iter().map(|seed| Task::new(&*engine, seed, from)).collect();
        for by in [By::Adam, By::Newton, By::Subplex(evaluations)] {
            row(what, &tasks, &*engine, by);
        }
    }
}
