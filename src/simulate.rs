//! Scans with known truth: spatial structures, counting noise, drift, dead time and a few bad pixels.
//!
//! The spectra come from the engine's own forward model plus a smooth continuum that the model does not know. A pixel's
//! numbers depend on the seed, the detector and the pixel alone.

mod recorder;
mod scenery;

use ndarray::{Array1, Array2};
use rand::Rng;
use rand_distr::{Distribution, Normal, Poisson};
use rayon::prelude::*;

use self::recorder::Recorder;
use self::scenery::Structure;
use crate::cli::SimulateArgs;
use crate::config::{Choices, Settings, Sources};
use crate::engine::{self, Engine, Precision};
use crate::error::{Error, Result};
use crate::kernels::{self, Status, known_parameter};
use crate::problem::Problem;
use crate::scan::simulated::{DetectorTruth, MOST_DETECTORS, Tile, Truth, Writer, level_of};

const INCIDENT_KEV: f64 = 10.0;
/// Drift from pixel to pixel: of the offset \[keV\], and of the width \[1\].
const DRIFT: (f64, f64) = (0.003, 0.02);
/// Shape parameters in the truth.
const KNOWN: [&str; 4] = ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_SCALE"];
/// Time at a pixel \[s\], longer where more than a quarter of it would be dead.
const REAL_TIME_S: f64 = 0.5;
const MOST_DEAD: f64 = 0.25;
/// Dead time per photon \[s\].
const DEAD_TIME_S: f64 = 2e-6;
const TILE_PIXELS: usize = 512;

/// Writes a simulated scan, tile by tile.
///
/// # Errors
///
/// When the scan asked for cannot be, or the file exists and may not be replaced, or cannot be written.
pub fn write(args: &SimulateArgs) -> Result<()> {
    check(args)?;
    let engine = engine::open(engine::Choice::Cpu, Precision::F64)?;
    let scene = Scene::new(args)?;
    let detectors = scene.detectors.iter().map(|d| DetectorTruth {
        background: &scene.continua * d.solid_angle,
        shapes: d.shapes.clone(),
        solid_angle: d.solid_angle,
    });
    let mut writer = Writer::create(
        &args.output,
        args.overwrite.into(),
        &Truth {
            shape: (args.rows, args.cols, args.channels),
            components: scene.problem.components.clone(),
            parameters: KNOWN.map(String::from).to_vec(),
            shapes: kernels::parameters().iter().map(|p| p.name.into()).collect(),
            levels: args.counts.clone(),
            detectors: detectors.collect(),
            incident_kev: INCIDENT_KEV,
            model_error: args.model_error,
        },
    )?;
    let pixels = args.rows * args.cols;
    let tile_pixels = TILE_PIXELS.div_ceil(args.cols) * args.cols;
    for first in (0..pixels).step_by(tile_pixels) {
        let end = pixels.min(first + tile_pixels);
        for detector in 0..scene.detectors.len() {
            let drawn: Vec<Drawn> = (first..end)
                .into_par_iter()
                .map(|p| scene.draw(&*engine, detector, p))
                .collect::<Result<_>>()?;
            writer.write(detector, &tile_of(first, &drawn))?;
        }
    }
    writer.finish()
}

fn check(args: &SimulateArgs) -> Result<()> {
    let some = |x: f64| x.is_finite() && x > 0.0;
    let counts = !args.counts.is_empty() && args.counts.iter().all(|&n| some(n));
    if args.rows * args.cols == 0 || args.channels < 256 || !counts {
        return Err(Error::configuration(
            "a simulated scan has at least one row, one column, 256 channels and some counts",
        ));
    }
    if args.counts.len() > args.rows {
        return Err(Error::configuration(format!(
            "--counts has {} levels for {} rows (each level has a band of rows); give more --rows",
            args.counts.len(),
            args.rows
        )));
    }
    if !(1..=MOST_DETECTORS).contains(&args.detectors) {
        return Err(Error::configuration(format!(
            "--detectors is {} (the file's format has letters for 1 to {MOST_DETECTORS})",
            args.detectors
        )));
    }
    if !(0.0..=1.0).contains(&args.model_error) {
        return Err(Error::configuration(format!(
            "--model-error is {}; it is a relative error, from 0 to 1",
            args.model_error
        )));
    }
    Ok(())
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
    detectors: Vec<Recorder>,
    /// Of the first detector, by level.
    continua: Array2<f64>,
    /// Counts in the spectrum per count in the first line, by component.
    per_count: Array1<f64>,
    shares: Vec<(f64, Structure)>,
    size: (usize, usize),
    /// Mean counts of a pixel, by level.
    levels: Vec<f64>,
    flat: bool,
    real_time_s: f64,
    seed: u64,
}

