//! Tiles put together into the maps of a scan; rank 0's share of the work.

use ndarray::{Array2, Array3, s};

use crate::engine::ExactSum;
use crate::fit::TileFits;
use crate::kernels;
use crate::maps::Maps;
use crate::problem::Problem;
use crate::scan::Times;

/// Maps that fill up, tile by tile, in any order.
pub struct Assembly {
    maps: Maps,
    /// Sum of the fitted spectra with background, over the window.
    pub fitted: ExactSum,
    /// Sum of the backgrounds, over the window.
    pub background: ExactSum,
    /// Sum of the counts, over all channels.
    pub counts: ExactSum,
}

impl Assembly {
    /// Maps of `rows` x `cols` pixels, NaN everywhere.
    pub fn new(problem: &Problem, (rows, cols): (usize, usize), times: &Times) -> Self {
        let free = problem.free_parameters();
        let image = || Array2::from_elem((rows, cols), f32::NAN);
        let stack = |n| Array3::from_elem((n, rows, cols), f32::NAN);
        let info = |&i: &usize| {
            let p = &kernels::parameters()[i];
            (p.name.to_string(), p.unit.to_string())
        };
        let maps = Maps {
            components: problem.components.clone(),
            amplitudes: stack(problem.components.len()),
            amplitude_sigma: stack(problem.components.len()),
            signed_amplitudes: stack(problem.components.len()),
            limits: [(); 2].map(|()| stack(problem.limited())),
            parameters: free.iter().map(info).collect(),
            parameter_values: stack(free.len()),
            parameter_sigma: stack(free.len()),
            objective: image(),
            r_squared: image(),
            r_squared_log: image(),
            deviance: image(),
            background_counts: image(),
            steps: Array2::zeros((rows, cols)),
            status: Array2::zeros((rows, cols)),
            total_counts: image(),
            live_time: live_time(times),
            added_rates: None,
        };
        Self {
            maps,
            fitted: ExactSum::zeros(problem.count),
            background: ExactSum::zeros(problem.count),
            counts: ExactSum::zeros(problem.channels),
        }
    }

    /// Puts a tile in its place.
    pub fn add(&mut self, tile: &TileFits) {
        let maps = &mut self.maps;
        let cols = maps.status.ncols();
        let (free, k) = (maps.parameters.len(), maps.components.len());
        for (i, pixel) in tile.pixels.clone().enumerate() {
            let at = [pixel / cols, pixel % cols];
            let values = tile.values.row(i);
            let mut values = values.iter().copied();
            let mut put = |map: &mut Array3<f32>, n: usize| {
                for to in map.slice_mut(s![..n, at[0], at[1]]) {
                    *to = values.next().expect("a value per column");
                }
            };
            put(&mut maps.parameter_values, free);
            put(&mut maps.parameter_sigma, free);
            put(&mut maps.amplitudes, k);
            put(&mut maps.amplitude_sigma, k);
            put(&mut maps.signed_amplitudes, k);
            let limited = maps.limits[0].len_of(ndarray::Axis(0));
            for limits in &mut maps.limits {
                put(limits, limited);
            }
            for (map, value) in [
                &mut maps.objective,
                &mut maps.r_squared,
                &mut maps.r_squared_log,
                &mut maps.deviance,
                &mut maps.background_counts,
                &mut maps.total_counts,
            ]
            .into_iter()
            .zip(values)
            {
                map[at] = value;
            }
            maps.steps[at] = tile.steps[i];
            maps.status[at] = tile.status[i];
        }
        self.fitted.merge(&tile.fitted);
        self.background.merge(&tile.background);
        self.counts.merge(&tile.counts);
    }

    /// The maps.
    pub fn into_maps(self) -> Maps {
        self.maps
    }
}

/// Time that makes counts into counts per second, `[row, col]` \[s\]: real time x output rate / input
/// rate where all three are known, else the recorded live time, else none.
pub fn live_time(times: &Times) -> Option<Array2<f32>> {
    if let (Some(real), Some(input), Some(output)) =
        (&times.real, &times.input_rate, &times.output_rate)
    {
        let known = |a: &Array2<f32>| a.iter().any(|&v| v.is_finite() && v > 0.0);
        if known(real) && known(input) && known(output) {
            let corrected = real * output / input;
            // a pixel without any count has no rates; nothing was lost there
            let filled = ndarray::Zip::from(&corrected).and(real).map_collect(|&live, &real| {
                if live.is_finite() && live > 0.0 { live } else { real }
            });
            return Some(filled);
        }
    }
    times.live.clone().filter(|live| live.iter().any(|&t| t.is_finite() && t > 0.0))
}
