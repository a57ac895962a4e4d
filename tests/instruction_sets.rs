//! Promise: the kernels are the same program whichever instruction set runs them. Structures have one layout on both
//! sides of the C ABI, and every set of this machine gives the same spectra and gradients within rounding.
//!
//! Rounding is 1e-12 in f64 and 1e-5 in f32 of a spectrum's maximum. Of a gradient it is 1e-12 in f64 and 1e-4 in f32
//! of the sum of the absolute values of an entry's terms: in f32 the derivative by a tail's length G
//! loses digits as 1 / G^2, and the shortest lengths here are near 0.1.
//!
//! `XRFIT_SIMD` forces a set, so each runs in a child process: this test again, which writes what it computes.

#[path = "common/differences.rs"]
mod differences;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use std::path::Path;
use std::process::Command;

use random::Case;
use xrfit::engine::Precision;
use xrfit::kernels::Simd;

/// Names the file that a child writes.
const OUTPUT: &str = "XRFIT_TEST_OUTPUT";
const PRECISIONS: [Precision; 2] = [Precision::F64, Precision::F32];

#[test]
fn structures_have_one_layout_on_both_sides() {
    for simd in Simd::available() {
        let (kernels, rust) = simd.layout_sizes();
        assert_eq!(
            kernels,
            rust,
            "bytes of problem, spectrum, evaluation, tile, layout with {}",
            simd.level()
        );
    }
}

/// All spectra, then all gradients of one case in one precision.
fn computed(case: &Case, precision: Precision) -> Vec<f64> {
    let evaluation = case.evaluate(precision);
    evaluation.total.iter().chain(&evaluation.gradient).copied().collect()
}

/// How far each of these values may be from the same one of another instruction set.
fn allowed(case: &Case, precision: Precision) -> Vec<f64> {
    let (of_spectrum, of_gradient) = match precision {
        Precision::F64 => (1e-12, 1e-12),
        Precision::F32 => (1e-5, 1e-4),
    };
    let total = case.evaluate(Precision::F64).total;
    let most = total.iter().fold(0.0, |m: f64, y| m.max(*y));
    let gradient = (0..case.variables.len()).map(|i| differences::central(case, i).scale);
    let spectrum = vec![of_spectrum * most; total.len()];
    spectrum.into_iter().chain(gradient.map(|scale| of_gradient * scale)).collect()
}

/// All cases in both precisions, as a child with this instruction set computes them.
fn computed_with(simd: Simd, folder: &Path) -> Vec<f64> {
    let output = folder.join(simd.level());
    let child = Command::new(std::env::current_exe().expect("this test has a file"))
        .args(["--exact", "every_instruction_set_gives_the_same_results"])
        .env("XRFIT_SIMD", simd.level())
        .env(OUTPUT, &output)
        .output()
        .expect("a child starts");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let bytes = std::fs::read(output).expect("the child wrote");
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes"))).collect()
}

fn all_computed(cases: &[Case]) -> Vec<f64> {
    PRECISIONS.iter().flat_map(|&p| cases.iter().flat_map(move |c| computed(c, p))).collect()
}

#[test]
fn every_instruction_set_gives_the_same_results() {
    let cases = random::cases();
    if let Some(output) = std::env::var_os(OUTPUT) {
        let bytes: Vec<u8> = all_computed(&cases).iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(output, bytes).expect("the parent made the folder");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let allowed: Vec<f64> =
        PRECISIONS.iter().flat_map(|&p| cases.iter().flat_map(move |c| allowed(c, p))).collect();
    let baseline = computed_with(Simd::Baseline, folder.path());
    assert_eq!(baseline.len(), allowed.len(), "values of a child");
    for simd in Simd::available() {
        let ours = computed_with(simd, folder.path());
        let pairs = ours.iter().zip(&baseline).map(|(a, b)| (a - b).abs());
        let worst = pairs
            .zip(&allowed)
            .map(|(difference, allowed)| if difference == 0.0 { 0.0 } else { difference / allowed })
            .fold(0.0, f64::max);
        println!("{}: {worst:.2} of what is allowed", simd.level());
        assert!(
            worst <= 1.0,
            "{} differs from {} by {worst:.2} times what is allowed, allowed 1",
            simd.level(),
            Simd::Baseline.level()
        );
    }
}
