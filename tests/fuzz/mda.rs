//! Promise: no damaged MDA file makes the reader panic, hang or reserve memory out of proportion; it is an
//! error that names the file, or the scan that is left.
//!
//! 100,000 mutations, the same in every run: flipped bits, overwritten numbers, moved blocks, cut ends; of
//! small files written here and, where they are, of the real scans.

#[path = "../common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::shared;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use xrfit::scan::ScanReader;
use xrfit::scan::mda::Scan;

const MUTATIONS: u64 = 100_000;

/// No part of a file of a few megabytes needs more at once \[bytes\].
const LARGEST_RESERVATION: usize = 64 << 20;

/// Remembers the largest reservation.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Writes MDA files.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn int(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    /// An offset to be known later.
    fn offset(&mut self) -> usize {
        self.int(0);
        self.0.len() - 4
    }

    fn float(&mut self, value: f32) {
        self.0.extend(value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.int(text.len() as i32);
        if !text.is_empty() {
            self.int(text.len() as i32);
            self.0.extend(text.bytes());
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
    }

    fn patch(&mut self, at: usize) {
        let here = self.0.len() as i32;
        self.0[at..at + 4].copy_from_slice(&here.to_be_bytes());
    }

    /// One scan; gives the places of the offsets to what is inside each point.
    fn scan(&mut self, rank: i32, points: i32, last: i32, detectors: &[&str]) -> Vec<usize> {
        self.int(rank);
        self.int(points);
        self.int(last);
        let inner =
            if rank > 1 { (0..points).map(|_| self.offset()).collect() } else { Vec::new() };
        self.text("2xfm:scan1");
        self.text("OCT 28, 2015 18:18:43.7");
        let positioners = i32::from(rank > 1 || detectors.len() > 3);
        self.int(positioners);
        self.int(detectors.len() as i32);
        self.int(1);
        for index in 0..positioners {
            self.int(index);
            ["2xfm:m1.VAL", "Sample", "LINEAR", "mm", "", "", ""]
                .iter()
                .for_each(|text| self.text(text));
        }
        for (index, name) in detectors.iter().enumerate() {
            self.int(index as i32);
            [*name, "", "cts"].iter().for_each(|text| self.text(text));
        }
        self.int(0);
        self.text("2xfm:scanH.EXSC");
        self.float(1.0);
        (0..positioners * points).for_each(|k| self.0.extend(f64::from(k).to_be_bytes()));
        (0..detectors.len() as i32 * points).for_each(|k| self.float((k % 97) as f32));
        inner
    }

    fn header(&mut self, dims: &[i32]) -> usize {
        self.float(1.4);
        self.int(17);
        self.int(dims.len() as i32);
        dims.iter().for_each(|&n| self.int(n));
        self.int(1);
        self.offset()
    }

    fn extra_pvs(mut self, at: usize) -> Vec<u8> {
        self.patch(at);
        self.int(4);
        for (name, kind) in [("2xfm:a", 0), ("2xfm:b", 32), ("2xfm:c", 33), ("2xfm:d", 34)] {
            self.text(name);
            self.text("described");
            self.int(kind);
            if kind == 0 {
                self.text("value");
                continue;
            }
            self.int(3);
            self.text("mm");
            for value in [65, 66, 0] {
                if kind == 34 {
                    self.0.extend(f64::from(value).to_be_bytes())
                } else {
                    self.int(value)
                }
            }
        }
        self.0
    }
}

const SCALERS: [&str; 5] =
    ["mca1.ELTM", "mca1.ERTM", "S:SRcurrentAI", "2xfm:mcs:mca1.VAL", "2xfm:mcs:mca2.VAL"];

/// A step scan of 5 rows x 3 columns x 7 channels, stopped after `last` rows.
fn step_scan(last: i32) -> Vec<u8> {
    let mut file = Writer::default();
    let extra = file.header(&[5, 3, 7]);
    for row in file.scan(3, 5, last, &["S:SRcurrentAI"]) {
        file.patch(row);
        for pixel in file.scan(2, 3, 3, &SCALERS) {
            file.patch(pixel);
            file.scan(1, 7, 7, &["mca1.VAL", "mca2.VAL"]);
        }
    }
    file.extra_pvs(extra)
}

/// Positions of a fly scan, or a single line of spectra of 1000 channels.
fn two_dimensions(points: i32, detectors: &[&str]) -> Vec<u8> {
    let mut file = Writer::default();
    let extra = file.header(&[5, points]);
    for row in file.scan(2, 5, 5, &SCALERS) {
        file.patch(row);
        file.scan(1, points, points, detectors);
    }
    file.extra_pvs(extra)
}

/// Opens a file and reads everything of it, but not more than some pixels; whether it could be.
fn read(bytes: &[u8]) -> Result<(), String> {
    let scan =
        Scan::read(Path::new("damaged.mda"), Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let Some(Scan::Step(mut scan)) = scan else { return Ok(()) };
    let info = scan.info().clone();
    for detector in 0..info.detectors.min(4) {
        for first in [0, info.pixels() / 2, info.pixels() - 1] {
            scan.spectra(detector, first..info.pixels().min(first + 3))
                .map_err(|e| e.to_string())?;
        }
        scan.times(detector).map_err(|e| e.to_string())?;
    }
    scan.scalers().map_err(|e| e.to_string())?;
    scan.axes().map_err(|e| e.to_string())?;
    Ok(())
}

/// Damages a file in one of five ways; gives its new length.
fn damage(bytes: &mut [u8], random: &mut ChaCha8Rng) -> usize {
    let length = bytes.len();
    // Headers and the extra PVs have more structure than the counts between them.
    let (begin, end) = match random.random_range(0..3) {
        0 => (0, length),
        1 => (0, length.min(12_000)),
        _ => (length - length.min(60_000), length),
    };
    let at = random.random_range(begin..end - 8);
    match random.random_range(0..5) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => {
            for _ in 0..random.random_range(2..20) {
                let at = random.random_range(begin..end);
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
        2 => {
            let telling =
                [-1, 0, 1, 2, 3, 0x7f, 0xffff, 0x0100_0000, 0x4000_0000, i32::MAX, i32::MIN];
            let value = match random.random_range(0..=telling.len()) {
                k if k < telling.len() => telling[k],
                _ => random.random_range(0..length as i32),
            };
            bytes[at / 4 * 4..][..4].copy_from_slice(&value.to_be_bytes());
        }
        3 => {
            let n = random.random_range(1..=(end - at).min(400));
            let to = random.random_range(begin..=end - n);
            bytes.copy_within(at..at + n, to);
        }
        _ => return at,
    }
    length
}

/// Mutates a file; gives how many mutations were errors.
fn fuzz(name: &str, original: &[u8], seeds: std::ops::Range<u64>) -> u64 {
    read(original).unwrap_or_else(|error| panic!("{name}, undamaged: {error}"));
    let errors = seeds
        .into_par_iter()
        .map_init(
            || original.to_vec(),
            |bytes, seed| {
                let length = damage(bytes, &mut ChaCha8Rng::seed_from_u64(seed));
                let started = Instant::now();
                let outcome = std::panic::catch_unwind(|| read(&bytes[..length]));
                let took = started.elapsed();
                bytes.copy_from_slice(original);
                let outcome = outcome.unwrap_or_else(|_| panic!("{name}: panic with seed {seed}"));
                assert!(
                    took < Duration::from_secs(5),
                    "{name}: {took:?} with seed {seed}, expected less than 5 s"
                );
                if let Err(message) = &outcome {
                    assert!(
                        message.starts_with("damaged.mda: "),
                        "{name}, seed {seed}: no file in {message:?}"
                    );
                }
                u64::from(outcome.is_err())
            },
        )
        .sum();
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(
        largest <= LARGEST_RESERVATION,
        "{name}: {largest} bytes reserved at once, expected at most {LARGEST_RESERVATION}"
    );
    errors
}

#[test]
fn a_hundred_thousand_damaged_files_are_errors_or_scans() {
    let mut files = vec![
        ("step scan".to_owned(), step_scan(5)),
        ("stopped step scan".to_owned(), step_scan(2)),
        ("fly scan".to_owned(), two_dimensions(6, &SCALERS)),
        ("line of spectra".to_owned(), two_dimensions(1000, &["mca1.VAL"])),
    ];
    for name in ["2xfm_0010", "2xfm_0011"] {
        if let Some(path) = shared(&format!("data/aps_2ide/mda/{name}.mda")) {
            files.push((name.to_owned(), std::fs::read(path).unwrap()));
        }
    }
    let started = Instant::now();
    let share = MUTATIONS.div_ceil(files.len() as u64);
    for (index, (name, bytes)) in files.iter().enumerate() {
        let first = index as u64 * share;
        let errors = fuzz(name, bytes, first..first + share);
        println!(
            "{name}: {share} mutations, {errors} errors, {:?} since the start",
            started.elapsed()
        );
        assert!(errors > share / 20, "{name}: {errors} of {share} were errors, expected far more");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_lacks_only_extra_pvs() {
    let whole = step_scan(5);
    // Version, number, rank, three dimensions and a flag stand before the place of the extra PVs.
    let extra = u32::from_be_bytes(whole[28..32].try_into().unwrap()) as usize;
    for length in 4..whole.len() {
        let outcome = read(&whole[..length]);
        assert!(
            outcome.is_err() || length >= extra,
            "a file of {length} of {} bytes was read",
            whole.len()
        );
    }
}

#[test]
fn a_stopped_scan_has_the_rows_that_were_recorded() {
    for last in 0..=5_i32 {
        let bytes = step_scan(last);
        let Ok(Some(Scan::Step(scan))) = Scan::read(Path::new("stopped.mda"), Cursor::new(bytes))
        else {
            panic!("a scan stopped after {last} rows cannot be read");
        };
        assert_eq!(scan.info().rows, last.max(1) as usize, "rows of a scan stopped after {last}");
        assert_eq!(scan.info().cols, 3, "columns");
        assert_eq!(scan.metadata().requested_rows, 5, "rows asked for");
        assert_eq!(scan.info().notes.is_empty(), last == 5, "notes {:?}", scan.info().notes);
        assert_eq!(scan.metadata().extra_pvs[1].value, "AB", "a character array");
    }
}

#[test]
fn a_line_of_spectra_is_a_map_one_row_high() {
    let bytes = two_dimensions(1000, &["mca1.VAL"]);
    let Ok(Some(Scan::Step(mut scan))) = Scan::read(Path::new("line.mda"), Cursor::new(bytes))
    else {
        panic!("a line of spectra cannot be read");
    };
    let info = scan.info().clone();
    assert_eq!([info.rows, info.cols, info.channels], [1, 5, 1000], "rows, columns, channels");
    assert_eq!(scan.axes().unwrap().x[[0, 4]], 4.0, "x of the last pixel");
    assert_eq!(scan.spectra(0, 4..5).unwrap()[[0, 98]], 1.0, "a count of the last pixel");
}
