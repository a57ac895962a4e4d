//! How well amplitudes can be known from a spectrum of Poisson counts: the Cramér-Rao bound.
//!
//! The Fisher matrix of the free variables at the truth: the amplitudes of the fitted components, the free shape
//! parameters, and the background's strength. The columns are the engine's own spectra.

use nalgebra::DMatrix;
use ndarray::{Array1, ArrayView1};

use crate::engine::{self, Engine};
use crate::error::Result;
use crate::problem::Problem;

/// A step of a central difference, as part of the range of a parameter.
const STEP: f64 = 1e-6;
/// Expected counts below which a channel is as good as this \[counts\].
const FEWEST: f64 = 1e-9;
/// What is fitted, and what the true spectra are made of.
pub struct Bound<'a> {
    /// Evaluates spectra; in double precision, because they are subtracted.
    pub engine: &'a dyn Engine,
    /// The fit's problem with every component of the truth.
    pub problem: &'a Problem,
    /// Which of its components the fit has.
    pub fitted: &'a [usize],
    /// Which of its shape parameters the fit moves.
    pub free: &'a [usize],
    /// Standard deviations of Gaussian priors, by free parameter.
    pub priors: &'a [Option<f64>],
}

impl Bound<'_> {
    /// The least standard deviations that unbiased estimates of the fitted components' amplitudes can have
    /// \[counts\]; NaN where the spectrum says nothing about one.
    ///
    /// * `shapes`: true shape parameters, in the kernels' order.
    /// * `amplitudes`: true amplitudes \[counts\] of all components of the problem.
    /// * `background`: true background, over the window \[counts\].
    ///
    /// # Errors
    ///
    /// When the engine fails.
    pub fn at(
        &self,
        shapes: &[f64],
        amplitudes: &[f64],
        background: ArrayView1<f64>,
    ) -> Result<Array1<f64>> {
        let units = engine::units(self.engine, self.problem, shapes)?;
        let expected = &Array1::from(amplitudes.to_vec()).dot(&units) + &background;
        let mut columns: Vec<Array1<f64>> =
            self.fitted.iter().map(|&component| units.row(component).to_owned()).collect();
        for &parameter in self.free {
            columns.push(self.of_shape(shapes, amplitudes, parameter)?);
        }
        if background.iter().any(|b| *b > 0.0) {
            columns.push(background.to_owned());
        }
        Ok(self.deviations(&columns, &expected))
    }

    /// Derivative of the spectrum by a shape parameter; one-sided at its bounds.
    fn of_shape(
        &self,
        shapes: &[f64],
        amplitudes: &[f64],
        parameter: usize,
    ) -> Result<Array1<f64>> {
        let variable = self.problem.parameters[parameter];
        let step = STEP * (variable.upper - variable.lower);
        let at = |value: f64| {
            let mut moved = shapes.to_vec();
            moved[parameter] = value;
            engine::model(self.engine, self.problem, &moved, amplitudes).map(|model| model.total)
        };
        let true_value = shapes[parameter];
        let low = (true_value - step).max(variable.lower.min(true_value));
        let high = (true_value + step).min(variable.upper.max(true_value));
        Ok((at(high)? - at(low)?) / (high - low))
    }

    /// Standard deviations of the amplitudes: the root of the diagonal of the inverse Fisher matrix.
    fn deviations(&self, columns: &[Array1<f64>], expected: &Array1<f64>) -> Array1<f64> {
        let n = self.fitted.len();
        let variance = expected.mapv(|m| m.max(FEWEST));
        let weighted: Vec<Array1<f64>> = columns.iter().map(|column| column / &variance).collect();
        let mut fisher = DMatrix::from_fn(columns.len(), columns.len(), |i, j| {
            if i < j { 0.0 } else { weighted[i].dot(&columns[j]) }
        });
        fisher.fill_upper_triangle_with_lower_triangle();
        for (i, prior) in self.priors.iter().enumerate() {
            fisher[(n + i, n + i)] += prior.map_or(0.0, |sigma| sigma.powi(-2));
        }
        // what no channel knows of has no place in the matrix
        let known: Vec<usize> = (0..columns.len()).filter(|&i| fisher[(i, i)] > 0.0).collect();
        // variables of very different units, each in its own
        let unit: Vec<f64> = known.iter().map(|&i| fisher[(i, i)].sqrt()).collect();
        let scaled = DMatrix::from_fn(known.len(), known.len(), |i, j| {
            fisher[(known[i], known[j])] / (unit[i] * unit[j])
        });
        let mut deviations = Array1::from_elem(n, f64::NAN);
        if let Some(factor) = scaled.cholesky() {
            let inverse = factor.inverse();
            for (i, &variable) in known.iter().enumerate().filter(|(_, v)| **v < n) {
                deviations[variable] = inverse[(i, i)].sqrt() / unit[i];
            }
        }
        deviations
    }
}
