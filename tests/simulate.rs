//! Promise: a simulated scan is what it says. The same seed gives the same spectra, whatever the threads and the tiles;
//! its truth is complete; its counts are Poisson's; its times tell its dead time; its detectors differ as their
//! truth says, and so do its lines from those that fits know; and the program reads it.

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::{Array1, Array2, Array3, Axis, s};
use program::{XRFIT, map, succeed};
use xrfit::scan::{self, OpenOptions};

const CHANNELS: usize = 2048;
/// Everything that a simulated scan is made of, but scatter.
const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";
/// keV: of channel 0, and from channel to channel, about.
const AXIS: [f64; 2] = [-0.004, 0.00952];

fn simulate(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let scan = folder.join(name);
    succeed(Command::new(XRFIT).arg("simulate").args(arguments).arg("-o").arg(&scan));
    scan
}

fn read<T: hdf5::H5Type, D: ndarray::Dimension>(file: &Path, name: &str) -> ndarray::Array<T, D> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let data = file.dataset(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    data.read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn attribute(file: &Path, group: &str, name: &str) -> f64 {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let group = file.group(group).unwrap_or_else(|error| panic!("{group}: {error}"));
    group.attr(name).and_then(|a| a.read_scalar()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn spectra(scan: &Path, letter: char) -> Array3<u16> {
    read(scan, &format!("MAPS_RAW/data_{letter}"))
}

#[test]
fn a_seed_gives_the_same_spectra_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = |name, seed, threads| {
        let scan = folder.path().join(name);
        let mut command = Command::new(XRFIT);
        command.args(["simulate", "--rows", "7", "--cols", "11", "--detectors", "2"]);
        command.args(["--model-error", "0.05", "--seed", seed, "-o"]).arg(&scan);
        succeed(command.env("RAYON_NUM_THREADS", threads));
        [spectra(&scan, 'a'), spectra(&scan, 'b')]
    };
    let first = made("first.h5", "5", "1");
    assert!(first == made("second.h5", "5", "3"), "seed 5 on 1 and on 3 threads");
    assert!(first != made("third.h5", "6", "3"), "seeds 5 and 6");
}

#[test]
fn a_pixel_does_not_depend_on_its_tile() {
    let folder = tempfile::tempdir().expect("a folder");
    // a row is one tile, a column becomes several
    let row = simulate(folder.path(), "row.h5", &["--rows", "1", "--cols", "1201"]);
    let column = simulate(folder.path(), "column.h5", &["--rows", "1201", "--cols", "1"]);
    for name in ["ENERGY_OFFSET", "FWHM_SCALE"] {
        let drift = |scan| -> Vec<f64> {
            let values: Array2<f64> = read(scan, &format!("truth/parameters/{name}"));
            values.into_iter().collect()
        };
        assert_eq!(drift(&row), drift(&column), "{name} by pixel, in one tile and in three");
    }
    // above the incident energy there is the continuum alone, the same at any place
    let above = 1300;
    let noise = |scan| -> Vec<u16> {
        let counts = spectra(scan, 'a');
        counts.slice(s![above.., .., ..]).iter().copied().collect()
    };
    // the first pixels' random numbers are used up by other counts below, so the sums alone are alike
    let sum = |counts: Vec<u16>| counts.into_iter().map(f64::from).sum::<f64>();
    let (one, three) = (sum(noise(&row)), sum(noise(&column)));
    let allowed = 5.0 * (one + three).sqrt();
    assert!((one - three).abs() < allowed, "{one} and {three} counts, allowed {allowed:.0} apart");
}

#[test]
fn the_truth_is_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, groups) in [(1, vec!["truth"]), (2, vec!["truth/detector0", "truth/detector1"])] {
        let detectors = n.to_string();
        let arguments = ["--rows", "5", "--cols", "7", "--channels", "509", "--detectors"];
        let arguments = [&arguments[..], &[&detectors, "--model-error", "0.03"]].concat();
        let scan = simulate(folder.path(), &format!("{n}.h5"), &arguments);
        let file = hdf5::File::open(&scan).expect("a scan opens");
        let shape = |name: &str| {
            file.dataset(name).unwrap_or_else(|error| panic!("{name}: {error}")).shape()
        };
        let k = shape("truth/names")[0];
        assert!(k > 10, "{k} components");
        for (group, letter) in groups.iter().zip(['a', 'b']) {
            assert_eq!(shape(&format!("MAPS_RAW/data_{letter}")), [509, 5, 7]);
            assert_eq!(shape(&format!("{group}/amplitudes")), [k, 5, 7]);
            assert_eq!(shape(&format!("{group}/background")), [509]);
            assert_eq!(shape(&format!("{group}/status")), [5, 7]);
            for name in ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_SCALE"] {
                assert_eq!(shape(&format!("{group}/parameters/{name}")), [5, 7]);
            }
        }
        assert_eq!(shape("MAPS_RAW/livetime"), [n, 5, 7]);
        assert_eq!(attribute(&scan, "truth", "model_error"), 0.03);
        assert_eq!(attribute(&scan, groups[0], "solid_angle"), 1.0);
    }
}

