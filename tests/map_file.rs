//! Promise: programs that read MAPS files find in xrfit's what they look for: every path that uProbeX opens, and
//! every dataset that XRF-Maps writes, with its rank and class of type, but for a list of differences with
//! reasons; h5py and silx are led to the map of an element.

mod common;
#[path = "common/program.rs"]
mod program;
#[path = "common/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::shared;
use hdf5::types::TypeDescriptor;
use program::{XRFIT, map, map_by, simulate, succeed};

/// Rank and class of type of a dataset.
type Kind = (usize, &'static str);

fn kind(data: &hdf5::Dataset) -> Kind {
    let class = match data.dtype().and_then(|stored| stored.to_descriptor()) {
        Ok(TypeDescriptor::Float(_)) => "float",
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)) => "integer",
        Ok(TypeDescriptor::FixedAscii(_) | TypeDescriptor::FixedUnicode(_)) => "fixed string",
        Ok(TypeDescriptor::VarLenAscii | TypeDescriptor::VarLenUnicode) => "string",
        other => panic!("{}: {other:?}", data.name()),
    };
    (data.ndim(), class)
}

/// Every dataset below a group by its path, through links of all kinds.
fn datasets(group: &hdf5::Group, path: &str, found: &mut BTreeMap<String, Kind>) {
    for name in group.member_names().expect("a group lists its members") {
        let inner_path = format!("{path}/{name}");
        if let Ok(inner) = group.group(&name) {
            datasets(&inner, &inner_path, found);
        } else {
            let data = group.dataset(&name).unwrap_or_else(|e| panic!("{inner_path}: {e}"));
            found.insert(inner_path, kind(&data));
        }
    }
}

fn tree(file: &Path) -> BTreeMap<String, Kind> {
    let mut found = BTreeMap::new();
    datasets(&hdf5::File::open(file).expect("an HDF5 file opens"), "", &mut found);
    found
}

/// What uProbeX's MapsH5Model opens of version 10, by the group of the analysis where there is one. Without
/// the first nine it calls the file incomplete.
const UPROBEX: [(&str, Kind); 24] = [
    ("/MAPS/version", (1, "float")),
    ("/MAPS/Scalers/Values", (3, "float")),
    ("/MAPS/Scalers/Names", (1, "fixed string")),
    ("/MAPS/Spectra/Integrated_Spectra/Spectra", (1, "float")),
    ("/MAPS/Spectra/Integrated_Spectra/Elapsed_Livetime", (1, "float")),
    ("/MAPS/Spectra/Integrated_Spectra/Elapsed_Realtime", (1, "float")),
    ("/MAPS/Spectra/Integrated_Spectra/Input_Counts", (1, "float")),
    ("/MAPS/Spectra/Integrated_Spectra/Output_Counts", (1, "float")),
    ("/MAPS/XRF_Analyzed/{}/Counts_Per_Sec", (3, "float")),
    ("/MAPS/XRF_Analyzed/{}/Channel_Names", (1, "fixed string")),
    ("/MAPS/XRF_Analyzed/{}/Channel_Units", (1, "fixed string")),
    ("/MAPS/XRF_Analyzed/{}/Fitted_Integrated_Spectra", (1, "float")),
    ("/MAPS/XRF_Analyzed/{}/FIT_Integrated_Background", (1, "float")),
    ("/MAPS/Scalers/Units", (1, "fixed string")),
    ("/MAPS/Scan/x_axis", (2, "float")),
    ("/MAPS/Scan/y_axis", (2, "float")),
    ("/MAPS/Scan/scan_time_stamp", (1, "fixed string")),
    ("/MAPS/Scan/name", (1, "fixed string")),
    ("/MAPS/Spectra/mca_arr", (3, "float")),
    ("/MAPS/Spectra/Energy", (1, "float")),
    ("/MAPS/Spectra/Energy_Calibration", (1, "float")),
    ("/MAPS/Spectra/Elapsed_Livetime", (2, "float")),
    ("/MAPS/Fit_Parameters_Override/Fit_Parameters_Names", (1, "fixed string")),
    ("/MAPS/Fit_Parameters_Override/Fit_Parameters_Values", (2, "float")),
];

/// What MapsTorch's `read_dataset` opens.
const MAPSTORCH: [(&str, Kind); 3] = [
    ("/MAPS/int_spec", (1, "float")),
    ("/MAPS/mca_arr", (3, "float")),
    ("/MAPS/XRF_Analyzed/{}/Channel_Names", (1, "fixed string")),
];

