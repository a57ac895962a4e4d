//! `xrfit score`: the maps of a simulated scan against its truth.

mod report;

use std::path::{Path, PathBuf};

use ndarray::{Array1, s};
use rayon::prelude::*;

use self::report::{Format, Scored};
use crate::cli::{PriorArg, ScoreArgs};
use crate::config::{Detector, Settings};
use crate::engine::{self, Choice, Precision};
use crate::error::{Error, Result};
use crate::kernels::{self, Status, parameter_index};
use crate::maps::{self, Estimates};
use crate::output;
use crate::problem::Problem;
use crate::report::say;
use crate::scan::{self, OpenOptions, Truth};
use crate::score::{Bound, Estimate, Score};

pub(super) fn run(args: &ScoreArgs) -> Result<()> {
    let format = args.output.as_deref().map(Format::of).transpose()?;
    if let Some(path) = &args.output {
        let read = [("the map file", &*args.maps), ("the scan", &*args.truth)];
        output::check(path, args.overwrite.into(), &read)?;
    }
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Error::configuration(format!("cannot start {threads} threads: {e}")))?;
    }
    let scored = scored(args)?;
    if let (Some(path), Some(format)) = (&args.output, format) {
        output::write(path, args.overwrite.into(), scored.written(format))?;
        log::info!("wrote {}", path.display());
    }
    say(&scored.table())
}

fn scored(args: &ScoreArgs) -> Result<Scored> {
    let estimates = maps::read_estimates(&args.maps)?;
    let settings = Settings::recorded(&estimates.configuration)?;
    let detector = args.detector.or_else(|| detector_of(&args.maps, settings.detector));
    let truth = scan::truth(&args.truth, detector, OpenOptions { file_locking: true })?;
    let (of_maps, of_truth) = (estimates.status.dim(), truth.status.dim());
    if of_maps != of_truth {
        return Err(Error::file(
            &args.maps,
            format!(
                "has {} rows and {} columns, the truth {} and {}; name the scan that the maps were made from",
                of_maps.0, of_maps.1, of_truth.0, of_truth.1
            ),
        ));
    }
    if truth.model_error > 0.0 {
        log::info!("the bound is that of the fit's own line data, from which the scan's differ");
    }
    if truth.shapes.is_empty() {
        log::warn!(
            "{}: the truth does not tell all shapes, so the bound is at the map file's; simulate the scan again",
            args.truth.display()
        );
    }
    let settings = settings.with_components(&truth.components)?;
    // what the bound knows of the background is the truth's
    let problem = settings.problem(truth.background.ncols())?.without_background();
    let scored = compare(&estimates, &truth, &problem, (&args.prior, args.signed))?;
    Ok(Scored { maps: args.maps.clone(), truth: args.truth.clone(), ..scored })
}

/// The detector that a map file is of, as its settings or its name say.
fn detector_of(maps: &Path, settings: Detector) -> Option<usize> {
    if let Detector::Index(number) = settings {
        return Some(number);
    }
    maps.extension()?.to_str()?.strip_prefix("h5")?.parse().ok()
}

