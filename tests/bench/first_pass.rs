//! How often the first pass finds what made a spectrum, and what a start costs: `cargo bench --bench first_pass`.
//!
//! Seeded spectra of elements, incident energies, detectors, scatter, continua and counts that are drawn; the fit is told
//! the elements and the incident energy. The same without elements: which are proposed. Then a thousand starts of one spectrum, with shapes and amplitudes drawn, as one
//! batch. `cargo bench --bench first_pass -- 200` takes 200 spectra in place of 1,200.

mod case;

use std::time::Instant;

use case::{E15, median};
use ndarray::{Array1, Array2};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use rayon::prelude::*;
use xrfit::calibrate::{Engines, Search, calibrate, evidence};
use xrfit::config::{Choices, Settings, Sources};
use xrfit::engine::{Batch, Choice, Engine, Precision, Starts, open};
use xrfit::kernels::parameter_index;

const SPECTRA: usize = 1200;
const CHANNELS: usize = 2048;
/// What a spectrum may show at all these incident energies.
const ELEMENTS: [&str; 19] = [
    "Si", "P", "S", "Cl", "Ar", "K", "Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
    "La_L", "Ba_L", "Ce_L",
];
/// R² that a good fit has, and parts of all fits that shall be good.
const GOOD: f64 = 0.9;
const BAR: f64 = 0.99;
/// A spectrum of this many is looked at without elements.
const PROPOSED_OF: usize = 4;
/// Part of the net counts of an element that is strong.
const STRONG: f64 = 0.02;
/// Starts of one spectrum.
const STARTS: usize = 1000;

struct Drawn {
    settings: Settings,
    shapes: Vec<f64>,
    counts: Array1<f64>,
    /// The elements' parts of the drawn net counts.
    shares: Vec<(String, f64)>,
    /// R² of what the counts were drawn from.
    r_squared: f64,
}

