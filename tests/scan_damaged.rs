//! Promise: a file that is no scan, lacks something or contradicts itself is an error that names the file and
//! the cause; damaged HDF5 metadata never makes this program panic or reserve memory without end.
//!
//! What libhdf5 itself does not survive (a signal, no end) is counted and listed, in child processes.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::shared;
use ndarray::{Array2, Array3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use xrfit::scan::{self, OpenOptions};

const LOCKED: OpenOptions = OpenOptions { file_locking: true };

/// Damaged files tried, and how long libhdf5 may think about one.
const DAMAGED: u64 = 1200;
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Address space of a child \[KiB\].
const MEMORY_LIMIT: u32 = 4 << 20;

/// Opens a file and reads all of it; the message when that fails.
fn read(path: &Path) -> Result<(), String> {
    let mut scan = scan::open(path, LOCKED).map_err(|error| error.to_string())?;
    let pixels = scan.info().pixels().min(1000);
    for detector in 0..scan.info().detectors {
        scan.spectra(detector, 0..pixels).map_err(|error| error.to_string())?;
        scan.times(detector).map_err(|error| error.to_string())?;
    }
    scan.scalers().map_err(|error| error.to_string())?;
    scan.axes().map_err(|error| error.to_string())?;
    Ok(())
}

fn assert_says(path: &Path, words: &[&str]) {
    let Err(message) = read(path) else { panic!("{} was read, expected an error", path.display()) };
    let name = path.display().to_string();
    for word in [name.as_str()].iter().chain(words) {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn hdf5(&self, name: &str, fill: impl FnOnce(&hdf5::File) -> hdf5::Result<()>) -> PathBuf {
        let path = self.0.path().join(name);
        let file = hdf5::File::create(&path).unwrap();
        fill(&file).unwrap();
        file.close().unwrap();
        path
    }
}

fn spectra(shape: [usize; 3]) -> Array3<u16> {
    Array3::from_shape_fn(shape, |(channel, row, col)| (channel + row + col) as u16)
}

fn put<T: hdf5::H5Type, D: ndarray::Dimension>(
    file: &hdf5::File,
    name: &str,
    values: &ndarray::Array<T, D>,
) -> hdf5::Result<()> {
    file.new_dataset_builder().with_data(values).create(name).map(drop)
}

#[test]
fn what_is_no_scan_is_said_to_be_none() {
    let folder = Folder::new();
    let tried = ["no known scan format", "EPICS MDA", "MAPS_RAW", "analysed MAPS"];
    assert_says(&folder.file("notes.mda", b"not a scan at all"), &tried);
    assert_says(&folder.file("empty.h5", b""), &tried);
    assert_says(&folder.hdf5("other.h5", |file| file.create_group("entry").map(drop)), &["/entry"]);
    assert_says(&folder.0.path().join("absent.mda"), &["cannot be opened"]);
    assert_says(folder.0.path(), &["is a folder"]);
    assert_says(&folder.file("cut.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0"), &["HDF5 cannot open it"]);
}

#[test]
fn a_name_does_not_decide_the_format() {
    let folder = Folder::new();
    let path = folder.hdf5("scan.mda", |file| put(file, "MAPS_RAW/data_a", &spectra([7, 3, 5])));
    assert_eq!(read(&path), Ok(()), "a MAPS_RAW file named .mda");
}

#[test]
fn missing_and_misshapen_parts_are_named() {
    let folder = Folder::new();
    let with = |name: &str, part: &str, values: &Array3<f32>| {
        folder.hdf5(name, |file| {
            put(file, "MAPS_RAW/data_a", &spectra([7, 3, 5]))?;
            put(file, part, values)
        })
    };
    let times = Array3::<f32>::ones([1, 5, 3]);
    assert_says(
        &with("times.h5", "MAPS_RAW/livetime", &times),
        &["livetime", "[1, 5, 3]", "[1, 3, 5]"],
    );
    let other = Array3::<f32>::ones([7, 3, 4]);
    assert_says(
        &with("detectors.h5", "MAPS_RAW/data_b", &other),
        &["data_b", "[7, 3, 4]", "[7, 3, 5]"],
    );

    let empty = folder.hdf5("empty.h5", |file| file.create_group("MAPS_RAW").map(drop));
    assert_says(&empty, &["/MAPS_RAW/data_a is missing"]);
    let flat =
        folder.hdf5("flat.h5", |file| put(file, "MAPS_RAW/data_a", &Array2::<u16>::ones([7, 3])));
    assert_says(&flat, &["2 dimensions", "[channel, row, col]"]);
    let nothing =
        folder.hdf5("nothing.h5", |file| put(file, "MAPS_RAW/data_a", &spectra([7, 0, 5])));
    assert_says(&nothing, &["0 x 5 pixels"]);
    let group = folder.hdf5("group.h5", |file| file.create_group("MAPS_RAW/data_a").map(drop));
    assert_says(&group, &["/MAPS_RAW/data_a cannot be opened"]);
    let flags = folder.hdf5("flags.h5", |file| {
        put(file, "MAPS_RAW/data_a", &Array3::<bool>::from_elem([7, 3, 5], true))
    });
    assert_says(&flags, &["no plain numbers"]);

    let maps = folder.hdf5("maps.h5", |file| file.create_group("MAPS/XRF_Analyzed").map(drop));
    assert_says(&maps, &["without spectra", "/MAPS/Spectra/mca_arr"]);
    let link = folder.hdf5("link.h5", |file| {
        let group = file.create_group("MAPS/Spectra")?;
        group.link_external("gone.h5", "/MAPS_RAW/data_a", "mca_arr")
    });
    assert_says(&link, &["/MAPS/Spectra/mca_arr cannot be opened"]);
    let names = hdf5::types::FixedAscii::<9>::from_ascii("US_IC").unwrap();
    let scalers = folder.hdf5("scalers.h5", |file| {
        put(file, "MAPS/Spectra/mca_arr", &spectra([7, 3, 5]))?;
        file.new_dataset_builder().with_data(&[names]).create("MAPS/Scalers/Names").map(drop)
    });
    assert_says(&scalers, &["/MAPS/Scalers/Values is missing"]);
}

#[test]
fn a_fly_scan_without_its_spectra_says_where_they_are_looked_for() {
    let Some(path) = shared("data/aps_2ide/mda/2xfm_0011.mda") else { return };
    let folder = Folder::new();
    let alone = folder.file("2xfm_0011.mda", &fs::read(path).unwrap());
    assert_says(&alone, &["flyXRF.h5/2xfm_0011_*_0.h5"]);
}

#[test]
fn spectra_whose_bytes_are_damaged_are_an_error_not_numbers() {
    let folder = Folder::new();
    let path = folder.hdf5("scan.h5", |file| {
        let builder = file.new_dataset_builder().chunk([64, 3, 5]).shuffle().deflate(6);
        builder.with_data(&spectra([64, 3, 5])).create("MAPS_RAW/data_a").map(drop)
    });
    let mut bytes = fs::read(&path).unwrap();
    // The two bytes a deflated chunk begins with at level 6.
    let at = bytes.windows(2).rposition(|window| window == [0x78, 0x5e] || window == [0x78, 0x9c]);
    let at = at.expect("a deflated chunk");
    bytes[at + 9..at + 25].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert_says(&path, &["/MAPS_RAW/data_a cannot be read"]);
}

/// A scan with everything that is read, small so that most of it is metadata.
fn complete(folder: &Folder) -> [PathBuf; 2] {
    let map = Array2::<f32>::ones([3, 5]);
    let raw = folder.hdf5("raw.h5", |file| {
        let builder = file.new_dataset_builder().chunk([7, 1, 5]).shuffle().deflate(1);
        builder.with_data(&spectra([7, 3, 5])).create("MAPS_RAW/data_a")?;
        put(file, "MAPS_RAW/data_b", &spectra([7, 3, 5]))?;
        put(file, "MAPS_RAW/livetime", &Array3::<f32>::ones([2, 3, 5]))?;
        put(file, "MAPS_RAW/x_axis", &map)
    });
    let analysed = folder.hdf5("analysed.h5", |file| {
        let builder = file.new_dataset_builder().chunk([7, 1, 1]).deflate(7);
        builder.with_data(&spectra([7, 3, 5])).create("MAPS/Spectra/mca_arr")?;
        put(file, "MAPS/Spectra/Elapsed_Livetime", &map)?;
        let name = hdf5::types::FixedAscii::<9>::from_ascii("US_IC").unwrap();
        file.new_dataset_builder().with_data(&[name]).create("MAPS/Scalers/Names")?;
        put(file, "MAPS/Scalers/Values", &Array3::<f32>::ones([1, 3, 5]))?;
        let text: hdf5::types::VarLenUnicode = "OCT 28, 2015".parse().unwrap();
        file.new_dataset_builder().with_data(&[text]).create("MAPS/Scan/scan_time_stamp").map(drop)
    });
    [raw, analysed]
}

/// The damage of a seed: some flipped bits, or a cut end.
fn damage(bytes: &mut Vec<u8>, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    if random.random_range(0..10) == 0 {
        bytes.truncate(random.random_range(0..bytes.len()));
        return;
    }
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
    }
}

/// In a child: reads damaged files, seed after seed, and notes which one it is at.
fn read_damaged(folder: &Path) {
    let first: u64 = fs::read_to_string(folder.join("seed")).unwrap().parse().unwrap();
    let originals = ["raw.h5", "analysed.h5"].map(|name| fs::read(folder.join(name)).unwrap());
    for seed in first..DAMAGED {
        fs::write(folder.join("seed"), seed.to_string()).unwrap();
        let mut bytes = originals[(seed % 2) as usize].clone();
        damage(&mut bytes, seed);
        // A name of its own: libhdf5 may keep what it could not close.
        let path = folder.join(format!("damaged-{seed}.h5"));
        fs::write(&path, bytes).unwrap();
        if let Err(message) = read(&path) {
            assert!(message.contains(&path.display().to_string()), "no file in: {message}");
        }
        fs::remove_file(&path).unwrap();
    }
}

/// Runs the child from a seed on, until it ends or stays at one seed for too long; `None` for the latter.
fn child(folder: &Path) -> (Option<ExitStatus>, String) {
    let log = fs::File::create(folder.join("log")).unwrap();
    let shell =
        format!("ulimit -c 0; ulimit -v {MEMORY_LIMIT}; exec \"$0\" --exact \"$1\" --nocapture");
    let mut child = Command::new("sh")
        .args(["-c", &shell])
        .arg(std::env::current_exe().unwrap())
        .arg("damaged_hdf5_metadata_is_an_error_or_a_scan")
        .env("XRFIT_TEST_DAMAGED", folder)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let (mut seed, mut since) = (String::new(), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        let now = fs::read_to_string(folder.join("seed")).unwrap();
        if now != seed {
            (seed, since) = (now, Instant::now());
        } else if since.elapsed() > TIME_LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    (status, fs::read_to_string(folder.join("log")).unwrap())
}

#[test]
fn damaged_hdf5_metadata_is_an_error_or_a_scan() {
    if let Some(folder) = std::env::var_os("XRFIT_TEST_DAMAGED") {
        return read_damaged(Path::new(&folder));
    }
    let folder = Folder::new();
    complete(&folder).iter().for_each(|path| assert_eq!(read(path), Ok(()), "undamaged"));
    let seed_file = folder.file("seed", b"0");
    let mut lost = Vec::new();
    loop {
        let (status, log) = child(folder.0.path());
        if status.is_some_and(|status| status.success()) {
            break;
        }
        let seed: u64 = fs::read_to_string(&seed_file).unwrap().parse().unwrap();
        assert!(
            status.is_none_or(|status| status.code().is_none()),
            "panic with seed {seed}: {log}"
        );
        assert!(!log.contains("memory allocation of"), "seed {seed} reserved without end: {log}");
        lost.push(
            status
                .map_or(format!("seed {seed}: no end"), |status| format!("seed {seed}: {status}")),
        );
        fs::write(&seed_file, (seed + 1).to_string()).unwrap();
    }
    println!("{DAMAGED} damaged HDF5 files; libhdf5 did not survive {}: {lost:?}", lost.len());
    assert!(lost.len() < DAMAGED as usize / 10, "libhdf5 survives most damage: {lost:?}");
}
