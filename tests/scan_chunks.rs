//! Promise: however a HDF5 file stores its spectra (chunks of any shape, compressed or not, any number type,
//! any byte order), every tile reads the same counts; and a filter that is not there is named.

use std::path::{Path, PathBuf};

use hdf5::H5Type;
use ndarray::{Array2, Array3, Axis, s};
use tempfile::TempDir;
use xrfit::scan::{self, OpenOptions, ScanReader};

const LOCKED: OpenOptions = OpenOptions { file_locking: true };

/// Channels, rows and columns of the test scans: odd, and no multiple of any chunk.
const SHAPE: [usize; 3] = [37, 11, 13];

/// A count that is another one in each place, and fits into a byte.
fn count([channel, row, col]: [usize; 3]) -> u8 {
    ((channel * 31 + row * 17 + col * 7) % 127) as u8
}

/// Spectra as they should be read, `[pixel, channel]`.
fn expected() -> Array2<f32> {
    let cols = SHAPE[2];
    Array2::from_shape_fn((SHAPE[1] * cols, SHAPE[0]), |(pixel, channel)| {
        f32::from(count([channel, pixel / cols, pixel % cols]))
    })
}

struct Storage {
    name: &'static str,
    chunk: Option<[usize; 3]>,
    filters: fn(hdf5::dataset::DatasetBuilder) -> hdf5::dataset::DatasetBuilder,
}

fn storages() -> Vec<Storage> {
    let plain: fn(_) -> _ = |builder| builder;
    let mut storages = vec![Storage { name: "contiguous", chunk: None, filters: plain }];
    let chunks =
        [[37, 1, 13], [37, 1, 1], [8, 4, 5], [1, 11, 13], [37, 11, 13], [16, 3, 13], [5, 2, 1]];
    for chunk in chunks {
        let chunk = Some(chunk);
        storages.push(Storage { name: "chunked", chunk, filters: plain });
        storages.push(Storage { name: "deflate", chunk, filters: |b| b.deflate(4) });
        storages.push(Storage {
            name: "shuffle + deflate",
            chunk,
            filters: |b| b.shuffle().deflate(1),
        });
        storages.push(Storage { name: "shuffle", chunk, filters: |b| b.shuffle() });
        storages.push(Storage {
            name: "fletcher32",
            chunk,
            filters: |b| b.deflate(1).fletcher32(),
        });
    }
    storages
}

fn write<T: H5Type + From<u8>>(folder: &Path, storage: &Storage) -> PathBuf {
    let path = folder.join("scan.h5");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("MAPS_RAW").unwrap();
    let counts = Array3::from_shape_fn(SHAPE, |(c, r, x)| T::from(count([c, r, x])));
    let builder = group.new_dataset_builder();
    let builder = match storage.chunk {
        Some(chunk) => (storage.filters)(builder).chunk(chunk),
        None => builder,
    };
    builder.with_data(&counts).create("data_a").unwrap();
    path
}

