//! Promise: SNIP backgrounds, all channels updated at once, are those of independent implementations.
//!
//! XRF-Maps updates in place; `xrf_maps.rs` compares that order.

mod common;
#[path = "common/difference.rs"]
mod difference;
#[expect(dead_code, reason = "only spectra and backgrounds are compared here")]
#[path = "common/golden.rs"]
mod golden;

use difference::{largest, worst};
use golden::{Case, Npz};
use ndarray::Array2;
use xrfit::engine::{self, Choice, Precision};
use xrfit::problem::Problem;

/// Errors allowed, over the background's maximum.
///
/// Windows are cut to whole channels: a width that is off in its last bit could move one by a channel.
/// None of the golden widths lies that close to a whole number.
const F64: f64 = 1e-12;
const F32: f64 = 1e-5;

fn background(problem: &Problem, counts: &[f64], precision: Precision) -> Vec<f64> {
    let counts = counts.iter().map(|&y| y as f32).collect();
    let counts = Array2::from_shape_vec((1, problem.channels), counts).expect("one spectrum");
    let engine = engine::open(Choice::Cpu, precision).expect("the CPU engine opens");
    engine.snip(problem, counts.view()).expect("a background").row(0).to_vec()
}

fn compare(what: &str, ours: &[f64], golden: &[f64], allowed: f64) {
    let worst = worst(ours, golden) / largest(golden);
    println!("{what}: {worst:.1e}");
    assert!(
        worst <= allowed,
        "{what}: background off by {worst:.1e} of its maximum, allowed {allowed:.0e}"
    );
}

#[test]
fn backgrounds_are_the_golden_ones() {
    for case in ["phys", "r002"].iter().flat_map(|set| golden::cases(set)) {
        let Case { name, problem, observed, background: golden, .. } = &case;
        for (precision, allowed) in [(Precision::F64, F64), (Precision::F32, F32)] {
            let ours = background(problem, observed, precision);
            compare(&format!("{name} {precision:?}"), &ours, golden, allowed);
        }
    }
}

/// `full1`: the whole spectrum, `single0`: double log, `fwhm0`: the MAPS width formula.
#[test]
fn a_wide_window_gives_the_golden_background_as_well() {
    let Some(folder) = common::shared("data/golden") else { return };
    let cases = golden::cases("r002");
    let case = cases.iter().find(|c| c.name == "r002_override_E15").expect("the case is there");
    let mut variants = Npz::open(&folder.join("r002_snip_variants.npz"));
    let mut spectra = Npz::open(&folder.join("r002_init_amps.npz"));
    let mut problem = case.problem.clone();
    for name in ["ENERGY_OFFSET", "ENERGY_SLOPE"] {
        assert_eq!(variants.floats(name)[0], problem.start(name), "{name} of the variants");
    }
    for scan in ["axo_std__det0", "2xfm_0010__det0"] {
        let counts = spectra.floats(&format!("spec__{scan}"));
        for (width, label) in [(0.5, "w0.5"), (2.0, "w2.0")] {
            problem.snip_width = width;
            let golden = variants.floats(&format!("{scan}_single0_fwhm0_full1_{label}"));
            let ours = background(&problem, &counts, Precision::F64);
            compare(&format!("{scan} {label}"), &ours, &golden, F64);
        }
    }
}
