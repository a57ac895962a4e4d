//! The E15 case as files for other programs: `case.json` and its spectra, `case.f32`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use ndarray::{Array2, ArrayView1};
use xrfit::engine::Engine;
use xrfit::kernels;
use xrfit::problem::Problem;

/// Writes the problem, its spectra, and the model at its start with these amplitudes as a check; `speed` is what was
/// measured on a card \[spectra/s\].
pub fn write(
    folder: &Path,
    cpu: &dyn Engine,
    problem: &Problem,
    counts: &Array2<f32>,
    speed: Option<f64>,
) {
    let amplitudes: Vec<f64> =
        (0..problem.components.len()).map(|k| 3.0 + 0.1 * (k % 9) as f64).collect();
    let start = problem.shapes();
    let zeros = vec![0.0; problem.channels];
    let window = ArrayView1::from(&zeros[..problem.count]);
    let variables = [&start[..], &amplitudes].concat();
    let model = cpu.evaluate(problem, &variables, ArrayView1::from(&zeros), window);
    let model = model.expect("the engine evaluates").total.to_vec();
    let lines: Vec<_> = problem.lines.iter().map(|l| (l.component, l.energy, l.ratio)).collect();
    let mut json = String::from("{\n");
    // the debug form of finite numbers, names and lists of them is JSON's
    let mut put = |name: &str, value: &dyn std::fmt::Debug| {
        writeln!(json, "  \"{name}\": {value:?},").expect("text grows");
    };
    put("channels", &problem.channels);
    put("first", &problem.first);
    put("count", &problem.count);
    put("steps", &problem.steps);
    put("components", &problem.components);
    put("line_component", &lines.iter().map(|l| l.0).collect::<Vec<_>>());
    put("line_energy", &lines.iter().map(|l| l.1).collect::<Vec<_>>());
    put("line_ratio", &lines.iter().map(|l| l.2).collect::<Vec<_>>());
    put("pair_energy_ev", &problem.pair_energy_ev);
    put("parameters", &kernels::parameters().iter().map(|p| p.name).collect::<Vec<_>>());
    put("free", &problem.free_parameters());
    put("start", &start);
    put("amplitudes", &amplitudes);
    put("model", &model);
    let speed = speed.map_or("null".into(), |speed| speed.to_string());
    write!(json, "  \"spectra_per_second\": {speed}\n}}\n").expect("text grows");
    let bytes: Vec<u8> = counts.iter().flat_map(|y| y.to_le_bytes()).collect();
    fs::write(folder.join("case.f32"), bytes).expect("the spectra are written");
    fs::write(folder.join("case.json"), json).expect("the case is written");
}