fn open(path: &Path) -> Box<dyn ScanReader> {
    scan::open(path, LOCKED).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a scan in tiles of several sizes and compares.
fn check(path: &Path, what: &str) {
    let expected = expected();
    let pixels = SHAPE[1] * SHAPE[2];
    for tile in [1, 5, 13, 31, 64, pixels] {
        let mut scan = open(path);
        for first in (0..pixels).step_by(tile) {
            let range = first..pixels.min(first + tile);
            let actual =
                scan.spectra(0, range.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let expected = expected.slice(s![range.clone(), ..]);
            for ((pixel, channel), count) in actual.indexed_iter() {
                let right = expected[[pixel, channel]];
                let pixel = range.start + pixel;
                assert!(
                    *count == right,
                    "{what}: pixel {pixel}, channel {channel}: {count}, expected {right}"
                );
            }
        }
    }
}

#[test]
fn every_storage_holds_the_same_counts() {
    let folder = TempDir::new().unwrap();
    for storage in storages() {
        let what = format!("{} {:?}", storage.name, storage.chunk);
        check(&write::<i16>(folder.path(), &storage), &what);
    }
}

#[test]
fn every_number_type_holds_the_same_counts() {
    fn check_as<T: H5Type + From<u8>>(full: Option<f32>) {
        let folder = TempDir::new().unwrap();
        for storage in storages().into_iter().take(4) {
            let what = format!("{} {}", std::any::type_name::<T>(), storage.name);
            let path = write::<T>(folder.path(), &storage);
            check(&path, &what);
            assert_eq!(open(&path).info().saturation, full, "{what}: largest count");
        }
    }
    check_as::<u8>(Some(255.0));
    check_as::<i16>(Some(32767.0));
    check_as::<u16>(Some(65535.0));
    check_as::<i32>(None);
    check_as::<u32>(None);
    check_as::<u64>(None);
    check_as::<f32>(None);
    check_as::<f64>(None);
}

#[test]
fn negative_counts_stay_what_they_are() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scan.h5");
    let file = hdf5::File::create(&path).unwrap();
    let counts = Array3::from_shape_fn([3, 1, 5], |(c, _, x)| -((c * 5 + x) as i16));
    let group = file.create_group("MAPS_RAW").unwrap();
    group.new_dataset_builder().chunk([3, 1, 2]).with_data(&counts).create("data_a").unwrap();
    file.close().unwrap();
    let spectra = open(&path).spectra(0, 1..5).unwrap();
    assert_eq!(spectra[[3, 2]], -14.0, "the last count of the last pixel");
}

#[test]
fn chunks_that_were_never_written_are_zeros() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scan.h5");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("MAPS_RAW").unwrap();
    let dataset = group
        .new_dataset_builder()
        .chunk([9, 2, 3])
        .shuffle()
        .deflate(1)
        .empty::<u16>()
        .shape([17, 5, 7])
        .create("data_a")
        .unwrap();
    // An aborted scan: three of five rows.
    dataset.write_slice(&Array3::from_elem([17, 3, 7], 5_u16), s![.., ..3, ..]).unwrap();
    file.close().unwrap();
    let spectra = open(&path).spectra(0, 0..35).unwrap();
    assert_eq!(
        spectra.slice(s![..21, ..]).sum(),
        21.0 * 17.0 * 5.0,
        "counts of the rows that were written"
    );
    assert_eq!(spectra.slice(s![21.., ..]).sum(), 0.0, "counts of the rows that were not");
}

#[test]
fn detectors_have_their_own_counts_and_chunks() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scan.h5");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("MAPS_RAW").unwrap();
    for (detector, name) in ["data_a", "data_b", "data_c"].into_iter().enumerate() {
        let counts = Array3::from_shape_fn(SHAPE, |(c, r, x)| (100 * detector + c + r + x) as u32);
        let chunk = [37, 3 + detector, 13];
        group
            .new_dataset_builder()
            .chunk(chunk)
            .deflate(1)
            .with_data(&counts)
            .create(name)
            .unwrap();
    }
    file.close().unwrap();
    let mut scan = open(&path);
    for first in (0..143).step_by(11) {
        for detector in [2, 0, 1] {
            let spectra = scan.spectra(detector, first..first + 11).unwrap();
            let expected = (100 * detector + 36 + (first + 4) / 13 + (first + 4) % 13) as f32;
            let actual = spectra[[4, 36]];
            assert_eq!(actual, expected, "detector {detector}, pixel {}, channel 36", first + 4);
        }
    }
}

