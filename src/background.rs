//! What is subtracted and why: the background that the pixels of a scan share; and the amplitudes of their mean.
//!
//! SNIP of a few counts follows their noise and lies far below the continuum. So the continuum is found once, where there
//! are counts enough: in the sum of all spectra, as non-negative cubic B-splines beside all lines, by the likelihood of
//! the counts. A pixel has this shape times a factor of its own, which is fitted with its peaks.
//!
//! Knows the problem and the engine; no files and no ranks.

use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, Axis, concatenate, s};

use crate::engine::{self, Batch, Engine, Fits};
use crate::error::{Error, Result};
use crate::problem::{Background, Objective, Optimizer, Problem};

/// B-splines over the window: fewer are too stiff for a scattered continuum, more fit no better.
const SPLINES: usize = 12;
/// Steps of the sum's fit at most; a dozen are common.
const STEPS: usize = 200;
/// Pixels with this many counts on average tell a tilt of their background from noise.
const COUNTS_FOR_TILT: f64 = 3000.0;

/// A background that pixels share.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    /// Mean counts of a pixel, `[window]` \[counts\].
    pub shape: Array1<f64>,
    /// Shape parameters of the sum, in the kernels' order.
    pub parameters: Vec<f64>,
    /// Poisson deviance of the sum over its channels less the free variables \[1\]: near 1 where the model is right.
    pub deviance: f64,
}

/// Finds the background in the sum of `pixels` spectra, `[channels]` \[counts\], with the problem's lines and free shapes.
///
/// # Errors
///
/// When the engine fails, or the sum cannot be fitted.
pub fn of_sum(
    engine: &dyn Engine,
    problem: &Problem,
    sum: ArrayView1<f64>,
    pixels: usize,
) -> Result<Pooled> {
    let mut problem = likely(problem, splines(problem.count));
    for parameter in &mut problem.parameters {
        parameter.prior = None;
    }
    let fits = fit(engine, &problem, sum)?;
    Ok(Pooled {
        shape: fits.background.counts() / pixels as f64,
        parameters: fits.parameters.row(0).to_vec(),
        deviance: fits.deviance[0],
    })
}

/// The same where the pixels' shapes scatter: the sum's peaks are mixtures, so each component is averaged over shapes
/// that scatter by these standard deviations (in the parameters' order; 0 of those that do not).
///
/// # Errors
///
/// As [`of_sum`].
pub fn of_mixture(
    engine: &dyn Engine,
    problem: &Problem,
    scatter: &[f64],
    sum: ArrayView1<f64>,
    pixels: usize,
) -> Result<Pooled> {
    let columns = averaged(engine, problem, scatter)?;
    let templates = concatenate![Axis(0), columns, splines(problem.count)];
    let mut mixture = likely(problem, templates);
    (mixture.lines, mixture.amplitudes, mixture.components) = (Vec::new(), Vec::new(), Vec::new());
    (mixture.elastic, mixture.compton) = (None, None);
    for parameter in &mut mixture.parameters {
        (parameter.free, parameter.prior) = (false, None);
    }
    let fits = fit(engine, &mixture, sum)?;
    let amplitudes = fits.template_amplitudes.slice(s![0, columns.nrows()..]);
    Ok(Pooled {
        shape: splines(problem.count).t().dot(&amplitudes) / pixels as f64,
        parameters: problem.shapes(),
        deviance: fits.deviance[0],
    })
}

impl Pooled {
    /// SNIP of the sum of `pixels` spectra.
    ///
    /// # Errors
    ///
    /// When the engine fails.
    pub fn snip(
        engine: &dyn Engine,
        problem: &Problem,
        sum: ArrayView1<f64>,
        pixels: usize,
    ) -> Result<Self> {
        let rows = engine.snip(problem, engine::single(sum).view())?;
        Ok(Self {
            shape: rows.row(0).mapv(|y| y.max(0.0)) / pixels as f64,
            parameters: problem.shapes(),
            deviance: f64::NAN,
        })
    }

    /// What a pixel's background is made of, `[1 or 2, window]` \[counts\]: the shape, or its falling and its rising half
    /// where pixels of `mean` counts tell them apart.
    pub fn templates(&self, mean: f64) -> Array2<f64> {
        if mean < COUNTS_FOR_TILT {
            return self.shape.clone().insert_axis(Axis(0));
        }
        let last = (self.shape.len() - 1).max(1) as f64;
        Array2::from_shape_fn((2, self.shape.len()), |(side, c)| {
            let rising = c as f64 / last;
            self.shape[c] * if side == 0 { 1.0 - rising } else { rising }
        })
    }
}

