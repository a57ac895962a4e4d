//! `xrfit calibrate`: the first pass of every detector, into a configuration.

use std::path::Path;

use ndarray::Array1;

use super::{Chosen, begin, detectors, numbered, on_rank_0, problem, resolve, sum, tiles};
use crate::calibrate::{Calibration, Search, calibrate, refine};
use crate::cli::{CalibrateArgs, WorkArgs};
use crate::cluster::Cluster;
use crate::config::{self, Settings};
use crate::engine;
use crate::error::{Error, Result};
use crate::kernels;
use crate::scan::ScanReader;

pub(super) fn run(args: &CalibrateArgs, cluster: &mut dyn Cluster) -> Result<()> {
    let mut scan = begin(&args.scan, &args.work, cluster)?;
    let info = scan.info().clone();
    let common = cluster.agree(resolve(&args.fit, Some(&info), None))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    for which in chosen {
        let outputs = [&args.output, &args.override_out]
            .map(|o| o.as_deref().map(|o| numbered(o, which.index)));
        on_rank_0(cluster, || {
            outputs.iter().flatten().try_for_each(|o| vacant(o, args.overwrite))
        })?;
        let mut settings = cluster.agree(resolve(&args.fit, Some(&info), which.index))?;
        if let Some(free) = &args.fit.free {
            settings = settings.with_first_pass_free(free);
        }
        let search = Search { starts: args.starts, seed: args.seed };
        let settings = first_pass(&mut *scan, &settings, which, search, &args.work, cluster)?;
        on_rank_0(cluster, || {
            let [toml, override_out] = &outputs;
            if let Some(path) = toml {
                write(path, &settings.to_toml())?;
            }
            if let Some(path) = override_out {
                write(path, &config::write_override(&settings))?;
            }
            if toml.is_none() && override_out.is_none() {
                print!("{}", settings.to_toml());
            }
            Ok(())
        })?;
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
    let tiles = cluster.agree(tiles(work, &info, cluster.size()))?;
    let spectrum = sum::spectrum(scan, chosen, tiles, cluster)?;
    let mut found = Ok(Vec::new());
    if cluster.rank() == 0 {
        found = on_sum(settings, &info, chosen, search, work, &spectrum).map(|c| c.parameters);
    }
    let parameters = cluster.agree(found)?;
    let bytes = cluster.broadcast(parameters.iter().flat_map(|v| v.to_le_bytes()).collect());
    let parameters: Vec<f64> = bytes.as_chunks().0.iter().map(|v| f64::from_le_bytes(*v)).collect();
    Ok(settings.with_calibrated(&parameters))
}

/// A bystander with at least this part of the net counts stays in the first pass, and the user hears of it.
const STRONG: f64 = 0.01;

fn on_sum(
    settings: &Settings,
    info: &crate::scan::ScanInfo,
    chosen: Chosen,
    search: Search,
    work: &WorkArgs,
    spectrum: &Array1<f64>,
) -> Result<Calibration> {
    let engine = engine::open(work.engine, engine::Precision::F64)?;
    let configured: Vec<f64> = settings.parameters.iter().map(|v| v.start).collect();
    let mut counts = Array1::zeros(problem(settings, info, chosen)?.channels);
    counts.slice_mut(ndarray::s![..spectrum.len()]).assign(spectrum);
    let at = |settings: &Settings, parameters: &[f64]| {
        problem(&settings.with_calibrated(parameters), info, chosen)
    };
    let mut wide = settings.of_first_pass().with_bystanders()?;
    let found = calibrate(&*engine, &|p: &[f64]| at(&wide, p), &configured, counts.view(), search)?;
    let asked = settings.components.len();
    let cast = wide.components.iter().zip(&found.shares).enumerate();
    let strong = cast.filter(|(i, (_, share))| *i < asked || **share >= STRONG);
    wide.components = strong.map(|(_, (component, _))| component.clone()).collect();
    let refined = refine(&*engine, &|p: &[f64]| at(&wide, p), &found.parameters, counts.view())?;
    let calibration = Calibration { start: found.start, ..refined };
    let bystanders: Vec<String> = wide.components[asked..].iter().map(|c| c.name()).collect();
    tell(&calibration, &bystanders, search);
    Ok(calibration)
}

fn tell(found: &Calibration, bystanders: &[String], search: Search) {
    let value = |name| found.parameters[kernels::parameter_index(name).expect("it exists")];
    log::info!(
        "first pass: offset {:.4} keV, slope {:.6} keV/channel, R² {:.4}, of log counts {:.4}, from start {} of {}",
        value("ENERGY_OFFSET"),
        value("ENERGY_SLOPE"),
        found.r_squared,
        found.r_squared_log,
        found.start + 1,
        search.starts.max(1)
    );
    if !bystanders.is_empty() {
        log::warn!(
            "the summed spectrum has strong peaks where these have lines, and the elements of the fit have none: \
             {} (other peaks will pose as them in the maps); add what is there to the elements",
            bystanders.join(", ")
        );
    }
}

/// Refuses to replace a file that nobody gave up.
fn vacant(path: &Path, overwrite: bool) -> Result<()> {
    if !overwrite && path.exists() {
        return Err(Error::file(
            path,
            "the file exists (it would be lost); give --overwrite or another name",
        ));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
    log::info!("wrote {}", path.display());
    Ok(())
}
