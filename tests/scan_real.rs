//! Promise: the real scans of APS 2-ID-E are read as they were recorded: dimensions, counts, times, rates,
//! scalers and positions, from the raw files and from XRF-Maps' analysed files alike.

mod common;

use common::shared;
use ndarray::{Array2, Axis, s};
use xrfit::scan::{self, Detector, OpenOptions, ScanReader};

const LOCKED: OpenOptions = OpenOptions { file_locking: true };

fn open(path: &str) -> Option<Box<dyn ScanReader>> {
    let path = shared(path)?;
    Some(scan::open(&path, LOCKED).unwrap_or_else(|error| panic!("{error}")))
}

fn whole(scan: &mut dyn ScanReader, detector: usize) -> Array2<f32> {
    let pixels = scan.info().pixels();
    scan.spectra(detector, 0..pixels).unwrap_or_else(|error| panic!("{error}"))
}

fn totals(scan: &mut dyn ScanReader) -> Vec<f64> {
    (0..scan.info().detectors).map(|d| whole(scan, d).iter().map(|&n| f64::from(n)).sum()).collect()
}

#[test]
fn step_scans_have_the_counts_that_were_recorded() {
    for (name, expected) in [
        ("2xfm_0010", [107_119.0, 103_092.0, 52_321.0, 54_638.0]),
        ("axo_std", [895_788.0, 844_397.0, 593_359.0, 696_070.0]),
    ] {
        let Some(mut scan) = open(&format!("data/aps_2ide/mda/{name}.mda")) else { return };
        let info = scan.info().clone();
        let shape = [info.rows, info.cols, info.channels, info.detectors];
        assert_eq!(shape, [11, 11, 2000, 4], "{name}: rows, columns, channels, detectors");
        assert_eq!(totals(scan.as_mut()), expected, "{name}: counts by detector");
        assert_eq!(scan.metadata().extra_pvs.len(), 843, "{name}: extra PVs");
        assert!(info.notes.is_empty(), "{name}: notes {:?}", info.notes);
    }
}

#[test]
fn the_fly_scan_has_the_dimensions_of_its_spectra_not_of_its_mda_file() {
    let Some(mut scan) = open("data/aps_2ide/mda/2xfm_0011.mda") else { return };
    let info = scan.info().clone();
    let shape = [info.rows, info.cols, info.channels, info.detectors];
    assert_eq!(shape, [11, 9, 2048, 4], "rows, columns, channels, detectors");
    assert_eq!(totals(scan.as_mut())[0], 100_311.0, "counts of detector 0");
    assert_eq!(info.saturation, Some(32767.0), "largest count of int16");
    assert_eq!(
        (scan.metadata().requested_rows, scan.metadata().requested_cols),
        (11, 11),
        "asked for"
    );
    assert_eq!(info.spectra_links[2].1, "/MAPS_RAW/data_c", "dataset of detector 2");

    let real = scan.times(0).unwrap().real.expect("real time");
    let (first, others) = (real.column(0).mean().unwrap(), real.slice(s![.., 1..]).mean().unwrap());
    let ratio = first / others;
    assert!(
        (2.3..2.5).contains(&ratio),
        "dwell of column 0 over the others: {ratio}, expected 2.4"
    );
}

#[test]
fn counts_of_a_fly_scan_become_rates() {
    let Some(mut scan) = open("data/aps_2ide/mda/2xfm_0011.mda") else { return };
    let times = scan.times(0).unwrap();
    for (what, actual, expected) in [
        ("live [s]", times.live, 1.202_742_3),
        ("real [s]", times.real, 1.204_149_5),
        ("input rate [1/s]", times.input_rate, 2078.0 / 1.202_742_3),
        ("output rate [1/s]", times.output_rate, 2059.0 / 1.204_149_5),
    ] {
        let actual = actual.unwrap_or_else(|| panic!("{what} is missing"))[[0, 0]];
        assert!((actual / expected - 1.0).abs() < 1e-6, "{what}: {actual}, expected {expected}");
    }
}

#[test]
fn a_fly_scan_opens_without_its_mda_file_too() {
    let Some(mut fly) = open("data/aps_2ide/flyXRF.h5/2xfm_0011_2xfm3__0.h5") else { return };
    let Some(mut mda) = open("data/aps_2ide/mda/2xfm_0011.mda") else { return };
    for detector in 0..4 {
        assert_eq!(
            whole(fly.as_mut(), detector),
            whole(mda.as_mut(), detector),
            "detector {detector}"
        );
    }
    assert_eq!(fly.axes().unwrap().x[[3, 7]], 7.0, "x without positions counts columns");
}