fn settings(elements: &[&str], incident_kev: f64) -> Settings {
    let choices = Choices {
        elements: Some(elements.iter().map(ToString::to_string).collect()),
        incident_kev: Some(incident_kev),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    Settings::resolve(&sources).expect("the configuration holds").settings
}

fn drawn(engine: &dyn Engine, seed: u64) -> Drawn {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = rng.random_range(3..=12);
    let elements: Vec<&str> = ELEMENTS.choose_multiple(&mut rng, n).copied().collect();
    let incident = rng.random_range(9.8..13.0);
    let settings = settings(&elements, incident);
    let mut shapes: Vec<f64> = settings.parameters.iter().map(|p| p.start).collect();
    let mut within = |low: f64, high: f64| rng.random_range(low..high);
    for (name, value) in [
        ("ENERGY_SLOPE", 0.01 * (1.0 + within(-0.2, 0.2))),
        ("ENERGY_OFFSET", within(-0.15, 0.15)),
        ("FWHM_OFFSET", 0.12 * within(-1.0, 1.0).exp2()),
        ("FWHM_FANOPRIME", 1.5e-4 * within(-0.5, 0.5).exp2()),
        ("COHERENT_SCT_ENERGY", incident + within(-0.03, 0.03)),
        ("COMPTON_ANGLE", within(80.0, 130.0)),
        ("COMPTON_FWHM_CORR", within(1.1, 2.2)),
        ("COMPTON_F_TAIL", within(0.05, 0.3)),
    ] {
        shapes[parameter_index(name).expect("it exists")] = value;
    }
    let mut problem = settings.with_calibrated(&shapes).problem(CHANNELS).expect("a window");
    let total = 10f64.powf(within(4.0, 6.5));
    let shares: Vec<f64> =
        problem.components.iter().map(|_| 10f64.powf(within(-2.0, 0.0))).collect();
    let sum: f64 = shares.iter().sum();
    let continuum = within(0.05, 0.15) * total;
    let mut variables = shapes.clone();
    variables.extend(shares.iter().map(|s| (0.6 * s / sum * total).log10()));
    (problem.first, problem.count) = (0, CHANNELS);
    let zero = Array1::zeros(CHANNELS);
    let model = engine.evaluate(&problem, &variables, zero.view(), zero.view());
    let fall = 0.25 * CHANNELS as f64;
    let mean = model.expect("the engine evaluates").total
        + Array1::from_shape_fn(CHANNELS, |c| continuum / fall * (-(c as f64) / fall).exp());
    let counts = mean.mapv(|m| Poisson::new(m.max(1e-9)).expect("a mean").sample(&mut rng));
    let window = settings.with_calibrated(&shapes).problem(CHANNELS).expect("a window");
    let inside = window.first..window.first + window.count;
    let middle = inside.clone().map(|c| counts[c]).sum::<f64>() / window.count as f64;
    let squares = |f: &dyn Fn(usize) -> f64| inside.clone().map(|c| f(c).powi(2)).sum::<f64>();
    let r_squared = 1.0 - squares(&|c| counts[c] - mean[c]) / squares(&|c| counts[c] - middle);
    let shares = problem.components.iter().cloned().zip(shares.iter().map(|s| s / sum));
    let shares = shares.take(settings.components.len()).collect();
    Drawn { settings, shapes, counts, shares, r_squared }
}

/// R² of the first pass, how far off it puts 2 keV and the incident energy \[keV\], and seconds.
fn found(engines: Engines, drawn: &Drawn) -> (f64, f64, f64) {
    let settings = &drawn.settings;
    let wide = settings.of_first_pass().with_bystanders().expect("the line library opens");
    let widest = wide.problem(CHANNELS).expect("a window");
    let configured: Vec<f64> = settings.parameters.iter().map(|p| p.start).collect();
    let at = |p: &[f64]| wide.moved(&widest, p);
    let asked = settings.components.len();
    let began = Instant::now();
    let fit = calibrate(engines, &at, asked, &configured, drawn.counts.view(), Search::default());
    let seconds = began.elapsed().as_secs_f64();
    let Ok(fit) = fit else { return (f64::NEG_INFINITY, f64::INFINITY, seconds) };
    let names = ["ENERGY_OFFSET", "ENERGY_SLOPE", "ENERGY_QUADRATIC"];
    let axis = |p: &[f64]| names.map(|name| p[parameter_index(name).expect("it exists")]);
    let [offset, slope, _] = axis(&drawn.shapes);
    let off = [2.0, settings.incident_kev].map(|kev| {
        let c = (kev - offset) / slope;
        let [o, s, q] = axis(&fit.parameters);
        (o + c * (s + c * q) - kev).abs()
    });
    (fit.r_squared, off[0].max(off[1]), seconds)
}

/// Names that are proposed from the incident energy alone.
fn proposed(engines: Engines, drawn: &Drawn) -> Vec<String> {
    let mut settings = drawn.settings.with_only(&[]).expect("the line library opens");
    let mut names = Vec::new();
    for starts in [Search::default().starts, 1] {
        let wide = settings.of_first_pass().with_bystanders().expect("the line library opens");
        let widest = wide.problem(CHANNELS).expect("a window");
        let configured: Vec<f64> = settings.parameters.iter().map(|p| p.start).collect();
        let at = |p: &[f64]| wide.moved(&widest, p);
        let search = Search { starts, ..Search::default() };
        let asked = settings.components.len();
        let fit = calibrate(engines, &at, asked, &configured, drawn.counts.view(), search);
        let Ok(fit) = fit else { return names };
        let there = settings.with_calibrated(&fit.parameters);
        let all = there.of_first_pass().with_candidates().expect("the line library opens");
        let all = all.problem(CHANNELS).expect("a window");
        let shown = evidence(engines.last, &all, drawn.counts.view()).expect("the engine fits");
        names = shown.into_iter().map(|e| e.name).collect();
        settings = there.with_only(&names).expect("the line library opens");
    }
    names
}

/// What a list that was proposed is worth.
struct Worth {
    proposed: usize,
    right: usize,
    /// Of all elements and of the strong ones: how many there are, and how many of them are proposed.
    there: [usize; 2],
    found: [usize; 2],
}

/// How many of the proposed are there, and how many of what is there are proposed.
fn propose(engines: Engines, n: u64) {
    let one = |seed| {
        let drawn = drawn(engines.last, seed);
        let names = proposed(engines, &drawn);
        let there = |least: f64| drawn.shares.iter().filter(move |s| s.1 >= least);
        let classes = [0.0, STRONG];
        Worth {
            proposed: names.len(),
            right: names.iter().filter(|n| drawn.shares.iter().any(|s| s.0 == **n)).count(),
            there: classes.map(|least| there(least).count()),
            found: classes.map(|least| there(least).filter(|s| names.contains(&s.0)).count()),
        }
    };
    let rows: Vec<Worth> = (0..n).into_par_iter().map(one).collect();
    let sum = |f: &dyn Fn(&Worth) -> usize| rows.iter().map(f).sum::<usize>() as f64;
    println!(
        "--elements auto, {n} spectra: precision {:.3}, recall {:.3}, of elements with {STRONG} of the counts or more {:.3}",
        sum(&|w| w.right) / sum(&|w| w.proposed),
        sum(&|w| w.found[0]) / sum(&|w| w.there[0]),
        sum(&|w| w.found[1]) / sum(&|w| w.there[1])
    );
}

/// What all threads have spent so far, where the system tells; in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = |nth: usize| after_name.clone().nth(nth).and_then(|t| t.parse::<f64>().ok());
    // user and system time; Linux gives both in hundredths of a second
    ticks(11).zip(ticks(12)).map_or(f64::NAN, |(user, system)| (user + system) / 100.0)
}

