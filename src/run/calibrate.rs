//! `xrfit calibrate`: the first pass of every detector, into a configuration.

use std::path::PathBuf;

use ndarray::Array1;

use super::output::inputs;
use super::{Chosen, begin, detectors, on_rank_0, problem, resolve, resolve_common, sum};
use crate::calibrate::{Calibration, Engines, Evidence, Proposal, Search, calibrate, propose};
use crate::cli::{CalibrateArgs, FitArgs, WorkArgs};
use crate::cluster::Cluster;
use crate::config::{self, Detector, Settings};
use crate::engine::{self, Choice, Precision};
use crate::error::{Error, Result};
use crate::kernels;
use crate::output::{self, numbered};
use crate::problem::Problem;
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
        let found = first_pass(&mut *scan, &settings, which, search, &args.work, cluster)?;
        let mut settings = found.settings;
        // the calibration is this detector's alone
        settings.detector = which.number().map_or(Detector::Sum, Detector::Index);
        on_rank_0(cluster, || write(args, which, &found.evidence, &settings))?;
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
fn write(args: &CalibrateArgs, which: Chosen, evidence: &str, settings: &Settings) -> Result<()> {
    let outputs = outputs(args, which);
    if outputs.iter().all(Option::is_none) {
        report::say(&(evidence.to_string() + &settings.to_toml()))?;
    }
    let texts = [evidence.to_string() + &settings.to_toml(), config::write_override(settings)];
    for (path, text) in outputs.iter().zip(texts) {
        if let Some(path) = path {
            output::write(path, args.overwrite.into(), text)?;
            log::info!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// What a first pass found.
pub(super) struct Found {
    /// The settings with its shapes, and with its components where nobody asked for any.
    pub settings: Settings,
    /// On rank 0: what speaks for these components, as comments of a configuration; empty where they were asked for.
    pub evidence: String,
    /// Sum of the detector's spectra, `[channels]` \[counts\], where it was needed.
    pub spectrum: Option<Array1<f64>>,
}

/// What a detector's spectra are fitted with, after a first pass where nobody gives a calibration or components.
pub(super) fn settled(
    scan: &mut dyn ScanReader,
    chosen: Chosen,
    (fit, work): (&FitArgs, &WorkArgs),
    cluster: &mut dyn Cluster,
) -> Result<Found> {
    if chosen.number().is_none() {
        compare_gains(scan, fit, work, cluster)?;
    }
    let settings = cluster.agree(resolve(fit, Some(scan.info()), chosen.number()))?;
    if settings.calibration_given && !settings.components.is_empty() {
        return Ok(Found { settings, evidence: String::new(), spectrum: None });
    }
    first_pass(scan, &settings, chosen, Search::default(), work, cluster)
}

/// The shapes of a detector's summed spectrum, the same on all ranks.
fn first_pass(
    scan: &mut dyn ScanReader,
    settings: &Settings,
    chosen: Chosen,
    search: Search,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<Found> {
    let info = scan.info().clone();
    let spectrum = sum::spectrum(scan, chosen, work, cluster)?;
    let mut found = Ok(Vec::new());
    let mut evidence = String::new();
    if cluster.rank() == 0 && spectrum.sum() > 0.0 {
        found = on_sum(settings, &info, chosen, search, &spectrum).map(|found| {
            evidence = found.evidence;
            as_bytes(&found.settings)
        });
    } else if cluster.rank() == 0 && settings.components.is_empty() {
        found = Err(nothing_shown(chosen));
    } else if cluster.rank() == 0 {
        log::warn!("{}there are no counts, so there is no first pass", chosen.prefix());
        found = Ok(as_bytes(settings));
    }
    let bytes = cluster.agree(found)?;
    let settings = from_bytes(settings, &cluster.broadcast(bytes))?;
    Ok(Found { settings, evidence, spectrum: Some(spectrum) })
}

/// What a first pass changes, for the other ranks: shapes, then names of components.
pub(super) fn as_bytes(settings: &Settings) -> Vec<u8> {
    let names: Vec<String> = settings.components.iter().map(|c| c.name()).collect();
    let shapes = settings.shapes().into_iter().flat_map(f64::to_le_bytes);
    shapes.chain(names.join(",").into_bytes()).collect()
}

pub(super) fn from_bytes(settings: &Settings, bytes: &[u8]) -> Result<Settings> {
    let (shapes, names) = bytes.split_at(8 * settings.parameters.len());
    let shapes: Vec<f64> = shapes.as_chunks().0.iter().map(|v| f64::from_le_bytes(*v)).collect();
    let names = String::from_utf8_lossy(names);
    let names: Vec<String> = names.split(',').map(String::from).collect();
    let settings = settings.with_calibrated(&shapes);
    if settings.components.is_empty() { settings.with_only(&names) } else { Ok(settings) }
}

/// Detectors whose gains differ by more than this part of them are better fitted each on its own.
const SAME_GAIN: f64 = 0.005;

/// Warns where detectors whose raw channels are to be added have different gains.
fn compare_gains(
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
            settings = first_pass(scan, &settings, one, Search::default(), work, cluster)?.settings;
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

/// The settings with what the summed spectrum says: the shapes, and the components where nobody asked for any.
fn on_sum(
    settings: &Settings,
    info: &ScanInfo,
    chosen: Chosen,
    search: Search,
    spectrum: &Array1<f64>,
) -> Result<Found> {
    if !settings.components.is_empty() {
        let settings = search_shapes(settings, info, chosen, search, spectrum)?;
        return Ok(Found { settings, evidence: String::new(), spectrum: None });
    }
    let shown = proposed(settings, info, chosen, search, spectrum)?;
    let Some(shown) = shown.filter(|shown| !shown.evidence.is_empty()) else {
        return Err(nothing_shown(chosen));
    };
    let evidence = table(&shown.evidence);
    log::info!("{}{}", chosen.prefix(), evidence.replace("# ", "").trim_end());
    let names: Vec<String> = shown.evidence.into_iter().map(|e| e.name).collect();
    let there = settings.with_calibrated(&shown.parameters).with_only(&names)?;
    let settings = search_shapes(&there, info, chosen, Search { starts: 1, ..search }, spectrum)?;
    Ok(Found { settings, evidence, spectrum: None })
}

/// What speaks for components, as comments of a configuration.
fn table(shown: &[Evidence]) -> String {
    let mut text = format!(
        "# proposed from the summed spectrum:\n# {:<10}{:>12}{:>14}{:>10}{:>24}\n",
        "component", "line [keV]", "net counts", "sigma", "misfit without it"
    );
    for e in shown {
        text += &format!(
            "# {:<10}{:>12.3}{:>14.0}{:>10.1}{:>23.2}x\n",
            e.name, e.kev, e.counts, e.significance, e.without
        );
    }
    text
}

fn nothing_shown(chosen: Chosen) -> Error {
    Error::configuration(format!(
        "{}the summed spectrum shows no element (so there is nothing to fit); give --elements a list",
        chosen.prefix()
    ))
}

/// The components that the summed spectrum shows, and the shapes that belong to them.
fn proposed(
    settings: &Settings,
    info: &ScanInfo,
    chosen: Chosen,
    search: Search,
    spectrum: &Array1<f64>,
) -> Result<Option<Proposal>> {
    let [fast, exact] = [Precision::F32, Precision::F64].map(|p| engine::open(Choice::Cpu, p));
    let (fast, exact) = (fast?, exact?);
    let engines = Engines { search: &*fast, last: &*exact };
    let all = settings.of_first_pass().with_candidates()?;
    let widest = problem(&all, info, chosen)?;
    let counts = widened(spectrum, &widest);
    propose(engines, &|p| all.moved(&widest, p), &settings.shapes(), counts.view(), search)
}

fn search_shapes(
    settings: &Settings,
    info: &ScanInfo,
    chosen: Chosen,
    search: Search,
    spectrum: &Array1<f64>,
) -> Result<Settings> {
    // a few starts of one spectrum are done before kernels for a device are compiled
    let search_engine = engine::open(Choice::Cpu, Precision::F32)?;
    let last = engine::open(Choice::Cpu, Precision::F64)?;
    let engines = Engines { search: &*search_engine, last: &*last };
    let wide = settings.of_first_pass().with_bystanders()?;
    let widest = problem(&wide, info, chosen)?;
    let counts = widened(spectrum, &widest);
    let at = |p: &[f64]| wide.moved(&widest, p);
    let asked = settings.components.len();
    let mut found = calibrate(engines, &at, asked, &settings.shapes(), counts.view(), search)?;
    if asked == 0 {
        found.bystanders.clear();
    }
    tell(&found, chosen, search);
    Ok(settings.with_calibrated(&found.parameters))
}

/// A spectrum with zeros beyond its own channels, where the problem has more.
pub(super) fn widened(spectrum: &Array1<f64>, problem: &Problem) -> Array1<f64> {
    let mut counts = Array1::zeros(problem.channels);
    counts.slice_mut(ndarray::s![..spectrum.len()]).assign(spectrum);
    counts
}

fn tell(found: &Calibration, chosen: Chosen, search: Search) {
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
    if !found.bystanders.is_empty() {
        log::warn!(
            "{}the summed spectrum has strong peaks where these have lines, and the elements of the fit have none: \
             {} (these peaks will pose as other elements in the maps); add what is there to the elements",
            chosen.prefix(),
            found.bystanders.join(", ")
        );
    }
}
