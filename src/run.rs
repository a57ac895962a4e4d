//! The program as a table of contents: what each command does, in order.
//!
//! Puts scan, configuration, engine, ranks and maps together; names no HDF5, MPI or CUDA.

mod calibrate;
mod checksums;
mod common;
mod contents;
mod devices;
mod engines;
mod inspect;
mod keeper;
mod map;
mod output;
mod regions;
mod score;
mod settled;
mod spectrum;
mod sum;
mod unfinished;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Command, FitArgs, WorkArgs};
use crate::cluster::Cluster;
use crate::cluster::serve::Round;
use crate::config::{self, Detector, Settings, Sources};
use crate::engine::{self, Engine, Precision};
use crate::error::{Error, Result};
use crate::output::numbered;
use crate::problem::Problem;
use crate::report;
use crate::scan::{self, OpenOptions, ScanInfo, ScanReader};
use crate::signals;
use crate::simulate;

/// Runs a command on all ranks.
///
/// # Errors
///
/// Whatever ends the run.
pub fn run(command: Command, cluster: &mut dyn Cluster) -> Result<()> {
    match command {
        Command::Map(args) => map::run(&args, cluster),
        Command::Calibrate(args) => calibrate::run(&args, cluster),
        Command::Regions(args) => regions::run(&args, cluster),
        Command::Spectrum(args) => on_rank_0(cluster, || spectrum::run(&args)),
        Command::Simulate(args) => on_rank_0(cluster, || simulate::write(&args)),
        Command::Score(args) => on_rank_0(cluster, || score::run(&args)),
        Command::Inspect(args) => on_rank_0(cluster, || inspect::run(&args)),
        Command::Check(args) => on_rank_0(cluster, || {
            let settings = resolve(&args.fit, None, None)?;
            report::say(&config::check(&settings))
        }),
        Command::Devices => devices::run(cluster),
    }
}

/// What has no share for other ranks.
fn on_rank_0(cluster: &mut dyn Cluster, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = if cluster.rank() == 0 { work() } else { Ok(()) };
    cluster.agree(done)
}

/// A detector of a run: which spectra, and its number in names of files where several are written.
#[derive(Clone, Copy)]
struct Chosen {
    detector: scan::Detector,
    index: Option<usize>,
}

impl Chosen {
    /// Its number, where it is a single one.
    fn number(self) -> Option<usize> {
        match self.detector {
            scan::Detector::One(number) => Some(number),
            scan::Detector::Sum => None,
        }
    }

    /// How messages begin where there are several.
    fn prefix(self) -> String {
        self.index.map_or_else(String::new, |i| format!("detector {i}: "))
    }

    /// A channel at this count is saturated.
    fn saturation(self, scan: &ScanInfo) -> Option<f32> {
        self.number().and(scan.saturation)
    }
}

/// A file of settings as one detector has it: `FILE2` where that is there, else `FILE`.
fn of_detector(file: &Path, detector: Option<usize>) -> PathBuf {
    Some(numbered(file, detector)).filter(|own| own.exists()).unwrap_or_else(|| file.to_path_buf())
}

/// What all detectors of a scan have in common. Where `FILE` stands for `FILE0`, `FILE1`, ... (as `calibrate`
/// writes them), all of them are meant.
fn resolve_common(fit: &FitArgs, scan: &ScanInfo) -> Result<Settings> {
    let beside = |detector| config::override_file::find(&scan.path, detector);
    let numbered_alone = fit.says_nothing() && beside(None).is_none() && beside(Some(0)).is_some();
    let mut named = fit.config.iter().chain(&fit.override_file);
    let family = numbered_alone || named.any(|file| !file.exists());
    let mut settings = resolve(fit, Some(scan), family.then_some(0))?;
    if family && fit.detector.is_none() {
        settings.detector = Detector::Each;
    }
    Ok(settings)
}

/// Settings of one detector; every note is logged once, by rank 0.
fn resolve(fit: &FitArgs, scan: Option<&ScanInfo>, detector: Option<usize>) -> Result<Settings> {
    let found = scan
        .filter(|_| fit.says_nothing())
        .and_then(|scan| config::override_file::find(&scan.path, detector));
    if let Some(found) = &found {
        report::note(&format!("override file of the scan: {}", found.display()));
    }
    let choices = fit.choices();
    let own = |file: &Option<PathBuf>| file.as_deref().map(|file| of_detector(file, detector));
    let (config, override_file) = (own(&fit.config), own(&fit.override_file).or(found));
    let resolved = Settings::resolve(&Sources {
        config: config.as_deref(),
        override_file: override_file.as_deref(),
        choices: &choices,
        scan_incident_kev: scan.and_then(|s| s.incident_kev),
    })?;
    for note in resolved.notes {
        report::note(&note);
    }
    Ok(resolved.settings)
}

