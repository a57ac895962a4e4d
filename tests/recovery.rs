//! Promise: what is in a spectrum is found in it. Without noise Adam in f64 finds the amplitudes to 1e-3 with free
//! shapes. A simulated scan, with counting noise, drift and a continuum that the model does not know, becomes maps of
//! its truth: every element of every pixel within 5 standard deviations, the mean of the strong ones within a tenth.
//!
//! A tenth is what SNIP does to lines in the valleys between stronger ones. Elastic and Compton are left out: the
//! simulated Compton peak is wider than the one that fits start from, and only `--free` lets them follow.

use std::path::Path;
use std::process::{Command, Stdio};

use ndarray::{Array1, Array2, Array3, Axis};
use xrfit::config::{Choices, Free, Settings, Sources};
use xrfit::engine::{Batch, Choice, Engine, Precision, Starts, open};
use xrfit::kernels;
use xrfit::problem::{Background, Objective, Optimizer, Problem};

const CHANNELS: usize = 1021;

fn problem() -> Problem {
    let choices = Choices {
        elements: Some(["Si", "Ca", "Ti", "Fe", "Cu", "Pb_M"].map(String::from).to_vec()),
        incident_kev: Some(9.5),
        free: Some(Free::Four),
        objective: Some(Objective::Mse),
        optimizer: Some(Optimizer::Adam),
        background: Some(Background::None),
        iterations: Some(4000),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    let settings = Settings::resolve(&sources).expect("these choices are complete").settings;
    let mut problem = settings.problem(CHANNELS).expect("the elements have lines");
    problem.tolerance = 0.0;
    problem
}

/// Shape parameters a little off the start, then log10 amplitudes.
fn truth(problem: &Problem) -> Vec<f64> {
    let off = [
        ("ENERGY_OFFSET", 0.006),
        ("ENERGY_SLOPE", 2e-6),
        ("FWHM_OFFSET", 0.004),
        ("FWHM_FANOPRIME", 1e-6),
    ];
    let mut variables = problem.shapes();
    for (name, by) in off {
        let index = kernels::parameter_index(name).expect("a parameter of the model");
        assert!(problem.parameters[index].free, "{name} is free");
        variables[index] += by;
    }
    variables.extend((0..problem.components.len()).map(|k| 2.8 + 0.17 * ((3 * k) % 7) as f64));
    variables
}

fn spectrum(engine: &dyn Engine, problem: &Problem, variables: &[f64]) -> Array2<f32> {
    let zero = Array1::zeros(problem.channels);
    let window = Array1::zeros(problem.count);
    let model = engine.evaluate(problem, variables, zero.view(), window.view());
    let mut counts = Array2::zeros((1, problem.channels));
    for (c, y) in model.expect("the CPU engine evaluates").total.iter().enumerate() {
        counts[[0, problem.first + c]] = *y as f32;
    }
    counts
}

#[test]
fn adam_finds_what_made_a_spectrum_without_noise() {
    let engine = open(Choice::Cpu, Precision::F64).expect("the CPU engine opens");
    let problem = problem();
    let truth = truth(&problem);
    let counts = spectrum(&*engine, &problem, &truth);
    let batch = Batch { counts: counts.view(), background: None, starts: Starts::FirstPass };
    let fits = engine.fit(&problem, batch).expect("the CPU engine fits");
    let shapes = kernels::parameters().len();
    for (k, name) in problem.components.iter().enumerate() {
        let expected = 10f64.powf(truth[shapes + k]);
        let error = (fits.amplitudes[[0, k]] / expected - 1.0).abs();
        assert!(
            error < 1e-3,
            "{name}: {} counts of {expected}, off by {error:.1e}, allowed 1e-3",
            fits.amplitudes[[0, k]]
        );
    }
}

/// Counts below a weak element's lines that are not its own, of other lines and of the continuum.
const OTHERS: f64 = 100.0;
/// Mean counts of an element that is strong.
const STRONG: f64 = 100.0;
const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";

fn xrfit(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_xrfit"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "xrfit {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn read<T: hdf5::H5Type>(file: &Path, name: &str) -> Array3<T> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let data = file.dataset(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    data.read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_simulated_scan_becomes_maps_of_its_truth() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (scan, maps) = (path("scan.h5"), path("maps.h5"));
    xrfit(&[
        "simulate", "--rows", "7", "--cols", "5", "--counts", "5000", "--seed", "11", "-o", &scan,
    ]);
    xrfit(&[
        "map",
        &scan,
        "-o",
        &maps,
        "--elements",
        ELEMENTS,
        "--incident-kev",
        "10",
        "--detector",
        "0",
        "--optimizer",
        "adam",
        "--precision",
        "f32",
        "--iterations",
        "300",
        "--threads",
        "2",
    ]);
    let truth: Array3<f32> = read(Path::new(&scan), "truth/amplitudes");
    let counts: Array3<f32> = read(Path::new(&maps), "MAPS/XRF_Analyzed/Fitted/xrfit/Counts");
    for (k, name) in ELEMENTS.split(',').enumerate() {
        let made = truth.index_axis(Axis(0), k).mapv(f64::from);
        let found = counts.index_axis(Axis(0), k).mapv(f64::from);
        for (pixel, (&made, &found)) in made.iter().zip(&found).enumerate() {
            let allowed = 5.0 * (made + OTHERS).sqrt();
            assert!(
                (found - made).abs() <= allowed,
                "{name} of pixel {pixel}: {found:.1} counts of {made:.1}, allowed {allowed:.1} off"
            );
        }
        let ratio = found.sum() / made.sum();
        println!("{name}: {ratio:.3} of its counts");
        assert!(
            made.mean() < Some(STRONG) || (ratio - 1.0).abs() < 0.1,
            "{name}: all pixels together hold {ratio:.3} of the counts, allowed 0.9 to 1.1"
        );
    }
}
