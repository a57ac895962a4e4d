//! `xrfit map`: every pixel of every detector, into map files.

use std::ops::Range;
use std::time::{Instant, SystemTime};

use ndarray::Array2;

use super::checksums::Checksums;
use super::common::Common;
use super::contents::{command_line, finish, provenance, summary, workers};
use super::keeper::Keeper;
use super::output::{Outputs, outputs};
use super::settled::{Settled, settle, taken_up};
use super::unfinished::{Identity, Unfinished};
use super::{
    Chosen, begin, detectors, engines, on_rank_0, open_engine, resolve, resolve_common, round,
    tile_pixels,
};
use crate::assemble::Assembly;
use crate::cli::MapArgs;
use crate::cluster::{Cluster, serve};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::fit::{self, Parts, TileFits};
use crate::maps::{self, MapFile, Provenance};
use crate::output::numbered;
use crate::problem::Problem;
use crate::report::{self, Progress};
use crate::scan::{ScanReader, spectra_of, times_of};
use crate::signals;
use crate::tile::Tiles;

pub(super) fn run(args: &MapArgs, cluster: &mut dyn Cluster) -> Result<()> {
    cluster.agree(signals::listen())?;
    let mut scan = begin(&args.scan, &args.work, cluster)?;
    let info = scan.info().clone();
    let common = cluster.agree(resolve_common(&args.fit, &info))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    // what cannot be written is found before the first fit
    let mut all = None;
    on_rank_0(cluster, || outputs(args, &info, &chosen).map(|found| all = found))?;
    if cluster.broadcast(vec![u8::from(all.is_some())]) != [1] {
        return Ok(());
    }
    // beside the fits, once for all detectors
    let checksums = (cluster.rank() == 0).then(|| Checksums::begin(info.files.clone()));
    let (mut files, mut unfinished) = (Vec::new(), Vec::new());
    for (i, &which) in chosen.iter().enumerate() {
        let fitted = one(args, &mut *scan, which, checksums.as_ref(), cluster)?;
        on_rank_0(cluster, || {
            let (Some(outputs), Some(Fitted { mut file, kept, began }), Some(checksums)) =
                (&all, fitted, &checksums)
            else {
                unreachable!()
            };
            file.provenance.inputs = checksums.wait()?;
            kept.keep_checksums(&file.provenance.inputs)?;
            outputs.each[i].write(&file, &mut *scan)?;
            summary(&file.maps, which, began);
            files.push(file);
            unfinished.push(kept);
            Ok(())
        })?;
    }
    on_rank_0(cluster, || {
        if let Some(Outputs { sum: Some(output), .. }) = &all {
            match maps::sum(&files) {
                Some(sum) => output.write(&sum, &mut *scan)?,
                None => log::warn!(
                    "the detectors were fitted with different components, so there is no file of their sum"
                ),
            }
        }
        unfinished.into_iter().rev().try_for_each(Unfinished::remove)
    })
}

/// One detector on rank 0: the file's contents, the ledger that has all of them, and when its work began.
struct Fitted {
    file: MapFile,
    kept: Unfinished,
    began: Instant,
}

fn one(
    args: &MapArgs,
    scan: &mut dyn ScanReader,
    which: Chosen,
    checksums: Option<&Checksums>,
    cluster: &mut dyn Cluster,
) -> Result<Option<Fitted>> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let info = scan.info().clone();
    let asked = cluster.agree(resolve(&args.fit, Some(&info), which.number()))?;
    let engine = open_engine(args.work.engine, asked.fit.precision, cluster)?;
    let output = numbered(&args.output, which.index);
    let mut unfinished = None;
    let mut identity = None;
    on_rank_0(cluster, || {
        let own = Identity::of(&asked, &*engine, &info)?;
        unfinished = Unfinished::find(&output, args, &own, &info)?;
        identity = Some(own);
        Ok(())
    })?;
    let known = unfinished.as_ref().map_or(Vec::new(), |kept| kept.settled().to_vec());
    let known = cluster.broadcast(known);
    let settled = if known.is_empty() {
        settle(scan, which, (&args.fit, &args.work), cluster)?
    } else {
        cluster.agree(taken_up(&asked, &info, which, &known))?
    };
    let Settled { evidence, common: Common { settings, problem, deviance }, bytes } = settled;
    on_rank_0(cluster, || {
        if let (Some(identity), None) = (&identity, &unfinished) {
            let extent = (&problem, info.pixels());
            unfinished = Some(Unfinished::create(&output, identity, extent, &bytes)?);
        }
        Ok(())
    })?;
    let times = cluster.agree(times_of(scan, which.detector))?;
    let mut assembly = Assembly::new(&problem, (info.rows, info.cols), &times);
    let mut maps = Fill { which, engine: &*engine, problem: &problem, assembly: &mut assembly };
    let kept = maps.fit(args, scan, unfinished.zip(checksums), cluster)?;
    let engines = engines::gather(&*engine, cluster);
    let mut fitted = Ok(None);
    if let (Some(engines), Some(kept)) = (engines, kept) {
        let shape = (info.rows, info.cols);
        fitted = kept.runs(shape).and_then(|runs| {
            let provenance = Provenance {
                engine: engines.words,
                taken_over: engines.taken_over,
                runs,
                seconds: began.elapsed().as_secs_f64(),
                started: humantime::format_rfc3339_seconds(started).to_string(),
                cluster: workers(cluster),
                configuration: evidence + &settings.to_toml(),
                ..provenance(&settings)
            };
            let fits: (&dyn Engine, &Problem, f64) = (&*engine, &problem, deviance);
            let file = finish(scan, fits, assembly, times, provenance)?;
            Ok(Some(Fitted { file, kept, began }))
        });
    }
    cluster.agree(fitted)
}

