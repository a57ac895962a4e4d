//! Promise: the first pass finds the energy calibration of a scan from an element list and the incident
//! energy alone, from gains 20 % off, whether or not the list is complete, and says what the list lacks. Without a list
//! it proposes one, and says what speaks for each of its elements.

mod common;

use std::path::Path;
use std::process::{Command, Output};

/// What the simulated scans are made with, and the real ones are fitted with: the override file's elements.
const ALL: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";
const FEW: &str = "Si,S,Ca,Fe";

fn xrfit(folder: &Path, arguments: &[&str]) -> Output {
    let output =
        Command::new(env!("CARGO_BIN_EXE_xrfit")).args(arguments).current_dir(folder).output();
    let output = output.expect("the program starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {message}");
    output
}

/// Offset, gain and curvature that the first pass finds from a configured gain; and what it said.
fn calibrated(
    folder: &Path,
    scan: &str,
    elements: &str,
    slope: f64,
    detector: &str,
) -> (Vec<f64>, String) {
    calibrated_from(
        folder,
        scan,
        elements,
        &format!("parameters.ENERGY_SLOPE = {slope}\n"),
        detector,
    )
}

/// The same from a configuration.
fn calibrated_from(
    folder: &Path,
    scan: &str,
    elements: &str,
    start: &str,
    detector: &str,
) -> (Vec<f64>, String) {
    std::fs::write(folder.join("start.toml"), start).unwrap();
    let output = xrfit(
        folder,
        &[
            "calibrate",
            scan,
            "--config",
            "start.toml",
            "--elements",
            elements,
            "--incident-kev",
            "10",
            "--detector",
            detector,
            "-o",
            "fit.toml",
            "--overwrite",
        ],
    );
    let text = std::fs::read_to_string(folder.join("fit.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let value = |name: &str| table["parameters"][name]["value"].as_float().unwrap();
    let values = ["ENERGY_OFFSET", "ENERGY_SLOPE", "ENERGY_QUADRATIC"].map(value).to_vec();
    (values, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn simulated() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    xrfit(
        folder.path(),
        &["simulate", "-o", "scan.h5", "--rows", "9", "--cols", "11", "--seed", "7"],
    );
    folder
}

fn energy(values: &[f64], channel: f64) -> f64 {
    values[0] + channel * (values[1] + channel * values[2])
}

/// The simulated calibration: energies of channel 105 and 1050 \[keV\].
const TRUE_KEV: [f64; 2] = [-0.004 + 105.0 * 0.00952, -0.004 + 1050.0 * 0.00952];

fn assert_calibrated(values: &[f64], what: &str) {
    for (channel, kev) in [105.0, 1050.0].into_iter().zip(TRUE_KEV) {
        let found = energy(values, channel);
        assert!(
            (found - kev).abs() < 0.02,
            "{what}: channel {channel} at {found:.3} keV, truth {kev:.3}, allowed 0.020"
        );
    }
}

#[test]
fn a_gain_twenty_per_cent_off_is_found() {
    let folder = simulated();
    for slope in [0.00762, 0.0092, 0.01, 0.0114] {
        let (values, _) = calibrated(folder.path(), "scan.h5", ALL, slope, "0");
        assert_calibrated(&values, &format!("from {slope} keV/channel"));
    }
}

#[test]
fn an_offset_far_off_is_found() {
    let folder = simulated();
    for offset in [-0.15, 0.15] {
        let start =
            format!("parameters.ENERGY_SLOPE = 0.0098\nparameters.ENERGY_OFFSET = {offset}\n");
        let (values, _) = calibrated_from(folder.path(), "scan.h5", ALL, &start, "0");
        assert_calibrated(&values, &format!("from an offset of {offset} keV"));
    }
}

#[test]
fn what_is_fixed_or_bounded_stays_so() {
    let folder = simulated();
    let start = "[fit]\nfirst_pass_free = [\"ENERGY_SLOPE\"]\n[parameters]\nENERGY_OFFSET = 0.02\n\
                 ENERGY_SLOPE = { value = 0.0102, min = 0.0101 }\n";
    let (values, _) = calibrated_from(folder.path(), "scan.h5", ALL, start, "0");
    assert_eq!(values[0], 0.02, "the offset is fixed");
    assert!(values[1] >= 0.0101, "slope {}, bounded by 0.0101", values[1]);
}

#[test]
fn an_incomplete_list_does_not_mislead_it_and_the_user_hears_what_is_missing() {
    let folder = simulated();
    let (values, said) = calibrated(folder.path(), "scan.h5", FEW, 0.0105, "0");
    assert_calibrated(&values, FEW);
    let warning =
        said.lines().find(|l| l.contains("strong peaks")).unwrap_or_else(|| panic!("{said}"));
    for name in ["Ar", "Cu"] {
        assert!(warning.contains(name), "{name} is not named: {warning}");
    }
    let (_, said) = calibrated(folder.path(), "scan.h5", ALL, 0.0105, "0");
    assert!(!said.contains("strong peaks"), "a warning about a complete list: {said}");
}

#[test]
fn one_start_is_the_configured_values_alone() {
    let folder = simulated();
    let output = xrfit(
        folder.path(),
        &["calibrate", "scan.h5", "--elements", ALL, "--incident-kev", "10", "--starts", "1"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("from start 1 of 1"), "{said}");
}

#[test]
fn the_real_detectors_are_found_from_either_side() {
    let Some(scans) = common::shared("data/aps_2ide/mda") else { return };
    let folder = tempfile::tempdir().unwrap();
    let elements = format!("{ALL},La_L");
    for (scan, detector) in [("axo_std", "0"), ("2xfm_0010", "2"), ("2xfm_0011", "3")] {
        let path = std::fs::canonicalize(scans.join(format!("{scan}.mda"))).unwrap();
        let path = path.to_str().unwrap();
        let ends: Vec<Vec<f64>> = [(0.008, &*elements), (0.0115, &*elements), (0.01, FEW)]
            .into_iter()
            .map(|(slope, elements)| calibrated(folder.path(), path, elements, slope, detector).0)
            .map(|v| [300.0, 1040.0].map(|channel| energy(&v, channel)).to_vec())
            .collect();
        // an incomplete list may cost half a peak's width where only scatter says what the energy is
        for (other, what, allowed) in
            [(&ends[1], "from the other side", 0.02), (&ends[2], FEW, 0.1)]
        {
            for (a, b) in ends[0].iter().zip(other) {
                assert!(
                    (a - b).abs() < allowed,
                    "{scan} {detector}, {what}: {b:.3} keV against {a:.3}, allowed {allowed}"
                );
            }
        }
    }
}

/// The elements that the first pass proposes for detector 0, and what it wrote.
fn proposed(folder: &Path, scan: &str) -> (Vec<String>, String) {
    let arguments = ["--elements", "auto", "--incident-kev", "10", "--detector", "0"];
    let arguments = [&["calibrate", scan], &arguments[..], &["-o", "auto.toml", "--overwrite"]];
    let output = xrfit(folder, &arguments.concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("misfit without it"), "no evidence: {said}");
    let text = std::fs::read_to_string(folder.join("auto.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let names = table["elements"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    (names.map(String::from).collect(), text)
}

#[test]
fn what_a_simulated_scan_shows_is_proposed_with_its_evidence() {
    let folder = simulated();
    let (names, text) = proposed(folder.path(), "scan.h5");
    let all: Vec<&str> = ALL.split(',').collect();
    for strong in ["Si", "Ar", "K", "Ca", "Ti", "Fe", "Cu", "Zn"] {
        assert!(names.iter().any(|n| n == strong), "{strong} is not among {names:?}");
    }
    let wrong: Vec<&String> = names.iter().filter(|n| !all.contains(&n.as_str())).collect();
    assert!(wrong.len() <= 1, "{wrong:?} are not in the scan, allowed 1");
    for name in &names {
        let row = text.lines().find(|line| line.starts_with(&format!("# {name} ")));
        assert!(row.is_some(), "no evidence of {name} in {text}");
    }
}

#[test]
fn what_a_real_scan_shows_is_proposed() {
    let Some(scans) = common::shared("data/aps_2ide/mda") else { return };
    let folder = tempfile::tempdir().unwrap();
    for scan in ["axo_std", "2xfm_0010", "2xfm_0011"] {
        let path = std::fs::canonicalize(scans.join(format!("{scan}.mda"))).unwrap();
        let (names, _) = proposed(folder.path(), path.to_str().unwrap());
        for strong in ["Ar", "Ca", "Fe", "Cu", "La_L"] {
            assert!(names.iter().any(|n| n == strong), "{scan}: {strong} is not among {names:?}");
        }
        // what the beam does not excite is refused
        let list = names.join(",");
        xrfit(folder.path(), &["check", "--elements", &list, "--incident-kev", "10"]);
    }
}
