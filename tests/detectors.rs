//! Promise: each detector of a scan has its own calibration and its own override file, however it is asked
//! for, and a bad pixel or a dead detector costs itself alone.

#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::process::{Command, Output};

use program::XRFIT;

const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(XRFIT);
    program.args(arguments).current_dir(folder);
    program.output().expect("the program starts")
}

fn xrfit(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// A scan whose first detector is a simulated one, and whose others are what `change` makes of it,
/// `[channel, row, col]`.
fn scan(folder: &Path, detectors: usize, change: impl Fn(usize, &mut ndarray::Array3<f64>)) {
    xrfit(
        folder,
        &["simulate", "-o", "one.h5", "--rows", "6", "--cols", "7", "--seed", "3", "--overwrite"],
    );
    let one = hdf5::File::open(folder.join("one.h5")).unwrap();
    let counts: ndarray::Array3<f64> = one.dataset("MAPS_RAW/data_a").unwrap().read().unwrap();
    let scan = hdf5::File::create(folder.join("scan.h5")).unwrap();
    let raw = scan.create_group("MAPS_RAW").unwrap();
    for detector in 0..detectors {
        let mut own = counts.clone();
        change(detector, &mut own);
        let name = format!("data_{}", ["a", "b", "c", "d"][detector]);
        raw.new_dataset_builder().with_data(&own).create(&*name).unwrap();
    }
}

fn map(file: &Path, name: &str) -> ndarray::Array2<f32> {
    let file = hdf5::File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    file.dataset(&format!("MAPS/XRF_Analyzed/Fitted/xrfit/{name}")).unwrap().read().unwrap()
}

fn value(folder: &Path, file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["parameters"][name]["value"].as_float().unwrap()
}

const FIT: [&str; 6] = ["--elements", ELEMENTS, "--incident-kev", "10", "--iterations", "50"];

#[test]
fn calibrations_of_several_detectors_are_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // the second detector's energy axis begins twenty channels later
    scan(folder, 2, |detector, counts| {
        if detector == 1 {
            let shifted = counts.slice(ndarray::s![..-20, .., ..]).to_owned();
            counts.fill(0.0);
            counts.slice_mut(ndarray::s![20.., .., ..]).assign(&shifted);
        }
    });
    xrfit(folder, &[&["calibrate", "scan.h5", "-o", "fit.toml"], &FIT[..4]].concat());
    let offsets = ["fit.toml0", "fit.toml1"].map(|file| value(folder, file, "ENERGY_OFFSET"));
    let shift = offsets[1] - offsets[0];
    assert!((shift + 20.0 * 0.00952).abs() < 0.02, "offsets {offsets:?} keV, 0.190 apart");
    xrfit(
        folder,
        &["map", "scan.h5", "--config", "fit.toml", "--iterations", "50", "-o", "maps.h5"],
    );
    for detector in 0..2 {
        let r = map(&folder.join(format!("maps.h5{detector}")), "R_Squared").mean().unwrap();
        assert!(r > 0.7, "detector {detector}: mean R² {r}");
    }
    xrfit(
        folder,
        &["map", "scan.h5", "--config", "fit.toml1", "--iterations", "50", "-o", "second.h5"],
    );
    assert_eq!(
        map(&folder.join("second.h5"), "R_Squared"),
        map(&folder.join("maps.h51"), "R_Squared"),
        "fit.toml1 is the second detector's"
    );
    assert!(!folder.join("second.h50").exists(), "its calibration is no other detector's");
    let said = xrfit(
        folder,
        &[
            "map",
            "scan.h5",
            "--config",
            "fit.toml",
            "--detector",
            "1",
            "--iterations",
            "50",
            "-o",
            "third.h5",
        ],
    );
    assert!(said.contains("third.h5"), "{said}");
    assert_eq!(
        map(&folder.join("third.h5"), "R_Squared"),
        map(&folder.join("maps.h51"), "R_Squared"),
        "--detector 1 takes fit.toml1"
    );
}

