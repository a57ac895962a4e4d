//! Which components a summed spectrum shows, and how sure that is.
//!
//! What a component explains is by how much the squares that are left grow without it, all amplitudes fitted again. The
//! squares are taken over the variance that the counts have and over what may be a little wrong with the model
//! (doubts.rs), each as far as the others leave it, so strong peaks do not ask for components that mend their flanks; and
//! over their mean with all components, where that is more than 1. One after the other, the component that explains most
//! comes in; then those that the others make superfluous go, and each is exchanged where another one explains more.

use nalgebra::{DMatrix, DVector};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use super::cast;
use super::doubts::doubts;
use super::weighed::{Solution, Weighed};
use crate::engine::{self, Engine};
use crate::error::Result;
use crate::problem::Problem;

/// Standard deviation of the model in each channel by itself, over its counts.
const MODEL_ERROR: f64 = 0.01;

/// What a component explains at least: standard deviations of its amplitude.
pub(super) const LEAST: f64 = 5.0;

/// How often doubts follow what is shown.
const ROUNDS: usize = 4;

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
pub(super) fn evidence(
    engine: &dyn Engine,
    problem: &Problem,
    counts: ArrayView1<f64>,
) -> Result<Vec<Evidence>> {
    let mut look = Look::new(engine, problem, counts)?;
    let mut shown: Vec<usize> =
        (0..problem.components.len()).filter(|&k| !problem.is_scatter(k)).collect();
    for _ in 0..ROUNDS {
        look.weigh(&shown)?;
        let chosen = look.choose();
        if chosen == shown {
            break;
        }
        shown = chosen;
    }
    Ok(look.evidence(&shown))
}

/// A spectrum, and the equations of what it may show.
struct Look<'a> {
    engine: &'a dyn Engine,
    problem: &'a Problem,
    /// Counts and background over the window.
    counts: Array1<f64>,
    background: Array1<f64>,
    /// Each component at one count in its first line, `[components, window]`.
    units: Array2<f64>,
    weighed: Weighed,
    /// Mean of the squares that are left with all components, if more than 1.
    misfit: f64,
}

impl<'a> Look<'a> {
    fn new(engine: &'a dyn Engine, problem: &'a Problem, counts: ArrayView1<f64>) -> Result<Self> {
        let background = engine.snip(problem, engine::single(counts).view())?.remove_axis(Axis(0));
        let window = problem.first..problem.first + problem.count;
        let counts: Array1<f64> = window.map(|c| counts[c]).collect();
        let units = engine::units(engine, problem, &problem.shapes())?;
        // at first a channel's own counts tell what it may be off by
        let around = |c: usize| {
            let near = c.saturating_sub(2)..(c + 3).min(counts.len());
            counts.slice(s![near]).mean().unwrap_or(0.0)
        };
        let expected = Array1::from_shape_fn(counts.len(), around);
        let none = Array2::zeros((0, counts.len()));
        let weighed = equations(&units, &none, &(&counts - &background), &expected);
        Ok(Self { engine, problem, counts, background, units, weighed, misfit: 1.0 })
    }

    /// Takes variances and doubts from the fit of `shown`.
    fn weigh(&mut self, shown: &[usize]) -> Result<()> {
        let amplitudes = self.solve(shown).amplitudes;
        let amplitudes = Array1::from_iter(amplitudes.iter().copied());
        let expected = amplitudes.dot(&self.units) + &self.background;
        let unsure = doubts(self.engine, self.problem, amplitudes.view(), self.background.view())?;
        let net = &self.counts - &self.background;
        self.weighed = equations(&self.units, &unsure, &net, &expected);
        let all: Vec<usize> = (0..self.problem.components.len()).collect();
        self.misfit = (self.solve(&all).left / self.counts.len() as f64).max(1.0);
        Ok(())
    }

    /// The fit of these components and scatter.
    fn solve(&self, components: &[usize]) -> Solution {
        let scatter = [self.problem.elastic, self.problem.compton].into_iter().flatten();
        let all: Vec<usize> = components.iter().copied().chain(scatter).collect();
        self.weighed.solve(&all)
    }

