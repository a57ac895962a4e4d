//! Promise: a map file is written whole or not at all, its text survives being ASCII, and detectors that were
//! fitted differently are not added as if they were not.

use std::ops::Range;
use std::path::Path;

use hdf5::types::FixedAscii;
use ndarray::{Array1, Array2, Array3, Axis};
use xrfit::error::{Error, Result};
use xrfit::maps::{self, Analysis, MapFile, Maps, Overwrite, Spectra, Summed};
use xrfit::scan::{Axes, Metadata, Scalers, Times};

const CHANNELS: usize = 2048;
/// More pixels than are copied at once.
const MAP: (usize, usize) = (65, 67);

/// What one detector gave: every amplitude, count and shape is `value`.
fn detector(value: f32) -> MapFile {
    let image = || Array2::from_elem(MAP, value);
    let stack = |n| Array3::from_elem((n, MAP.0, MAP.1), value);
    let spectrum = || Array1::from_elem(CHANNELS, f64::from(value));
    MapFile {
        analysis: Analysis::Fitted,
        maps: Maps {
            components: vec!["Ca".into(), "Fe".into()],
            amplitudes: stack(2),
            amplitude_sigma: stack(2),
            signed_amplitudes: stack(2),
            limits: [stack(0), stack(0)],
            parameters: vec![("ENERGY_OFFSET".into(), "keV".into())],
            parameter_values: stack(1),
            parameter_sigma: stack(1),
            objective: image(),
            r_squared: image(),
            r_squared_log: image(),
            deviance: image(),
            background_counts: image(),
            steps: Array2::zeros(MAP),
            status: Array2::zeros(MAP),
            total_counts: image(),
            live_time: Some(image()),
            added_rates: None,
        },
        objective_unit: "counts^2".into(),
        status_meanings: Vec::new(),
        summed: Summed {
            energy: spectrum(),
            calibration: [f64::from(value); 3],
            window: (0, CHANNELS),
            spectrum: spectrum(),
            fitted: spectrum(),
            background: spectrum(),
            fit_of_sum: spectrum(),
            background_of_sum: spectrum(),
            deviance_of_sum: f64::NAN,
        },
        parameters: Vec::new(),
        times: Times { real: Some(image()), input_rate: Some(image()), ..Times::default() },
        scalers: Scalers {
            names: vec!["stage".into()],
            units: vec!["\u{b5}m".into()],
            values: stack(1),
        },
        axes: Axes { y: image(), x: image(), y_unit: String::new(), x_unit: String::new() },
        metadata: Metadata::default(),
        provenance: maps::Provenance::default(),
    }
}

fn write(folder: &Path, spectra: Spectra<'_>) -> Result<()> {
    maps::create(&folder.join("maps.h5"), Overwrite::No)?.write(&detector(1.0), spectra)
}

#[test]
fn spectra_that_cannot_be_read_to_the_end_leave_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut read_so_far = 0;
    let mut read = |pixels: Range<usize>| {
        if pixels.end == MAP.0 * MAP.1 {
            return Err(Error::file("scan.h5", "broke off"));
        }
        read_so_far += pixels.len();
        Ok(Array2::ones((pixels.len(), CHANNELS)))
    };
    let failed = write(folder.path(), Spectra::Copy(&mut read));
    assert_eq!(failed.map_err(|e| e.to_string()), Err("scan.h5: broke off".into()));
    assert!(read_so_far > 0, "some spectra were copied before");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "files that are left");
}

#[test]
fn a_unit_with_mu_is_written_with_u() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), Spectra::None).unwrap_or_else(|e| panic!("{e}"));
    let file = hdf5::File::open(folder.path().join("maps.h5")).expect("a map file opens");
    let units = file.dataset("MAPS/Scalers/Units").expect("units");
    let units: Vec<FixedAscii<256>> = units.read_raw().expect("units");
    assert_eq!(units[0].as_str(), "um", "unit of the stage");
}

