//! Promise: Adam takes the steps that MapsTorch takes from the same start at the same rates.
//!
//! MapsTorch recomputes its background at every step, xrfit freezes it. So the comparison has two
//! halves: an Adam written here, from Kingma & Ba's algorithm 1 alone, walks with the engine's
//! gradients and a fresh background at every step along MapsTorch's trace; and the engine's own Adam
//! walks with that one where the background is frozen.

mod common;
#[expect(dead_code, reason = "the traces have no components and no gradients")]
#[path = "common/golden.rs"]
mod golden;

use std::collections::HashMap;

use golden::{GoldenLine, Inputs, Npz};
use ndarray::{Array2, ArrayView1};
use xrfit::engine::{self, Batch, Choice, Engine, Evaluation, Precision, Starts};
use xrfit::kernels;
use xrfit::problem::{Background, EscapeShift, Problem};

/// Rate of every log10 amplitude in the traces.
const AMPLITUDE_RATE: f64 = 1e-2;

/// Deviations allowed: of an objective, relative; of a variable, in steps of its rate. Rounding grows to
/// 4e-12 of a step in sixty, the spacing of floating-point numbers at ENERGY_SLOPE (1.7e-18 keV per channel,
/// at a rate of 1e-6) and a bit more.
const ALLOWED: f64 = 1e-10;

/// One golden trace, and the problem it belongs to.
struct Trace {
    name: String,
    problem: Problem,
    counts: Vec<f64>,
    /// After each step, in our order of variables.
    variables: Vec<Vec<f64>>,
    /// Sum of squares before each step.
    objective: Vec<f64>,
}

fn traces() -> Vec<Trace> {
    let Some(folder) = common::shared("data/golden") else { return Vec::new() };
    let lines: Vec<GoldenLine> = Npz::open(&folder.join("r002_lines.npz")).get("lines");
    ["r002_adam60_override", "r002_adam60_defaults"]
        .iter()
        .map(|name| {
            let mut file = Npz::open(&folder.join(format!("{name}.npz")));
            trace(name, &mut file, &lines)
        })
        .collect()
}

fn trace(name: &str, file: &mut Npz, lines: &[GoldenLine]) -> Trace {
    let counts = file.floats("spec");
    let amplitude_names = file.strings("amp_names");
    let parameters = file.by_name("param_names", "init_params");
    let start = |component: &String| start_amplitude(component, &counts, &parameters, lines);
    let inputs = Inputs {
        channels: counts.len(),
        range: file.get("energy_range"),
        elements: amplitude_names.iter().filter(|n| !n.ends_with("AMPLITUDE")).cloned().collect(),
        amplitudes: amplitude_names.iter().map(|n| (n.clone(), start(n))).collect(),
        parameters: parameters.clone(),
    };
    let mut problem = inputs.problem(lines);
    problem.escape_shift = EscapeShift::Mean;
    problem.background = Background::Given;
    let rates = file.by_name("tuned", "lr");
    for (info, variable) in kernels::parameters().iter().zip(&mut problem.parameters) {
        if let Some(&rate) = rates.get(info.name) {
            (variable.free, variable.rate) = (true, rate);
        }
    }
    for variable in &mut problem.amplitudes {
        (variable.free, variable.rate) = (true, AMPLITUDE_RATE);
    }
    let table = |names: Vec<String>, rows: Vec<f64>| -> Vec<HashMap<String, f64>> {
        let by_name = |row: &[f64]| names.iter().cloned().zip(row.iter().copied()).collect();
        rows.chunks(names.len()).map(by_name).collect()
    };
    let parameter_trace = table(file.strings("param_names"), file.floats("param_trace"));
    let amplitude_trace = table(amplitude_names, file.floats("amp_trace"));
    let variables = parameter_trace.iter().zip(&amplitude_trace).map(|(p, a)| {
        let parameters = kernels::parameters().iter().zip(&problem.parameters);
        let parameters = parameters.map(|(info, v)| *p.get(info.name).unwrap_or(&v.start));
        parameters.chain(problem.components.iter().map(|c| a[c])).collect()
    });
    Trace {
        name: name.to_string(),
        variables: variables.collect(),
        objective: file.floats("loss_trace"),
        counts,
        problem,
    }
}

/// MapsTorch's start: eight times the mean counts around a component's first peak, as log10.
fn start_amplitude(
    component: &str,
    counts: &[f64],
    parameters: &HashMap<String, f64>,
    lines: &[GoldenLine],
) -> f64 {
    let incident = parameters["COHERENT_SCT_ENERGY"];
    let (energy, reach) = match component {
        "COHERENT_SCT_AMPLITUDE" => (incident, 0.4),
        "COMPTON_AMPLITUDE" => {
            let angle = parameters["COMPTON_ANGLE"].to_radians();
            (incident / (1.0 + incident / 511.0 * (1.0 - angle.cos())), 0.4)
        }
        element => {
            let first = lines.iter().find(|l| l.elem == element).expect("lines of the element");
            (first.energy, 0.1)
        }
    };
    let channel = |kev: f64| {
        ((kev - parameters["ENERGY_OFFSET"]) / parameters["ENERGY_SLOPE"]).round() as usize
    };
    let around = &counts[channel(energy - reach)..=channel(energy + reach)];
    let mean = around.iter().sum::<f64>() / around.len() as f64;
    (8.0 * mean + 0.01).max(1.0).log10()
}

fn engine() -> Box<dyn Engine + Send> {
    engine::open(Choice::Cpu, Precision::F64).expect("the CPU engine opens")
}

/// Adam as its authors wrote it (algorithm 1, beta 0.9 and 0.999, epsilon 1e-8).
struct Oracle {
    variables: Vec<f64>,
    rates: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    step: i32,
}

