//! Scans with known truth: spatial structures, counting noise, drift, dead time and a few bad pixels.
//!
//! The spectra come from the engine's own forward model plus a smooth continuum that the model does not know. A pixel's
//! numbers depend on the seed and the pixel alone.

use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};
use rayon::prelude::*;

use crate::cli::SimulateArgs;
use crate::config::{Choices, Settings, Sources};
use crate::engine::{self, Engine, Precision};
use crate::error::{Error, Result};
use crate::kernels::{self, Status};
use crate::problem::Problem;
use crate::scan::simulated::{Tile, Truth, Writer};

/// Element, share of the counts, and structure.
const ELEMENTS: [(&str, f64, Structure); 15] = [
    ("Si", 0.05, Structure::Uniform),
    ("P", 0.01, Structure::Cells),
    ("S", 0.02, Structure::Cells),
    ("Cl", 0.02, Structure::Cells),
    ("Ar", 0.10, Structure::Uniform),
    ("K", 0.05, Structure::Cells),
    ("Ca", 0.15, Structure::Veins),
    ("Ti", 0.03, Structure::Gradient),
    ("Cr", 0.01, Structure::Spots),
    ("Mn", 0.01, Structure::Veins),
    ("Fe", 0.15, Structure::Gradient),
    ("Co", 0.005, Structure::Spots),
    ("Ni", 0.01, Structure::Spots),
    ("Cu", 0.06, Structure::Cells),
    ("Zn", 0.03, Structure::Spots),
];

/// Shares of elastic and Compton scatter, and of the continuum.
const ELASTIC: f64 = 0.05;
const COMPTON: f64 = 0.15;
const CONTINUUM: f64 = 0.10;

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

const INCIDENT_KEV: f64 = 10.0;
/// Drift from pixel to pixel: of the offset \[keV\], and of the width \[1\].
const DRIFT: (f64, f64) = (0.003, 0.02);
const REAL_TIME_S: f64 = 0.5;
/// Dead time per photon \[s\].
const DEAD_TIME_S: f64 = 2e-6;
const TILE_PIXELS: usize = 512;

#[derive(Clone, Copy)]
enum Structure {
    Uniform,
    Gradient,
    Cells,
    Veins,
    Spots,
}

impl Structure {
    /// Relative strength at a place in the unit square, near 1 on average.
    fn at(self, y: f64, x: f64) -> f64 {
        let wave = |f: f64, p: f64| (std::f64::consts::TAU * f + p).sin();
        match self {
            Structure::Uniform => 1.0,
            Structure::Gradient => 0.4 + 0.6 * (x + y),
            Structure::Cells => 0.2 + 1.6 * (0.5 + 0.5 * wave(3.0 * x, 0.3) * wave(2.0 * y, 1.1)),
            Structure::Veins => 0.3 + 3.0 * (-20.0 * (y - 0.5 - 0.2 * wave(x, 0.0)).powi(2)).exp(),
            Structure::Spots => {
                let spot =
                    |cy: f64, cx: f64| (-((y - cy).powi(2) + (x - cx).powi(2)) / 0.004).exp();
                0.1 + 12.0 * (spot(0.25, 0.3) + spot(0.6, 0.75) + spot(0.8, 0.2))
            }
        }
    }
}

/// Writes a simulated scan, tile by tile.
///
/// # Errors
///
/// When the file exists and may not be replaced, or cannot be written.
pub fn write(args: &SimulateArgs) -> Result<()> {
    if args.rows * args.cols == 0
        || args.channels < 256
        || args.counts.is_nan()
        || args.counts <= 0.0
    {
        return Err(Error::configuration(
            "a simulated scan has at least one row, one column, 256 channels and some counts",
        ));
    }
    let engine = engine::open(engine::Choice::Cpu, Precision::F64)?;
    let scene = Scene::new(args)?;
    let names: Vec<String> = scene.problem.components.clone();
    let mut writer = Writer::create(
        &args.output,
        args.overwrite,
        &Truth {
            shape: (args.rows, args.cols, args.channels),
            components: names,
            parameters: SHAPES.iter().take(3).map(|s| s.0.to_string()).collect(),
            background: scene.continuum.clone(),
            incident_kev: INCIDENT_KEV,
        },
    )?;
    let pixels = args.rows * args.cols;
    let tile_pixels = TILE_PIXELS.div_ceil(args.cols) * args.cols;
    for first in (0..pixels).step_by(tile_pixels) {
        let end = pixels.min(first + tile_pixels);
        let drawn: Vec<Drawn> =
            (first..end).into_par_iter().map(|p| scene.draw(&*engine, p)).collect::<Result<_>>()?;
        writer.write(&tile_of(first, &drawn))?;
    }
    writer.finish()
}

fn tile_of(first: usize, drawn: &[Drawn]) -> Tile {
    let table = |f: &dyn Fn(&Drawn) -> Vec<f64>| {
        let width = f(&drawn[0]).len();
        let all: Vec<f64> = drawn.iter().flat_map(f).collect();
        Array2::from_shape_vec((drawn.len(), width), all).expect("a row per pixel")
    };
    let channels = drawn[0].counts.len();
    let counts = drawn.iter().flat_map(|d| d.counts.iter().copied()).collect();
    Tile {
        first,
        counts: Array2::from_shape_vec((drawn.len(), channels), counts).expect("a row per pixel"),
        amplitudes: table(&|d| d.amplitudes.clone()),
        parameters: table(&|d| d.parameters.clone()),
        times: table(&|d| d.times.to_vec()),
        status: drawn.iter().map(|d| d.status as u8).collect(),
    }
}