/// Beginnings of paths that XRF-Maps writes and xrfit does not, and why.
const NOT_WRITTEN: [(&str, &str); 9] = [
    ("/MAPS/Quantification/Calibration/", "no standards are fitted; uProbeX opens a file without"),
    ("/MAPS/Quantification/Standard0/", "no standards are fitted"),
    ("/MAPS/Scalers/us_amp", "amplifier settings are not read"),
    ("/MAPS/Scalers/ds_amp", "amplifier settings are not read"),
    ("/MAPS/Scan/POLARITY_PATTERN", "for scans with switched polarisation, which are not read"),
    ("/MAPS/Spectra/Integrated_Spectra/Max_", "optional spectra of single pixels' maxima"),
    ("/MAPS/XRF_Analyzed/ROI/", "xrfit fits, it does not sum regions"),
    ("/MAPS/XRF_Analyzed/SVD/", "of the linear fits xrfit has the non-negative one"),
    ("/MAPS/Fit_Parameters_Override/Brancing_Ratios/", "empty groups in XRF-Maps's own files"),
];

fn expect(found: &BTreeMap<String, Kind>, expected: &[(&str, Kind)], analysis: &str) {
    for (path, kind) in expected {
        let path = path.replace("{}", analysis);
        assert_eq!(found.get(&path), Some(kind), "rank and type of {path}");
    }
}

#[test]
fn uprobex_and_mapstorch_find_what_they_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [5, 7]);
    let out = folder.path().join("maps.h5");
    succeed(map(&scan, &out).args(["--spectra", "copy"]));
    let found = tree(&out);
    expect(&found, &UPROBEX, "NNLS");
    expect(&found, &MAPSTORCH, "NNLS");
    succeed(map_by("adam", &scan, &out).args(["--overwrite", "--iterations", "3"]));
    expect(&tree(&out), &UPROBEX[..14], "Fitted");
    let file = hdf5::File::open(&out).expect("a map file opens");
    let shape = |path: &str| file.dataset(path).expect("a dataset").shape();
    let maps = shape("MAPS/XRF_Analyzed/Fitted/Counts_Per_Sec");
    assert_eq!(maps[1..], [5, 7], "rows and columns of the maps");
    assert_eq!(shape("MAPS/XRF_Analyzed/Fitted/Channel_Names"), maps[..1], "names of the maps");
    assert_eq!(shape("MAPS/Spectra/mca_arr")[1..], [5, 7], "rows and columns of linked spectra");
}

/// A scan that records nothing but counts: there are no times and no scalers.
#[test]
fn a_scan_without_times_gives_counts_and_an_empty_list_of_scalers() {
    let folder = tempfile::tempdir().expect("a folder");
    let simulated = hdf5::File::open(simulate(folder.path(), [3, 5])).expect("a scan opens");
    let counts = simulated.dataset("MAPS_RAW/data_a").expect("spectra");
    let counts: ndarray::Array3<u16> = counts.read().expect("counts");
    let scan = folder.path().join("counts.h5");
    let bare = hdf5::File::create(&scan).expect("a file");
    bare.new_dataset_builder().with_data(&counts).create("MAPS_RAW/data_a").expect("written");
    drop(bare);
    let out = folder.path().join("maps.h5");
    succeed(&mut map(&scan, &out));
    expect(&tree(&out), &UPROBEX[..14], "NNLS");
    let file = hdf5::File::open(&out).expect("a map file opens");
    let scalers = file.dataset("MAPS/Scalers/Values").expect("scalers").shape();
    assert_eq!(scalers, [0, 3, 5], "shape of the scalers");
    let units = file.dataset("MAPS/XRF_Analyzed/NNLS/Channel_Units").expect("units");
    let units: Vec<hdf5::types::FixedAscii<256>> = units.read_raw().expect("units");
    assert_eq!(units[0].as_str(), "counts", "unit without live time");
}

