//! `xrfit map`: every pixel of every detector, into map files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime};

use ndarray::{Array1, Array2, s};
use sha2::{Digest, Sha256};

use super::calibrate::settled;
use super::common::{Common, common};
use super::output::Output;
use super::{Chosen, begin, detectors, engines, on_rank_0, open_engine, resolve_common, tiles};
use crate::assemble::Assembly;
use crate::calibrate::fit_sum;
use crate::cli::MapArgs;
use crate::cluster::{Cluster, serve};
use crate::config::Settings;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::fit::{self, TileFits};
use crate::kernels::{self, Status};
use crate::maps::{self, Analysis, MapFile, Maps, ParameterRow, Provenance, Summed};
use crate::problem::{Optimizer, Problem};
use crate::report::{self, Progress};
use crate::scan::{ScanReader, spectra_of, times_of};

pub(super) fn run(args: &MapArgs, cluster: &mut dyn Cluster) -> Result<()> {
    let mut scan = begin(&args.scan, &args.work, cluster)?;
    let info = scan.info().clone();
    let common = cluster.agree(resolve_common(&args.fit, &info))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    // what cannot be written is found before the first fit
    let mut outputs = None;
    on_rank_0(cluster, || {
        let each = chosen.iter().map(|&which| Output::of(args, &info, which));
        let sum = (chosen.len() > 1).then(|| Output::of_sum(args, &info)).transpose()?;
        outputs = Some((each.collect::<Result<Vec<_>>>()?, sum));
        Ok(())
    })?;
    // beside the fits, once for all detectors
    let read = info.files.clone();
    let mut hashing = (cluster.rank() == 0).then(|| thread::spawn(move || checksums(read)));
    let mut inputs = Vec::new();
    let mut files = Vec::new();
    for (i, &which) in chosen.iter().enumerate() {
        let file = one(args, &mut *scan, which, cluster)?;
        on_rank_0(cluster, || {
            let (Some((each, _)), Some((mut file, began))) = (&outputs, file) else {
                unreachable!()
            };
            if let Some(hashing) = hashing.take() {
                inputs = hashing.join().expect("checksums do not panic")?;
            }
            file.provenance.inputs.clone_from(&inputs);
            each[i].write(&file, &mut *scan)?;
            summary(&file.maps, which, began);
            files.push(file);
            Ok(())
        })?;
    }
    on_rank_0(cluster, || match &outputs {
        Some((_, Some(output))) => write_sum(output, &files, &mut *scan),
        _ => Ok(()),
    })
}

fn write_sum(output: &Output, files: &[MapFile], scan: &mut dyn ScanReader) -> Result<()> {
    if let Some(sum) = maps::sum(files) {
        return output.write(&sum, scan);
    }
    log::warn!(
        "the detectors were fitted with different components, so there is no file of their sum"
    );
    Ok(())
}

/// One detector; on rank 0 the file's contents, and when its work began.
fn one(
    args: &MapArgs,
    scan: &mut dyn ScanReader,
    which: Chosen,
    cluster: &mut dyn Cluster,
) -> Result<Option<(MapFile, Instant)>> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let info = scan.info().clone();
    let found = settled(scan, which, (&args.fit, &args.work), cluster)?;
    let Common { settings, problem, deviance } = common(scan, which, &found, &args.work, cluster)?;
    let engine = open_engine(args.work.engine, settings.fit.precision, cluster)?;
    let times = cluster.agree(times_of(scan, which.detector))?;
    let mut assembly = Assembly::new(&problem, (info.rows, info.cols), &times);
    fit_tiles(args, scan, which, (&*engine, &problem), &mut assembly, cluster)?;
    let engines = engines::gather(&*engine, cluster);
    let mut file = Ok(None);
    if let Some(engines) = engines {
        let provenance = Provenance {
            engine: engines.words,
            taken_over: engines.taken_over,
            seconds: began.elapsed().as_secs_f64(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            cluster: workers(cluster),
            configuration: found.evidence + &settings.to_toml(),
            ..provenance(&settings)
        };
        file = finish(scan, (&*engine, &problem, deviance), assembly, times, provenance)
            .map(|file| Some((file, began)));
    }
    cluster.agree(file)
}