#[test]
fn times_of_a_step_scan_are_those_that_were_recorded() {
    let Some(mut scan) = open("data/aps_2ide/mda/2xfm_0010.mda") else { return };
    let times = scan.times(0).unwrap();
    for (what, actual, expected) in [
        ("live [s]", times.live, 0.369_972_17),
        ("real [s]", times.real, 0.503_358_07),
        ("input rate [1/s]", times.input_rate, 1_779.897),
        ("output rate [1/s]", times.output_rate, 1_752.231_7),
    ] {
        let actual = actual.unwrap_or_else(|| panic!("{what} is missing"))[[0, 0]];
        assert_eq!(actual, expected, "{what} of row 0, column 0");
    }
}

#[test]
fn y_is_right_in_every_row() {
    for (name, step) in
        [("mda/2xfm_0010.mda", 0.05), ("mda/2xfm_0011.mda", 0.05), ("mda/axo_std.mda", 0.1)]
    {
        let Some(mut scan) = open(&format!("data/aps_2ide/{name}")) else { return };
        let axes = scan.axes().unwrap();
        for ((row, col), y) in axes.y.indexed_iter() {
            let expected = axes.y[[0, 0]] + row as f32 * step;
            assert!(
                (y - expected).abs() < 1e-4,
                "{name}: y of row {row}, column {col}: {y}, not {expected}"
            );
        }
        assert_eq!(axes.y_unit, "mm", "{name}: unit of y");
    }
}

#[test]
fn analysed_files_hold_the_spectra_of_the_scan_they_were_made_from() {
    for name in ["2xfm_0010", "axo_std"] {
        let Some(mut raw) = open(&format!("data/aps_2ide/mda/{name}.mda")) else { return };
        let Some(mut analysed) = open(&format!("data/xrfmaps_out/{name}.mda.h50")) else { return };
        let (raw, padded) = (whole(raw.as_mut(), 0), whole(analysed.as_mut(), 0));
        assert_eq!(padded.dim(), (121, 2048), "{name}: pixels, channels");
        assert_eq!(padded.slice(s![.., ..2000]), raw, "{name}: the recorded channels");
        assert_eq!(padded.slice(s![.., 2000..]).sum(), 0.0, "{name}: counts in the padding");
    }
}

#[test]
fn analysed_files_hold_the_scalers_and_positions_of_the_scan() {
    for name in ["2xfm_0010", "2xfm_0011", "axo_std"] {
        let Some(mut raw) = open(&format!("data/aps_2ide/mda/{name}.mda")) else { return };
        let Some(mut analysed) = open(&format!("data/xrfmaps_out/{name}.mda.h50")) else { return };
        let (ours, theirs) = (raw.scalers().unwrap(), analysed.scalers().unwrap());
        let mut compared = 0;
        for (index, scaler) in ours.names.iter().enumerate() {
            let Some(other) = theirs.names.iter().position(|n| n == scaler) else { continue };
            compared += 1;
            let cols = raw.info().cols;
            let (ours, theirs) = (
                ours.values.index_axis(Axis(0), index),
                theirs.values.slice(s![other, .., ..cols]),
            );
            for ((at, actual), expected) in ours.indexed_iter().zip(&theirs) {
                let same = (actual - expected).abs() <= 1e-5 * expected.abs()
                    || actual.is_nan() && expected.is_nan();
                assert!(same, "{name}: {scaler} at {at:?}: {actual}, XRF-Maps has {expected}");
            }
        }
        assert!(compared >= 50, "{name}: {compared} scalers in common, expected most of 63");
        for expected in ["US_IC", "DS_IC", "CFG_1"] {
            assert!(
                ours.names.iter().any(|n| n == expected),
                "{name}: no {expected} in {:?}",
                ours.names
            );
        }
        let (ours, theirs) = (raw.axes().unwrap(), analysed.axes().unwrap());
        let cols = raw.info().cols;
        assert_eq!(ours.x, theirs.x.slice(s![.., ..cols]), "{name}: x");
        assert_eq!(
            ours.y,
            theirs.y.slice(s![.., ..cols]),
            "{name}: y, with its first row repaired"
        );
    }
}

