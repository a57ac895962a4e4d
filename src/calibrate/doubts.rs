//! What may be a little wrong with a model, as spectra of one standard deviation each: ratios of an element's lines,
//! shapes, and the background.

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::cast;
use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::kernels::known_parameter;
use crate::problem::{Line, Problem};

/// Standard deviation of a line's ratio to the first line, over it.
const RATIO: f64 = 0.1;

/// Lines of an element that are this close keep their ratio \[keV\].
const CLOSE: f64 = 0.04;

/// Standard deviations of shapes.
const SHAPES: [(&str, f64); 9] = [
    ("ENERGY_OFFSET", 3e-3),
    ("ENERGY_SLOPE", 3e-6),
    ("FWHM_OFFSET", 5e-3),
    ("FWHM_FANOPRIME", 5e-6),
    ("COMPTON_ANGLE", 2.0),
    ("COMPTON_FWHM_CORR", 0.1),
    ("COMPTON_F_TAIL", 0.1),
    ("F_TAIL_OFFSET", 0.02),
    ("KB_F_TAIL_OFFSET", 0.02),
];

/// Pieces of the background, and their standard deviation over it.
const PIECES: usize = 12;
const PIECE: f64 = 0.3;

/// All doubts about a model of these amplitudes \[counts\] and this background `[window]`; `[doubts, window]`.
pub(super) fn doubts(
    engine: &dyn Engine,
    problem: &Problem,
    amplitudes: ArrayView1<f64>,
    background: ArrayView1<f64>,
) -> Result<Array2<f64>> {
    let mut rows = pieces(background);
    for k in (0..amplitudes.len()).filter(|&k| amplitudes[k] > 0.0 && !problem.is_scatter(k)) {
        let groups = engine::units(engine, &groups(problem, k), &problem.shapes())?;
        let further = groups.rows().into_iter().skip(1);
        rows.extend(further.map(|row| &row * (RATIO * amplitudes[k])));
    }
    rows.extend(shapes(engine, problem, amplitudes)?);
    let mut all = Array2::zeros((rows.len(), problem.count));
    all.axis_iter_mut(Axis(0)).zip(&rows).for_each(|(mut to, row)| to.assign(row));
    Ok(all)
}

/// The lines of one component, each group of close ones as a component of its own, the first line's first.
fn groups(problem: &Problem, component: usize) -> Problem {
    let mut first: Vec<f64> = Vec::new();
    let mut lines = Vec::new();
    for line in problem.lines.iter().filter(|l| l.component == component) {
        let group = first.iter().position(|kev| (kev - line.energy).abs() < CLOSE);
        let group = group.unwrap_or_else(|| {
            first.push(line.energy);
            first.len() - 1
        });
        lines.push(Line { component: group, ..line.clone() });
    }
    Problem {
        components: first.iter().map(|kev| format!("{kev} keV")).collect(),
        amplitudes: vec![problem.amplitudes[component]; first.len()],
        lines,
        elastic: None,
        compton: None,
        ..problem.clone()
    }
}

/// What a deviation of each shape changes.
fn shapes(
    engine: &dyn Engine,
    problem: &Problem,
    amplitudes: ArrayView1<f64>,
) -> Result<Vec<Array1<f64>>> {
    let stays = |&k: &usize| problem.is_scatter(k) || amplitudes[k] > 0.0;
    let amplitudes: Vec<f64> = (0..amplitudes.len()).filter(stays).map(|k| amplitudes[k]).collect();
    let problem = cast::kept(problem, |k| stays(&k));
    let start = problem.shapes();
    let model = |shapes: &[f64]| {
        Ok::<_, Error>(engine::model(engine, &problem, shapes, &amplitudes)?.total)
    };
    let mut rows = Vec::new();
    for (name, deviation) in SHAPES {
        let p = known_parameter(name);
        let v = problem.parameters[p];
        let at = |part: f64| {
            let mut shapes = start.clone();
            shapes[p] = (v.start + part * deviation).clamp(v.lower, v.upper);
            shapes
        };
        let [low, high] = [at(-0.5), at(0.5)];
        let apart = high[p] - low[p];
        if apart > 0.0 {
            rows.push((model(&high)? - model(&low)?) * (deviation / apart));
        }
    }
    Ok(rows)
}

/// Parts of a background that overlap and add up to it, each times its standard deviation.
fn pieces(background: ArrayView1<f64>) -> Vec<Array1<f64>> {
    let width = background.len() as f64 / (PIECES - 1) as f64;
    let piece = |i: usize| {
        let middle = i as f64 * width;
        let part = |c: usize| (1.0 - (c as f64 - middle).abs() / width).max(0.0);
        // also where none is found a little may be
        Array1::from_shape_fn(background.len(), |c| PIECE * part(c) * (background[c] + 1.0))
    };
    (0..PIECES).map(piece).collect()
}