fn fit_tiles(
    args: &MapArgs,
    scan: &mut dyn ScanReader,
    which: Chosen,
    (engine, problem): (&dyn Engine, &Problem),
    assembly: &mut Assembly,
    cluster: &mut dyn Cluster,
) -> Result<()> {
    let tiles = tiles(&args.work, scan.info(), engine.useful_batches(), cluster)?;
    let mut progress = (cluster.rank() == 0).then(|| Progress::new(scan.info().pixels()));
    let pixels = |ticket| tiles.get(ticket).expect("tickets are tiles");
    let read = |ticket| {
        let counts = spectra_of(scan, which.detector, pixels(ticket))?;
        Ok(fit::padded(counts, problem.channels))
    };
    let work = |ticket, counts: Array2<f32>| {
        Ok(fit::tile(engine, problem, pixels(ticket), counts.view())?.to_bytes())
    };
    serve::run_reading_ahead(cluster, tiles.count(), read, work, |_, bytes| {
        let tile = TileFits::from_bytes(&bytes, problem);
        assembly.add(&tile);
        if let Some(progress) = &mut progress {
            progress.advance(tile.pixels.len());
        }
        Ok(())
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(())
}

/// Everything the map file holds, from the assembled maps.
fn finish(
    scan: &mut dyn ScanReader,
    (engine, problem, deviance): (&dyn Engine, &Problem, f64),
    assembly: Assembly,
    times: crate::scan::Times,
    provenance: Provenance,
) -> Result<MapFile> {
    let counts = assembly.counts.counts();
    let of_sum = fit_sum(engine, problem, counts.view())?;
    let wide = |window: &Array1<f64>| {
        let mut all = Array1::zeros(problem.channels);
        all.slice_mut(s![problem.first..problem.first + problem.count]).assign(window);
        all
    };
    let summed = Summed {
        energy: problem.energies(),
        calibration: problem.calibration(),
        window: (problem.first, problem.count),
        spectrum: counts,
        fitted: wide(&assembly.fitted.counts()),
        background: wide(&assembly.background.counts()),
        fit_of_sum: wide(&of_sum.fitted),
        background_of_sum: wide(&of_sum.background),
        deviance_of_sum: deviance,
    };
    Ok(MapFile {
        analysis: match problem.optimizer {
            Optimizer::Adam | Optimizer::Newton => Analysis::Fitted,
            Optimizer::Nnls => Analysis::Nnls,
        },
        maps: assembly.into_maps(),
        objective_unit: problem.objective_unit().into(),
        status_meanings: status_meanings(),
        summed,
        parameters: parameter_rows(problem),
        times,
        scalers: scan.scalers()?,
        axes: scan.axes()?,
        metadata: scan.metadata().clone(),
        provenance,
    })
}

/// Every shape parameter: where its fits started.
pub(super) fn parameter_rows(problem: &Problem) -> Vec<ParameterRow> {
    let rows = kernels::parameters().iter().zip(&problem.parameters);
    rows.map(|(info, v)| ParameterRow {
        name: info.name.into(),
        unit: info.unit.into(),
        value: [v.start, v.lower, v.upper],
        free: v.free,
        prior: v.prior.map_or(f64::NAN, |prior| prior.width),
    })
    .collect()
}

/// Every status code with its sentence.
pub(super) fn status_meanings() -> Vec<(u8, String)> {
    Status::ALL.map(|s| (s as u8, s.meaning().to_string())).to_vec()
}

pub(super) fn provenance(settings: &Settings) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: env!("XRFIT_COMMIT").into(),
        command: command_line(),
        configuration: settings.to_toml(),
        ..Provenance::default()
    }
}

/// Ranks and threads, and what carries the messages. Ranks of other machines may have other threads.
pub(super) fn workers(cluster: &dyn Cluster) -> String {
    let threads = report::several(rayon::current_num_threads(), "thread");
    let place = if cluster.size() == 1 { "" } else { " on the first" };
    format!("{}, {threads}{place}, {}", report::several(cluster.size(), "rank"), cluster.describe())
}

fn command_line() -> String {
    std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

pub(super) fn checksums(files: Vec<PathBuf>) -> Result<Vec<(PathBuf, String)>> {
    files.into_iter().map(|file| checksum(&file).map(|sum| (file, sum))).collect()
}

fn checksum(path: &Path) -> Result<String> {
    let unreadable = |e| Error::file(path, format!("cannot be read: {e}"));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block).map_err(unreadable)?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&block[..n]);
    }
}

/// The closing lines: pixels, failures by status, R² quartiles, speed.
fn summary(maps: &Maps, which: Chosen, began: Instant) {
    let prefix = which.prefix();
    let all = report::duration(began.elapsed());
    log::info!("{prefix}{all} in all, from the scan to the map file");
    for status in Status::ALL.into_iter().filter(|s| !s.is_fitted()) {
        let failed = maps.status.iter().filter(|&&code| code == status as u8).count();
        if failed > 0 {
            log::warn!(
                "{prefix}{} pixels without a fit: {}",
                report::count(failed),
                status.meaning()
            );
        }
    }
    let [low, median, high] = maps::quartiles(maps.r_squared.iter().copied());
    if median.is_finite() {
        log::info!("{prefix}R² quartiles {low:.4} {median:.4} {high:.4}");
    }
}
