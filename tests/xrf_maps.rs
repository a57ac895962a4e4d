//! Promise: under `compat = "xrf-maps"`, with XRF-Maps' line library and the same override file, the
//! backgrounds, the spectra and the elemental maps are those that XRF-Maps wrote.
//!
//! Its file of the fly scan `2xfm_0011` is corrupt in two columns and not compared.

mod common;
#[path = "common/difference.rs"]
mod difference;
#[path = "common/xrf_maps.rs"]
mod xrf_maps;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use difference::{largest, worst};
use hdf5::types::FixedAscii;
use ndarray::{Array1, Array2, Array3, ArrayView1, Axis};
use xrf_maps::{Analysis, Stored, inputs, problem};
use xrfit::engine::{self, Choice, Precision};
use xrfit::problem::Problem;

/// Scans of which XRF-Maps' files are whole.
const SCANS: [&str; 2] = ["axo_std", "2xfm_0010"];

/// Channels of the detector; XRF-Maps pads them to 2048.
const CHANNELS: usize = 2000;

/// A spectrum of the fit window among all channels; XRF-Maps' spectra are 0 outside it.
fn widened(problem: &Problem, window: &Array1<f64>) -> Vec<f64> {
    let mut wide = vec![0.0; problem.channels];
    let channels = problem.first..problem.first + problem.count;
    channels.zip(window).for_each(|(channel, &y)| wide[channel] = y);
    wide
}

#[test]
fn summed_snip_backgrounds_are_those_of_xrf_maps() {
    let Some(problem) = problem(CHANNELS) else { return };
    assert_eq!(problem.channels, 2048, "channels after padding");
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    for scan in SCANS {
        let Some(stored) = Stored::open(scan) else { return };
        let backgrounds =
            engine.snip(&problem, stored.spectra().view()).expect("a background each");
        let sum = backgrounds.sum_axis(Axis(0));
        for routine in ["NNLS", "Fitted"] {
            let error = worst(&widened(&problem, &sum), &stored.analysis(routine).background);
            println!("{scan} {routine}: {error:.1e} of {:.0} counts", sum.sum());
            assert!(
                error < 1e-4,
                "{scan} {routine}: background off by {error:.1e} counts in a channel, allowed 1e-4"
            );
        }
    }
}

/// Each component's spectrum at one count in its first line, `[components, window]`.
fn unit_components(problem: &Problem) -> Array2<f64> {
    let variables: Vec<f64> = problem
        .parameters
        .iter()
        .map(|p| p.start)
        .chain(problem.components.iter().map(|_| 0.0))
        .collect();
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let (counts, background) = (vec![0.0; problem.channels], vec![0.0; problem.count]);
    let views = (ArrayView1::from(&counts), ArrayView1::from(&background));
    engine.evaluate(problem, &variables, views.0, views.1).expect("an evaluation").components
}

#[test]
fn summed_spectra_follow_from_the_amplitudes_of_xrf_maps() {
    let Some(problem) = problem(CHANNELS) else { return };
    let components = unit_components(&problem);
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    for scan in SCANS {
        let Some(stored) = Stored::open(scan) else { return };
        let background = engine.snip(&problem, stored.spectra().view()).expect("a background each");
        for routine in ["NNLS", "SVD", "Fitted"] {
            let analysis = stored.analysis(routine);
            let mut sum = background.sum_axis(Axis(0));
            for (name, map) in analysis.names.iter().zip(analysis.counts.outer_iter()) {
                let index = problem.components.iter().position(|c| c == name);
                let index = index.unwrap_or_else(|| panic!("{name} is none of our components"));
                sum.scaled_add(map.sum(), &components.row(index));
            }
            let error =
                worst(&widened(&problem, &sum), &analysis.fitted) / largest(&analysis.fitted);
            println!("{scan} {routine}: {error:.1e} of the maximum");
            assert!(
                error < 2e-5,
                "{scan} {routine}: spectrum off by {error:.1e} of its maximum, allowed 2e-5"
            );
        }
    }
}

/// NNLS maps of a file of ours by name, `[row, col]` \[1/s\], and its summed fit `[channel]` \[counts\].
fn our_maps(file: &Path) -> (HashMap<String, Array2<f64>>, Vec<f64>) {
    let file = hdf5::File::open(file).expect("a map file opens");
    let group = file.group("MAPS/XRF_Analyzed/NNLS").expect("it holds NNLS maps");
    let names: Vec<FixedAscii<256>> =
        group.dataset("Channel_Names").and_then(|d| d.read_raw()).expect("names of the maps");
    let rates: Array3<f64> =
        group.dataset("Counts_Per_Sec").and_then(|d| d.read()).expect("maps of rates");
    let names = names.iter().map(|n| n.as_str().trim().to_string());
    let maps = names.zip(rates.outer_iter().map(|map| map.to_owned())).collect();
    let fitted = group.dataset("Fitted_Integrated_Spectra").and_then(|d| d.read_raw());
    (maps, fitted.expect("the summed fit"))
}

fn run_map(scan: &Path, out: &Path, [override_file, line_library]: &[PathBuf; 2]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xrfit"));
    command.arg("map").arg(scan).arg("-o").arg(out).arg("--override").arg(override_file);
    command.arg("--line-library").arg(line_library).args(["--compat", "xrf-maps"]);
    command.args(["--free", "none", "--optimizer", "nnls", "--detector", "0"]);
    let ended = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// Holds every amplitude above 10 counts against XRF-Maps'.
///
/// Its solver stops as soon as its gradient is below 1e-3. That leaves up to 7e-4 between its amplitudes and
/// the minimum of its own objective, where ours are to 1e-7 in double precision.
fn compare(scan: &str, ours: &HashMap<String, Array2<f64>>, theirs: &Analysis) {
    let (mut compared, mut worst) = (0, 0.0f64);
    for (k, name) in theirs.names.iter().enumerate() {
        let map = ours.get(name).unwrap_or_else(|| panic!("{scan}: no map of {name}"));
        for ((row, col), &actual) in map.indexed_iter() {
            let (expected, counts) = (theirs.rates[[k, row, col]], theirs.counts[[k, row, col]]);
            if counts <= 10.0 {
                continue;
            }
            let error = (actual / expected - 1.0).abs();
            assert!(
                error < 1e-3,
                "{scan} {name} at row {row}, column {col}: {actual} counts/s, XRF-Maps {expected}: off by \
                 {error:.1e}, allowed 1e-3"
            );
            (compared, worst) = (compared + 1, worst.max(error));
        }
    }
    println!("{scan}: {compared} amplitudes, the worst off by {worst:.1e}");
    assert!(compared > 500, "{scan}: {compared} amplitudes above 10 counts, too few to tell");
}

#[test]
fn nnls_maps_are_those_of_xrf_maps() {
    let Some(inputs) = inputs() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for scan in SCANS {
        let Some(path) = common::shared(&format!("data/aps_2ide/mda/{scan}.mda")) else { return };
        let Some(stored) = Stored::open(scan) else { return };
        let out = folder.path().join(format!("{scan}.h5"));
        run_map(&path, &out, &inputs);
        let (ours, fitted) = our_maps(&out);
        let theirs = stored.analysis("NNLS");
        compare(scan, &ours, &theirs);
        let error = worst(&fitted, &theirs.fitted) / largest(&theirs.fitted);
        println!("{scan}: summed fit off by {error:.1e} of its maximum");
        // the same early stop leaves 4.2e-5
        assert!(error < 1e-4, "{scan}: summed fit off by {error:.1e} of its maximum, allowed 1e-4");
    }
}