/// The scores of all levels and components.
fn compare(
    estimates: &Estimates,
    truth: &Truth,
    problem: &Problem,
    (priors, signed): (&[PriorArg], bool),
) -> Result<Scored> {
    let engine = engine::open(Choice::Cpu, Precision::F64)?;
    let place = |name: &String| problem.components.iter().position(|c| c == name);
    let fitted: Vec<usize> = estimates.components.iter().filter_map(place).collect();
    let free = problem.free_parameters();
    if let Some(other) = priors.iter().find(|prior| !free.contains(&prior.parameter.index())) {
        return Err(Error::configuration(format!(
            "--prior {}: the fit did not move it, so the bound knows its value; leave it out",
            other.parameter
        )));
    }
    let typed = |p: usize| priors.iter().find(|prior| prior.parameter.index() == p);
    let of_fit = |p: usize| problem.parameters[p].prior.map(|prior| prior.width);
    let prior = |&p: &usize| typed(p).map(|prior| prior.sigma).or_else(|| of_fit(p));
    let priors: Vec<Option<f64>> = free.iter().map(prior).collect();
    let bound = Bound { engine: &*engine, problem, fitted: &fitted, free: &free, priors: &priors };
    let (good, lost) = pixels(estimates, truth);
    let at = |&pixel: &(usize, usize)| {
        let amplitudes = amplitudes(problem, truth, pixel);
        let bounds = bound.at(
            &shapes(problem, truth, pixel),
            &amplitudes,
            background(problem, truth, pixel).view(),
        )?;
        Ok((amplitudes, bounds))
    };
    let true_and_bound: Vec<(Vec<f64>, Array1<f64>)> =
        good.par_iter().map(at).collect::<Result<_>>()?;
    let values = if signed {
        estimates.signed.as_ref().ok_or_else(|| {
            Error::configuration(
                "the map file has no signed counts; make the maps by --optimizer newton or adam",
            )
        })?
    } else {
        &estimates.amplitudes
    };
    let estimate = |i: usize, k: usize| {
        let (row, col) = good[i];
        let name = &problem.components[fitted[k]];
        let own = estimates.components.iter().position(|c| c == name).expect("a fitted component");
        Estimate {
            truth: true_and_bound[i].0[fitted[k]],
            fitted: values[[own, row, col]].into(),
            uncertainty: estimates.uncertainties.as_ref().map(|u| u[[own, row, col]].into()),
            bound: true_and_bound[i].1[k],
        }
    };
    let mut scores = Vec::new();
    for (level, &counts) in truth.levels.iter().enumerate() {
        let own: Vec<usize> =
            (0..good.len()).filter(|&i| truth.level[good[i]] as usize == level).collect();
        for (k, &component) in fitted.iter().enumerate() {
            let all: Vec<Estimate> = own.iter().map(|&i| estimate(i, k)).collect();
            scores.push(Score::of(counts, &problem.components[component], &all));
        }
    }
    let converged = |at: &&(usize, usize)| estimates.status[**at] == Status::Converged as u8;
    let names = free.iter().map(|&p| kernels::parameters()[p].name.to_string());
    Ok(Scored {
        version: env!("CARGO_PKG_VERSION"),
        maps: PathBuf::new(),
        truth: PathBuf::new(),
        free: names.zip(priors.iter().copied()).collect(),
        pixels: good.len(),
        converged: good.iter().filter(converged).count(),
        lost,
        scores,
    })
}

/// The pixels that have a truth and a fit, and the number of those that have no fit in spite of a truth.
fn pixels(estimates: &Estimates, truth: &Truth) -> (Vec<(usize, usize)>, usize) {
    let sound = truth.status.indexed_iter().filter(|(_, s)| **s == Status::Converged as u8);
    let is_fitted = |at: &(usize, usize)| {
        Status::from_code(estimates.status[*at].into()).is_fitted()
            && estimates.amplitudes.slice(s![.., at.0, at.1]).iter().all(|a| a.is_finite())
    };
    let (good, lost): (Vec<_>, Vec<_>) = sound.map(|(at, _)| at).partition(is_fitted);
    (good, lost.len())
}

/// True shape parameters of a pixel, in the kernels' order; the fit's where the truth does not tell.
fn shapes(problem: &Problem, truth: &Truth, pixel: (usize, usize)) -> Vec<f64> {
    let mut shapes = problem.shapes();
    let own = truth.parameters.iter().map(|(name, values)| (name, values[pixel]));
    for (name, value) in truth.shapes.iter().map(|(name, value)| (name, *value)).chain(own) {
        if let Some(parameter) = parameter_index(name) {
            shapes[parameter] = value;
        }
    }
    shapes
}

/// True amplitudes of all components of the problem \[counts\].
fn amplitudes(problem: &Problem, truth: &Truth, (row, col): (usize, usize)) -> Vec<f64> {
    let of = |name: &String| {
        let known = truth.components.iter().position(|c| c == name);
        known.map_or(0.0, |k| truth.amplitudes[[k, row, col]].into())
    };
    problem.components.iter().map(of).collect()
}

/// True background over the fit window \[counts\]; none in channels that were added to the spectrum.
fn background(problem: &Problem, truth: &Truth, pixel: (usize, usize)) -> Array1<f64> {
    let of_level = truth.background.row(truth.level[pixel] as usize);
    let channels = problem.first..problem.first + problem.count;
    channels.map(|c| of_level.get(c).copied().unwrap_or(0.0)).collect()
}