#[test]
fn a_missing_plugin_is_named_with_the_way_to_get_it() {
    let folder = TempDir::new().unwrap();
    let storage = Storage { name: "deflate", chunk: Some([37, 1, 13]), filters: |b| b.deflate(4) };
    let path = write::<u16>(folder.path(), &storage);
    // The filter's number in the dataset's header: 1, deflate, becomes one that nobody has here.
    let mut bytes = std::fs::read(&path).unwrap();
    let known = b"\x01\x00\x08\x00\x01\x00\x01\x00deflate\0";
    let at =
        bytes.windows(known.len()).position(|window| window == known).expect("the filter's entry");
    bytes[at..at + 2].copy_from_slice(&32015_u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    if std::env::var_os("HDF5_PLUGIN_PATH").is_some() {
        println!("skipped: HDF5_PLUGIN_PATH is set, so the plugin may be there");
        return;
    }
    let message = open(&path).spectra(0, 0..5).expect_err("there is no such plugin").to_string();
    for word in [
        "scan.h5",
        "/MAPS_RAW/data_a",
        "Zstandard",
        "32015",
        "pip install hdf5plugin",
        "HDF5_PLUGIN_PATH",
    ] {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
}

#[test]
fn axes_energy_and_times_of_a_simulated_scan_are_read() {
    let folder = TempDir::new().unwrap();
    let path = write::<u16>(folder.path(), &storages()[3]);
    let file = hdf5::File::open_rw(&path).unwrap();
    let [_, rows, cols] = SHAPE;
    let group = file.group("MAPS_RAW").unwrap();
    let map = |value: fn(usize, usize) -> f32| {
        Array2::from_shape_fn((rows, cols), |(row, col)| value(row, col))
    };
    let stack = |value: f32| Array3::from_elem((1, rows, cols), value);
    for (name, values) in
        [("y_axis", map(|row, _| row as f32 * 0.5)), ("x_axis", map(|_, col| col as f32 * 0.25))]
    {
        group.new_dataset_builder().with_data(&values).create(name).unwrap();
    }
    for (name, value) in
        [("livetime", 0.5), ("realtime", 0.8), ("inputcounts", 100.0), ("ouputcounts", 80.0)]
    {
        group.new_dataset_builder().with_data(&stack(value)).create(name).unwrap();
    }
    group.new_dataset::<f64>().create("incident_energy").unwrap().write_scalar(&12.5).unwrap();
    drop(group);
    file.close().unwrap();
    let mut scan = open(&path);
    assert_eq!(scan.info().incident_kev, Some(12.5), "incident energy [keV]");
    let axes = scan.axes().unwrap();
    assert_eq!((axes.y[[7, 3]], axes.x[[7, 3]]), (3.5, 0.75), "y and x of row 7, column 3");
    let times = scan.times(0).unwrap();
    assert_eq!(times.live.unwrap()[[2, 2]], 0.5, "live time [s]");
    assert_eq!(times.input_rate.unwrap()[[2, 2]], 200.0, "input rate [1/s]");
    assert_eq!(times.output_rate.unwrap()[[2, 2]], 100.0, "output rate [1/s]");
}

#[test]
fn version_9_files_are_read_with_their_flat_names_and_one_dimensional_axes() {
    use hdf5::types::FixedAscii;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scan.h51");
    let file = hdf5::File::create(&path).unwrap();
    let [_, rows, cols] = SHAPE;
    let group = file.create_group("MAPS").unwrap();
    let counts = Array3::from_shape_fn(SHAPE, |(c, r, x)| f32::from(count([c, r, x])));
    group
        .new_dataset_builder()
        .chunk([37, 1, 1])
        .deflate(7)
        .with_data(&counts)
        .create("mca_arr")
        .unwrap();
    let names =
        ["US_IC", "ELT1", "ELT2", "ICR2"].map(|name| FixedAscii::<50>::from_ascii(name).unwrap());
    group.new_dataset_builder().with_data(&names).create("scaler_names").unwrap();
    let values =
        Array3::from_shape_fn((4, rows, cols), |(k, r, x)| (k * 1000 + r * cols + x) as f32);
    group.new_dataset_builder().with_data(&values).create("scalers").unwrap();
    let (y, x): (Vec<f32>, Vec<f32>) = (
        (0..rows).map(|row| row as f32 / 2.0).collect(),
        (0..cols).map(|col| -(col as f32)).collect(),
    );
    group.new_dataset_builder().with_data(&y).create("y_axis").unwrap();
    group.new_dataset_builder().with_data(&x).create("x_axis").unwrap();
    drop(group);
    file.close().unwrap();

    check(&path, "version 9");
    let mut scan = open(&path);
    assert!(scan.info().format.contains("version 9"), "format {}", scan.info().format);
    let axes = scan.axes().unwrap();
    assert_eq!((axes.y[[5, 2]], axes.x[[5, 2]]), (2.5, -2.0), "y and x of row 5, column 2");
    let times = scan.times(0).unwrap();
    // `.h51` is the second detector.
    assert_eq!(times.live.unwrap()[[1, 1]], 2014.0, "live time from ELT2");
    assert_eq!(times.input_rate.unwrap()[[1, 1]], 3014.0, "input rate from ICR2");
    assert!(times.real.is_none(), "a real time that nobody recorded");
    let scalers = scan.scalers().unwrap();
    assert_eq!(scalers.names, ["US_IC", "ELT1", "ELT2", "ICR2"], "scaler names");
    assert_eq!(scalers.values.index_axis(Axis(0), 0)[[1, 1]], 14.0, "US_IC of row 1, column 1");
}
