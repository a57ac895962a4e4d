//! First pass: the shapes of a whole scan from its summed spectrum.
//!
//! Coarse to fine. Grids of gains and offsets, each with a linear fit of the amplitudes, find the valleys of the
//! calibration, which no local method does from more than a few per cent away; other peak widths are tried in each.
//! Newton then runs from the best of them, from the configured values and from random ones, and again from where the
//! best of these ended. Every fit goes through the engine. Knows the problem and the engine; no
//! files and no ranks.

mod cast;
mod descent;
mod doubts;
mod evidence;
mod grid;
mod proposal;
mod weighed;

use std::slice::from_ref;

use ndarray::{Array1, ArrayView1, ArrayView2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::descent::{Place, Way};
pub use self::evidence::Evidence;
pub use self::proposal::{Proposal, propose};
use crate::engine::{self, Batch, Engine};
use crate::error::{Error, Result};
use crate::kernels::known_parameter;
use crate::problem::Problem;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Starts: the configured values, the best ones of the grids (at most 8), and random ones around their best.
    pub starts: usize,
    /// Seed of the random ones.
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { starts: 9, seed: 0 }
    }
}

/// Half-ranges of random starts around the best of the grids.
const RANGES: [(&str, f64); 7] = [
    ("ENERGY_OFFSET", 0.05),
    ("ENERGY_SLOPE", 2e-4),
    ("FWHM_OFFSET", 0.04),
    ("FWHM_FANOPRIME", 8e-5),
    ("COHERENT_SCT_ENERGY", 0.1),
    ("COMPTON_ANGLE", 20.0),
    ("COMPTON_FWHM_CORR", 0.5),
];

/// Starts whose ends are followed further.
const FINALISTS: usize = 4;

/// What is fitted last, from the right valley: with the incident energy or the curvature free, a wrong gain
/// can look as good as the right one.
const LAST: [&str; 2] = ["COHERENT_SCT_ENERGY", "ENERGY_QUADRATIC"];

/// What is fitted from the right valley on: before, the tails of the Compton peak can pose as the elastic one.
const LATER: [&str; 5] = [
    "COHERENT_SCT_ENERGY",
    "ENERGY_QUADRATIC",
    "COMPTON_F_TAIL",
    "COMPTON_GAMMA",
    "COMPTON_HI_F_TAIL",
];

/// A bystander with at least this part of the net counts stays in the first pass, and the user hears of it.
const STRONG: f64 = 0.01;

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
    /// Strong components that nobody asked for.
    pub bystanders: Vec<String>,
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
    let spectrum = engine::single(counts);
    let fits = engine.fit(&unsaturated, Batch::of(spectrum.view()))?;
    Ok(SumFit { fitted: fits.fitted.counts(), background: fits.background.counts() })
}

/// What fits.
#[derive(Clone, Copy)]
pub struct Engines<'a> {
    /// Fast, for the search.
    pub search: &'a dyn Engine,
    /// Exact, for what it found.
    pub last: &'a dyn Engine,
}

/// The problem of a summed spectrum at given shape parameters: window and SNIP follow the energy axis.
pub type ProblemAt<'a> = dyn Fn(&[f64]) -> Result<Problem> + Sync + 'a;

/// Finds the shapes of a summed spectrum `[channels]` \[counts\], from `configured` shapes (in the kernels'
/// order).
///
/// The first `asked` components of the problem are those of the fit; the others are bystanders, of which the
/// strong ones are needed: a peak without a component would pull the energy axis to where another one can pose as it.
///
/// # Errors
///
/// When the engine fails, or when no start leads to a fit.
pub fn calibrate(
    engines: Engines,
    problem_at: &ProblemAt,
    asked: usize,
    configured: &[f64],
    counts: ArrayView1<f64>,
    search: Search,
) -> Result<Calibration> {
    let spectrum = engine::single(counts);
    let spectrum = spectrum.view();
    let engine = engines.search;
    let starts = starts(engine, problem_at, asked, configured, spectrum, search)?;
    let rough = Way { problem_at, stages: &descent::ROUGH, frozen: &LATER, configured };
    let fine = Way { stages: &descent::FINE, frozen: &LAST, ..rough };
    let rough = descent::all(engine, rough, &starts, spectrum)?;
    let mut order: Vec<usize> = (0..rough.len()).collect();
    order.sort_by(|&a, &b| rough[a].unexplained.total_cmp(&rough[b].unexplained));
    order.truncate(FINALISTS);
    let finalists: Vec<Vec<f64>> = order.iter().map(|&i| rough[i].parameters.clone()).collect();
    let ends = descent::all(engine, fine, &finalists, spectrum)?;
    let best = lowest(&ends);
    let (place, start) = (&ends[best], order[best]);
    if !place.status.is_fitted() {
        return Err(unfit(place));
    }
    let wide = problem_at(&place.parameters)?;
    let counted = |k: usize| place.amplitudes[k] * cast::intensity(&wide, k);
    let all: f64 = (0..wide.components.len()).map(counted).sum();
    let needed = |k: usize| k < asked || counted(k) >= STRONG * all;
    let at = |p: &[f64]| Ok(cast::kept(&problem_at(p)?, needed));
    let last = Way { problem_at: &at, frozen: &[], ..fine };
    let last = descent::all(engines.last, last, from_ref(&place.parameters), spectrum)?.remove(0);
    let bystanders = asked..wide.components.len();
    let bystanders = bystanders.filter(|&k| needed(k) && !wide.is_scatter(k));
    Ok(Calibration {
        bystanders: bystanders.map(|k| wide.components[k].clone()).collect(),
        parameters: last.parameters,
        r_squared: last.r_squared,
        r_squared_log: last.r_squared_log,
        start,
    })
}

/// The configured values, the best of the grids with and without bystanders, and random ones around their best.
fn starts(
    engine: &dyn Engine,
    problem_at: &ProblemAt,
    asked: usize,
    configured: &[f64],
    spectrum: ArrayView2<f32>,
    search: Search,
) -> Result<Vec<Vec<f64>>> {
    let mut starts = vec![configured.to_vec()];
    if search.starts <= 1 {
        return Ok(starts);
    }
    let alone = |p: &[f64]| Ok(cast::kept(&problem_at(p)?, |k| k < asked));
    let mut grids = vec![grid::coarse(engine, problem_at, configured, spectrum)?];
    if asked > 0 {
        grids.push(grid::coarse(engine, &alone, configured, spectrum)?);
    }
    for rank in 0..grid::CANDIDATES {
        starts.extend(grids.iter().filter_map(|grid| grid.get(rank).cloned()));
    }
    starts.truncate(search.starts);
    let around = starts.get(1).unwrap_or(&starts[0]).clone();
    let missing = search.starts - starts.len();
    starts.extend(random(&problem_at(&around)?, &around, missing, search.seed));
    Ok(starts)
}

fn lowest(places: &[Place]) -> usize {
    let all = 0..places.len();
    all.min_by(|&a, &b| places[a].unexplained.total_cmp(&places[b].unexplained)).unwrap_or(0)
}

fn unfit(place: &Place) -> Error {
    Error::configuration(format!(
        "the summed spectrum cannot be fitted ({}); check the elements and the energy calibration",
        place.status.meaning()
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