    /// The components that explain something, in order.
    fn choose(&self) -> Vec<usize> {
        let mut shown = Vec::new();
        loop {
            self.add(&mut shown);
            self.prune(&mut shown);
            if !self.exchange(&mut shown) {
                shown.sort_unstable();
                return shown;
            }
        }
    }

    fn others(&self, shown: &[usize]) -> Vec<usize> {
        let out = |k: &usize| !self.problem.is_scatter(*k) && !shown.contains(k);
        (0..self.problem.components.len()).filter(out).collect()
    }

    /// Adds what explains most, as long as that is enough.
    fn add(&self, shown: &mut Vec<usize>) {
        loop {
            match self.best_of_others(shown, &self.solve(shown)) {
                Some((gain, k)) if self.sigma(gain) >= LEAST => shown.push(k),
                _ => return,
            }
        }
    }

    /// Drops what explains least, as long as that is too little.
    fn prune(&self, shown: &mut Vec<usize>) {
        loop {
            let left = self.solve(shown).left;
            let losses = shown.iter().map(|&k| (self.solve(&except(shown, k)).left - left, k));
            match losses.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((loss, k)) if self.sigma(loss) < LEAST => shown.retain(|&other| other != k),
                _ => return,
            }
        }
    }

    /// What explains most beside `shown`, with how much.
    fn best_of_others(&self, shown: &[usize], fit: &Solution) -> Option<(f64, usize)> {
        let others = self.others(shown);
        let gains = self.weighed.gains(fit, &others);
        gains.into_iter().zip(others).max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Puts one component in another's place where that leaves less; false when it nowhere does.
    fn exchange(&self, shown: &mut Vec<usize>) -> bool {
        let mut least = self.solve(shown).left;
        let mut changed = false;
        for i in 0..shown.len() {
            let without = self.solve(&except(shown, shown[i]));
            let Some((gain, k)) = self.best_of_others(shown, &without) else { break };
            if without.left - gain > least - self.misfit {
                continue;
            }
            let mut with = shown.clone();
            with[i] = k;
            let left = self.solve(&with).left;
            if left < least - self.misfit {
                (least, *shown, changed) = (left, with, true);
            }
        }
        changed
    }

    fn sigma(&self, squares: f64) -> f64 {
        (squares.max(0.0) / self.misfit).sqrt()
    }

    fn evidence(&self, shown: &[usize]) -> Vec<Evidence> {
        let fit = self.solve(shown);
        let one = |&k: &usize| {
            let lines = self.problem.lines.iter().filter(|l| l.component == k);
            let strongest = lines.max_by(|a, b| a.ratio.total_cmp(&b.ratio));
            let without = self.solve(&except(shown, k)).left;
            Evidence {
                name: self.problem.components[k].clone(),
                kev: strongest.map_or(f64::NAN, |l| l.energy),
                counts: fit.amplitudes[k] * cast::intensity(self.problem, k),
                significance: self.sigma(without - fit.left),
                without: without / fit.left.max(1.0),
            }
        };
        shown.iter().map(one).collect()
    }
}

fn except(shown: &[usize], k: usize) -> Vec<usize> {
    shown.iter().copied().filter(|&other| other != k).collect()
}

/// The equations of `[components, window]` and `[doubts, window]` for net counts, where so many are expected.
fn equations(
    units: &Array2<f64>,
    unsure: &Array2<f64>,
    net: &Array1<f64>,
    expected: &Array1<f64>,
) -> Weighed {
    let columns = |rows: &Array2<f64>| {
        DMatrix::from_fn(rows.ncols(), rows.nrows(), |channel, row| rows[[row, channel]])
    };
    let variance = expected.iter().map(|m| m.max(0.0) + 1.0 + (MODEL_ERROR * m).powi(2));
    let variance = DVector::from_iterator(expected.len(), variance);
    let counts = DVector::from_iterator(net.len(), net.iter().copied());
    Weighed::new(&columns(units), &columns(unsure), &counts, &variance)
}