/// Maps that tiles fill.
struct Fill<'a> {
    which: Chosen,
    engine: &'a dyn Engine,
    problem: &'a Problem,
    assembly: &'a mut Assembly,
}

impl Fill<'_> {
    /// Fits every pixel that is not done; the ledger of all of them, on rank 0.
    fn fit(
        &mut self,
        args: &MapArgs,
        scan: &mut dyn ScanReader,
        kept: Option<(Unfinished, &Checksums)>,
        cluster: &mut dyn Cluster,
    ) -> Result<Option<Unfinished>> {
        let left = self.left(kept.as_ref().map(|(kept, _)| kept), cluster)?;
        let size = tile_pixels(&args.work, scan.info(), self.engine.useful_batches(), cluster)?;
        let tiles = Tiles::of(left, size);
        let mut keeper = kept.map(|(kept, sums)| Keeper::start(kept, self.problem, sums));
        let served = self.serve(args, scan, &tiles, keeper.as_mut(), cluster);
        let kept = keeper.map_or(Ok(None), Keeper::finish)?;
        if let (Err(Error::Stopped), Some(kept)) = (&served, &kept) {
            say_stopped(kept, scan.info().pixels(), args);
        }
        served.map(|()| kept)
    }

    /// The pixels that are left, the same on all ranks; rank 0 has the others in its maps.
    fn left(
        &mut self,
        kept: Option<&Unfinished>,
        cluster: &mut dyn Cluster,
    ) -> Result<Vec<Range<usize>>> {
        let restored =
            kept.map_or(Ok(Vec::new()), |kept| kept.restore(self.problem, self.assembly));
        let left = cluster.agree(restored)?;
        let ends = left.iter().flat_map(|run| [run.start as u64, run.end as u64]);
        let bytes = cluster.broadcast(ends.flat_map(u64::to_le_bytes).collect());
        let ends: Vec<usize> =
            bytes.as_chunks().0.iter().map(|v| u64::from_le_bytes(*v) as usize).collect();
        Ok(ends.chunks_exact(2).map(|run| run[0]..run[1]).collect())
    }

    fn serve(
        &mut self,
        args: &MapArgs,
        scan: &mut dyn ScanReader,
        tiles: &Tiles,
        mut keeper: Option<&mut Keeper>,
        cluster: &mut dyn Cluster,
    ) -> Result<()> {
        let Self { which, engine, problem, .. } = *self;
        let mut progress = (cluster.rank() == 0).then(|| Progress::new(tiles.pixels()));
        let pixels = |ticket| tiles.get(ticket).expect("tickets are tiles");
        let read = |ticket| {
            let counts = spectra_of(scan, which.detector, pixels(ticket))?;
            Ok(fit::padded(counts, problem.channels))
        };
        let work = |ticket, counts: Array2<f32>| {
            Ok(fit::tile(engine, problem, pixels(ticket), counts.view())?.to_bytes())
        };
        let store = |_, bytes: Vec<u8>| {
            let tile = TileFits::of_parts(&Parts::of(&bytes, problem), problem);
            self.assembly.add(&tile);
            if let Some(progress) = &mut progress {
                progress.advance(tile.pixels.len());
            }
            keeper.as_mut().map_or(Ok(()), |keeper| keeper.give(bytes))
        };
        serve::run_reading_ahead(cluster, round(&args.work, tiles.count()), read, work, store)?;
        if let Some(progress) = progress {
            progress.finish();
        }
        Ok(())
    }
}

fn say_stopped(kept: &Unfinished, pixels: usize, args: &MapArgs) {
    // a campaign resumes without being told
    let resumes = args.resume && !std::env::args().any(|word| word == "--resume");
    let resume = if resumes { "" } else { " --resume" };
    let typed = command_line(|word| word != "--overwrite" && word != "--resume");
    log::warn!(
        "stopped: {} of {} pixels are in {}; go on with\n    {typed}{resume}",
        report::count(kept.done_pixels()),
        report::count(pixels),
        kept.path().display(),
    );
}