/// A rate that nothing is known about is no infinite one.
#[test]
fn a_pixel_without_live_time_is_nan() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [3, 5]);
    let file = hdf5::File::open_rw(&scan).expect("a scan opens");
    for name in ["livetime", "realtime"] {
        let data = file.dataset(&format!("MAPS_RAW/{name}")).expect("times");
        let mut times: ndarray::Array3<f64> = data.read().expect("times");
        times[[0, 1, 2]] = 0.0;
        data.write(&times).expect("times");
    }
    drop(file);
    let out = folder.path().join("maps.h5");
    succeed(&mut map(&scan, &out));
    let file = hdf5::File::open(&out).expect("a map file opens");
    let stack = file.dataset("MAPS/XRF_Analyzed/NNLS/Counts_Per_Sec").expect("maps");
    let stack: ndarray::Array3<f32> = stack.read().expect("maps");
    assert!(stack[[0, 1, 2]].is_nan(), "a rate without time: {}", stack[[0, 1, 2]]);
    let known = stack.iter().filter(|v| v.is_finite()).count();
    assert!(known > 100 && !stack.iter().any(|v| v.is_infinite()), "the others are numbers");
}

#[test]
fn everything_xrf_maps_writes_is_there_or_left_out_for_a_reason() {
    let Some(data) = shared("data") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (optimizer, analysis) in [("nnls", "NNLS"), ("adam", "Fitted")] {
        let out = folder.path().join(analysis);
        let mut command = Command::new(XRFIT);
        command.arg("map").arg(data.join("aps_2ide/mda/2xfm_0010.mda")).arg("-o").arg(&out);
        command.args(["--detector", "0", "--iterations", "3", "--optimizer", optimizer]);
        command.arg("--override");
        command.arg(data.join("aps_2ide/maps_fit_parameters_override_optimised.txt"));
        succeed(&mut command);
        let found = tree(&out);
        let mut compared = 0;
        for (path, kind) in tree(&data.join("xrfmaps_out/2xfm_0010.mda.h50")) {
            let own = format!("/MAPS/XRF_Analyzed/{analysis}/");
            let other = path.starts_with("/MAPS/XRF_Analyzed/") && !path.starts_with(&own);
            if other || NOT_WRITTEN.iter().any(|(beginning, _)| path.starts_with(beginning)) {
                assert!(!found.contains_key(&path), "{path} is listed as not written");
                continue;
            }
            assert_eq!(found.get(&path), Some(&kind), "rank and type of {path}");
            compared += 1;
        }
        assert!(compared > 35, "{compared} datasets compared");
    }
}

/// Where both programs write the same thing about a scan, the numbers are the same too.
#[test]
fn what_was_recorded_has_the_numbers_of_xrf_maps() {
    let Some(data) = shared("data") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("maps.h5");
    let mut command = map(&data.join("aps_2ide/mda/2xfm_0010.mda"), &out);
    succeed(command.args(["--detector", "0"]));
    let ours = hdf5::File::open(&out).expect("a map file opens");
    let theirs = hdf5::File::open(data.join("xrfmaps_out/2xfm_0010.mda.h50")).expect("a MAPS file");
    let read = |file: &hdf5::File, path: &str| -> Vec<f32> {
        file.dataset(path).expect("a dataset").read_raw().expect("numbers")
    };
    for path in [
        "Spectra/Elapsed_Livetime",
        "Spectra/Elapsed_Realtime",
        "Spectra/Input_Counts",
        "Spectra/Output_Counts",
        "Scan/x_axis",
        "Scan/requested_rows",
    ] {
        let path = format!("MAPS/{path}");
        for (pixel, (a, b)) in read(&ours, &path).iter().zip(read(&theirs, &path)).enumerate() {
            assert!(
                (a - b).abs() <= 1e-6 * b.abs(),
                "{path}, pixel {pixel}: {a}, XRF-Maps has {b}"
            );
        }
    }
    // XRF-Maps pads the 2000 channels of this detector to 2048
    let spectra = "MAPS/Spectra/Integrated_Spectra/Spectra";
    let (a, b) = (read(&ours, spectra), read(&theirs, spectra));
    assert_eq!(a, b[..a.len()], "summed spectrum");
}

#[test]
fn h5py_and_silx_are_led_to_the_map_of_an_element() {
    let Some(python) = python::python("import h5py, numpy, silx.io") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [5, 7]);
    let out = folder.path().join("maps.h5");
    for optimizer in ["nnls", "adam"] {
        succeed(map_by(optimizer, &scan, &out).args(["--overwrite", "--iterations", "3"]));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/map_file.py");
        succeed(Command::new(&python).arg(script).arg(&out));
    }
}
