//! Promise: a linear fit ends at the same amplitudes wherever they start: solved for, at 1 count each, or at a mean that is
//! none of the pixel's.

#[path = "bench/case.rs"]
mod case;

use case::E15;
use ndarray::{Array1, Array2, ArrayView1};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use xrfit::engine::{Batch, Choice, Engine, Fits, Precision, Starts, open};
use xrfit::kernels::Status;
use xrfit::problem::{Background, Objective, Optimizer, Problem};

const PIXELS: usize = 40;

fn problem() -> Problem {
    let mut problem = case::problem(&E15, (105, 1052), 0.00952);
    problem.parameters.iter_mut().for_each(|variable| variable.free = false);
    (problem.objective, problem.optimizer) = (Objective::Poisson, Optimizer::Newton);
    (problem.background, problem.steps) = (Background::Given, 50);
    problem
}

/// Poisson counts of the model, `counts` a spectrum, on `background` counts a channel.
fn spectra(engine: &dyn Engine, problem: &Problem, counts: f64, background: f64) -> Array2<f32> {
    let zeros = vec![0.0; problem.channels];
    let amplitudes = (0..problem.components.len()).map(|k| 3.0 + 0.1 * (k % 9) as f64);
    let variables: Vec<f64> = problem.shapes().into_iter().chain(amplitudes).collect();
    let none = ArrayView1::from(&zeros[..problem.count]);
    let evaluated = engine.evaluate(problem, &variables, ArrayView1::from(&zeros), none);
    let model = evaluated.expect("the engine evaluates").total;
    let scale = counts / model.sum();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut spectra = Array2::zeros((PIXELS, problem.channels));
    for mut row in spectra.rows_mut() {
        for (c, m) in model.iter().enumerate() {
            let drawn = Poisson::new(m * scale + background).expect("the mean is positive");
            row[problem.first + c] = drawn.sample(&mut rng) as f32;
        }
    }
    spectra
}

/// Amplitudes from `fits` less those of `others`, in standard deviations; the largest.
fn apart(fits: &Fits, others: &Fits) -> f64 {
    let off = (&fits.amplitudes - &others.amplitudes) / &others.amplitude_sigma;
    off.iter().fold(0.0, |most, x| x.abs().max(most))
}

#[test]
fn amplitudes_end_where_they_do_from_anywhere() {
    for (precision, allowed) in [(Precision::F64, 1e-5), (Precision::F32, 2e-3)] {
        let engine = open(Choice::Cpu, precision).expect("the CPU engine opens");
        for (counts, background) in
            [(300.0, 1.0), (1e4, 0.3), (1e6, 1.0), (1e7, 0.3), (1e7, 3.0), (1e8, 1.0)]
        {
            let problem = problem();
            let spectra = spectra(&*engine, &problem, counts, background);
            let given = Array2::from_elem((PIXELS, problem.count), background as f32);
            let fit = |problem: &Problem| {
                let batch = Batch {
                    counts: spectra.view(),
                    background: Some(given.view()),
                    starts: Starts::FirstPass,
                };
                let fits = engine.fit(problem, batch).expect("the engine fits");
                let converged = fits.status.iter().all(|status| *status == Status::Converged);
                assert!(converged, "{counts} counts on {background}: {:?}", fits.status);
                fits
            };
            let solved = fit(&problem);
            let flat = fit(&Problem { solve_start: false, ..problem.clone() });
            let mut other = problem.clone();
            for (k, variable) in other.amplitudes.iter_mut().enumerate() {
                variable.start = (k % 5) as f64 * 2.0 - 3.0;
            }
            for (what, fits) in [("1 count each", flat), ("another mean", fit(&other))] {
                let apart = apart(&fits, &solved);
                assert!(
                    apart < allowed,
                    "{counts} counts on {background}, from {what}: {apart:.1e} sigma apart, allowed {allowed}"
                );
            }
        }
    }
}

#[test]
fn the_sums_of_damaged_counts_do_not_depend_on_who_fits_them() {
    let engine = open(Choice::Cpu, Precision::F32).expect("the CPU engine opens");
    let problem = problem();
    let mut spectra = spectra(&*engine, &problem, 1000.0, 1.0);
    for mut row in spectra.rows_mut() {
        row[problem.first + 500] = 5e12;
    }
    let given = Array2::from_elem((PIXELS, problem.count), 1.0);
    let sum = |threads: usize| -> Array1<f64> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let batch = Batch {
            counts: spectra.view(),
            background: Some(given.view()),
            starts: Starts::FirstPass,
        };
        pool.install(|| engine.fit(&problem, batch)).expect("the engine fits").fitted.counts()
    };
    let one = sum(1);
    assert!(one.iter().all(|counts| *counts >= 0.0), "{one}");
    assert_eq!(one, sum(3));
}
