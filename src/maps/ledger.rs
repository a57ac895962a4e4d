//! What of a map is done, on disk while the work goes on.
//!
//! A ledger is an HDF5 file that is complete before it has its name. Its structure never changes then: results go to their
//! places in it with plain writes, so any program can open it at every instant. What is done stands in two slots that take
//! turns, each with a number and a checksum. Results are on the disk before a slot speaks of them, and where a slot was
//! cut off half-way the other one holds.

mod slot;

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hdf5::plist::dataset_create::{AllocTime, FillTime};

use self::slot::Slot;
use crate::error::{Error, Result};
use crate::output::{Overwrite, Partial, uncreated};

/// The layout that this program writes and reads.
const VERSION: u32 = 2;
/// Bytes of the words about one run, and runs that have such words.
const WORDS: usize = 160;
const RUNS: usize = 255;
/// Bytes of a checksum in hexadecimal digits.
const CHECKSUM: usize = 64;
/// Results of a pixel, by dataset, and the datasets of what is told once.
const VALUES: &str = "values";
const STEPS: &str = "steps";
const STATUS: &str = "status";
const IDENTITY: &str = "identity";
const SETTLED: &str = "settled";
const RUN_WORDS: &str = "runs";
const CHECKSUMS: &str = "checksums";
const SLOTS: [&str; 2] = ["done_0", "done_1"];

/// How much a ledger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Pixels of the scan.
    pub pixels: usize,
    /// Values of a pixel.
    pub columns: usize,
    /// Lengths of the sums over pixels.
    pub sums: [usize; 3],
}

/// Results of consecutive pixels, as little-endian bytes.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Which.
    pub pixels: &'a Range<usize>,
    /// `[pixels, columns]` of f32.
    pub values: &'a [u8],
    /// `[pixels]` of u32.
    pub steps: &'a [u8],
    /// `[pixels]`.
    pub status: &'a [u8],
}

/// How far a map has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pixels that are done.
    pub done: usize,
    /// All of them.
    pub pixels: usize,
}

/// The ledger of a map file: `OUT.h5.ledger`.
pub fn ledger_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".ledger");
    PathBuf::from(name)
}

/// How far the map of a ledger has come; `None` where there is no ledger.
///
/// # Errors
///
/// When it cannot be read.
pub fn progress(ledger: &Path) -> Result<Option<Progress>> {
    if !ledger.exists() {
        return Ok(None);
    }
    let ledger = Ledger::open(ledger)?;
    Ok(Some(Progress { done: ledger.done_pixels(), pixels: ledger.extent.pixels }))
}

/// Where the datasets lie in the file \[bytes\].
#[derive(Debug)]
struct Places {
    values: u64,
    steps: u64,
    status: u64,
    runs: u64,
    checksums: u64,
    slots: [u64; 2],
}

/// A ledger on disk.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    places: Places,
    extent: Extent,
    inputs: usize,
    /// What the results depend on, in the words of who made it.
    pub identity: String,
    /// What was settled before the first pixel, alike.
    pub settled: Vec<u8>,
    /// What is done, as the next slot will say.
    slot: Slot,
}

