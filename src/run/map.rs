//! `xrfit map`: every pixel of every detector, into map files.

use std::io::Read;
use std::path::Path;
use std::time::{Instant, SystemTime};

use ndarray::{Array1, s};
use sha2::{Digest, Sha256};

use super::calibrate::first_pass;
use super::{Chosen, begin, detectors, problem, resolve, tiles};
use crate::assemble::Assembly;
use crate::calibrate::{Search, fit_sum};
use crate::cli::MapArgs;
use crate::cluster::{Cluster, serve};
use crate::config::Settings;
use crate::engine::{self, Engine};
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
    let common = cluster.agree(resolve(&args.fit, Some(&info), None))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    let mut all = Vec::new();
    let mut last = None;
    for &which in &chosen {
        if let Some(file) = one(args, &mut *scan, which, cluster)? {
            all.push(file.maps.clone());
            last = Some(file);
        }
    }
    let written = match last {
        Some(file) if chosen.len() > 1 => {
            let sum = MapFile { maps: maps::sum(&all), ..file };
            write(args, &sum, None, &args.output)
        }
        _ => Ok(()),
    };
    cluster.agree(written)
}

/// One detector; the file's contents on rank 0.
fn one(
    args: &MapArgs,
    scan: &mut dyn ScanReader,
    which: Chosen,
    cluster: &mut dyn Cluster,
) -> Result<Option<MapFile>> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let info = scan.info().clone();
    let output = which.index.map_or_else(|| args.output.clone(), |i| maps::family(&args.output, i));
    super::on_rank_0(cluster, || maps::create(&output, args.overwrite.into()).map(drop))?;
    let mut settings = cluster.agree(resolve(&args.fit, Some(&info), which.index))?;
    if !settings.calibration_given {
        let search = Search { starts: 5, seed: 0 };
        settings = first_pass(scan, &settings, which, search, &args.work, cluster)?;
    }
    let problem = cluster.agree(problem(&settings, &info, which))?;
    let engine = cluster.agree(engine::open(args.work.engine, settings.fit.precision))?;
    let times = cluster.agree(times_of(scan, which.detector))?;
    let mut assembly = Assembly::new(&problem, (info.rows, info.cols), &times);
    fit_tiles(args, scan, which, (&*engine, &problem), &mut assembly, cluster)?;
    let mut file = Ok(None);
    if cluster.rank() == 0 {
        let provenance = Provenance {
            seconds: began.elapsed().as_secs_f64(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            cluster: format!("{} ranks, {}", cluster.size(), cluster.describe()),
            ..provenance(&settings, &*engine, &info.path)?
        };
        file = finish(scan, (&*engine, &problem), assembly, times, provenance).and_then(|file| {
            let link = which.link(&info);
            write(args, &file, link, &output)?;
            summary(&file.maps, began);
            Ok(Some(file))
        });
    }
    cluster.agree(file)
}

impl Chosen {
    /// Where the input holds this detector's spectra in the order of a map file.
    fn link(self, info: &crate::scan::ScanInfo) -> Option<(&Path, &str)> {
        let crate::scan::Detector::One(index) = self.detector else { return None };
        info.spectra_links.get(index).map(|(file, dataset)| (file.as_path(), dataset.as_str()))
    }
}

fn fit_tiles(
    args: &MapArgs,
    scan: &mut dyn ScanReader,
    which: Chosen,
    (engine, problem): (&dyn Engine, &Problem),
    assembly: &mut Assembly,
    cluster: &mut dyn Cluster,
) -> Result<()> {
    let tiles = cluster.agree(tiles(&args.work, scan.info(), cluster.size()))?;
    let mut progress = (cluster.rank() == 0).then(|| Progress::new(scan.info().pixels()));
    let work = |ticket| {
        let pixels = tiles.get(ticket).expect("tickets are tiles");
        let counts =
            fit::padded(spectra_of(scan, which.detector, pixels.clone())?, problem.channels);
        Ok(fit::tile(engine, problem, pixels, counts.view())?.to_bytes())
    };
    serve::run(cluster, tiles.count(), work, |_, bytes| {
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
    (engine, problem): (&dyn Engine, &Problem),
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
    };
    let parameters =
        kernels::parameters().iter().zip(&problem.parameters).map(|(info, v)| ParameterRow {
            name: info.name.into(),
            unit: info.unit.into(),
            value: [v.start, v.lower, v.upper],
            free: v.free,
        });
    Ok(MapFile {
        analysis: match problem.optimizer {
            Optimizer::Adam => Analysis::Fitted,
            Optimizer::Nnls => Analysis::Nnls,
        },
        maps: assembly.into_maps(),
        objective_unit: problem.objective.unit().into(),
        status_meanings: Status::ALL.map(|s| (s as u8, s.meaning().to_string())).to_vec(),
        summed,
        parameters: parameters.collect(),
        times,
        scalers: scan.scalers()?,
        axes: scan.axes()?,
        metadata: scan.metadata().clone(),
        provenance,
    })
}

fn write(args: &MapArgs, file: &MapFile, link: Option<(&Path, &str)>, output: &Path) -> Result<()> {
    maps::create(output, args.overwrite.into())?.write(file, link)?;
    log::info!("wrote {}", output.display());
    Ok(())
}

fn provenance(settings: &Settings, engine: &dyn Engine, input: &Path) -> Result<Provenance> {
    Ok(Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: env!("XRFIT_COMMIT").into(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        configuration: settings.to_toml(),
        engine: engine.describe(),
        input: input.to_path_buf(),
        input_sha256: checksum(input)?,
        ..Provenance::default()
    })
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
fn summary(maps: &Maps, began: Instant) {
    let n = maps.status.len();
    log::info!("{} pixels in {}", report::count(n), report::duration(began.elapsed()));
    for status in Status::ALL.into_iter().filter(|s| !s.is_fitted()) {
        let failed = maps.status.iter().filter(|&&code| code == status as u8).count();
        if failed > 0 {
            log::warn!("{} pixels without a fit: {}", report::count(failed), status.meaning());
        }
    }
    let mut r: Vec<f32> = maps.r_squared.iter().copied().filter(|r| r.is_finite()).collect();
    r.sort_by(f32::total_cmp);
    if let [_, .., _] = r[..] {
        let quartile = |q: usize| r[(r.len() - 1) * q / 4];
        log::info!("R² quartiles {:.4} {:.4} {:.4}", quartile(1), quartile(2), quartile(3));
    }
}
