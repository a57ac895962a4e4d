//! First pass: the shapes of a whole scan from its summed spectrum.
//!
//! Coarse to fine. A grid of gains and offsets, each with a linear fit of the amplitudes, finds the valley
//! of the right calibration, which no local method does from more than a few per cent away; Adam then runs
//! from the best of them, from the configured values and from random ones. Everything is a batch like any
//! other: N starts are N spectra with the same counts. Knows the problem and the engine; no files and no
//! ranks.

mod grid;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::engine::{Batch, Engine, Fits, Starts};
use crate::error::{Error, Result};
use crate::kernels::known_parameter;
use crate::problem::{Background, Optimizer, Problem};

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Starts: the configured values, the best ones of the grid (at most 4), and random ones around its best.
    pub starts: usize,
    /// Seed of the random ones.
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { starts: 5, seed: 0 }
    }
}

/// Half-ranges of random starts around the best of the grid.
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

/// What is fitted last, from the right valley: with the incident energy or the curvature free, a wrong gain
/// can look as good as the right one.
const LAST: [&str; 2] = ["COHERENT_SCT_ENERGY", "ENERGY_QUADRATIC"];

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
    /// Part of the net counts that each component explains, in the problem's order \[1\].
    pub shares: Vec<f64>,
}

/// The fit of a spectrum with what it needs to be shown.
#[derive(Clone, Debug)]
pub struct SumFit {
    /// Model and background, over the window \[counts\].
    pub fitted: Array1<f64>,
    /// Background, over the window \[counts\].
    pub background: Array1<f64>,
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
    Ok(SumFit { fitted: fits.fitted.counts(), background: fits.background.counts() })
}

/// The problem of a summed spectrum at given shape parameters: window and SNIP follow the energy axis.
pub type ProblemAt<'a> = dyn Fn(&[f64]) -> Result<Problem> + Sync + 'a;

/// Finds the shapes of a summed spectrum `[channels]` \[counts\], from `configured` shapes (in the kernels'
/// order); [`refine`] completes them.
///
/// The background is SNIP at the best calibration so far, the same for all starts, frozen.
///
/// # Errors
///
/// When the engine fails, or when no start leads to a fit.
pub fn calibrate(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    configured: &[f64],
    counts: ArrayView1<f64>,
    search: Search,
) -> Result<Calibration> {
    let spectrum = counts.mapv(|y| y as f32).insert_axis(Axis(0));
    let mut starts = vec![configured.to_vec()];
    if search.starts > 1 {
        starts.extend(grid::coarse(engine, problem_at, configured, spectrum.view())?);
    }
    starts.truncate(search.starts.max(1));
    // the first of the grid: where the configured gain is far off, so is its window
    let mut problem = problem_at(starts.get(1).unwrap_or(&starts[0]))?;
    let missing = search.starts.saturating_sub(starts.len());
    let around = starts.get(1).unwrap_or(&starts[0]).clone();
    starts.extend(random(&problem, &around, missing, search.seed));
    for name in LAST {
        problem.parameters[known_parameter(name)].free = false;
    }
    fine(engine, problem, &starts, spectrum.view())
}

/// Finds the shapes again from good ones, with the window and the background that belong to them.
///
/// # Errors
///
/// As [`calibrate`].
pub fn refine(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    from: &[f64],
    counts: ArrayView1<f64>,
) -> Result<Calibration> {
    let spectrum = counts.mapv(|y| y as f32).insert_axis(Axis(0));
    fine(engine, problem_at(from)?, &[from.to_vec()], spectrum.view())
}

/// Adam from each start; the best.
fn fine(
    engine: &dyn Engine,
    problem: Problem,
    starts: &[Vec<f64>],
    spectrum: ArrayView2<f32>,
) -> Result<Calibration> {
    let problem = Problem { optimizer: Optimizer::Adam, steps: STEPS, tolerance: 0.0, ..problem };
    let fits = fit(engine, &problem, starts, spectrum)?;
    let best = lowest(&fits).ok_or_else(|| unfit(&fits))?;
    let modelled = fits.amplitudes.row(best);
    let counts: Vec<f64> =
        (0..problem.components.len()).map(|k| modelled[k] * intensity(&problem, k)).collect();
    let all: f64 = counts.iter().sum();
    Ok(Calibration {
        parameters: fits.parameters.row(best).to_vec(),
        r_squared: fits.r_squared[best],
        r_squared_log: fits.r_squared_log[best],
        start: best,
        shares: counts.iter().map(|y| y / all.max(f64::MIN_POSITIVE)).collect(),
    })
}

/// Counts of a component per count in its first line.
fn intensity(problem: &Problem, component: usize) -> f64 {
    if [problem.elastic, problem.compton].contains(&Some(component)) {
        return 1.0;
    }
    problem.lines.iter().filter(|l| l.component == component).map(|l| l.ratio).sum()
}

/// Fits one spectrum `[1, channels]` from many starts, all with the same background.
fn fit(
    engine: &dyn Engine,
    problem: &Problem,
    starts: &[Vec<f64>],
    spectrum: ArrayView2<f32>,
) -> Result<Fits> {
    let background = match problem.background {
        Background::None => Array2::zeros((1, problem.count)),
        _ => engine.snip(problem, spectrum)?,
    };
    let problem = Problem { background: Background::Given, saturation: None, ..problem.clone() };
    let amplitudes = problem.amplitudes.iter().map(|v| v.start);
    let variables: Vec<f64> =
        starts.iter().flat_map(|s| s.iter().copied().chain(amplitudes.clone())).collect();
    let n = starts.len();
    let variables =
        Array2::from_shape_vec((n, variables.len() / n), variables).expect("a row per start");
    let all =
        |row: ArrayView2<f32>| row.broadcast((n, row.ncols())).expect("one row repeats").to_owned();
    let background = all(background.mapv(|b| b as f32).view());
    engine.fit(
        &problem,
        Batch {
            counts: all(spectrum).view(),
            background: Some(background.view()),
            starts: Starts::Each(variables.view()),
        },
    )
}

/// The fit with the lowest objective.
fn lowest(fits: &Fits) -> Option<usize> {
    let fitted = (0..fits.status.len()).filter(|&i| fits.status[i].is_fitted());
    fitted.min_by(|&a, &b| fits.objective[a].total_cmp(&fits.objective[b]))
}

fn unfit(fits: &Fits) -> Error {
    Error::configuration(format!(
        "the summed spectrum cannot be fitted ({}); check the elements and the energy calibration",
        fits.status[0].meaning()
    ))
}

/// Random shapes around given ones, within the bounds.
fn random(problem: &Problem, around: &[f64], n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut one = || {
        let mut start = around.to_vec();
        for (name, half) in RANGES {
            let v = problem.parameters[known_parameter(name)];
            let shift = half * (2.0 * rng.random::<f64>() - 1.0);
            if v.free {
                start[known_parameter(name)] =
                    (around[known_parameter(name)] + shift).clamp(v.lower, v.upper);
            }
        }
        start
    };
    (0..n).map(|_| one()).collect()
}
