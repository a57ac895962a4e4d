//! `xrfit spectrum` evaluates the forward model from a text file: what the library computes, in a file that
//! says what everything is; and it refuses what it cannot mean.

mod common;
#[path = "common/golden.rs"]
#[expect(dead_code, reason = "only the model is compared here")]
mod golden;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use golden::Case;

fn spectrum(folder: &Path, case: &str, more: &[&str]) -> Output {
    std::fs::write(folder.join("case.toml"), case).unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_xrfit"))
        .args(["spectrum", "case.toml", "-o", "out.h5"])
        .args(more)
        .current_dir(folder)
        .output();
    program.expect("the program starts")
}

fn read(folder: &Path, path: &str) -> Vec<f64> {
    let file = hdf5::File::open(folder.join("out.h5")).expect("the output opens");
    file.dataset(path).unwrap_or_else(|e| panic!("{path}: {e}")).read_raw().expect("as numbers")
}

fn names(folder: &Path, path: &str) -> Vec<String> {
    let file = hdf5::File::open(folder.join("out.h5")).expect("the output opens");
    let names = file.dataset(path).unwrap().read_raw::<hdf5::types::FixedAscii<256>>().unwrap();
    names.iter().map(|n| n.to_string()).collect()
}

fn worst(ours: &[f64], golden: &[f64]) -> f64 {
    assert_eq!(ours.len(), golden.len(), "length");
    ours.iter().zip(golden).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()))
}

/// The golden case as a user would write it.
fn written(case: &Case, table: &Path) -> String {
    let p = &case.problem;
    let last = p.first + p.count - 1;
    let mut text = format!(
        "channels = [{}, {last}]\nline_table = {table:?}\nobserved = \"observed.npy\"\nbackground = \"none\"\n\
         model.pair_energy_ev = {:?}\nmodel.escape_shift = \"local\"\n[parameters]\n",
        p.first, p.pair_energy_ev
    );
    for (info, value) in xrfit::kernels::parameters().iter().zip(&case.variables) {
        writeln!(text, "{} = {value:?}", info.name).unwrap();
    }
    text.push_str("[amplitudes]\n");
    for (name, variable) in p.components.iter().zip(&p.amplitudes) {
        writeln!(text, "{name} = {:?}", variable.start).unwrap();
    }
    text
}

