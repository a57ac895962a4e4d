//! One detector element, or all of them added.

use std::ops::Range;

use ndarray::Array2;

use super::{ScanReader, Times};
use crate::error::Result;

/// Whose spectra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// One detector element, counted from 0.
    One(usize),
    /// The raw channels of all elements, added. Right only where their calibrations agree.
    Sum,
}

/// Spectra of a detector or of the sum, `[pixels.len(), channels]` \[counts\].
///
/// # Errors
///
/// As [`ScanReader::spectra`].
pub fn spectra_of(
    reader: &mut dyn ScanReader,
    which: Detector,
    pixels: Range<usize>,
) -> Result<Array2<f32>> {
    match which {
        Detector::One(detector) => reader.spectra(detector, pixels),
        Detector::Sum => {
            let mut sum = reader.spectra(0, pixels.clone())?;
            for detector in 1..reader.info().detectors {
                sum += &reader.spectra(detector, pixels.clone())?;
            }
            Ok(sum)
        }
    }
}

/// Times and rates of a detector or of the sum.
///
/// The elements count at the same time, so the sum's live and real times are their means, and its
/// rates are their sums: counts of the sum over its live time are the sum of the rates where dead
/// times are alike. Each is `None` unless all elements have it.
///
/// # Errors
///
/// As [`ScanReader::times`].
pub fn times_of(reader: &mut dyn ScanReader, which: Detector) -> Result<Times> {
    match which {
        Detector::One(detector) => reader.times(detector),
        Detector::Sum => {
            let detectors = reader.info().detectors;
            let all: Vec<Times> = (0..detectors).map(|d| reader.times(d)).collect::<Result<_>>()?;
            let mean = |part: fn(&Times) -> &Option<Array2<f32>>| {
                sum(&all, part).map(|total| total / detectors as f32)
            };
            Ok(Times {
                live: mean(|times| &times.live),
                real: mean(|times| &times.real),
                input_rate: sum(&all, |times| &times.input_rate),
                output_rate: sum(&all, |times| &times.output_rate),
            })
        }
    }
}

fn sum(all: &[Times], part: fn(&Times) -> &Option<Array2<f32>>) -> Option<Array2<f32>> {
    let mut parts = all.iter().map(part);
    let first = parts.next()?.clone()?;
    parts.try_fold(first, |total, next| Some(total + next.as_ref()?))
}