impl Ledger {
    /// Begins a ledger of nothing, of a scan of `inputs` files.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn create(
        path: &Path,
        extent: Extent,
        inputs: usize,
        identity: &str,
        settled: &[u8],
    ) -> Result<Self> {
        let partial = Partial::create(path, Overwrite::Yes)?;
        lay_out(partial.file(), extent, inputs, identity.as_bytes(), settled)
            .map_err(|e| uncreated(path, &e))?;
        let ledger = Self::open(partial.file())?;
        ledger.synced()?;
        partial.finish()?;
        Ok(Self { path: path.to_path_buf(), ..ledger })
    }

    /// Opens the ledger of a run that did not end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no ledger.
    pub fn open(path: &Path) -> Result<Self> {
        let unread = |e: &dyn std::fmt::Display| {
            Error::file(
                path,
                format!("is no ledger that can be read: {e}; begin anew with --overwrite"),
            )
        };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| unread(&e))?;
        let (places, extent, inputs, [identity, settled]) = found(path).map_err(|e| unread(&e))?;
        let slots = [0, 1].map(|i| Slot::read(&file, places.slots[i], extent));
        let slot = slots.into_iter().flatten().max_by_key(|slot| slot.number);
        let identity = String::from_utf8(identity).map_err(|e| unread(&e))?;
        let slot = slot.unwrap_or_else(|| Slot::empty(extent));
        Ok(Self { path: path.to_path_buf(), file, places, extent, inputs, identity, settled, slot })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By pixel the number of the run that did it, counted from 1; 0: not done.
    pub fn done(&self) -> &[u8] {
        &self.slot.done
    }

    /// Pixels that are done.
    pub fn done_pixels(&self) -> usize {
        self.slot.done.iter().filter(|&&run| run > 0).count()
    }

    /// Sums over the pixels that are done.
    pub fn sums(&self) -> &[Vec<i64>; 3] {
        &self.slot.sums
    }

    /// Words about the runs so far.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn runs(&self) -> Result<Vec<String>> {
        let mut bytes = vec![0; WORDS * RUNS];
        self.read_at(&mut bytes, self.places.runs)?;
        let words = bytes.chunks(WORDS).map(|words| String::from_utf8_lossy(words).into_owned());
        let words = words.map(|words| words.trim_end_matches('\0').to_string());
        Ok(words.take_while(|words| !words.is_empty()).collect())
    }

    /// Begins a run, with some words about it; its number. After 255 runs all further ones are the last.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn begin_run(&self, words: &str) -> Result<u8> {
        let number = (self.runs()?.len() + 1).min(RUNS);
        let mut bytes = words.as_bytes().to_vec();
        bytes.resize(WORDS, 0);
        self.write_at(&bytes, self.places.runs + ((number - 1) * WORDS) as u64)?;
        Ok(number as u8)
    }

    /// SHA-256 of the scan's files, hexadecimal; `None` where no run has come so far.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn checksums(&self) -> Result<Option<Vec<String>>> {
        let mut bytes = vec![0; CHECKSUM * self.inputs];
        self.read_at(&mut bytes, self.places.checksums)?;
        let known = bytes.iter().all(|byte| *byte != 0);
        let each = bytes.chunks(CHECKSUM).map(|sum| String::from_utf8_lossy(sum).into_owned());
        Ok(known.then(|| each.collect()))
    }

    /// Keeps the SHA-256 of the scan's files.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn keep_checksums<'a>(&self, sums: impl Iterator<Item = &'a str>) -> Result<()> {
        let bytes: Vec<u8> = sums.flat_map(str::bytes).collect();
        assert_eq!(bytes.len(), CHECKSUM * self.inputs, "a checksum for each file");
        self.write_at(&bytes, self.places.checksums)
    }

    /// Writes results, which are done from the next [`Ledger::commit`] on, and adds their sums.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn record(&mut self, run: u8, piece: Piece, sums: [&[u8]; 3]) -> Result<()> {
        let first = piece.pixels.start as u64;
        self.write_at(piece.values, self.places.values + first * 4 * self.extent.columns as u64)?;
        self.write_at(piece.steps, self.places.steps + first * 4)?;
        self.write_at(piece.status, self.places.status + first)?;
        self.slot.add(run, piece.pixels, sums);
        Ok(())
    }

    /// Makes what was recorded count.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn commit(&mut self) -> Result<()> {
        self.synced()?;
        self.slot.number += 1;
        let place = self.places.slots[(self.slot.number % 2) as usize];
        self.write_at(&self.slot.to_bytes(), place)?;
        self.synced()
    }

    /// Results of pixels that are done: values, steps and status, as a [`Piece`] has them.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn results(&self, pixels: &Range<usize>) -> Result<[Vec<u8>; 3]> {
        let (first, n) = (pixels.start as u64, pixels.len());
        let width = 4 * self.extent.columns;
        let mut all = [vec![0; n * width], vec![0; n * 4], vec![0; n]];
        self.read_at(&mut all[0], self.places.values + first * width as u64)?;
        self.read_at(&mut all[1], self.places.steps + first * 4)?;
        self.read_at(&mut all[2], self.places.status + first)?;
        Ok(all)
    }

    fn read_at(&self, bytes: &mut [u8], place: u64) -> Result<()> {
        let unread = |e| Error::file(&self.path, format!("cannot be read: {e}"));
        self.file.read_exact_at(bytes, place).map_err(unread)
    }

    fn write_at(&self, bytes: &[u8], place: u64) -> Result<()> {
        self.file.write_all_at(bytes, place).map_err(|e| self.unwritten(&e))
    }

    fn synced(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| self.unwritten(&e))
    }

    fn unwritten(&self, why: &std::io::Error) -> Error {
        Error::file(
            &self.path,
            format!(
                "cannot be written: {why}; what it holds is safe: make room and go on with --resume"
            ),
        )
    }
}