#[test]
fn an_analysed_file_keeps_what_was_recorded_once() {
    let Some(raw) = open("data/aps_2ide/mda/2xfm_0010.mda") else { return };
    let Some(analysed) = open("data/xrfmaps_out/2xfm_0010.mda.h50") else { return };
    assert_eq!(analysed.metadata().name, raw.metadata().name, "scan name");
    assert_eq!(analysed.metadata().time_stamp, raw.metadata().time_stamp, "time stamp");
    let (ours, theirs) = (&raw.metadata().extra_pvs, &analysed.metadata().extra_pvs);
    assert_eq!(ours.len(), theirs.len(), "extra PVs");
    let known = |name: &str| theirs.iter().any(|pv| pv.name.trim() == name.trim());
    // XRF-Maps stores these under their MAPS names.
    let renamed = |name: &str| {
        ["sens_num.VAL", "sens_unit.VAL", ".ELTM", ".ERTM"].iter().any(|end| name.ends_with(end))
    };
    for pv in ours {
        assert!(
            known(&pv.name) || renamed(&pv.name),
            "extra PV {} is not in the analysed file",
            pv.name
        );
    }
    let energy = analysed.info().incident_kev.expect("the energy of the analysis");
    assert!((energy - 10.033_549).abs() < 1e-5, "incident energy {energy} keV, expected 10.0335");
}

#[test]
fn the_sum_of_detectors_adds_channels_and_rates_and_averages_times() {
    let Some(mut scan) = open("data/aps_2ide/mda/axo_std.mda") else { return };
    let sum = scan::spectra_of(scan.as_mut(), Detector::Sum, 3..10).unwrap();
    let mut expected = Array2::<f32>::zeros((7, 2000));
    let mut live = 0.0;
    for detector in 0..4 {
        expected += &scan::spectra_of(scan.as_mut(), Detector::One(detector), 3..10).unwrap();
        live += scan.times(detector).unwrap().live.unwrap()[[1, 4]] / 4.0;
    }
    assert_eq!(sum, expected, "channels");
    let times = scan::times_of(scan.as_mut(), Detector::Sum).unwrap();
    let actual = times.live.unwrap()[[1, 4]];
    assert!((actual - live).abs() < 1e-6, "live time {actual} s, expected {live} s");
    let rate = times.output_rate.unwrap()[[0, 0]];
    assert!(rate > 20_000.0, "output rate {rate}/s, expected the sum of four");
}

#[test]
fn tiles_of_any_size_hold_what_the_whole_scan_holds() {
    for path in [
        "data/aps_2ide/mda/2xfm_0010.mda",
        "data/aps_2ide/mda/2xfm_0011.mda",
        "data/xrfmaps_out/axo_std.mda.h50",
    ] {
        let Some(mut scan) = open(path) else { return };
        let expected = whole(scan.as_mut(), 0);
        let pixels = scan.info().pixels();
        for tile in [1, 7, 13, 50, pixels] {
            for first in (0..pixels).step_by(tile) {
                let range = first..pixels.min(first + tile);
                let actual = scan.spectra(0, range.clone()).unwrap();
                assert!(
                    actual == expected.slice(s![range.clone(), ..]),
                    "{path}: pixels {range:?} differ"
                );
            }
        }
    }
}

#[test]
fn inspect_says_what_is_there_and_what_is_missing() {
    let cases: [(&str, &[&str]); 3] = [
        (
            "data/aps_2ide/mda/2xfm_0010.mda",
            &["EPICS MDA", "107119 counts", "11 rows x 11 columns", "US_IC"],
        ),
        (
            "data/aps_2ide/mda/2xfm_0011.mda",
            &["100311 counts", "int16", "deflate", "11 x 11 were asked for"],
        ),
        (
            "data/xrfmaps_out/2xfm_0010.mda.h50",
            &["version 10", "NNLS", "Fitted", "COHERENT_SCT_ENERGY"],
        ),
    ];
    for (path, expected) in cases {
        let Some(path) = shared(path) else { return };
        let text = scan::inspect(&path, LOCKED).unwrap_or_else(|error| panic!("{error}"));
        for word in expected {
            assert!(text.contains(word), "no {word:?} in\n{text}");
        }
    }
}