/// The detectors that the settings ask for.
fn detectors(which: Detector, scan: &ScanInfo) -> Result<Vec<Chosen>> {
    let one = |index| Chosen { detector: scan::Detector::One(index), index: None };
    match which {
        Detector::Sum => Ok(vec![Chosen { detector: scan::Detector::Sum, index: None }]),
        Detector::Each if scan.detectors == 1 => Ok(vec![one(0)]),
        Detector::Each => {
            Ok((0..scan.detectors).map(|i| Chosen { index: Some(i), ..one(i) }).collect())
        }
        Detector::Index(i) if i < scan.detectors => Ok(vec![one(i)]),
        Detector::Index(i) => Err(Error::file(
            &scan.path,
            format!("there is no detector {i} (the scan has {}, counted from 0)", scan.detectors),
        )),
    }
}

/// The problem of one detector of a scan.
fn problem(settings: &Settings, scan: &ScanInfo, chosen: Chosen) -> Result<Problem> {
    let mut problem = settings.problem(scan.channels)?;
    problem.saturation = chosen.saturation(scan);
    Ok(problem)
}

/// The engine of this rank; why it is not a faster one is said once.
fn open_engine(
    choice: engine::Choice,
    precision: Precision,
    cluster: &mut dyn Cluster,
) -> Result<Box<dyn Engine + Send>> {
    let (local, _) = cluster.local();
    let opened = cluster.agree(engine::choose(choice, precision, local))?;
    if let Some(note) = opened.note {
        report::note(&note);
        // ranks that fit on devices and ranks that do not make maps of two engines
        if cluster.rank() > 0 && engine::has_device() {
            log::warn!("{note}");
        }
    }
    Ok(opened.engine)
}

/// A round of so many tickets, which a signal may end early.
fn round(work: &WorkArgs, tickets: usize) -> Round<'static> {
    let patience = Duration::from_secs(work.rank_timeout);
    Round { tickets, stop: signals::asked(), patience }
}

/// Tiles for each rank when nobody says how large they are: enough to share evenly.
const TILES_PER_RANK: usize = 16;
/// Bytes of a pixel in the largest tiles; longer spectra come in smaller tiles.
const PIXEL_BYTES: usize = 16 << 10;

/// Pixels of a tile, the same on all ranks; `useful` pixels at a time are neither too few nor too many for what works
/// on them.
fn tile_pixels(
    work: &WorkArgs,
    scan: &ScanInfo,
    useful: RangeInclusive<usize>,
    cluster: &mut dyn Cluster,
) -> Result<usize> {
    let bytes = scan.channels.max(1) * size_of::<f32>();
    let most = (useful.end() * PIXEL_BYTES / bytes).clamp(1, *useful.end());
    let least = *useful.start().min(&most);
    let even = scan.pixels().div_ceil(cluster.size() * TILES_PER_RANK).clamp(least, most);
    let size = match work.tile_pixels {
        Some(0) => Err(Error::configuration("--tile-pixels is 0; a tile holds at least one pixel")),
        given => Ok(given.unwrap_or(even)),
    };
    let size = cluster.agree(size)?;
    // a ticket means the same pixels to all ranks, whatever their machines
    let of_rank_0 = cluster.broadcast((size as u64).to_le_bytes().to_vec());
    Ok(u64::from_le_bytes(of_rank_0.try_into().expect("one number")) as usize)
}

/// Opens the scan on every rank and sets the threads of this one.
fn begin(path: &Path, work: &WorkArgs, cluster: &mut dyn Cluster) -> Result<Box<dyn ScanReader>> {
    let threads = work.threads.unwrap_or_else(|| cluster.local_threads());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let pool =
        pool.map_err(|e| Error::configuration(format!("cannot start {threads} threads: {e}")));
    cluster.agree(pool)?;
    let scan =
        cluster.agree(scan::open(path, OpenOptions { file_locking: !work.no_file_locking }))?;
    if cluster.rank() == 0 {
        for note in &scan.info().notes {
            log::info!("{}: {note}", path.display());
        }
    }
    Ok(scan)
}
