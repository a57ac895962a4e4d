//! Least squares of a spectrum by components that are not below 0, beside what may be a little wrong with the model.
//!
//! Each unsure column n of a standard deviation t in its amplitude adds t² n n' to the covariance of the channels,
//! whose own variance is v; the columns are eliminated once. With A and N the columns over the root of v and over their
//! own deviations, y the counts to explain over the root of v,
//!
//! ```text
//! G = A'A - A'N (N'N + 1)⁻¹ N'A,   b = A'y - A'N (N'N + 1)⁻¹ N'y,   left = y'y - y'N (N'N + 1)⁻¹ N'y - 2 a'b + a'G a
//! ```

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// A pivot below this, of 1, is a component that looks like a mixture of the others.
const LEAST_PIVOT: f64 = 1e-9;

/// The equations of one spectrum.
pub(super) struct Weighed {
    gram: DMatrix<f64>,
    right: DVector<f64>,
    /// What is left where all amplitudes are 0.
    empty: f64,
}

/// Amplitudes of chosen components, in the order of all, and the squares that they leave.
#[derive(Clone)]
pub(super) struct Solution {
    pub amplitudes: DVector<f64>,
    pub left: f64,
}

impl Weighed {
    /// From columns `[channels, components]` and `[channels, unsure]`, the latter times their deviations, counts
    /// `[channels]` to explain, and variances `[channels]` \[counts²\].
    pub fn new(
        columns: &DMatrix<f64>,
        unsure: &DMatrix<f64>,
        counts: &DVector<f64>,
        variance: &DVector<f64>,
    ) -> Self {
        let over = |m: &DMatrix<f64>| {
            let mut m = m.clone();
            m.row_iter_mut().zip(variance).for_each(|(mut row, v)| row /= v.sqrt());
            m
        };
        let (a, n) = (over(columns), over(unsure));
        let y = counts.zip_map(variance, |y, v| y / v.sqrt());
        let inner = n.tr_mul(&n) + DMatrix::identity(n.ncols(), n.ncols());
        let inner = Cholesky::new(inner).expect("a sum of squares and 1");
        let mixed = n.tr_mul(&a);
        let (by_columns, by_counts) = (inner.solve(&mixed), inner.solve(&n.tr_mul(&y)));
        Self {
            gram: a.tr_mul(&a) - mixed.tr_mul(&by_columns),
            right: a.tr_mul(&y) - mixed.tr_mul(&by_counts),
            empty: y.dot(&y) - n.tr_mul(&y).dot(&by_counts),
        }
    }

    /// The best amplitudes of `chosen` components that are not below 0 (Lawson & Hanson 1974, ch. 23).
    pub fn solve(&self, chosen: &[usize]) -> Solution {
        let mut free: Vec<usize> = Vec::new();
        let mut amplitudes = DVector::zeros(self.right.len());
        for _ in 0..3 * chosen.len() {
            let slope = &self.right - &self.gram * &amplitudes;
            let gain = |&k: &usize| slope[k] / self.gram[(k, k)].sqrt();
            let bound = chosen.iter().copied().filter(|k| !free.contains(k));
            let Some(next) = bound.max_by(|a, b| gain(a).total_cmp(&gain(b))) else { break };
            if gain(&next).is_nan() || gain(&next) <= 1e-9 * self.empty.sqrt() {
                break;
            }
            free.push(next);
            if self.factor(&free).is_none() {
                free.pop();
                break;
            }
            self.walk(&mut free, &mut amplitudes);
        }
        let left = self.empty - amplitudes.dot(&self.right);
        Solution { amplitudes, left: left.max(0.0) }
    }

    /// Moves to the minimum of the free components; those that reach 0 on the way stay there.
    fn walk(&self, free: &mut Vec<usize>, amplitudes: &mut DVector<f64>) {
        while let Some(factor) = self.factor(free) {
            let right = DVector::from_iterator(free.len(), free.iter().map(|&k| self.right[k]));
            let there = factor.solve(&right);
            let ahead = free.iter().zip(&there).filter(|(_, there)| **there <= 0.0);
            let part = |(&k, &there): (&usize, &f64)| amplitudes[k] / (amplitudes[k] - there);
            let part = ahead.map(part).fold(1.0, f64::min);
            for (&k, &there) in free.iter().zip(&there) {
                amplitudes[k] += part * (there - amplitudes[k]);
            }
            if part >= 1.0 {
                return;
            }
            let smallest = amplitudes.amax() * 1e-14;
            amplitudes.iter_mut().filter(|a| **a <= smallest).for_each(|a| *a = 0.0);
            free.retain(|&k| amplitudes[k] > 0.0);
        }
    }

    /// By how much the squares that `solution` leaves at least shrink with each of `further` components.
    pub fn gains(&self, solution: &Solution, further: &[usize]) -> Vec<f64> {
        let free: Vec<usize> =
            (0..self.right.len()).filter(|&k| solution.amplitudes[k] > 0.0).collect();
        let Some(factor) = self.factor(&free) else { return vec![0.0; further.len()] };
        let slopes = &self.right - &self.gram * &solution.amplitudes;
        let shared = self.gram.select_rows(&free).select_columns(further);
        let by_free = factor.solve(&shared);
        let gain = |(i, &k): (usize, &usize)| {
            let own = self.gram[(k, k)] - shared.column(i).dot(&by_free.column(i));
            let sound = slopes[k] > 0.0 && own > LEAST_PIVOT * self.gram[(k, k)];
            if sound { slopes[k] * slopes[k] / own } else { 0.0 }
        };
        further.iter().enumerate().map(gain).collect()
    }

    fn factor(&self, free: &[usize]) -> Option<Cholesky<f64, Dyn>> {
        let part = self.gram.select_rows(free).select_columns(free);
        let factor = Cholesky::new(part.clone())?;
        let sound =
            (0..free.len()).all(|i| factor.l_dirty()[(i, i)].powi(2) > LEAST_PIVOT * part[(i, i)]);
        sound.then_some(factor)
    }
}
