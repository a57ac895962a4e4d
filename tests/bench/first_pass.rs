//! How often the first pass finds what made a spectrum, and what a start costs: `cargo bench --bench first_pass`.
//!
//! Seeded spectra of elements, incident energies, detectors, scatter, continua and counts that are drawn; the fit is told
//! the elements and the incident energy. The same without elements: which are proposed. Then a thousand starts of one spectrum, with shapes and amplitudes drawn, as one
//! batch. `cargo bench --bench first_pass -- 200` takes 200 spectra in place of 1,200; the words `fits`, `elements` and
//! `starts` choose among the three.

mod case;
mod drawn;

use std::time::Instant;

use case::{E15, cpu_seconds, median};
use drawn::{CHANNELS, Drawn, drawn};
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use xrfit::calibrate::{Engines, Search, calibrate, propose};
use xrfit::engine::{Batch, Choice, Engine, Precision, Starts, open};
use xrfit::kernels::parameter_index;
use xrfit::problem::{Background, Optimizer, Problem};

const SPECTRA: u64 = 1200;
/// R² that a good fit has, and parts of all fits that shall be good.
const GOOD: f64 = 0.9;
const BAR: f64 = 0.99;
/// A spectrum of this many is looked at without elements.
const PROPOSED_OF: u64 = 4;
/// Part of the net counts of an element that is strong.
const STRONG: f64 = 0.02;
/// Starts of one spectrum.
const STARTS: usize = 1000;

/// R² of the first pass, how far off it puts 2 keV and the incident energy \[keV\], and seconds.
fn found(engines: Engines, drawn: &Drawn) -> (f64, f64, f64) {
    let settings = &drawn.settings;
    let wide = settings.of_first_pass().with_bystanders().expect("the line library opens");
    let widest = wide.problem(CHANNELS).expect("a window");
    let configured = settings.shapes();
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
    let settings = drawn.settings.of_first_pass();
    let all = settings.with_candidates().expect("the line library opens");
    let widest = all.problem(CHANNELS).expect("a window");
    let configured = settings.shapes();
    let at = |p: &[f64]| all.moved(&widest, p);
    let shown = propose(engines, &at, &configured, drawn.counts.view(), Search::default());
    let shown = shown.expect("the engine fits").map_or(Vec::new(), |shown| shown.evidence);
    shown.into_iter().map(|e| e.name).collect()
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
fn elements(engines: Engines, n: u64) {
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

/// A thousand starts of one spectrum, shapes within 2 % and amplitudes from 1 to 100,000 counts: the counts, the
/// background and the starts of each.
fn many_starts(exact: &dyn Engine, problem: &Problem) -> (Array2<f32>, Array2<f32>, Array2<f64>) {
    let counts = case::spectra(exact, problem, 1);
    let background = exact.snip(problem, counts.view()).expect("the engine fits");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let shapes = problem.parameters.len();
    let starts = Array2::from_shape_fn((STARTS, shapes + problem.components.len()), |(_, i)| {
        if i >= shapes {
            return rng.random_range(0.0..5.0);
        }
        let (v, spread) = (problem.parameters[i], rng.random_range(-0.02..0.02));
        if v.free { (v.start * (1.0 + spread)).clamp(v.lower, v.upper) } else { v.start }
    });
    let all = |row: Array2<f32>| {
        row.broadcast((STARTS, row.ncols())).expect("one row repeats").to_owned()
    };
    (all(counts), all(background.mapv(|b| b as f32)), starts)
}

fn thousand_starts() {
    let exact = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let mut problem = case::problem(&E15, (105, 1052), 0.00952);
    let (counts, background, starts) = many_starts(&*exact, &problem);
    (problem.solve_start, problem.background) = (false, Background::Given);
    for (optimizer, steps) in [(Optimizer::Adam, 500), (Optimizer::Newton, 100)] {
        for precision in [Precision::F32, Precision::F64] {
            let engine = open(Choice::Cpu, precision).expect("the CPU engine opens");
            let problem = Problem { optimizer, steps, ..problem.clone() };
            let batch = Batch {
                counts: counts.view(),
                background: Some(background.view()),
                starts: Starts::Each(starts.view()),
            };
            let began = cpu_seconds();
            let fits = engine.fit(&problem, batch).expect("the engine fits");
            let spent = cpu_seconds() - began;
            let least = |r: f64| fits.r_squared.iter().filter(|x| **x >= r).count();
            println!(
                "{STARTS} starts, {optimizer:?}, {steps} steps at most, {}: {spent:.1} CPU-seconds (bar 10), median R² \
                 {:.4}, {} within 0.001 of the best",
                engine.describe(),
                median(fits.r_squared.to_vec()),
                least(fits.r_squared.iter().copied().fold(0.0, f64::max) - 0.001)
            );
        }
    }
}

/// The first passes of `n` spectra.
fn fits(engines: Engines, n: u64) {
    let one = |seed| {
        let drawn = drawn(engines.last, seed);
        (seed, drawn.r_squared, found(engines, &drawn))
    };
    let rows: Vec<(u64, f64, (f64, f64, f64))> = (0..n).into_par_iter().map(one).collect();
    let can: Vec<_> = rows.iter().filter(|row| row.1 > GOOD).collect();
    let good = can.iter().filter(|row| row.2.0 > GOOD).count();
    let on_axis = can.iter().filter(|row| row.2.1 < 0.03).count();
    let share = |part: usize| 100.0 * part as f64 / can.len() as f64;
    println!("{n} spectra, {} of them with R² above {GOOD} of the truth", can.len());
    println!("R² above {GOOD}: {good}, {:.2} % (bar {} %)", share(good), 100.0 * BAR);
    println!("energy axis within 0.03 keV: {on_axis}, {:.2} %", share(on_axis));
    println!("median seconds of a first pass: {:.2}", median(rows.iter().map(|r| r.2.2).collect()));
    for (seed, truth, (r, off, _)) in &rows {
        if *off >= 0.03 || *r < GOOD {
            println!("  seed {seed}: R² {r:.4} of {truth:.4}, off by {off:.3} keV");
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let (numbers, parts): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|w| w.parse::<u64>().is_ok());
    let n = numbers.first().map_or(SPECTRA, |n| n.parse().expect("a number of spectra"));
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| *p == part);
    let [search, last] =
        [Precision::F32, Precision::F64].map(|p| open(Choice::Cpu, p).expect("an engine opens"));
    let engines = Engines { search: &*search, last: &*last };
    if wanted("fits") {
        fits(engines, n);
    }
    if wanted("elements") {
        elements(engines, n.div_ceil(PROPOSED_OF));
    }
    if wanted("starts") {
        thousand_starts();
    }
}
