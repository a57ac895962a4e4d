//! Promise: each objective has the value and the gradient of its definition, Adam minimises each, and the reduced
//! deviance is reported whichever is minimised.
//!
//! The definitions are written here again, from the model that the engine gives: the Poisson deviance with its
//! floor of a ten thousandth of the mean counts, squares, squares with XRF-Maps' smoothed 1 / (1 + counts), and
//! squares over the expected counts, whose weights stay while the derivative is taken. Values agree to 1e-12 in
//! f64 and 1e-5 in f32, gradients to 1e-7 and 1e-3 of the sum of the absolute values of an entry's terms.

#[path = "common/differences.rs"]
mod differences;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use ndarray::{Array1, Array2};
use random::Case;
use rayon::prelude::*;
use xrfit::engine::{Batch, Choice, Fits, Precision, Starts, open};
use xrfit::kernels::known_parameter;
use xrfit::problem::{Background, Objective, Problem, Weights};

const OBJECTIVES: [(Objective, Weights); 5] = [
    (Objective::Mse, Weights::None),
    (Objective::Poisson, Weights::None),
    (Objective::Chi2, Weights::None),
    (Objective::Chi2, Weights::XrfMaps),
    (Objective::Chi2, Weights::Expected),
];

/// One objective at one point: its weights are fixed.
struct Definition<'a> {
    objective: Objective,
    /// `[window]`
    counts: &'a [f64],
    floor: f64,
    weights: Vec<f64>,
}

impl<'a> Definition<'a> {
    /// * `fitted`: model and background where the weights are taken, `[window]`.
    fn new(
        (objective, weights): (Objective, Weights),
        problem: &Problem,
        counts: &'a [f64],
        fitted: &[f64],
    ) -> Self {
        let window = &counts[problem.first..problem.first + problem.count];
        let floor = 1e-4 * window.iter().sum::<f64>() / problem.count as f64;
        let weights = match weights {
            Weights::None => vec![1.0; problem.count],
            Weights::Expected => fitted.iter().map(|f| 1.0 / (f + floor)).collect(),
            Weights::XrfMaps => smoothed(counts)[problem.first..][..problem.count].to_vec(),
        };
        Self { objective, counts: window, floor, weights }
    }

    fn deviance(&self, f: f64, y: f64) -> f64 {
        let m = f + self.floor;
        2.0 * (m - y + if y > 0.0 { y * (y / m).ln() } else { 0.0 })
    }

    /// The mean over channels.
    fn value(&self, fitted: &[f64]) -> f64 {
        let channel = |c: usize| match self.objective {
            Objective::Poisson => self.deviance(fitted[c], self.counts[c]),
            _ => self.weights[c] * (fitted[c] - self.counts[c]).powi(2),
        };
        (0..fitted.len()).map(channel).sum::<f64>() / fitted.len() as f64
    }

    /// Its derivative by the model, `[window]`.
    fn slope(&self, fitted: &[f64]) -> Vec<f64> {
        let n = fitted.len() as f64;
        let channel = |c: usize| match self.objective {
            Objective::Poisson => 2.0 / n * (1.0 - self.counts[c] / (fitted[c] + self.floor)),
            _ => 2.0 / n * self.weights[c] * (fitted[c] - self.counts[c]),
        };
        (0..fitted.len()).map(channel).collect()
    }
}

/// XRF-Maps' weights of a whole spectrum: 1 / (1 + y), five-point mean, over the largest.
fn smoothed(counts: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; counts.len()];
    for (c, five) in counts.windows(5).enumerate() {
        weights[c + 2] = five.iter().map(|y| 1.0 / (1.0 + y)).sum::<f64>() / 5.0;
    }
    let most = weights.iter().copied().fold(0.0, f64::max);
    weights.iter().map(|w| w / most).collect()
}

fn plus_background(case: &Case, total: &Array1<f64>) -> Vec<f64> {
    total.iter().zip(&case.background).map(|(m, b)| m + b).collect()
}