/// Mean, and variance over the mean.
fn dispersion(counts: &[f64]) -> (f64, f64) {
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let variance = counts.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance / mean)
}

#[test]
fn counts_are_those_of_poisson() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), "scan.h5", &["--rows", "31", "--cols", "37"]);
    let counts = spectra(&scan, 'a');
    let status: Array2<u8> = read(&scan, "truth/status");
    let between = |first: usize, last: usize| -> Vec<f64> {
        let sums = counts.slice(s![first..=last, .., ..]).mapv(f64::from).sum_axis(Axis(0));
        sums.iter().zip(&status).filter(|&(_, &code)| code == 0).map(|(&sum, _)| sum).collect()
    };
    let channel = |kev: f64| ((kev - AXIS[0]) / AXIS[1]).round() as usize;
    let n = between(0, 0).len() as f64;
    let allowed = 5.0 * (2.0 / n).sqrt();
    // symmetric about the line of silicon, which is everywhere: drift moves no counts in or out
    for (what, first, last) in
        [("silicon", channel(1.60), channel(1.88)), ("continuum", channel(12.0), CHANNELS - 1)]
    {
        let (mean, spread) = dispersion(&between(first, last));
        assert!(
            (spread - 1.0).abs() < allowed,
            "{what}: {mean:.1} counts, variance over mean {spread:.3}, allowed 1 +- {allowed:.3}"
        );
    }
    let continuum: Array1<f64> = read(&scan, "truth/background");
    let first = channel(12.0);
    let expected = continuum.slice(s![first..]).sum();
    let (mean, _) = dispersion(&between(first, CHANNELS - 1));
    let allowed = 5.0 * (expected / n).sqrt();
    assert!(
        (mean - expected).abs() < allowed,
        "continuum: {mean:.3} counts of {expected:.3}, allowed {allowed:.3} off"
    );
}

#[test]
fn times_tell_the_dead_time() {
    let folder = tempfile::tempdir().expect("a folder");
    // the most counts would be dead all the time in half a second
    for counts in ["3000", "400000"] {
        let arguments = ["--rows", "5", "--cols", "7", "--counts", counts];
        let scan = simulate(folder.path(), &format!("{counts}.h5"), &arguments);
        let sums = spectra(&scan, 'a').mapv(f64::from).sum_axis(Axis(0));
        let mut reader =
            scan::open(&scan, OpenOptions { file_locking: true }).expect("a scan opens");
        let times = reader.times(0).expect("a scan has times");
        let known = |map: Option<Array2<f32>>| map.expect("a scan has all times").mapv(f64::from);
        let (live, real) = (known(times.live), known(times.real));
        let (input, output) = (known(times.input_rate), known(times.output_rate));
        for (at, &live) in live.indexed_iter() {
            let expected = real[at] - 2e-6 * sums[at];
            assert!(live > 0.0 && live < real[at], "{at:?}: live for {live} s of {} s", real[at]);
            for (what, value) in
                [("recorded", live), ("by its rates", real[at] * output[at] / input[at])]
            {
                assert!(
                    (value - expected).abs() < 1e-6 * expected,
                    "{at:?}: live time {what} {value} s, of {expected} s"
                );
            }
            let counted = output[at] * real[at];
            assert!((counted / sums[at] - 1.0).abs() < 1e-6, "{at:?}: {counted} of {}", sums[at]);
        }
    }
}

