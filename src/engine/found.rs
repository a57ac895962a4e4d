//! What the kernels write about the spectra of a tile, as `kernels/tile.h` lays it out.

use ndarray::{Array1, Array2, ArrayView2, s};

use super::{ExactSum, Fits};
use crate::kernels::Status;
use crate::kernels::abi::RawTile;
use crate::problem::Problem;

/// Results of `n` fits; a row per spectrum.
pub(super) struct Found {
    /// `[n, variables]`
    pub variables: Vec<f64>,
    /// `[n, variables]`
    pub sigma: Vec<f64>,
    /// `[n, components]`
    pub signed_amplitudes: Vec<f64>,
    /// `[n, 2, components]`, or nothing.
    pub limits: Vec<f64>,
    pub objective: Vec<f64>,
    pub r_squared: Vec<f64>,
    pub r_squared_log: Vec<f64>,
    pub deviance: Vec<f64>,
    pub background_counts: Vec<f64>,
    pub steps: Vec<i32>,
    pub status: Vec<i32>,
    /// `[window]`
    pub fitted_sum: Vec<i64>,
    /// `[window]`
    pub background_sum: Vec<i64>,
}

impl Found {
    /// Room for `n` spectra.
    pub fn room(problem: &Problem, n: usize) -> Self {
        let (variables, components) = (problem.variable_count(), problem.components.len());
        let numbers = |of_each: usize| vec![f64::NAN; n * of_each];
        Self {
            variables: numbers(variables),
            sigma: numbers(variables),
            signed_amplitudes: numbers(components),
            limits: numbers(2 * problem.limited()),
            objective: numbers(1),
            r_squared: numbers(1),
            r_squared_log: numbers(1),
            deviance: numbers(1),
            background_counts: numbers(1),
            steps: vec![0; n],
            status: vec![0; n],
            fitted_sum: vec![0; problem.count],
            background_sum: vec![0; problem.count],
        }
    }

    /// A tile whose results go here; it has no spectra yet, and nowhere to sum them.
    pub fn tile(&mut self) -> RawTile {
        let limits = if self.limits.is_empty() { 0 } else { self.limits.as_mut_ptr() as u64 };
        RawTile {
            variables: self.variables.as_mut_ptr() as u64,
            sigma: self.sigma.as_mut_ptr() as u64,
            signed_amplitudes: self.signed_amplitudes.as_mut_ptr() as u64,
            limits,
            objective: self.objective.as_mut_ptr() as u64,
            r_squared: self.r_squared.as_mut_ptr() as u64,
            r_squared_log: self.r_squared_log.as_mut_ptr() as u64,
            deviance: self.deviance.as_mut_ptr() as u64,
            background_counts: self.background_counts.as_mut_ptr() as u64,
            steps: self.steps.as_mut_ptr() as u64,
            status: self.status.as_mut_ptr() as u64,
            ..RawTile::default()
        }
    }

    pub fn into_fits(self, problem: &Problem) -> Fits {
        let (p, k, n) = (problem.parameters.len(), problem.components.len(), self.status.len());
        let rows = |values| {
            ArrayView2::from_shape((n, problem.variable_count()), values).expect("a row each")
        };
        let (variables, sigma) = (rows(&self.variables), rows(&self.sigma));
        Fits {
            parameters: variables.slice(s![.., ..p]).to_owned(),
            amplitudes: variables.slice(s![.., p..p + k]).to_owned(),
            parameter_sigma: sigma.slice(s![.., ..p]).to_owned(),
            amplitude_sigma: sigma.slice(s![.., p..p + k]).to_owned(),
            template_amplitudes: variables.slice(s![.., p + k..]).to_owned(),
            signed_amplitudes: Array2::from_shape_vec((n, k), self.signed_amplitudes)
                .expect("a row each"),
            limits: [0, 1].map(|which| {
                let k = problem.limited();
                Array2::from_shape_fn((n, k), |(i, j)| self.limits[(2 * i + which) * k + j])
            }),
            objective: self.objective.into(),
            r_squared: self.r_squared.into(),
            r_squared_log: self.r_squared_log.into(),
            deviance: self.deviance.into(),
            background_counts: self.background_counts.into(),
            steps: self.steps.iter().map(|&steps| steps as u32).collect::<Array1<u32>>(),
            status: self.status.into_iter().map(Status::from_code).collect(),
            fitted: ExactSum(self.fitted_sum),
            background: ExactSum(self.background_sum),
        }
    }
}

/// The tile whose results go where those of the spectra from number `first` on do.
pub(super) fn beginning_at(first: usize, tile: &RawTile, problem: &Problem) -> RawTile {
    let at = |rows: u64, bytes: usize| if rows == 0 { 0 } else { rows + (first * bytes) as u64 };
    let (variable_bytes, amplitude_bytes) =
        (size_of::<f64>() * problem.variable_count(), size_of::<f64>() * problem.components.len());
    let number = |rows: u64| at(rows, size_of::<f64>());
    RawTile {
        variables: at(tile.variables, variable_bytes),
        sigma: at(tile.sigma, variable_bytes),
        signed_amplitudes: at(tile.signed_amplitudes, amplitude_bytes),
        limits: at(tile.limits, 2 * amplitude_bytes),
        objective: number(tile.objective),
        r_squared: number(tile.r_squared),
        r_squared_log: number(tile.r_squared_log),
        deviance: number(tile.deviance),
        background_counts: number(tile.background_counts),
        steps: at(tile.steps, size_of::<i32>()),
        status: at(tile.status, size_of::<i32>()),
        ..*tile
    }
}
