//! Promise: the three real scans are mapped end to end, all four detectors, from an element list and the
//! incident energy alone; the map files name every file that was read.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use hdf5::types::VarLenUnicode;

const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn,La_L";

/// The family of map files of a scan: one for each detector.
fn mapped(scan: &Path, folder: &Path) -> Vec<hdf5::File> {
    let output = folder.join("maps.h5");
    let run = Command::new(env!("CARGO_BIN_EXE_xrfit"))
        .arg("map")
        .arg(scan)
        .args(["--elements", ELEMENTS, "--incident-kev", "10", "-o"])
        .arg(&output)
        .output()
        .expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let opened = |name: String| hdf5::File::open(folder.join(name)).expect("a map file opens");
    assert!(output.exists(), "the sum of the detectors");
    (0..4).map(|i| opened(format!("maps.h5{i}"))).collect()
}

fn scans() -> Option<PathBuf> {
    common::shared("data/aps_2ide/mda")
}

fn map(file: &hdf5::File, name: &str) -> Vec<f32> {
    let path = format!("MAPS/XRF_Analyzed/Fitted/xrfit/{name}");
    file.dataset(&path).unwrap_or_else(|e| panic!("{path}: {e}")).read_raw().expect("as f32")
}

fn text(file: &hdf5::File, name: &str) -> Vec<String> {
    let path = format!("MAPS/XRF_Analyzed/Fitted/xrfit/Provenance/{name}");
    let data = file.dataset(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let texts: Vec<VarLenUnicode> = data.read_raw().expect("texts");
    texts.iter().map(ToString::to_string).collect()
}

fn checksum(file: &Path) -> String {
    let said = Command::new("sha256sum").arg(file).output().expect("sha256sum starts");
    String::from_utf8_lossy(&said.stdout).split_whitespace().next().expect("a sum").to_string()
}

fn median(mut values: Vec<f32>) -> f32 {
    values.retain(|v| v.is_finite());
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}

/// Every pixel has a fit, and most of them a good one.
fn expect_fitted(scan: &str, detector: usize, file: &hdf5::File, shape: [usize; 2]) {
    let status = file.dataset("MAPS/XRF_Analyzed/Fitted/xrfit/Status").expect("a status");
    assert_eq!(status.shape(), shape, "{scan} detector {detector}: rows and columns");
    let status: Vec<u8> = status.read_raw().expect("codes");
    assert!(status.iter().all(|&s| s < 2), "{scan} detector {detector}: {status:?}");
    let fitted = median(map(file, "R_Squared"));
    // detectors 2 and 3 count a third of what 0 and 1 do
    assert!(fitted > 0.7, "{scan} detector {detector}: median R² {fitted}, at least 0.7");
}

#[test]
fn every_detector_of_the_step_scans_is_mapped() {
    let Some(scans) = scans() else { return };
    for scan in ["axo_std.mda", "2xfm_0010.mda"] {
        let folder = tempfile::tempdir().unwrap();
        for (detector, file) in mapped(&scans.join(scan), folder.path()).iter().enumerate() {
            expect_fitted(scan, detector, file, [11, 11]);
        }
    }
}

/// 11 rows of 9 columns, as its own fly-scan file says (XRF-Maps takes other dimensions and corrupts it).
#[test]
fn every_detector_of_the_fly_scan_is_mapped() {
    let Some(scans) = scans() else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = mapped(&scans.join("2xfm_0011.mda"), folder.path());
    for (detector, file) in files.iter().enumerate() {
        expect_fitted("2xfm_0011.mda", detector, file, [11, 9]);
        let read = [scans.join("2xfm_0011.mda"), scans.join("../flyXRF.h5/2xfm_0011_2xfm3__0.h5")];
        let sums = read.map(|file| checksum(&file));
        assert_eq!(text(file, "inputs_sha256"), sums, "detector {detector}: files of the scan");
        assert_eq!(text(file, "inputs").len(), 2, "detector {detector}: names of the files");
    }
    let counts: f64 = map(&files[0], "Total_Counts").iter().map(|&y| f64::from(y)).sum();
    assert!((counts - 100_311.0).abs() < 0.5, "detector 0: {counts} counts, expected 100311");
}
