//! Promise: lines of no more than a few counts have upper limits that hold, and signed counts whose average is the truth and
//! whose scatter is what the Cramer-Rao bound allows.

#[path = "bench/case.rs"]
mod case;

use case::E15;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};
use xrfit::background::start_from_mean;
use xrfit::engine::{Batch, Choice, Engine, Fits, Precision, open};
use xrfit::kernels::{Status, parameter_index};
use xrfit::problem::{Background, Objective, Optimizer, Prior, Problem};

/// First channel and channels.
const WINDOW: (usize, usize) = (105, 1052);
const PIXELS: usize = 3000;
/// The weak ones: between neighbours, under the Kb of another, and alone.
const WEAK: [&str; 4] = ["Cl", "Ti", "Co", "Zn"];
/// Part of the counts that is background.
const CONTINUUM: f64 = 0.085;
/// What moves from pixel to pixel, and by how much.
const DRIFT: [(&str, f64); 2] = [("ENERGY_OFFSET", 0.003), ("FWHM_SCALE", 0.01)];

/// The shipped defaults: Newton on the deviance, offset and width free with priors, a background of known shape.
fn problem() -> Problem {
    let mut problem = case::problem(&E15, WINDOW, 0.00952);
    problem.parameters.iter_mut().for_each(|variable| variable.free = false);
    for (name, deviation) in DRIFT {
        let variable = &mut problem.parameters[parameter_index(name).expect("it exists")];
        variable.free = true;
        variable.prior = Some(Prior { center: variable.start, width: 2.0 * deviation });
    }
    (problem.objective, problem.optimizer) = (Objective::Poisson, Optimizer::Newton);
    (problem.background, problem.steps, problem.limits) = (Background::Pooled, 50, true);
    problem
}

/// What the pixels are drawn from.
struct Truth {
    problem: Problem,
    /// log10 counts, `[components]`
    amplitudes: Vec<f64>,
    continuum: Array1<f64>,
}

impl Truth {
    /// About `counts` a pixel, of which each weak line has `weak`.
    fn new(engine: &dyn Engine, counts: f64, weak: f64) -> Self {
        let mut problem = problem();
        let shape = Array1::from_shape_fn(problem.count, |c| (-(c as f64) / 500.0).exp() + 0.3);
        let continuum = &shape * (counts * CONTINUUM / shape.sum());
        problem.templates = continuum.clone().insert_axis(Axis(0));
        let is_weak = |name: &str| WEAK.contains(&name);
        let relative =
            problem.components.iter().enumerate().map(|(k, _)| 3.0 + 0.1 * (k % 9) as f64);
        let mut truth = Self { amplitudes: relative.collect(), problem, continuum };
        let scale = counts * (1.0 - CONTINUUM) / truth.model(engine, &truth.problem.shapes()).sum();
        for (amplitude, name) in truth.amplitudes.iter_mut().zip(&truth.problem.components) {
            *amplitude =
                if is_weak(name) { weak.max(1e-9).log10() } else { *amplitude + scale.log10() };
        }
        truth
    }

    fn model(&self, engine: &dyn Engine, shapes: &[f64]) -> Array1<f64> {
        let zeros = vec![0.0; self.problem.channels];
        let plain = self.problem.without_background();
        let variables: Vec<f64> = shapes.iter().chain(&self.amplitudes).copied().collect();
        let none = ArrayView1::from(&zeros[..plain.count]);
        let evaluated = engine.evaluate(&plain, &variables, ArrayView1::from(&zeros), none);
        evaluated.expect("the engine evaluates").total
    }

    /// Counts that are expected at these shapes, `[channels]`.
    fn expected(&self, engine: &dyn Engine, shapes: &[f64]) -> Array1<f32> {
        let mut all = Array1::zeros(self.problem.channels);
        let window = self.model(engine, shapes) + &self.continuum;
        for (c, mean) in window.iter().enumerate() {
            all[self.problem.first + c] = *mean as f32;
        }
        all
    }

    fn pixels(&self, engine: &dyn Engine) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut spectra = Array2::zeros((PIXELS, self.problem.channels));
        for mut row in spectra.rows_mut() {
            let mut shapes = self.problem.shapes();
            for (name, deviation) in DRIFT {
                let normal = Normal::new(0.0, deviation).expect("a width above 0");
                shapes[parameter_index(name).expect("it exists")] += normal.sample(&mut rng);
            }
            row.assign(&self.expected(engine, &shapes).mapv(|mean| {
                Poisson::new(f64::from(mean)).map_or(0.0, |counts| counts.sample(&mut rng)) as f32
            }));
        }
        spectra
    }
}

fn fit(engine: &dyn Engine, problem: &Problem, spectra: &Array2<f32>) -> Fits {
    engine.fit(problem, Batch::of(spectra.view())).expect("the engine fits")
}

/// Coverage of the limits, bias of the signed counts in sigma, and their scatter over the Cramer-Rao bound, of one component.
fn scores(fits: &Fits, bound: f64, k: usize, weak: f64) -> [f64; 3] {
    let n = PIXELS as f64;
    let covered =
        fits.limits[0].column(k).iter().filter(|&&limit| limit >= weak).count() as f64 / n;
    let off = fits.signed_amplitudes.column(k).mapv(|counts| counts - weak);
    [covered, off.sum() / n / bound, (off.mapv(|x| x * x).sum() / n).sqrt() / bound]
}

#[test]
fn limits_hold_and_signed_counts_are_right_at_none_to_six_counts() {
    let exact = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let engine = open(Choice::Cpu, Precision::F32).expect("the CPU engine opens");
    for counts in [300.0, 1000.0, 10_000.0] {
        for weak in [0.0, 1.0, 3.0, 6.0] {
            let mut truth = Truth::new(&*exact, counts, weak);
            let spectra = truth.pixels(&*exact);
            let sum = spectra.mapv(f64::from).sum_axis(Axis(0));
            start_from_mean(&*exact, &mut truth.problem, sum.view(), PIXELS)
                .expect("the sum is fitted");
            let fits = fit(&*engine, &truth.problem, &spectra);
            assert!(fits.status.iter().all(|status| *status == Status::Converged));
            // without noise the fit's variances are those of the bound
            let mean = truth.expected(&*exact, &truth.problem.shapes()).insert_axis(Axis(0));
            let bound = fit(&*exact, &truth.problem, &mean).amplitude_sigma;
            for name in WEAK {
                let k =
                    truth.problem.components.iter().position(|c| c == name).expect("it is there");
                let [covered, bias, scatter] = scores(&fits, bound[[0, k]], k, weak);
                let what = format!("{name}, {weak} of {counts} counts");
                assert!(covered >= 0.95, "{what}: limits cover {covered:.3}, asked 0.95");
                assert!(bias.abs() <= 0.1, "{what}: off by {bias:.3} sigma, allowed 0.1");
                assert!(scatter <= 1.05, "{what}: {scatter:.3} of the bound, allowed 1.05");
            }
        }
    }
}
