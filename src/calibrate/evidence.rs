//! Which components a summed spectrum shows, and how sure that is.
//!
//! One after the other, the component that explains most of what the others leave, given the shapes; then those that
//! the others make superfluous go. What a component explains is an F statistic: by how much the squares that are left
//! grow without it, all amplitudes fitted again, over their mean with it. Squares are taken over the variance of the
//! counts and of a model that is a little wrong, so strong peaks do not ask for components that mend their flanks.

use ndarray::{Array1, ArrayView1, Axis};
use rayon::prelude::*;

use super::cast;
use crate::engine::{Batch, Engine};
use crate::error::Result;
use crate::problem::{Optimizer, Problem};

/// Standard deviation of the model, over its counts.
const MODEL_ERROR: f64 = 0.05;

/// What a component explains at least, as the root of F: standard deviations of its amplitude.
const LEAST: f64 = 5.0;

/// What speaks for a component.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Its name.
    pub name: String,
    /// Energy of its strongest line in the window \[keV\].
    pub kev: f64,
    /// Net counts of all its lines.
    pub counts: f64,
    /// Standard deviations of its amplitude, given all others.
    pub significance: f64,
    /// The squares that are left without it, over those with it.
    pub without: f64,
}

/// The components of `problem` that a spectrum `[channels]` \[counts\] shows, in the problem's order; scatter is taken
/// for granted.
///
/// # Errors
///
/// When the engine fails.
pub fn evidence(
    engine: &dyn Engine,
    problem: &Problem,
    counts: ArrayView1<f64>,
) -> Result<Vec<Evidence>> {
    let look = Look::new(engine, problem, counts);
    let all: Vec<usize> =
        (0..problem.components.len()).filter(|&k| !problem.is_scatter(k)).collect();
    let mut shown: Vec<usize> = Vec::new();
    let mut left = look.left(&shown)?.0;
    loop {
        let with = |&k: &usize| Ok((look.left(&[&shown[..], &[k]].concat())?.0, k));
        let trials: Vec<(f64, usize)> =
            all.par_iter().filter(|k| !shown.contains(k)).map(with).collect::<Result<_>>()?;
        let Some(&(least, k)) = trials.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        if look.significance(left, least, shown.len() + 1) < LEAST {
            break;
        }
        shown.push(k);
        left = least;
    }
    shown.sort_unstable();
    loop {
        let (left, amplitudes) = look.left(&shown)?;
        let rest = |k: usize| shown.iter().copied().filter(|&other| other != k).collect::<Vec<_>>();
        let without: Vec<f64> =
            shown.par_iter().map(|&k| Ok(look.left(&rest(k))?.0)).collect::<Result<_>>()?;
        let sure = |i: usize| look.significance(without[i], left, shown.len());
        let weakest = (0..shown.len()).min_by(|&a, &b| sure(a).total_cmp(&sure(b)));
        match weakest.filter(|&i| sure(i) < LEAST) {
            Some(i) => drop(shown.remove(i)),
            None => {
                let one =
                    |i: usize| look.evidence(shown[i], amplitudes[i], (sure(i), without[i] / left));
                return Ok((0..shown.len()).map(one).collect());
            }
        }
    }
}

/// A spectrum that linear fits of some components are compared with.
struct Look<'a> {
    engine: &'a dyn Engine,
    problem: Problem,
    counts: ArrayView1<'a, f64>,
    /// One over the variance, over the window.
    weights: Array1<f64>,
}

impl<'a> Look<'a> {
    fn new(engine: &'a dyn Engine, problem: &Problem, counts: ArrayView1<'a, f64>) -> Self {
        let (first, end) = (problem.first, problem.first + problem.count);
        let weight = |c: usize| {
            let near = c.saturating_sub(2)..(c + 3).min(counts.len());
            let mean = near.clone().map(|c| counts[c]).sum::<f64>() / near.len() as f64;
            1.0 / (mean + 1.0 + (MODEL_ERROR * mean).powi(2))
        };
        let problem = Problem { optimizer: Optimizer::Nnls, saturation: None, ..problem.clone() };
        Self { engine, problem, counts, weights: (first..end).map(weight).collect() }
    }

    /// The weighted squares that a linear fit of these components and scatter leaves, and their amplitudes.
    fn left(&self, components: &[usize]) -> Result<(f64, Vec<f64>)> {
        let problem = cast::kept(&self.problem, |k| components.contains(&k));
        let spectrum = self.counts.mapv(|y| y as f32).insert_axis(Axis(0));
        let fits = self.engine.fit(&problem, Batch::of(spectrum.view()))?;
        let fitted = fits.fitted.counts();
        let square =
            |i: usize| self.weights[i] * (self.counts[problem.first + i] - fitted[i]).powi(2);
        let amplitude = |k: &usize| {
            let name = &self.problem.components[*k];
            let place = problem.components.iter().position(|c| c == name);
            fits.amplitudes[[0, place.expect("a component that was kept")]]
        };
        Ok(((0..problem.count).map(square).sum(), components.iter().map(amplitude).collect()))
    }

    /// The root of F of one among `n` components.
    fn significance(&self, without: f64, with: f64, n: usize) -> f64 {
        let free = (self.problem.count.saturating_sub(n)).max(1) as f64;
        ((without - with).max(0.0) / (with / free).max(1.0)).sqrt()
    }

    fn evidence(&self, k: usize, amplitude: f64, (significance, without): (f64, f64)) -> Evidence {
        let lines = self.problem.lines.iter().filter(|l| l.component == k);
        let strongest = lines.max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        Evidence {
            name: self.problem.components[k].clone(),
            kev: strongest.map_or(f64::NAN, |l| l.energy),
            counts: amplitude * cast::intensity(&self.problem, k),
            significance,
            without,
        }
    }
}