#[test]
fn detectors_differ_as_their_truth_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let size = ["--rows", "9", "--cols", "11", "--seed", "2", "--counts", "20000"];
    let one = simulate(folder.path(), "one.h5", &size);
    let scan = simulate(folder.path(), "two.h5", &[&size[..], &["--detectors", "2"]].concat());
    assert!(spectra(&one, 'a') == spectra(&scan, 'a'), "the first of two is the only one of one");
    let angle = attribute(&scan, "truth/detector1", "solid_angle");
    assert!(angle != 1.0 && (angle - 1.0).abs() <= 0.2, "solid angle {angle}");
    let made = |d| -> Array3<f32> { read(&scan, &format!("truth/detector{d}/amplitudes")) };
    for (&first, &second) in made(0).iter().zip(&made(1)) {
        let expected = f64::from(first) * angle;
        assert!((f64::from(second) - expected).abs() <= 1e-6 * expected, "{second} of {expected}");
    }
    let mean = |d, name| {
        let values: Array2<f64> = read(&scan, &format!("truth/detector{d}/parameters/{name}"));
        values.mean().expect("there are pixels")
    };
    for (name, most) in [("ENERGY_SLOPE", 0.005), ("FWHM_OFFSET", 0.06)] {
        let apart = mean(1, name) / mean(0, name) - 1.0;
        assert!(apart != 0.0 && apart.abs() <= most, "{name}: {apart:.5} apart, allowed {most}");
    }

    let inspect = succeed(Command::new(XRFIT).arg("inspect").arg(&scan));
    let said = String::from_utf8_lossy(&inspect.stdout).into_owned();
    assert!(
        said.contains("OUT.h50 to OUT.h51") && said.contains("a link to these spectra"),
        "{said}"
    );
    assert!(said.contains("2 detectors") && said.contains("9 rows x 11 columns"), "{said}");
    let maps = folder.path().join("maps.h5");
    succeed(map(&scan, &maps).args(["--detector", "each"]));
    let fitted = |d: usize| -> f64 {
        let file = maps.with_file_name(format!("maps.h5{d}"));
        let counts: Array3<f32> = read(&file, "MAPS/XRF_Analyzed/NNLS/xrfit/Counts");
        // Fe of Si, Ca, Fe, Zn
        f64::from(counts.index_axis(Axis(0), 2).iter().filter(|y| y.is_finite()).sum::<f32>())
    };
    let ratio = fitted(1) / fitted(0);
    assert!(
        (ratio / angle - 1.0).abs() < 0.05,
        "Fe of the second over the first {ratio:.3}, solid angles {angle:.3}"
    );
}

