//! The unfinished map of a detector on rank 0: its ledger, and whether this run may go on with it.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::checksums::checksum;
use crate::assemble::Assembly;
use crate::cli::MapArgs;
use crate::config::Settings;
use crate::engine::{Engine, ExactSum, Precision};
use crate::error::{Error, Result};
use crate::fit::{self, Parts, TileFits};
use crate::maps::{self, Extent, Ledger, Runs};
use crate::problem::Problem;
use crate::scan::ScanInfo;

/// Pixels that are taken from a ledger at once.
const TAKEN_AT_ONCE: usize = 4096;

/// What the numbers of a map depend on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    program: String,
    engine: String,
    configuration: String,
    inputs: Vec<Input>,
}

/// A file of the scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Input {
    name: String,
    bytes: u64,
    /// When it was changed last: seconds and nanoseconds.
    changed: (i64, i64),
}

impl Identity {
    /// That of this run; `settings` as they were asked for, before any first pass.
    pub(super) fn of(settings: &Settings, engine: &dyn Engine, scan: &ScanInfo) -> Result<Self> {
        let mut settings = settings.clone();
        // the engine's words have it
        settings.fit.precision = Precision::F64;
        Ok(Self {
            program: format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("XRFIT_COMMIT")),
            engine: kind(&engine.describe()),
            configuration: settings.to_toml(),
            inputs: scan.files.iter().map(|file| Input::of(file)).collect::<Result<_>>()?,
        })
    }

    /// How `now` differs in what changes numbers, input files aside.
    fn difference(&self, now: &Self, other_engine: bool) -> Option<String> {
        if self.configuration != now.configuration {
            return Some(format!(
                "configuration: {}",
                lines(&self.configuration, &now.configuration)
            ));
        }
        let hint = "--other-engine goes on all the same";
        if other_engine {
            None
        } else if self.program != now.program {
            Some(format!("xrfit {}, this is {} ({hint})", self.program, now.program))
        } else if self.engine != now.engine {
            Some(format!("engine {:?}, this is {:?} ({hint})", self.engine, now.engine))
        } else {
            None
        }
    }
}

/// An engine's words without the number of a device, which may be another on each rank.
fn kind(words: &str) -> String {
    match words.strip_prefix("cuda:") {
        Some(device) => format!("cuda{}", device.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => words.to_string(),
    }
}

/// The first line that differs.
fn lines(then: &str, now: &str) -> String {
    let mut both = then.lines().map(Some).chain(std::iter::repeat(None));
    let mut others = now.lines().map(Some).chain(std::iter::repeat(None));
    loop {
        match (both.next().flatten(), others.next().flatten()) {
            (a, b) if a == b && a.is_some() => {}
            (a, b) => {
                let said = |line: Option<&str>| line.unwrap_or("nothing").trim().to_string();
                return format!("`{}`, now `{}`", said(a), said(b));
            }
        }
    }
}

impl Input {
    fn of(path: &Path) -> Result<Self> {
        let unread = |e| Error::file(path, format!("cannot be read: {e}"));
        let about = std::fs::metadata(path).map_err(unread)?;
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: about.len(),
            changed: (about.mtime(), about.mtime_nsec()),
        })
    }
}

/// An unfinished map, and this run's number in it.
pub(super) struct Unfinished {
    ledger: Ledger,
    run: u8,
}

impl Unfinished {
    /// The ledger of an output, if this run goes on with one.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or its numbers would not be those of this run: the message names the difference.
    pub(super) fn find(
        output: &Path,
        args: &MapArgs,
        now: &Identity,
        scan: &ScanInfo,
    ) -> Result<Option<Self>> {
        let path = maps::ledger_of(output);
        if !path.exists() || !args.resume {
            return Ok(None);
        }
        let ledger = Ledger::open(&path)?;
        // of a run that did not come to its first tile nothing is lost
        if ledger.done_pixels() == 0 {
            return Ok(None);
        }
        let refused = |what: &dyn std::fmt::Display| {
            Error::file(
                &path,
                format!(
                    "belongs to a run with another {what}; run as then, or begin anew with --overwrite"
                ),
            )
        };
        let then: Identity = serde_json::from_str(&ledger.identity)
            .map_err(|e| refused(&format!("layout ({e})")))?;
        if let Some(what) = then.difference(now, args.other_engine) {
            return Err(refused(&what));
        }
        if then.inputs != now.inputs {
            compare_inputs(&ledger, &then, now, &scan.files).map_err(|what| refused(&what))?;
        }
        let run = ledger.begin_run(&now.engine)?;
        Ok(Some(Self { ledger, run }))
    }

