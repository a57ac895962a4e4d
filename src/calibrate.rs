//! First pass: the shapes of a whole scan from its summed spectrum.
//!
//! A batch like any other: N starts are N spectra with the same counts, and the best one wins. Knows the
//! problem and the engine; no files and no ranks.

use ndarray::{Array1, Array2, ArrayView1};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::engine::{Batch, Engine, Starts};
use crate::error::{Error, Result};
use crate::kernels;
use crate::problem::{Background, Optimizer, Problem};

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Starts; the first is the configured values, the others are random around them.
    pub starts: usize,
    /// Seed of the random ones.
    pub seed: u64,
}

/// Half-ranges of random starts around the configured values. Beyond a few per cent of gain every local
/// method needs a coarse scan of gain and offset first.
const RANGES: [(&str, f64); 7] = [
    ("ENERGY_OFFSET", 0.05),
    ("ENERGY_SLOPE", 2e-4),
    ("FWHM_OFFSET", 0.04),
    ("FWHM_FANOPRIME", 8e-5),
    ("COHERENT_SCT_ENERGY", 0.1),
    ("COMPTON_ANGLE", 20.0),
    ("COMPTON_FWHM_CORR", 0.5),
];

/// The first pass's steps: one spectrum is cheap, and everything rests on it.
const STEPS: usize = 2000;

/// The fit of a summed spectrum.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Shape parameters, in the kernels' order.
    pub parameters: Vec<f64>,
    /// R² of the counts.
    pub r_squared: f64,
    /// R² of log10(counts + 1).
    pub r_squared_log: f64,
    /// Which start won, counted from 0.
    pub start: usize,
}

/// The fit of a spectrum with what it needs to be shown.
#[derive(Clone, Debug)]
pub struct SumFit {
    /// Model and background, over the window \[counts\].
    pub fitted: Array1<f64>,
    /// Background, over the window \[counts\].
    pub background: Array1<f64>,
    /// R² of the counts.
    pub r_squared: f64,
}

/// Fits one spectrum `[channels]` \[counts\] as the pixels are fitted.
///
/// # Errors
///
/// When the engine fails.
pub fn fit_sum(engine: &dyn Engine, problem: &Problem, counts: ArrayView1<f64>) -> Result<SumFit> {
    let unsaturated = Problem { saturation: None, ..problem.clone() };
    let spectrum = counts.mapv(|y| y as f32).insert_axis(ndarray::Axis(0));
    let fits = engine.fit(&unsaturated, Batch::of(spectrum.view()))?;
    Ok(SumFit {
        fitted: fits.fitted.counts(),
        background: fits.background.counts(),
        r_squared: fits.r_squared[0],
    })
}

/// Finds the shapes of a summed spectrum `[channels]` \[counts\].
///
/// The background is SNIP at the configured calibration, the same for all starts, frozen.
///
/// # Errors
///
/// When the engine fails, or when no start leads to a fit.
pub fn calibrate(
    engine: &dyn Engine,
    problem: &Problem,
    counts: ArrayView1<f64>,
    search: Search,
) -> Result<Calibration> {
    let spectrum = counts.mapv(|y| y as f32).insert_axis(ndarray::Axis(0));
    let background = match problem.background {
        Background::None => Array2::zeros((1, problem.count)),
        _ => engine.snip(problem, spectrum.view())?,
    };
    let coarse = Problem {
        optimizer: Optimizer::Adam,
        background: Background::Given,
        steps: STEPS,
        saturation: None,
        ..problem.clone()
    };
    let starts = starts(&coarse, search);
    let n = starts.nrows();
    let all = |row: ndarray::ArrayView2<f32>| {
        row.broadcast((n, row.ncols())).expect("one row repeats").to_owned()
    };
    let fits = engine.fit(
        &coarse,
        Batch {
            counts: all(spectrum.view()).view(),
            background: Some(all(background.mapv(|b| b as f32).view()).view()),
            starts: Starts::Each(starts.view()),
        },
    )?;
    let best = (0..n)
        .filter(|&i| fits.status[i].is_fitted())
        .min_by(|&a, &b| fits.objective[a].total_cmp(&fits.objective[b]));
    let Some(best) = best else {
        return Err(Error::configuration(format!(
            "the summed spectrum cannot be fitted ({}); check the elements and the energy calibration",
            fits.status[0].meaning()
        )));
    };
    Ok(Calibration {
        parameters: fits.parameters.row(best).to_vec(),
        r_squared: fits.r_squared[best],
        r_squared_log: fits.r_squared_log[best],
        start: best,
    })
}

/// `[starts, variables]`: the configured values, then random ones around them within the bounds.
fn starts(problem: &Problem, search: Search) -> Array2<f64> {
    let variables: Vec<_> = problem.parameters.iter().chain(&problem.amplitudes).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(search.seed);
    let mut starts = Array2::zeros((search.starts.max(1), variables.len()));
    for (i, mut row) in starts.rows_mut().into_iter().enumerate() {
        row.assign(&variables.iter().map(|v| v.start).collect::<Array1<f64>>());
        if i == 0 {
            continue;
        }
        for (name, half) in RANGES {
            let index =
                kernels::parameter_index(name).expect("the ranges name parameters of the model");
            let v = variables[index];
            let shift = half * (2.0 * rng.random::<f64>() - 1.0);
            if v.free {
                row[index] = (v.start + shift).clamp(v.lower, v.upper);
            }
        }
    }
    starts
}