#[test]
fn gains_that_differ_are_named_before_channels_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scan(folder, 2, |_, _| ());
    std::fs::write(folder.join("fit.toml"), "parameters.ENERGY_SLOPE = 0.0096\n").unwrap();
    for (detector, slope) in [(0, 0.00952), (1, 0.0097)] {
        let config = format!("scan.detector = {detector}\nparameters.ENERGY_SLOPE = {slope}\n");
        std::fs::write(folder.join(format!("fit.toml{detector}")), config).unwrap();
    }
    let sum = [
        &["map", "scan.h5", "--config", "fit.toml", "--detector", "sum", "-o", "sum.h5"],
        &FIT[..],
    ];
    let said = xrfit(folder, &sum.concat());
    assert!(said.contains("differ by 1.9 %"), "{said}");
}

#[test]
fn a_dead_detector_is_all_empty_pixels_and_the_others_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scan(folder, 2, |detector, counts| {
        if detector == 1 {
            counts.fill(0.0);
        }
    });
    let said = xrfit(folder, &[&["map", "scan.h5", "-o", "maps.h5"], &FIT[..]].concat());
    assert!(said.contains("detector 1: there are no counts"), "{said}");
    assert!(map(&folder.join("maps.h51"), "R_Squared").iter().all(|r| r.is_nan()), "no fits");
    let fitted =
        map(&folder.join("maps.h50"), "R_Squared").iter().filter(|r| r.is_finite()).count();
    assert!(fitted >= 40, "detector 0: {fitted} fitted pixels of 42");
}

#[test]
fn one_wild_pixel_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for wild in [3e12, 1e20, -5.0, f64::NAN] {
        scan(folder, 2, |detector, counts| {
            if detector == 1 {
                counts[[400, 2, 3]] = wild;
            }
        });
        let arguments = [&["map", "scan.h5", "-o", "maps.h5", "--overwrite"], &FIT[..]].concat();
        let said = xrfit(folder, &arguments);
        assert!(said.contains("leaves out 1 of 42 pixels"), "{wild}: {said}");
        let [sound, other] =
            ["maps.h50", "maps.h51"].map(|file| map(&folder.join(file), "R_Squared"));
        let same =
            sound.indexed_iter().filter(|(place, _)| *place != (2, 3)).filter(|(place, r)| {
                let r2 = other[*place];
                (r.is_nan() && r2.is_nan()) || (*r - r2).abs() < 0.02
            });
        assert_eq!(same.count(), 41, "{wild}: pixels that do not notice");
    }
}

#[test]
fn an_element_stays_when_the_elastic_peak_moves_below_its_edge() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scan(folder, 1, |_, _| ());
    // zinc's edge is at 9.66 keV
    let config = "incident_kev = 10\n[parameters]\nENERGY_OFFSET = -0.004\nENERGY_SLOPE = 0.00952\n\
                  COHERENT_SCT_ENERGY = { value = 9.6, min = 9.0 }\n";
    std::fs::write(folder.join("fit.toml"), config).unwrap();
    xrfit(
        folder,
        &["map", "scan.h5", "--config", "fit.toml", "--elements", "Fe,Cu,Zn", "-o", "maps.h5"],
    );
    let file = hdf5::File::open(folder.join("maps.h5")).unwrap();
    let counts: ndarray::Array3<f32> =
        file.dataset("MAPS/XRF_Analyzed/Fitted/xrfit/Counts").unwrap().read().unwrap();
    let zinc: f32 = counts.index_axis(ndarray::Axis(0), 2).iter().filter(|y| y.is_finite()).sum();
    assert!(zinc > 100.0, "zinc: {zinc} counts in all pixels");
}

#[test]
fn override_files_that_are_numbered_alone_are_found_beside_the_scan() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scan(folder, 2, |_, _| ());
    let written = ["calibrate", "scan.h5", "--override-out", "maps_fit_parameters_override.txt"];
    xrfit(folder, &[&written[..], &FIT[..4]].concat());
    let said = xrfit(folder, &["map", "scan.h5", "--iterations", "50", "-o", "maps.h5"]);
    assert!(said.contains("override.txt1"), "{said}");
    assert!(folder.join("maps.h51").exists(), "the second detector's maps");
}
