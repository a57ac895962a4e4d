//! The detectors of a simulated scan, and how the line data that it is made with differ from those of a fit.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::kernels::known_parameter;
use crate::problem::Line;

/// What a beamline's detector looks like: MAPS name and value.
const SHAPES: [(&str, f64); 9] = [
    ("ENERGY_OFFSET", -0.004),
    ("ENERGY_SLOPE", 0.00952),
    ("FWHM_OFFSET", 0.097),
    ("FWHM_FANOPRIME", 2.2e-4),
    ("COMPTON_ANGLE", 88.0),
    ("COMPTON_FWHM_CORR", 1.6),
    ("COMPTON_F_TAIL", 0.13),
    ("F_TAIL_OFFSET", 0.003),
    ("KB_F_TAIL_OFFSET", 0.05),
];

/// How far the detectors after the first may differ from it: offset \[keV\]; slope, width and solid angle \[1\].
const APART: [f64; 4] = [0.01, 0.005, 0.05, 0.2];

/// A step's share of a line's counts at most, over the relative error of line ratios.
const STEP: f64 = 0.1;

/// Random numbers that belong to no pixel: streams from the end.
const LINE_ERRORS: u64 = u64::MAX;
const DETECTORS: u64 = u64::MAX - 1;

/// One of the detectors.
pub(super) struct Recorder {
    /// Shape parameters in the kernels' order.
    pub shapes: Vec<f64>,
    /// Solid angle, over the first detector's \[1\].
    pub solid_angle: f64,
}

/// `n` detectors; the first is the same whatever the seed.
pub(super) fn detectors(defaults: &[f64], n: usize, seed: u64) -> Vec<Recorder> {
    let mut rng = stream(seed, DETECTORS);
    let mut first = defaults.to_vec();
    for (name, value) in SHAPES {
        first[known_parameter(name)] = value;
    }
    let mut off = |by: f64| rng.random_range(-by..=by);
    (0..n)
        .map(|d| {
            let [offset, slope, width, angle] = if d == 0 { [0.0; 4] } else { APART.map(&mut off) };
            let mut shapes = first.clone();
            shapes[known_parameter("ENERGY_OFFSET")] += offset;
            shapes[known_parameter("ENERGY_SLOPE")] *= 1.0 + slope;
            shapes[known_parameter("FWHM_OFFSET")] *= 1.0 + width;
            Recorder { shapes, solid_angle: 1.0 + angle }
        })
        .collect()
}

/// Makes the lines differ from the line data: each line's ratio to its component's first by a factor near 1,
/// `size` its relative spread. Returns F_STEP_OFFSET of the step that goes with it.
pub(super) fn mistake(lines: &mut [Line], size: f64, seed: u64) -> f64 {
    let mut rng = stream(seed, LINE_ERRORS);
    let spread = Normal::new(0.0, size).expect("a width is positive");
    let mut before = None;
    for line in lines.iter_mut() {
        let factor = spread.sample(&mut rng).exp();
        if before.replace(line.component) == Some(line.component) {
            line.ratio *= factor;
        }
    }
    STEP * size / lines.iter().map(|line| line.mu).fold(f64::MIN_POSITIVE, f64::max)
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Random numbers of one pixel of one detector.
pub(super) fn pixel_stream(seed: u64, detector: usize, pixel: usize) -> ChaCha8Rng {
    stream(seed, ((detector as u64) << 40) | pixel as u64)
}