fn write_npy(path: &Path, counts: &[f64]) {
    use npyz::WriterBuilder;
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let builder =
        npyz::WriteOptions::new().default_dtype().shape(&[counts.len() as u64]).writer(file);
    let mut writer = builder.begin_nd().unwrap();
    writer.extend(counts.iter().copied()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_written_case_gives_the_golden_spectrum_and_gradient() {
    for case in golden::cases("phys") {
        if !["phys_override_E15", "phys_random00", "phys_step_MIX"].contains(&&*case.name) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let table = common::shared("data/golden/phys_lines.npz").expect("the cases are there");
        write_npy(&folder.path().join("observed.npy"), &case.observed);
        let table = std::fs::canonicalize(table).unwrap();
        let output = spectrum(folder.path(), &written(&case, &table), &["--gradient"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let largest = case.model.iter().fold(0.0, |m: f64, y| m.max(*y));
        let error = worst(&read(folder.path(), "/sum"), &case.model) / largest;
        assert!(
            error < 1e-10,
            "{}: sum off by {error:.1e} of its maximum, allowed 1e-10",
            case.name
        );
        for (name, golden) in &case.components {
            let error =
                worst(&read(folder.path(), &format!("/components/{name}")), golden) / largest;
            assert!(error < 1e-10, "{} {name}: off by {error:.1e}, allowed 1e-10", case.name);
        }
        let residual =
            case.model.iter().zip(&case.observed[case.problem.first..]).map(|(m, y)| m - y);
        let objective = residual.map(|r| r * r).sum::<f64>() / case.problem.count as f64;
        let ours = read(folder.path(), "/objective")[0];
        assert!((ours / objective - 1.0).abs() < 1e-9, "objective {ours}, expected {objective}");
        let gradient: BTreeMap<String, f64> = ["parameter", "amplitude"]
            .iter()
            .flat_map(|kind| {
                let names = names(folder.path(), &format!("/gradient/{kind}_names"));
                names.into_iter().zip(read(folder.path(), &format!("/gradient/{kind}s")))
            })
            .collect();
        assert_eq!(gradient.len(), case.variables.len(), "entries of the gradient");
    }
}

const SMALL: &str = "channels = [90, 1140]\nincident_kev = 10\n[amplitudes]\nFe = 3.0\nPb_M = 2\n\
                     COMPTON_AMPLITUDE = 3\n[parameters]\nENERGY_SLOPE = 0.0096\nFWHM_OFFSET = { value = 0.08 }\n";

#[test]
fn without_an_observed_spectrum_there_are_the_components_and_their_sum() {
    let folder = tempfile::tempdir().unwrap();
    let output = spectrum(folder.path(), SMALL, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sum = read(folder.path(), "/sum");
    assert_eq!(sum.len(), 1051, "channels 90 to 1140");
    let parts = ["Fe", "Pb_M", "COMPTON_AMPLITUDE"]
        .map(|n| read(folder.path(), &format!("/components/{n}")));
    let added: Vec<f64> = (0..1051).map(|c| parts.iter().map(|p| p[c]).sum()).collect();
    assert!(worst(&sum, &added) < 1e-9, "the components without escape add up to the sum");
    let energy = read(folder.path(), "/energy");
    assert!((energy[1] - energy[0] - 0.0096).abs() < 1e-12, "energy per channel");
    let peak = (0..1051).max_by(|&a, &b| parts[0][a].total_cmp(&parts[0][b])).unwrap();
    assert!((energy[peak] - 6.4).abs() < 0.01, "Fe Ka at {} keV, expected 6.40", energy[peak]);
    assert!(!hdf5::File::open(folder.path().join("out.h5")).unwrap().link_exists("objective"));
}

#[test]
fn what_a_case_cannot_mean_is_refused_in_words_and_leaves_no_file() {
    let cases = [
        (SMALL.replace("Pb_M", "Pb_X"), vec![], "Pb_X"),
        (SMALL.replace("[90, 1140]", "[90, 80]"), vec![], "channels"),
        (SMALL.replace("[90, 1140]", "[0, 4000000000]"), vec![], "65535"),
        (SMALL.replace("[90, 1140]", "[0, 18446744073709551615]"), vec![], "case.toml"),
        (SMALL.replace("[90, 1140]", "[90, 65536]"), vec![], "65535"),
        (SMALL.replace("ENERGY_SLOPE", "ENERGY_SLOP"), vec![], "case.toml:8:1"),
        (SMALL.replace("incident_kev", "incident"), vec![], "case.toml:2:1"),
        (SMALL.replace("0.0096", "\"steep\""), vec![], "a number, or a table"),
        (SMALL.to_string(), vec!["--gradient"], "--observed"),
        (SMALL.to_string(), vec!["--observed", "absent.npy"], "absent.npy"),
        (format!("line_table = \"absent.npz\"\n{SMALL}"), vec![], "absent.npz"),
    ];
    for (case, more, named) in cases {
        let folder = tempfile::tempdir().unwrap();
        let output = spectrum(folder.path(), &case, &more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted: {case}");
        assert!(message.contains(named), "the message does not name {named}: {message}");
        assert!(!message.contains("panicked"), "{message}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "files left beside the case");
    }
}

#[test]
fn an_evaluation_replaces_none_of_the_files_it_reads() {
    let named = format!("observed = \"observed.npy\"\n{SMALL}");
    let mut cases = vec![
        (named.clone(), "case.toml", "case.toml"),
        (named.clone(), "observed.npy", "./observed.npy"),
        (named, "asked.npy", "asked.npy"),
    ];
    // a line table is read with the case, so it has to be one
    if let Some(case) = golden::cases("phys").first() {
        cases.push((written(case, Path::new("table.npz")), "table.npz", "table.npz"));
    }
    for (case, file, output) in cases {
        let folder = tempfile::tempdir().unwrap();
        for other in ["observed.npy", "asked.npy"] {
            std::fs::write(folder.path().join(other), "somebody's").unwrap();
        }
        if file == "table.npz" {
            let table = common::shared("data/golden/phys_lines.npz").expect("the cases are there");
            std::fs::copy(table, folder.path().join(file)).unwrap();
        }
        std::fs::write(folder.path().join("case.toml"), case).unwrap();
        let before = std::fs::read(folder.path().join(file)).unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_xrfit"))
            .args(["spectrum", "case.toml", "--observed", "asked.npy", "--overwrite", "-o", output])
            .current_dir(folder.path())
            .output()
            .expect("the program starts");
        let message = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success(), "{file} was given up: {message}");
        assert!(message.contains(file) && message.contains("itself"), "{file}: {message}");
        assert!(before == std::fs::read(folder.path().join(file)).unwrap(), "{file} was changed");
    }
}
