//! `xrfit calibrate`: the first pass of every detector, into a configuration.

use std::path::PathBuf;

use ndarray::Array1;

use super::output::inputs;
use super::{
    Chosen, SUMMED_AT_ONCE, begin, detectors, on_rank_0, problem, resolve, resolve_common, sum,
    tiles,
};
use crate::calibrate::{Calibration, Search, calibrate, refine};
use crate::cli::{CalibrateArgs, FitArgs, WorkArgs};
use crate::cluster::Cluster;
use crate::config::{self, Detector, Settings};
use crate::engine::{self, Choice, Precision};
use crate::error::{Error, Result};
use crate::kernels;
use crate::output::{self, numbered};
use crate::report;
use crate::scan::{self, ScanInfo, ScanReader};

pub(super) fn run(args: &CalibrateArgs, cluster: &mut dyn Cluster) -> Result<()> {
    let mut scan = begin(&args.scan, &args.work, cluster)?;
    let info = scan.info().clone();
    let common = cluster.agree(resolve_common(&args.fit, &info))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    // what cannot be written is found before the first pass
    on_rank_0(cluster, || vacant(args, &chosen, &info))?;
    for which in chosen {
        let mut settings = cluster.agree(resolve(&args.fit, Some(&info), which.number()))?;
        if let Some(free) = &args.fit.free {
            settings = settings.with_first_pass_free(free);
        }
        let search = Search { starts: args.starts, seed: args.seed };
        let mut settings = first_pass(&mut *scan, &settings, which, search, &args.work, cluster)?;
        // the calibration is this detector's alone
        settings.detector = which.number().map_or(Detector::Sum, Detector::Index);
        on_rank_0(cluster, || write(args, which, &settings))?;
    }
    Ok(())
}

/// The configuration and the override file of a detector, as far as they are asked for.
fn outputs(args: &CalibrateArgs, which: Chosen) -> [Option<PathBuf>; 2] {
    [&args.output, &args.override_out].map(|o| o.as_deref().map(|o| numbered(o, which.index)))
}

/// Sees that every output can be written, and that none replaces the scan or another.
fn vacant(args: &CalibrateArgs, chosen: &[Chosen], scan: &ScanInfo) -> Result<()> {
    let all: Vec<PathBuf> = chosen.iter().flat_map(|&w| outputs(args, w)).flatten().collect();
    for (i, path) in all.iter().enumerate() {
        if all[..i].iter().any(|other| output::is_same(other, path)) {
            return Err(Error::file(
                path,
                "is both a configuration and an override file; give --output and --override-out different names",
            ));
        }
        output::check(path, args.overwrite.into(), &inputs(scan))?;
    }
    Ok(())
}