impl Scene {
    fn new(args: &SimulateArgs) -> Result<Self> {
        let choices = Choices {
            elements: Some(scenery::elements()),
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
        let mut detectors = recorder::detectors(&settings.shapes(), args.detectors, args.seed);
        let mut problem = settings.with_calibrated(&detectors[0].shapes).problem(args.channels)?;
        problem.first = 0;
        problem.count = args.channels;
        let step = recorder::mistake(&mut problem.lines, args.model_error, args.seed);
        for detector in &mut detectors {
            detector.shapes[known_parameter("F_STEP_OFFSET")] = step;
        }
        let engine = engine::open(engine::Choice::Cpu, Precision::F64)?;
        let ones = vec![1.0; problem.components.len()];
        let unit = engine::model(&*engine, &problem, &detectors[0].shapes, &ones)?;
        let continua = args.counts.iter().flat_map(|&n| scenery::continuum(args.channels, n));
        let continua =
            Array2::from_shape_vec((args.counts.len(), args.channels), continua.collect())
                .expect("a row for each level");
        let most = args.counts.iter().copied().fold(0.0, f64::max);
        Ok(Self {
            shares: problem.components.iter().map(|c| scenery::share(c)).collect(),
            continua,
            per_count: unit.components.sum_axis(ndarray::Axis(1)),
            problem,
            detectors,
            size: (args.rows, args.cols),
            levels: args.counts.clone(),
            flat: args.flat,
            real_time_s: REAL_TIME_S.max(DEAD_TIME_S * most / MOST_DEAD),
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

    fn level(&self, pixel: usize) -> usize {
        let (rows, cols) = self.size;
        level_of(pixel / cols, rows, self.levels.len())
    }

    /// Counts in each component's first line, at a detector.
    fn amplitudes(&self, detector: &Recorder, pixel: usize) -> Vec<f64> {
        let (rows, cols) = self.size;
        let place = |i: usize, n: usize| (i as f64 + 0.5) / n as f64;
        let (y, x) = (place(pixel / cols, rows), place(pixel % cols, cols));
        let counts = detector.solid_angle * self.levels[self.level(pixel)];
        let at = |(&(share, structure), &per_count): (&(f64, Structure), &f64)| {
            let structure = if self.flat { Structure::Uniform } else { structure };
            share * counts * structure.at(y, x) / per_count.max(1e-6)
        };
        self.shares.iter().zip(&self.per_count).map(at).collect()
    }

    fn draw(&self, engine: &dyn Engine, detector: usize, pixel: usize) -> Result<Drawn> {
        let mut rng = recorder::pixel_stream(self.seed, detector, pixel);
        let detector = &self.detectors[detector];
        let status = self.fault(pixel);
        let light = if status == Status::Empty { 0.0 } else { 1.0 };
        let mut shapes = detector.shapes.clone();
        let normal = |sd: f64| Normal::new(0.0, sd).expect("a width is positive");
        shapes[known_parameter("ENERGY_OFFSET")] += normal(DRIFT.0).sample(&mut rng);
        shapes[known_parameter("FWHM_SCALE")] *= 1.0 + normal(DRIFT.1).sample(&mut rng);
        let parameters = KNOWN.map(|name| shapes[known_parameter(name)]).to_vec();
        let amplitudes: Vec<f64> =
            self.amplitudes(detector, pixel).iter().map(|a| light * a).collect();
        let model = engine::model(engine, &self.problem, &shapes, &amplitudes)?.total;
        let continuum = &self.continua.row(self.level(pixel)) * detector.solid_angle;
        let mean = (model + continuum) * light;
        let mut counts: Vec<u16> = mean.iter().map(|&mean| draw_counts(mean, &mut rng)).collect();
        let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
        if status == Status::Saturated {
            counts[self.problem.channels / 3] = u16::MAX;
        }
        let live = self.real_time_s - DEAD_TIME_S * total;
        // what comes in is counted while the detector is live, and then nothing is lost
        Ok(Drawn {
            counts,
            amplitudes,
            parameters,
            times: [live, self.real_time_s, total, total],
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
