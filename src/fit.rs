//! One tile: its spectra through the engine, and what comes back, as bytes that ranks can send.
//!
//! Knows the problem and the engine; no files and no ranks.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};

use crate::engine::{Batch, Engine, ExactSum, Fits};
use crate::error::Result;
use crate::problem::Problem;

/// Fitted pixels of one tile, NaN where a fit failed; single precision, as maps are.
#[derive(Clone, Debug, PartialEq)]
pub struct TileFits {
    /// The pixels.
    pub pixels: Range<usize>,
    /// By pixel: [`columns`] values in the order free shape parameters, their standard deviations, amplitudes,
    /// their standard deviations, signed amplitudes, where asked for their upper and detection limits \[counts\], objective, R², R² of log counts, reduced deviance, counts of
    /// the background, total counts.
    pub values: Array2<f32>,
    /// Steps, by pixel.
    pub steps: Vec<u32>,
    /// Status codes, by pixel.
    pub status: Vec<u8>,
    /// Sum of the fitted spectra with background, over the window.
    pub fitted: ExactSum,
    /// Sum of the backgrounds, over the window.
    pub background: ExactSum,
    /// Sum of the counts of sound spectra, over all channels.
    pub counts: ExactSum,
}

/// More counts than any channel of any detector has.
const MOST_COUNTS: f32 = 1e9;

/// Can this spectrum be part of a sum? One wild channel would drown all others.
pub fn is_sound(counts: ArrayView1<f32>, saturation: Option<f32>) -> bool {
    let most = saturation.unwrap_or(MOST_COUNTS).min(MOST_COUNTS);
    counts.iter().all(|y| (0.0..most).contains(y))
}

/// Spectra that one thread looks at, at least.
const SPECTRA_AT_ONCE: usize = 64;

/// Values that a pixel has beside the free parameters and the amplitudes.
const EXTRA: usize = 6;

/// Width of [`TileFits::values`].
pub fn columns(problem: &Problem) -> usize {
    2 * problem.free_parameters().len()
        + 3 * problem.components.len()
        + 2 * problem.limited()
        + EXTRA
}

/// Spectra with zeros beyond the scan's own channels, where the problem has more of them (XRF-Maps pads).
pub fn padded(counts: Array2<f32>, channels: usize) -> Array2<f32> {
    if counts.ncols() >= channels {
        return counts;
    }
    let mut wide = Array2::zeros((counts.nrows(), channels));
    wide.slice_mut(ndarray::s![.., ..counts.ncols()]).assign(&counts);
    wide
}

/// Fits the pixels of a tile, each on its own.
///
/// * `counts`: `[pixels.len(), channels]` \[counts\].
///
/// # Errors
///
/// When the engine fails.
pub fn tile(
    engine: &dyn Engine,
    problem: &Problem,
    pixels: Range<usize>,
    counts: ArrayView2<f32>,
) -> Result<TileFits> {
    let fits = engine.fit(problem, Batch::of(counts))?;
    let mut values = Array2::zeros((pixels.len(), columns(problem)));
    let free = problem.free_parameters();
    let nothing = || ExactSum::zeros(problem.channels);
    // a card fits a tile in less time than one core looks at its counts
    let rows = values.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
    let counted = rows.with_min_len(SPECTRA_AT_ONCE).fold(nothing, |mut sum, (i, row)| {
        let spectrum = counts.row(i);
        fill(row, &fits, i, &free, spectrum);
        if is_sound(spectrum, problem.saturation) {
            sum.add(spectrum.iter().map(|&y| f64::from(y)));
        }
        sum
    });
    let sum = counted.reduce(nothing, |mut sum, other| {
        sum.merge(&other);
        sum
    });
    Ok(TileFits {
        pixels,
        values,
        steps: fits.steps.to_vec(),
        status: fits.status.iter().map(|&s| s as u8).collect(),
        fitted: fits.fitted,
        background: fits.background,
        counts: sum,
    })
}