impl Oracle {
    fn new(problem: &Problem) -> Self {
        let all = || problem.parameters.iter().chain(&problem.amplitudes);
        let zeros = vec![0.0; all().count()];
        Self {
            variables: all().map(|v| v.start).collect(),
            rates: all().map(|v| if v.free { v.rate } else { 0.0 }).collect(),
            mean: zeros.clone(),
            variance: zeros,
            step: 0,
        }
    }

    fn advance(&mut self, gradient: impl IntoIterator<Item = f64>) {
        self.step += 1;
        for (i, g) in gradient.into_iter().enumerate() {
            self.mean[i] = 0.9 * self.mean[i] + (1.0 - 0.9) * g;
            self.variance[i] = 0.999 * self.variance[i] + (1.0 - 0.999) * g * g;
            let mean = self.mean[i] / (1.0 - 0.9f64.powi(self.step));
            let variance = self.variance[i] / (1.0 - 0.999f64.powi(self.step));
            self.variables[i] -= self.rates[i] * mean / (variance.sqrt() + 1e-8);
        }
    }
}

/// The background at the calibration of `variables`, `[window]`.
fn snip(engine: &dyn Engine, trace: &Trace, variables: &[f64]) -> Vec<f64> {
    let mut problem = trace.problem.clone();
    for (parameter, &value) in problem.parameters.iter_mut().zip(variables) {
        parameter.start = value;
    }
    engine.snip(&problem, single(&trace.counts).view()).expect("a background").row(0).to_vec()
}

/// Whole counts, `[1, channels]`.
fn single(counts: &[f64]) -> Array2<f32> {
    Array2::from_shape_fn((1, counts.len()), |(_, c)| counts[c] as f32)
}

fn evaluate(
    engine: &dyn Engine,
    trace: &Trace,
    variables: &[f64],
    background: &[f64],
) -> Evaluation {
    let (counts, background) = (ArrayView1::from(&trace.counts), ArrayView1::from(background));
    engine
        .evaluate(&trace.problem, variables, counts, background)
        .expect("the CPU engine evaluates")
}

/// Holds free variables against expected ones, and fixed ones against their start.
fn compare(trace: &Trace, step: usize, ours: &[f64], expected: &[f64]) {
    let problem = &trace.problem;
    let names = kernels::parameters().iter().map(|p| p.name);
    let names = names.chain(problem.components.iter().map(String::as_str));
    let variables = problem.parameters.iter().chain(&problem.amplitudes);
    for (i, (name, variable)) in names.zip(variables).enumerate() {
        if !variable.free {
            assert_eq!(ours[i], variable.start, "{} step {step}: fixed {name}", trace.name);
            continue;
        }
        let error = (ours[i] - expected[i]).abs() / variable.rate;
        assert!(
            error < ALLOWED,
            "{} step {step}: {name} is {}, expected {}: {error:.1e} of its rate, allowed {ALLOWED:.0e}",
            trace.name,
            ours[i],
            expected[i]
        );
    }
}

#[test]
fn gradients_lead_along_the_golden_trace() {
    let engine = engine();
    for trace in &traces() {
        let mut oracle = Oracle::new(&trace.problem);
        let n = trace.problem.count as f64;
        for (step, (objective, variables)) in
            trace.objective.iter().zip(&trace.variables).enumerate()
        {
            let background = snip(&*engine, trace, &oracle.variables);
            let at = evaluate(&*engine, trace, &oracle.variables, &background);
            // MapsTorch's objective is the sum over the window
            let error = (at.objective * n / objective - 1.0).abs();
            assert!(
                error < ALLOWED,
                "{} before step {step}: objective off by {error:.1e}, allowed {ALLOWED:.0e}",
                trace.name
            );
            oracle.advance(at.gradient.iter().map(|g| g * n));
            compare(trace, step + 1, &oracle.variables, variables);
        }
        println!("{}: {} steps", trace.name, oracle.step);
    }
}

/// The best variables that the oracle visits in `steps` steps with a frozen background, as the engine
/// returns them.
fn best_of(engine: &dyn Engine, trace: &Trace, background: &[f64], steps: usize) -> Vec<f64> {
    let mut oracle = Oracle::new(&trace.problem);
    let mut best = (f64::INFINITY, Vec::new());
    for step in 0..=steps {
        let at = evaluate(engine, trace, &oracle.variables, background);
        if at.objective < best.0 {
            best = (at.objective, oracle.variables.clone());
        }
        if step < steps {
            oracle.advance(at.gradient.iter().copied());
        }
    }
    best.1
}

#[test]
fn the_engines_adam_takes_the_steps_of_the_algorithm() {
    let engine = engine();
    for trace in &traces() {
        // backgrounds are handed over in single precision
        let background = snip(&*engine, trace, &Oracle::new(&trace.problem).variables);
        let given = Array2::from_shape_fn((1, background.len()), |(_, c)| background[c] as f32);
        let background: Vec<f64> = given.iter().map(|&b| f64::from(b)).collect();
        let counts = single(&trace.counts);
        let batch = Batch {
            counts: counts.view(),
            background: Some(given.view()),
            starts: Starts::FirstPass,
        };
        for steps in [1, 5, 20, 60] {
            let problem = Problem { steps, ..trace.problem.clone() };
            let fits = engine.fit(&problem, batch).expect("a fit");
            assert_eq!(fits.steps[0] as usize, steps, "{}: steps", trace.name);
            let mut ours = fits.parameters.row(0).to_vec();
            ours.extend(fits.amplitudes.row(0).iter().map(|a| a.log10()));
            compare(trace, steps, &ours, &best_of(&*engine, trace, &background, steps));
        }
    }
}
