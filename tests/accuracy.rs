//! Promise: with the defaults, maps of simulated scans with few counts are right: no bias, the least scatter that Poisson
//! counts allow, uncertainties and limits that hold, priors as wide as the drift; and the map file says what was assumed.
//!
//! The truth is simulated with a continuum that is no spline, and with drifts of offset and width. Allowed are the bars for
//! 4,000 pixels, wider by what fewer pixels scatter.

#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::process::Command;

use ndarray::{Array2, Array3};
use program::{XRFIT, succeed};
use serde_json::Value;

/// Rows and columns; 4 of their pixels are empty and 4 saturated.
const SIDE: usize = 30;
const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";
/// Counts beyond which nobody asks for a limit.
const STRONG: f32 = 200.0;
/// Drifts of the simulation: offset \[keV\], width \[1\].
const DRIFTS: [(&str, f64); 2] = [("ENERGY_OFFSET", 0.003), ("FWHM_SCALE", 0.02)];

fn simulated(folder: &Path, counts: &str) {
    let side = SIDE.to_string();
    let mut command = Command::new(XRFIT);
    command.current_dir(folder).args(["simulate", "--flat", "--counts", counts, "-o", "scan.h5"]);
    succeed(command.args(["--rows", &side, "--cols", &side]));
    let mut command = Command::new(XRFIT);
    command.current_dir(folder).args(["map", "scan.h5", "-o", "maps.h5", "--limits"]);
    succeed(command.args(["--elements", ELEMENTS, "--incident-kev", "10"]));
}

fn scores(folder: &Path, options: &[&str]) -> Value {
    let mut command = Command::new(XRFIT);
    command.current_dir(folder).args(["score", "maps.h5", "--truth", "scan.h5", "--overwrite"]);
    succeed(command.args(["-o", "score.json"]).args(options));
    let text = std::fs::read_to_string(folder.join("score.json")).expect("scores are written");
    serde_json::from_str(&text).expect("scores are JSON")
}

/// A number of every component of a kind.
fn column(scores: &Value, kind: &str, name: &str) -> Vec<f64> {
    let rows = scores["scores"].as_array().expect("rows").iter();
    rows.filter(|row| row["line"] == kind).map(|row| row[name].as_f64().expect(name)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn maps_of_few_counts_are_right_and_say_how_sure_they_are() {
    for counts in ["300", "1000", "10000"] {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        simulated(folder, counts);
        let all = scores(folder, &[]);
        let pixels = all["pixels"].as_f64().expect("pixels");
        assert!(pixels >= (SIDE * SIDE - 8) as f64, "{counts} counts: {pixels} pixels with a fit");
        assert_eq!(all["converged"], all["pixels"], "{counts} counts: converged");
        let error = 1.0 / pixels.sqrt();
        for bias in column(&all, "strong", "bias_sigma") {
            assert!(bias.abs() < 0.1 + 3.0 * error, "{counts} counts: a bias of {bias} sigma");
        }
        let wider = 2.0 / (2.0 * pixels).sqrt();
        let ratios = column(&all, "strong", "rmse_over_bound");
        assert!(mean(&ratios) < 1.03 + wider, "{counts} counts: RMSE over bound {ratios:?}");
        assert!(ratios.iter().all(|r| *r < 1.06 + 1.5 * wider), "{counts} counts: {ratios:?}");
        let pulls = column(&all, "strong", "pull_width");
        assert!((mean(&pulls) - 1.005).abs() < 0.035 + wider, "{counts} counts: pulls {pulls:?}");
        let signed = scores(folder, &["--signed"]);
        for bias in column(&signed, "weak", "bias_sigma") {
            assert!(bias.abs() < 0.1 + 3.0 * error, "{counts} counts: signed, off by {bias} sigma");
        }
        limits_cover(folder, counts);
        assumptions_are_told(folder, counts);
    }
}

/// At least 95 % of the upper limits are above the truth of every component that may be missed; a little less of strong
/// ones, where the limit follows from the standard deviation.
fn limits_cover(folder: &Path, counts: &str) {
    let maps = hdf5::File::open(folder.join("maps.h5")).expect("maps open");
    let own = maps.group("MAPS/XRF_Analyzed/Fitted/xrfit").expect("a group");
    let read = |name: &str| -> Array3<f32> { own.dataset(name).expect(name).read().expect(name) };
    let [limits, detected, found] = ["Counts_Upper_Limit", "Detection_Limit", "Counts"].map(read);
    let status: Array2<u8> = own.dataset("Status").expect("status").read().expect("status");
    let scan = hdf5::File::open(folder.join("scan.h5")).expect("the scan opens");
    let truth: Array3<f32> =
        scan.dataset("truth/amplitudes").expect("truth").read().expect("truth");
    let fitted: Vec<(usize, usize)> =
        status.indexed_iter().filter(|(_, s)| **s == 0).map(|(at, _)| at).collect();
    let n = fitted.len() as f64;
    let chance = 3.0 * (0.05 * 0.95 / n).sqrt();
    for k in 0..limits.shape()[0] {
        let at = |map: &Array3<f32>, &(row, col): &(usize, usize)| map[[k, row, col]];
        let covered = fitted.iter().filter(|p| at(&limits, p) >= at(&truth, p)).count() as f64 / n;
        let allowed = if at(&truth, &fitted[0]) < STRONG { 0.95 } else { 0.935 };
        assert!(
            covered > allowed - chance,
            "{counts} counts: limits of component {k} cover {covered:.3} of the truth {}",
            at(&truth, &fitted[0])
        );
        assert!(fitted.iter().all(|p| at(&limits, p) > at(&found, p)), "component {k}: limits");
        assert!(fitted.iter().all(|p| at(&detected, p) > 2.71), "component {k}: detection limits");
    }
}

fn assumptions_are_told(folder: &Path, counts: &str) {
    let maps = hdf5::File::open(folder.join("maps.h5")).expect("maps open");
    let own = maps.group("MAPS/XRF_Analyzed/Fitted/xrfit").expect("a group");
    let number = |data: &str, name: &str| -> f64 {
        let attribute = own.dataset(data).expect(data).attr(name).expect(name);
        attribute.read_scalar().expect(name)
    };
    for (name, drift) in DRIFTS {
        let width = number(&format!("Parameters/{name}"), "prior_width");
        // too wide costs little, too narrow much
        assert!(
            (1.2 * drift..5.0 * drift).contains(&width),
            "{counts} counts: {name} drifts by {drift}, its prior is {width} wide"
        );
    }
    let deviance = number("Summed/Background", "reduced_deviance");
    assert!((0.8..1.2).contains(&deviance), "{counts} counts: deviance of the sum {deviance}");
}