/// Writes the structure, every dataset at its place for good.
fn lay_out(
    path: &Path,
    extent: Extent,
    inputs: usize,
    identity: &[u8],
    settled: &[u8],
) -> hdf5::Result<()> {
    let file = hdf5::File::create(path)?;
    file.new_attr::<u32>().create("version")?.write_scalar(&VERSION)?;
    file.new_attr::<[u64; 3]>()
        .create("sums")?
        .write_scalar(&extent.sums.map(|length| length as u64))?;
    for (name, bytes) in [(IDENTITY, identity), (SETTLED, settled)] {
        file.new_dataset_builder().with_data(bytes).create(name)?;
    }
    let early = || {
        let builder = file.new_dataset_builder();
        builder.alloc_time(Some(AllocTime::Early)).fill_time(FillTime::Never)
    };
    let (n, slot) = (extent.pixels, Slot::bytes(extent));
    early().empty::<f32>().shape([n, extent.columns]).create(VALUES)?;
    early().empty::<u32>().shape([n]).create(STEPS)?;
    early().empty::<u8>().shape([n]).create(STATUS)?;
    early().empty::<u8>().shape([RUNS, WORDS]).create(RUN_WORDS)?;
    early().empty::<u8>().shape([inputs.max(1), CHECKSUM]).create(CHECKSUMS)?;
    for name in SLOTS {
        early().empty::<u8>().shape([slot]).create(name)?;
    }
    file.close()
}

type Found = (Places, Extent, usize, [Vec<u8>; 2]);

/// Reads the structure.
fn found(path: &Path) -> hdf5::Result<Found> {
    let file = hdf5::File::open(path)?;
    let version: u32 = file.attr("version")?.read_scalar()?;
    if version != VERSION {
        return Err(format!("its version is {version}, this program's {VERSION}").into());
    }
    let place = |name: &str| {
        let offset = file.dataset(name)?.offset();
        offset.ok_or_else(|| hdf5::Error::from(format!("{name} has no place in the file")))
    };
    let places = Places {
        values: place(VALUES)?,
        steps: place(STEPS)?,
        status: place(STATUS)?,
        runs: place(RUN_WORDS)?,
        checksums: place(CHECKSUMS)?,
        slots: [place(SLOTS[0])?, place(SLOTS[1])?],
    };
    let shape = file.dataset(VALUES)?.shape();
    let sums: [u64; 3] = file.attr("sums")?.read_scalar()?;
    let extent =
        Extent { pixels: shape[0], columns: shape[1], sums: sums.map(|length| length as usize) };
    let inputs = file.dataset(CHECKSUMS)?.shape()[0];
    let told = |name: &str| file.dataset(name)?.read_raw::<u8>();
    Ok((places, extent, inputs, [told(IDENTITY)?, told(SETTLED)?]))
}