/// Cubic B-splines over a window of `count` channels, `[splines, count]`, which add up to 1.
pub fn splines(count: usize) -> Array2<f64> {
    let mut all = Array2::zeros((SPLINES, count));
    for (c, column) in all.axis_iter_mut(Axis(1)).enumerate() {
        let intervals = (SPLINES - 3) as f64;
        let x = intervals * c as f64 / (count.max(2) - 1) as f64;
        cox_de_boor(x, column);
    }
    all
}

/// The cubic B-splines at x over knots 0, 0, 0, 0, 1, 2, ..., n, n, n, n (Cox 1972, de Boor 1972).
fn cox_de_boor(x: f64, mut at: ArrayViewMut1<f64>) {
    let last = at.len() - 3;
    let knot = |i: usize| i.saturating_sub(3).min(last) as f64;
    let inside = (x as usize).min(last - 1) + 3;
    let mut values = vec![0.0; at.len() + 3];
    values[inside] = 1.0;
    for degree in 1..=3 {
        for i in 0..at.len() + 3 - degree {
            let share = |of: f64, width: f64| if width > 0.0 { of / width } else { 0.0 };
            let rising = share(x - knot(i), knot(i + degree) - knot(i));
            let end = knot(i + degree + 1);
            let falling = share(end - x, end - knot(i + 1));
            values[i] = rising * values[i] + falling * values[i + 1];
        }
    }
    values.truncate(at.len());
    at.assign(&ArrayView1::from(&values));
}

/// Starts amplitudes, which weigh the pixels' linear start, from those of a mean pixel, by the sum of `pixels` spectra with the problem's shapes and templates.
///
/// # Errors
///
/// As [`of_sum`].
pub fn start_from_mean(
    engine: &dyn Engine,
    problem: &mut Problem,
    sum: ArrayView1<f64>,
    pixels: usize,
) -> Result<()> {
    let mut of_sum = likely(problem, problem.templates.clone());
    of_sum.parameters.iter_mut().for_each(|parameter| parameter.free = false);
    let fits = fit(engine, &of_sum, sum)?;
    for (variable, counts) in problem.amplitudes.iter_mut().zip(fits.amplitudes.row(0)) {
        variable.start = (counts / pixels as f64).log10().clamp(variable.lower, variable.upper);
    }
    Ok(())
}

/// The problem with these templates, by Newton on the deviance.
fn likely(problem: &Problem, templates: Array2<f64>) -> Problem {
    Problem {
        templates,
        background: Background::Pooled,
        objective: Objective::Poisson,
        optimizer: Optimizer::Newton,
        steps: STEPS,
        solve_start: true,
        clip_net_counts: false,
        saturation: None,
        ..problem.clone()
    }
}

fn fit(engine: &dyn Engine, problem: &Problem, sum: ArrayView1<f64>) -> Result<Fits> {
    let fits = engine.fit(problem, Batch::of(engine::single(sum).view()))?;
    if fits.status[0].is_fitted() {
        return Ok(fits);
    }
    Err(Error::configuration(format!(
        "the background of the summed spectrum cannot be fitted ({})",
        fits.status[0].meaning()
    )))
}

/// Each component at one count in its first line, averaged over scattered shapes, `[components, window]` \[counts\]: over
/// points sqrt(d) standard deviations away along each of the d parameters, which have the mean and the variances.
fn averaged(engine: &dyn Engine, problem: &Problem, scatter: &[f64]) -> Result<Array2<f64>> {
    let plain = problem.without_background();
    let moving: Vec<usize> = (0..scatter.len()).filter(|&p| scatter[p] > 0.0).collect();
    let away = (moving.len() as f64).sqrt();
    let mut points = Vec::new();
    for &p in &moving {
        for side in [-away, away] {
            let mut values = plain.shapes();
            values[p] += side * scatter[p];
            points.push(values);
        }
    }
    if points.is_empty() {
        points.push(plain.shapes());
    }
    let mut columns = Array2::zeros((plain.components.len(), plain.count));
    for shapes in &points {
        columns.scaled_add(1.0 / points.len() as f64, &engine::units(engine, &plain, shapes)?);
    }
    Ok(columns)
}