#[test]
fn a_sum_adds_counts_and_averages_clocks() {
    let sum = maps::sum(&[detector(1.0), detector(2.0), detector(6.0)]).expect("a sum");
    let at = [3, 5];
    assert_eq!(sum.maps.amplitudes[[1, 3, 5]], 9.0, "amplitude");
    assert_eq!(sum.maps.total_counts[at], 9.0, "counts");
    assert_eq!(sum.maps.parameter_values[[0, 3, 5]], 3.0, "shape");
    let sigma = sum.maps.amplitude_sigma[[1, 3, 5]];
    assert!((sigma - 41f32.sqrt()).abs() < 1e-5, "sigma of an amplitude is {sigma}, of 1, 2 and 6");
    assert_eq!(sum.times.real.expect("real time")[at], 3.0, "real time");
    assert_eq!(sum.times.input_rate.expect("input rate")[at], 9.0, "input rate");
    assert_eq!(sum.summed.spectrum[7], 9.0, "summed spectrum");
    assert_eq!(sum.summed.energy[7], 1.0, "energy, the first detector's");
}

/// A detector with its own live time: counts `[Ca, Fe]`, all counts, live time \[s\]; 1 s on the clock.
fn timed([ca, fe]: [f32; 2], total: f32, live: f32) -> MapFile {
    let mut file = detector(1.0);
    for (k, counts) in [ca, fe].into_iter().enumerate() {
        file.maps.amplitudes.index_axis_mut(Axis(0), k).fill(counts);
    }
    file.maps.total_counts.fill(total);
    file.maps.live_time = Some(Array2::from_elem(MAP, live));
    file.times.live = file.maps.live_time.clone();
    file.times.input_rate = Some(Array2::from_elem(MAP, 1000.0));
    file.times.output_rate = Some(Array2::from_elem(MAP, 1000.0 * live));
    file
}

/// Both elements come in other parts from the two detectors, so that no single time makes rates of both.
#[test]
fn the_rates_of_a_sum_are_those_of_the_detectors_added_and_its_times_agree() {
    let (a, b) = (timed([30.0, 80.0], 200.0, 0.5), timed([60.0, 20.0], 90.0, 0.9));
    let mut empty = a.clone();
    empty.maps.total_counts[[0, 0]] = 0.0;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("maps.h5");
    let mut other = b.clone();
    other.maps.total_counts[[0, 0]] = 0.0;
    let sum = maps::sum(&[empty, other]).expect("a sum");
    let written = maps::create(&path, Overwrite::No).and_then(|w| w.write(&sum, Spectra::None));
    written.unwrap_or_else(|e| panic!("{e}"));
    let file = hdf5::File::open(&path).expect("a map file opens");
    let near = |what: &str, actual: f32, expected: f32| {
        let error = (actual / expected - 1.0).abs();
        assert!(
            error < 1e-6,
            "{what}: {actual}, expected {expected}, off by {error}, allowed 1e-6"
        );
    };
    let rates = file.dataset("MAPS/XRF_Analyzed/Fitted/Counts_Per_Sec").expect("rates");
    let rates: Array3<f32> = rates.read().expect("numbers");
    near("Ca [1/s]", rates[[0, 3, 5]], 30.0 / 0.5 + 60.0 / 0.9);
    near("Fe [1/s]", rates[[1, 3, 5]], 80.0 / 0.5 + 20.0 / 0.9);
    let total = 200.0 / 0.5 + 90.0 / 0.9;
    let image = |name: &str| -> Array2<f32> {
        let data = file.dataset(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        data.read().expect("numbers")
    };
    let live = image("MAPS/Spectra/Elapsed_Livetime");
    near("live time [s]", live[[3, 5]], 290.0 / total);
    near("live time of a pixel without counts [s]", live[[0, 0]], 0.7);
    near("all counts [1/s]", rates[[4, 3, 5]], total);
    // what a reader makes of it
    let clock = image("MAPS/Spectra/Elapsed_Realtime");
    let corrected =
        clock * image("MAPS/Spectra/Output_Counts") / image("MAPS/Spectra/Input_Counts");
    near("live time, read again [s]", corrected[[3, 5]], 290.0 / total);
}

#[test]
fn detectors_that_were_fitted_differently_are_not_mixed() {
    let mut others = detector(2.0);
    others.maps.components[1] = "Zn".into();
    assert!(maps::sum(&[detector(1.0), others]).is_none(), "iron and zinc were added");
    let mut fixed = detector(2.0);
    fixed.maps.parameters.clear();
    fixed.maps.parameter_values = Array3::zeros((0, MAP.0, MAP.1));
    let sum = maps::sum(&[detector(1.0), fixed, detector(3.0)]).expect("a sum");
    assert_eq!(sum.maps.amplitudes[[0, 0, 0]], 6.0, "amplitude");
    assert_eq!(sum.maps.parameter_values.dim().0, 0, "shapes that only some detectors have");
}