/// The values of pixel `i` of a tile.
fn fill(
    mut row: ArrayViewMut1<f32>,
    fits: &Fits,
    i: usize,
    free: &[usize],
    spectrum: ArrayView1<f32>,
) {
    let shapes = [&fits.parameters, &fits.parameter_sigma];
    let amplitudes = [&fits.amplitudes, &fits.amplitude_sigma, &fits.signed_amplitudes];
    let measures = [
        &fits.objective,
        &fits.r_squared,
        &fits.r_squared_log,
        &fits.deviance,
        &fits.background_counts,
    ];
    let total = spectrum.iter().map(|&y| f64::from(y)).sum::<f64>();
    let all = shapes
        .iter()
        .flat_map(|of| free.iter().map(move |&p| of[[i, p]]))
        .chain(amplitudes.iter().flat_map(|of| of.row(i)).copied())
        .chain(fits.limits.iter().flat_map(|of| of.row(i)).copied())
        .chain(measures.iter().map(|of| of[i]))
        .chain([total]);
    for (to, value) in row.iter_mut().zip(all) {
        *to = value as f32;
    }
}

impl TileFits {
    /// The bytes that another rank can cut up again with [`Parts::of`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.values.len() * 4 + self.status.len() * 5 + 64);
        for n in [self.pixels.start, self.pixels.end] {
            bytes.extend((n as u64).to_le_bytes());
        }
        bytes.extend(self.values.iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend(self.steps.iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend(&self.status);
        for sum in [&self.fitted, &self.background, &self.counts] {
            bytes.extend(sum.0.iter().flat_map(|v| v.to_le_bytes()));
        }
        bytes
    }

    /// The tile of such bytes, cut up.
    ///
    /// # Panics
    ///
    /// When they are not a tile of this problem.
    pub fn of_parts(parts: &Parts, problem: &Problem) -> Self {
        let values = parts.values.as_chunks().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
        let sums = parts.sums.map(|bytes| {
            ExactSum(bytes.as_chunks().0.iter().map(|v| i64::from_le_bytes(*v)).collect())
        });
        let [fitted, background, counts] = sums;
        Self {
            pixels: parts.pixels.clone(),
            values: Array2::from_shape_vec((parts.pixels.len(), columns(problem)), values)
                .expect("a row per pixel"),
            steps: parts.steps.as_chunks().0.iter().map(|v| u32::from_le_bytes(*v)).collect(),
            status: parts.status.to_vec(),
            fitted,
            background,
            counts,
        }
    }
}

/// A tile's bytes, part by part; numbers are little-endian.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The pixels.
    pub pixels: Range<usize>,
    /// As [`TileFits::values`], of f32.
    pub values: &'a [u8],
    /// Of u32.
    pub steps: &'a [u8],
    /// Of u8.
    pub status: &'a [u8],
    /// Sums of the fitted spectra, of the backgrounds, and of the counts, of i64.
    pub sums: [&'a [u8]; 3],
}

/// Lengths of the sums of a tile.
pub fn lengths_of_sums(problem: &Problem) -> [usize; 3] {
    [problem.count, problem.count, problem.channels]
}

impl<'a> Parts<'a> {
    /// Cuts up what [`TileFits::to_bytes`] wrote for the same problem.
    ///
    /// # Panics
    ///
    /// When the bytes are not such a tile.
    pub fn of(bytes: &'a [u8], problem: &Problem) -> Self {
        let mut rest = bytes;
        let mut take = |n: usize| {
            let (head, tail) =
                rest.split_at_checked(n).expect("a tile's message is as long as its contents");
            rest = tail;
            head
        };
        let mut number =
            || u64::from_le_bytes(take(8).try_into().expect("8 bytes of a number")) as usize;
        let pixels = number()..number();
        let n = pixels.len();
        let parts = Self {
            values: take(n * 4 * columns(problem)),
            steps: take(n * 4),
            status: take(n),
            sums: lengths_of_sums(problem).map(|length| take(8 * length)),
            pixels,
        };
        assert!(rest.is_empty(), "a tile's message ends where its contents do");
        parts
    }
}