/// Writes what is asked for; the configuration goes to the terminal where nothing is.
fn write(args: &CalibrateArgs, which: Chosen, settings: &Settings) -> Result<()> {
    let outputs = outputs(args, which);
    if outputs.iter().all(Option::is_none) {
        report::say(&settings.to_toml())?;
    }
    let texts = [Settings::to_toml, config::write_override];
    for (path, text) in outputs.iter().zip(texts) {
        if let Some(path) = path {
            output::write(path, args.overwrite.into(), text(settings))?;
            log::info!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// The settings with the shapes of a detector's summed spectrum, the same on all ranks.
pub(super) fn first_pass(
    scan: &mut dyn ScanReader,
    settings: &Settings,
    chosen: Chosen,
    search: Search,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<Settings> {
    let info = scan.info().clone();
    let tiles = tiles(work, &info, SUMMED_AT_ONCE, cluster)?;
    let spectrum = sum::spectrum(scan, chosen, tiles, cluster)?;
    let mut found = Ok(Vec::new());
    if cluster.rank() == 0 && spectrum.sum() > 0.0 {
        found = on_sum(settings, &info, chosen, search, &spectrum).map(|c| c.parameters);
    } else if cluster.rank() == 0 {
        log::warn!("{}there are no counts, so there is no first pass", chosen.prefix());
        found = Ok(settings.parameters.iter().map(|v| v.start).collect());
    }
    let parameters = cluster.agree(found)?;
    let bytes = cluster.broadcast(parameters.iter().flat_map(|v| v.to_le_bytes()).collect());
    let parameters: Vec<f64> = bytes.as_chunks().0.iter().map(|v| f64::from_le_bytes(*v)).collect();
    Ok(settings.with_calibrated(&parameters))
}

/// Detectors whose gains differ by more than this part of them are better fitted each on its own.
const SAME_GAIN: f64 = 0.005;

/// Warns where detectors whose raw channels are to be added have different gains.
pub(super) fn compare_gains(
    scan: &mut dyn ScanReader,
    fit: &FitArgs,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<()> {
    let info = scan.info().clone();
    let mut gains = Vec::new();
    for number in 0..info.detectors {
        let one = Chosen { detector: scan::Detector::One(number), index: Some(number) };
        let mut settings = cluster.agree(resolve(fit, Some(&info), Some(number)))?;
        if !settings.calibration_given {
            settings = first_pass(scan, &settings, one, Search::default(), work, cluster)?;
        }
        gains.push(settings.value("ENERGY_SLOPE"));
    }
    let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
    let most = gains.iter().copied().fold(0.0, f64::max);
    if cluster.rank() == 0 && most > least * (1.0 + SAME_GAIN) {
        log::warn!(
            "the gains of the detectors differ by {:.1} % ({least:.6} to {most:.6} keV/channel), so peaks of their \
             sum are smeared; --detector each fits each on its own and adds the maps",
            100.0 * (most / least - 1.0)
        );
    }
    Ok(())
}

/// A bystander with at least this part of the net counts stays in the first pass, and the user hears of it.
const STRONG: f64 = 0.01;

fn on_sum(
    settings: &Settings,
    info: &crate::scan::ScanInfo,
    chosen: Chosen,
    search: Search,
    spectrum: &Array1<f64>,
) -> Result<Calibration> {
    // a few starts of one spectrum are done before kernels for a device are compiled
    let engine = engine::open(Choice::Cpu, Precision::F64)?;
    let configured: Vec<f64> = settings.parameters.iter().map(|v| v.start).collect();
    let mut wide = settings.of_first_pass().with_bystanders()?;
    let widest = problem(&wide, info, chosen)?;
    let mut counts = Array1::zeros(widest.channels);
    counts.slice_mut(ndarray::s![..spectrum.len()]).assign(spectrum);
    let at = |p: &[f64]| wide.moved(&widest, p);
    let found = calibrate(&*engine, &at, &configured, counts.view(), search)?;
    let asked = settings.components.len();
    let cast = wide.components.iter().zip(&found.shares).enumerate();
    let strong = cast.filter(|(i, (_, share))| *i < asked || **share >= STRONG);
    wide.components = strong.map(|(_, (component, _))| component.clone()).collect();
    let strong = problem(&wide, info, chosen)?;
    let at = |p: &[f64]| wide.moved(&strong, p);
    let refined = refine(&*engine, &at, &found.parameters, counts.view())?;
    let calibration = Calibration { start: found.start, ..refined };
    let bystanders: Vec<String> = wide.components[asked..].iter().map(|c| c.name()).collect();
    tell(&calibration, chosen, &bystanders, search);
    Ok(calibration)
}

fn tell(found: &Calibration, chosen: Chosen, bystanders: &[String], search: Search) {
    let value = |name| found.parameters[kernels::known_parameter(name)];
    log::info!(
        "{}first pass: offset {:.4} keV, slope {:.6} keV/channel, R² {:.4}, of log counts {:.4}, from start {} of {}",
        chosen.prefix(),
        value("ENERGY_OFFSET"),
        value("ENERGY_SLOPE"),
        found.r_squared,
        found.r_squared_log,
        found.start + 1,
        search.starts.max(1)
    );
    if !bystanders.is_empty() {
        log::warn!(
            "{}the summed spectrum has strong peaks where these have lines, and the elements of the fit have none: \
             {} (these peaks will pose as other elements in the maps); add what is there to the elements",
            chosen.prefix(),
            bystanders.join(", ")
        );
    }
}