#[test]
fn values_and_gradients_are_those_of_the_definitions() {
    let cases = random::cases();
    cases.par_iter().for_each(|case| {
        let derivatives: Vec<_> =
            (0..case.variables.len()).map(|i| differences::of_model(case, i)).collect();
        for (choice, precision) in
            OBJECTIVES.iter().flat_map(|c| [(c, Precision::F64), (c, Precision::F32)])
        {
            let exact = precision == Precision::F64;
            let mut case =
                Case { problem: case.problem.clone(), counts: case.counts.clone(), ..*case_of(case) };
            (case.problem.objective, case.problem.weights) = *choice;
            let reference = plus_background(&case, &case.evaluate(Precision::F64).total);
            let at = case.evaluate(precision);
            let definition = Definition::new(*choice, &case.problem, &case.counts, &reference);
            let expected = definition.value(&reference);
            let error = (at.objective / expected - 1.0).abs();
            let allowed = if exact { 1e-12 } else { 1e-5 };
            assert!(
                error <= allowed,
                "{}, {choice:?} in {precision:?}: {} of {expected}: off by {error:.1e}, allowed {allowed:.0e}",
                case.name,
                at.objective
            );
            let slope = definition.slope(&reference);
            for ((name, derivative), ours) in case.names().iter().zip(&derivatives).zip(&at.gradient) {
                let Some(derivative) = derivative else { continue };
                let terms: Vec<f64> = slope.iter().zip(derivative).map(|(s, d)| s * d).collect();
                let (sum, scale) =
                    (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
                let error = (ours - sum).abs();
                let allowed = if exact { 1e-7 } else { 1e-3 };
                assert!(
                    error <= allowed * scale,
                    "{}, {choice:?} in {precision:?}: d/d {name} is {ours:e}, differences give {sum:e}: {error:e}, \
                     the terms' absolute sum is {scale:e}, allowed {allowed:.0e}",
                    case.name
                );
            }
        }
    });
}

/// The case's parts that its copies share.
fn case_of(case: &Case) -> Box<Case> {
    Box::new(Case {
        name: case.name,
        problem: case.problem.clone(),
        variables: case.variables.clone(),
        counts: case.counts.clone(),
        background: case.background.clone(),
    })
}

/// A case to be fitted from a start a little off, whose counts are the model's and Poisson's.
fn to_fit(choice: (Objective, Weights), steps: usize) -> (Case, Array2<f32>, Vec<f64>) {
    let mut case = *case_of(&random::cases()[9]);
    (case.problem.objective, case.problem.weights) = choice;
    (case.problem.background, case.problem.steps) = (Background::Given, steps);
    case.problem.solve_start = true;
    for v in &mut case.problem.amplitudes {
        (v.free, v.rate, v.lower, v.upper) = (true, 2e-3, -3.0, 12.0);
    }
    let offset = &mut case.problem.parameters[known_parameter("ENERGY_OFFSET")];
    (offset.free, offset.rate) = (true, 1e-4);
    let model = plus_background(&case, &case.evaluate(Precision::F64).total);
    let mut counts = vec![0.0; case.problem.channels];
    for (c, m) in model.iter().enumerate() {
        // scattered as counts are, by a rule instead of by chance
        counts[case.problem.first + c] = (m + m.sqrt() * (c as f64 * 1.7).sin() * 1.4).round();
    }
    let mut start = case.variables.clone();
    start[known_parameter("ENERGY_OFFSET")] += 0.004;
    let row = counts.iter().map(|&y| y as f32).collect();
    let counts = Array2::from_shape_vec((1, case.problem.channels), row).expect("one row");
    (case, counts, start)
}

fn fit(choice: (Objective, Weights), steps: usize) -> (Case, Array2<f32>, Fits) {
    let (case, counts, start) = to_fit(choice, steps);
    let row = case.background.iter().map(|&b| b as f32).collect();
    let background = Array2::from_shape_vec((1, case.problem.count), row).expect("one row");
    let start = Array2::from_shape_vec((1, start.len()), start).expect("one row");
    let batch = Batch {
        counts: counts.view(),
        background: Some(background.view()),
        starts: Starts::Each(start.view()),
    };
    let engine = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let fits = engine.fit(&case.problem, batch).expect("it fits");
    (case, counts, fits)
}

#[test]
fn adam_minimises_each_and_the_reduced_deviance_is_reported() {
    for choice in OBJECTIVES {
        let [start, end] = [1, 300].map(|steps| fit(choice, steps).2);
        assert!(
            end.objective[0] < 0.9 * start.objective[0],
            "{choice:?}: {} after one step, {} after 300",
            start.objective[0],
            end.objective[0]
        );
        let (case, counts, fits) = fit(choice, 300);
        let counts: Vec<f64> = counts.iter().map(|&y| f64::from(y)).collect();
        let fitted = fits.fitted.counts().to_vec();
        let poisson =
            Definition::new((Objective::Poisson, Weights::None), &case.problem, &counts, &fitted);
        let n = case.problem.count as f64;
        let free = case.problem.free_parameters().len() + case.problem.components.len();
        let expected = poisson.value(&fitted) * n / (n - free as f64);
        let error = (fits.deviance[0] / expected - 1.0).abs();
        assert!(
            error < 1e-6,
            "{choice:?}: reduced deviance {}, of the fitted spectrum {expected}: off by {error:.1e}",
            fits.deviance[0]
        );
        assert!(fits.r_squared[0] > 0.9, "{choice:?}: R² is {}", fits.r_squared[0]);
    }
}

#[test]
fn expected_weights_end_where_the_deviance_is_smallest() {
    let poisson = fit((Objective::Poisson, Weights::None), 3000).2;
    let expected = fit((Objective::Chi2, Weights::Expected), 3000).2;
    for (k, (a, b)) in poisson.amplitudes.iter().zip(&expected.amplitudes).enumerate() {
        // of the amplitude's standard deviation, which is at least its root; the floor is in the deviance alone
        let apart = (a - b).abs() / a.max(1.0).sqrt();
        assert!(
            apart < 0.05,
            "component {k}: {a} by the deviance, {b} by expected weights: {apart:.3} sigma apart"
        );
    }
}