fn thousand_starts() {
    let exact = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    for precision in [Precision::F32, Precision::F64] {
        let engine = open(Choice::Cpu, precision).expect("the CPU engine opens");
        let problem = case::problem(&E15, (105, 1052), 0.00952);
        let counts = case::spectra(&*exact, &problem, 1);
        let background = exact.snip(&problem, counts.view()).expect("the engine fits");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let shapes = problem.parameters.len();
        let starts =
            Array2::from_shape_fn((STARTS, shapes + problem.components.len()), |(_, i)| {
                if i >= shapes {
                    return rng.random_range(0.0..5.0);
                }
                let (v, spread) = (problem.parameters[i], rng.random_range(-0.02..0.02));
                if v.free { (v.start * (1.0 + spread)).clamp(v.lower, v.upper) } else { v.start }
            });
        let mut problem = problem;
        problem.solve_start = false;
        problem.background = xrfit::problem::Background::Given;
        let all = |row: Array2<f32>| {
            row.broadcast((STARTS, row.ncols())).expect("one row repeats").to_owned()
        };
        let (counts, background) = (all(counts), all(background.mapv(|b| b as f32)));
        let began = cpu_seconds();
        let fits = engine.fit(
            &problem,
            Batch {
                counts: counts.view(),
                background: Some(background.view()),
                starts: Starts::Each(starts.view()),
            },
        );
        let spent = cpu_seconds() - began;
        let fits = fits.expect("the engine fits");
        println!(
            "{STARTS} starts, Adam 500, {}: {spent:.1} CPU-seconds (bar 10), median R² {:.4}",
            engine.describe(),
            median(fits.r_squared.iter().copied().collect())
        );
    }
}

fn main() {
    let asked = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let n = asked.map_or(SPECTRA, |a| a.parse().expect("a number of spectra"));
    let [search, last] =
        [Precision::F32, Precision::F64].map(|p| open(Choice::Cpu, p).expect("an engine opens"));
    let engines = Engines { search: &*search, last: &*last };
    let rows: Vec<(u64, f64, (f64, f64, f64))> = (0..n as u64)
        .into_par_iter()
        .map(|seed| {
            let drawn = drawn(&*last, seed);
            (seed, drawn.r_squared, found(engines, &drawn))
        })
        .collect();
    let can: Vec<_> = rows.iter().filter(|row| row.1 > GOOD).collect();
    let good = can.iter().filter(|row| row.2.0 > GOOD).count();
    let on_axis = can.iter().filter(|row| row.2.1 < 0.03).count();
    println!("{n} spectra, {} of them with R² above {GOOD} of the truth", can.len());
    println!(
        "R² above {GOOD}: {good}, {:.2} % (bar {} %)",
        100.0 * good as f64 / can.len() as f64,
        100.0 * BAR
    );
    println!(
        "energy axis within 0.03 keV: {on_axis}, {:.2} %",
        100.0 * on_axis as f64 / can.len() as f64
    );
    println!("median seconds of a first pass: {:.2}", median(rows.iter().map(|r| r.2.2).collect()));
    for (seed, truth, (r, off, _)) in &rows {
        if *off >= 0.03 || *r < GOOD {
            println!("  seed {seed}: R² {r:.4} of {truth:.4}, off by {off:.3} keV");
        }
    }
    propose(engines, n.div_ceil(PROPOSED_OF) as u64);
    thousand_starts();
}