/// One pixel's truth and what the detector recorded of it.
struct Drawn {
    counts: Vec<u16>,
    amplitudes: Vec<f64>,
    parameters: Vec<f64>,
    /// Live time, real time \[s\], input counts, output counts.
    times: [f64; 4],
    status: Status,
}

struct Scene {
    problem: Problem,
    variables: Vec<f64>,
    continuum: Array1<f64>,
    /// Counts in the window per count in the first line, by component.
    per_count: Array1<f64>,
    shares: Vec<(f64, Structure)>,
    size: (usize, usize),
    counts: f64,
    seed: u64,
}

impl Scene {
    fn new(args: &SimulateArgs) -> Result<Self> {
        let choices = Choices {
            elements: Some(ELEMENTS.iter().map(|e| e.0.to_string()).collect()),
            incident_kev: Some(INCIDENT_KEV),
            ..Choices::default()
        };
        let sources = Sources {
            config: None,
            override_file: None,
            choices: &choices,
            scan_incident_kev: None,
        };
        let settings = Settings::resolve(&sources)?.settings;
        let mut values: Vec<f64> = settings.parameters.iter().map(|p| p.start).collect();
        for (name, value) in SHAPES {
            values[kernels::parameter_index(name).expect("a parameter of the model")] = value;
        }
        let mut problem = settings.with_calibrated(&values).problem(args.channels)?;
        problem.first = 0;
        problem.count = args.channels;
        let engine = engine::open(engine::Choice::Cpu, Precision::F64)?;
        let mut variables = values;
        variables.extend(vec![0.0; problem.components.len()]);
        let zero = Array1::zeros(args.channels);
        let unit = engine.evaluate(&problem, &variables, zero.view(), zero.view())?;
        let share = |name: &str| match name {
            "COHERENT_SCT_AMPLITUDE" => (ELASTIC, Structure::Uniform),
            "COMPTON_AMPLITUDE" => (COMPTON, Structure::Uniform),
            _ => ELEMENTS
                .iter()
                .find(|e| e.0 == name)
                .map_or((0.0, Structure::Uniform), |e| (e.1, e.2)),
        };
        Ok(Self {
            shares: problem.components.iter().map(|c| share(c)).collect(),
            continuum: continuum(args.channels, CONTINUUM * args.counts),
            per_count: unit.components.sum_axis(ndarray::Axis(1)),
            problem,
            variables,
            size: (args.rows, args.cols),
            counts: args.counts,
            seed: args.seed,
        })
    }

    /// A few pixels are bad: no counts, or a channel at its limit.
    fn fault(&self, pixel: usize) -> Status {
        match pixel % 997 {
            498 => Status::Empty,
            751 => Status::Saturated,
            _ => Status::Converged,
        }
    }

    fn draw(&self, engine: &dyn Engine, pixel: usize) -> Result<Drawn> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(pixel as u64);
        let (rows, cols) = self.size;
        let place = |i: usize, n: usize| (i as f64 + 0.5) / n as f64;
        let (y, x) = (place(pixel / cols, rows), place(pixel % cols, cols));
        let status = self.fault(pixel);
        let mut variables = self.variables.clone();
        let normal = |sd: f64| Normal::new(0.0, sd).expect("a width is positive");
        variables[0] += normal(DRIFT.0).sample(&mut rng);
        let width = kernels::parameter_index("FWHM_OFFSET").expect("a parameter of the model");
        variables[width] *= 1.0 + normal(DRIFT.1).sample(&mut rng);
        let mut amplitudes = Vec::with_capacity(self.shares.len());
        for (k, &(share, structure)) in self.shares.iter().enumerate() {
            let counts = if status == Status::Empty { 0.0 } else { self.counts };
            let amplitude = share * counts * structure.at(y, x) / self.per_count[k].max(1e-6);
            variables[kernels::parameters().len() + k] = amplitude.max(1e-12).log10();
            amplitudes.push(amplitude);
        }
        let zero = Array1::zeros(self.problem.channels);
        let model = engine.evaluate(&self.problem, &variables, zero.view(), zero.view())?.total;
        let dark = if status == Status::Empty { 0.0 } else { 1.0 };
        let mut counts: Vec<u16> = (model + &self.continuum)
            .iter()
            .map(|&mean| draw_counts(dark * mean, &mut rng))
            .collect();
        let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
        if status == Status::Saturated {
            counts[self.problem.channels / 3] = u16::MAX;
        }
        let live = REAL_TIME_S - DEAD_TIME_S * total;
        let input = total * REAL_TIME_S / live;
        Ok(Drawn {
            counts,
            amplitudes,
            parameters: vec![variables[0], variables[1], variables[width]],
            times: [live, REAL_TIME_S, input, total],
            status,
        })
    }
}

fn draw_counts(mean: f64, rng: &mut impl Rng) -> u16 {
    match Poisson::new(mean) {
        Ok(poisson) => poisson.sample(rng).min(f64::from(u16::MAX - 1)) as u16,
        Err(_) => 0,
    }
}

/// A smooth continuum of `total` counts, falling with energy.
fn continuum(channels: usize, total: f64) -> Array1<f64> {
    let shape: Array1<f64> =
        (0..channels).map(|c| (-(c as f64) / (0.25 * channels as f64)).exp()).collect();
    let sum = shape.sum();
    shape * (total / sum)
}