#[test]
fn lines_with_errors_fit_worse() {
    let folder = tempfile::tempdir().expect("a folder");
    let objective = |error: &str| -> f64 {
        let arguments = ["--rows", "5", "--cols", "7", "--counts", "50000", "--model-error", error];
        let scan = simulate(folder.path(), &format!("scan{error}.h5"), &arguments);
        let maps = folder.path().join(format!("maps{error}.h5"));
        let mut map = Command::new(XRFIT);
        map.arg("map").arg(&scan).arg("-o").arg(&maps).args(["--optimizer", "nnls"]);
        succeed(map.args(["--elements", ELEMENTS, "--incident-kev", "10"]));
        let values: Array2<f32> = read(&maps, "MAPS/XRF_Analyzed/NNLS/xrfit/Objective");
        values.iter().filter(|y| y.is_finite()).map(|&y| f64::from(y)).sum()
    };
    let (right, wrong) = (objective("0"), objective("0.5"));
    println!("objective with errors of lines over that without: {:.2}", wrong / right);
    assert!(wrong > right, "objective {wrong:.4e} with errors of lines, {right:.4e} without");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        ["--detectors", "0"],
        ["--detectors", "27"],
        ["--model-error", "NaN"],
        ["--model-error", "1.5"],
        ["--rows", "0"],
        ["--counts", "inf"],
    ] {
        let scan = folder.path().join("scan.h5");
        let mut command = Command::new(XRFIT);
        command.arg("simulate").args(arguments).arg("-o").arg(&scan).stdin(Stdio::null());
        let output = command.output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1), "exit code of {arguments:?}");
        assert!(!scan.exists(), "{arguments:?} left a scan");
    }
}

#[test]
fn several_counts_are_bands_of_rows_with_a_truth_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let size = ["--rows", "11", "--cols", "30"];
    let levels = simulate(
        folder.path(),
        "levels.h5",
        &[&size[..], &["--flat", "--counts", "300,6000"]].concat(),
    );
    assert_eq!(read::<f64, ndarray::Ix1>(&levels, "truth/levels").to_vec(), [300.0, 6000.0]);
    let level: Array2<u32> = read(&levels, "truth/level");
    let amplitudes: Array3<f32> = read(&levels, "truth/amplitudes");
    let background: Array2<f64> = read(&levels, "truth/background");
    assert_eq!(background.dim(), (2, CHANNELS));
    let counts = spectra(&levels, 'a').mapv(f64::from).sum_axis(Axis(0));
    for (index, (rows, mean)) in [(0..6, 300.0), (6..11, 6000.0)].into_iter().enumerate() {
        assert!(level.slice(s![rows.clone(), ..]).iter().all(|&l| l as usize == index), "{level}");
        let band = counts.slice(s![rows.clone(), ..]);
        let (found, n) = (band.mean().expect("pixels"), band.len() as f64);
        // lines outside the spectrum's channels and one empty pixel take a little
        let allowed = 5.0 * (mean / n).sqrt() + 0.02 * mean;
        assert!(
            (found - mean).abs() < allowed,
            "{found:.1} counts of {mean}, allowed {allowed:.1} off"
        );
        let true_counts = amplitudes.slice(s![.., rows, ..]);
        let first = true_counts.slice(s![.., 0, 0]);
        let alike = true_counts.indexed_iter().all(|((k, _, _), a)| *a == first[k]);
        assert!(alike, "flat: every pixel of level {index} has the same amplitudes");
    }
    let ratio = &background.row(1) / &background.row(0);
    assert!(ratio.iter().all(|r| (r - 20.0).abs() < 1e-9), "the background follows the counts");
    let one =
        simulate(folder.path(), "one.h5", &[&size[..], &["--flat", "--counts", "300"]].concat());
    let alone = spectra(&one, 'a');
    let band = spectra(&levels, 'a');
    assert!(
        alone.slice(s![.., ..6, ..]) == band.slice(s![.., ..6, ..]),
        "a band is a part of its own scan"
    );
    let shapes: Array1<f64> = read(&one, "truth/shapes");
    let names: Array1<hdf5::types::VarLenUnicode> = read(&one, "truth/shape_names");
    let slope = names.iter().position(|n| n.as_str() == "ENERGY_SLOPE").expect("a slope");
    assert_eq!((shapes.len(), shapes[slope]), (names.len(), AXIS[1]));
}