    /// Begins a ledger.
    pub(super) fn create(
        output: &Path,
        identity: &Identity,
        (problem, pixels): (&Problem, usize),
        settled: &[u8],
    ) -> Result<Self> {
        let extent =
            Extent { pixels, columns: fit::columns(problem), sums: fit::lengths_of_sums(problem) };
        let words = serde_json::to_string_pretty(identity).expect("words and numbers");
        let path = maps::ledger_of(output);
        let ledger = Ledger::create(&path, extent, identity.inputs.len(), &words, settled)?;
        let run = ledger.begin_run(&identity.engine)?;
        Ok(Self { ledger, run })
    }

    /// What was settled before the first pixel.
    pub(super) fn settled(&self) -> &[u8] {
        &self.ledger.settled
    }

    pub(super) fn path(&self) -> &Path {
        self.ledger.path()
    }

    pub(super) fn done_pixels(&self) -> usize {
        self.ledger.done_pixels()
    }

    /// Puts what is done into the maps; the pixels that are left.
    pub(super) fn restore(
        &self,
        problem: &Problem,
        assembly: &mut Assembly,
    ) -> Result<Vec<Range<usize>>> {
        let mut left = Vec::new();
        let mut first = 0;
        for run in self.ledger.done().chunk_by(|a, b| (*a > 0) == (*b > 0)) {
            let pixels = first..first + run.len();
            first = pixels.end;
            if run[0] == 0 {
                left.push(pixels);
                continue;
            }
            for start in pixels.clone().step_by(TAKEN_AT_ONCE) {
                let pixels = start..pixels.end.min(start + TAKEN_AT_ONCE);
                let [values, steps, status] = &self.ledger.results(&pixels)?;
                let parts = Parts { pixels, values, steps, status, sums: [&[]; 3] };
                assembly.add(&TileFits::of_parts(&parts, problem));
            }
        }
        let sums = self.ledger.sums().clone().map(ExactSum);
        for (of_maps, sum) in [&mut assembly.fitted, &mut assembly.background, &mut assembly.counts]
            .into_iter()
            .zip(&sums)
        {
            of_maps.merge(sum);
        }
        Ok(left)
    }

    /// Writes a tile of this run, which counts from the next commit on.
    pub(super) fn record(&mut self, tile: &Parts) -> Result<()> {
        let piece = maps::Piece {
            pixels: &tile.pixels,
            values: tile.values,
            steps: tile.steps,
            status: tile.status,
        };
        self.ledger.record(self.run, piece, tile.sums)
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.ledger.commit()
    }

    /// Keeps the checksums of the scan's files, which must be those that an earlier run has kept.
    pub(super) fn keep_checksums(&self, sums: &[(PathBuf, String)]) -> Result<()> {
        match self.ledger.checksums()? {
            None => self.ledger.keep_checksums(sums.iter().map(|(_, sum)| sum.as_str())),
            Some(then) => match sums.iter().zip(&then).find(|((_, now), then)| now != *then) {
                None => Ok(()),
                Some(((file, _), _)) => Err(Error::file(
                    file,
                    "has changed since its map was begun (pixels of both would be mixed); begin anew with --overwrite",
                )),
            },
        }
    }

    /// Which run did which pixel, where their engines differ.
    pub(super) fn runs(&self, shape: (usize, usize)) -> Result<Option<Runs>> {
        let engines = self.ledger.runs()?;
        if engines.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(None);
        }
        let of_pixel = Array2::from_shape_vec(shape, self.ledger.done().to_vec());
        Ok(Some(Runs { engines, of_pixel: of_pixel.expect("a number per pixel") }))
    }

    /// Nothing is unfinished any more.
    pub(super) fn remove(self) -> Result<()> {
        let path = self.ledger.path();
        std::fs::remove_file(path).map_err(|e| {
            Error::file(path, format!("cannot be removed: {e}; the map file is complete"))
        })
    }
}

/// Files with other times or sizes must have the contents that they had.
fn compare_inputs(
    ledger: &Ledger,
    then: &Identity,
    now: &Identity,
    files: &[PathBuf],
) -> std::result::Result<(), String> {
    if then.inputs.len() != now.inputs.len() {
        return Err(format!("scan: {} files, now {}", then.inputs.len(), now.inputs.len()));
    }
    let known = ledger.checksums().map_err(|e| e.to_string())?;
    for (i, (a, b)) in then.inputs.iter().zip(&now.inputs).enumerate() {
        let is_same = || -> Result<bool> {
            let Some(known) = &known else { return Ok(false) };
            Ok(a.bytes == b.bytes && checksum(&files[i])? == known[i])
        };
        if a != b && !is_same().map_err(|e| e.to_string())? {
            return Err(format!("scan: {} has changed", files[i].display()));
        }
    }
    Ok(())
}
