//! Promise: the table of a campaign says what is in its map files, as CSV and as HDF5 that h5py and silx show.

#[path = "common/campaign.rs"]
mod campaign;
#[path = "common/program.rs"]
mod program;
#[path = "common/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use campaign::{Case, QUICK};
use hdf5::types::FixedAscii;
use ndarray::{Array2, Array3, Axis};
use program::succeed;

/// Sums of f64 in another order.
const ROUNDING: f64 = 1e-12;

type Row = BTreeMap<String, String>;

/// The rows of a table without quoted cells.
fn rows(csv: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(csv).unwrap_or_else(|e| panic!("{csv:?}: {e}"));
    let cells = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
    let mut lines = text.lines();
    let head = cells(lines.next().expect("a head"));
    let row = |line: &str| {
        let cells = cells(line);
        assert_eq!(cells.len(), head.len(), "cells of {line}");
        head.iter().cloned().zip(cells).collect()
    };
    lines.map(row).collect()
}

fn number(row: &Row, column: &str) -> f64 {
    let cell = row.get(column).unwrap_or_else(|| panic!("no column {column} in {row:?}"));
    if cell.is_empty() {
        f64::NAN
    } else {
        cell.parse().unwrap_or_else(|_| panic!("{column}: {cell}"))
    }
}

fn agrees(what: &str, found: f64, expected: f64) {
    let same = (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= ROUNDING * expected.abs();
    assert!(same, "{what}: {found}, expected {expected} to {ROUNDING:e} of it");
}

/// Value of which a share of the sorted values is below, with a straight line between neighbours.
fn quantile(values: &[f32], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().filter(|v| !v.is_nan()).map(|&v| v.into()).collect();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low * (1.0 - place.fract()) + high * place.fract()
}

/// What a row says is what its map file holds.
fn check(case: &Case, row: &Row) {
    let file = hdf5::File::open(case.path("maps").join(&row["map_file"])).expect("a map file");
    let all = file.group("MAPS/XRF_Analyzed").expect("analyses").groups().expect("groups");
    let group = all[0].group("xrfit").expect("xrfit's own");
    let status: Array2<u8> = group.dataset("Status").expect("status").read().expect("codes");
    agrees("pixels", number(row, "pixels"), status.len() as f64);
    let names = [
        "converged",
        "step_limit",
        "empty",
        "not_finite",
        "saturated",
        "diverged",
        "no_descent",
        "singular",
    ];
    for (code, name) in names.iter().enumerate() {
        let pixels = status.iter().filter(|&&s| usize::from(s) == code).count();
        agrees(name, number(row, &format!("{name} [pixels]")), pixels as f64);
    }
    let r_squared: Vec<f32> = group.dataset("R_Squared").expect("R²").read_raw().expect("numbers");
    for (column, share) in
        [("r_squared_q1", 0.25), ("r_squared_median", 0.5), ("r_squared_q3", 0.75)]
    {
        agrees(column, number(row, column), quantile(&r_squared, share));
    }
    let stack = |name: &str| -> Option<Array3<f32>> { group.dataset(name).ok()?.read().ok() };
    let counts = stack("Counts_Signed").or_else(|| stack("Counts")).expect("counts");
    let sigma = stack("Counts_Sigma");
    let names: Vec<FixedAscii<256>> =
        group.dataset("Names").expect("names").read_raw().expect("words");
    for (k, name) in names.iter().enumerate() {
        let fitted = counts.index_axis(Axis(0), k).mapv(f64::from);
        let total: f64 = fitted.iter().filter(|v| !v.is_nan()).sum();
        agrees(name, number(row, &format!("{name} [counts]")), total);
        let error = sigma.as_ref().map_or(f64::NAN, |sigma| {
            let of_one = sigma.index_axis(Axis(0), k).mapv(f64::from);
            of_one.iter().filter(|v| !v.is_nan()).map(|v| v * v).sum::<f64>().sqrt()
        });
        agrees(name, number(row, &format!("{name} sigma [counts]")), error);
    }
}

/// The same numbers in HDF5.
fn check_hdf5(file: &Path, rows: &[Row]) {
    let file = hdf5::File::open(file).expect("the table opens");
    let column = |name: &str| -> Vec<f64> {
        file.dataset(&format!("summary/{name}"))
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .read_raw()
            .expect("numbers")
    };
    for (path, cells) in [
        ("pixels", "pixels"),
        ("status/empty", "empty [pixels]"),
        ("r_squared_median", "r_squared_median"),
        ("totals/Fe", "Fe [counts]"),
        ("totals/Fe_errors", "Fe sigma [counts]"),
        ("totals/Cu", "Cu [counts]"),
    ] {
        let found = column(path);
        assert_eq!(found.len(), rows.len(), "rows of {path}");
        for (found, row) in found.iter().zip(rows) {
            agrees(path, *found, number(row, cells));
        }
    }
}

#[test]
fn the_table_says_what_is_in_the_map_files() {
    let case = Case::new(&format!(
        "[[group]]\nname = 'linear'\nscans = ['raw/*.h5']\n{QUICK}\n\
         [[group]]\nname = 'two'\nscans = ['more/*.h5']\nelements = ['Fe', 'Cu']\nincident_kev = 10.0\n\
         options = ['--threads', '1', '--engine', 'cpu']\n"
    ));
    case.simulate("raw/s1.h5", 1, &["--counts", "0.3"]);
    case.simulate("raw/s2.h5", 2, &[]);
    case.simulate("more/s1.h5", 3, &["--detectors", "2"]);
    std::fs::write(case.path("more/s3.h5"), "no scan").expect("a file");
    let run = case.campaign("run").output().expect("the program starts");
    assert_eq!(campaign::code(&run), 1, "{}", campaign::said(&run));
    succeed(&mut case.campaign("summary"));
    // a second one replaces it
    succeed(&mut case.campaign("summary"));

    let rows = rows(&case.path("maps/summary.csv"));
    let key =
        |row: &Row| ["group", "scan", "detector", "map_file"].map(|c| row[c].clone()).join(" ");
    assert_eq!(
        rows.iter().map(key).collect::<Vec<_>>(),
        [
            "linear raw/s1.h5 0 linear/s1.h5",
            "linear raw/s2.h5 0 linear/s2.h5",
            "two more/s1.h5 0 two/s1.h50",
            "two more/s1.h5 1 two/s1.h51",
            "two more/s1.h5 sum two/s1.h5"
        ]
    );
    rows.iter().for_each(|row| check(&case, row));
    assert!(
        number(&rows[0], "empty [pixels]") > 0.0,
        "a scan almost without counts has no empty pixel"
    );
    assert!(rows[1]["Cu [counts]"].is_empty(), "an element that was not fitted: {:?}", rows[1]);
    assert!(
        rows[1]["Fe sigma [counts]"].is_empty(),
        "linear fits know no deviation: {:?}",
        rows[1]
    );
    assert!(number(&rows[4], "Fe sigma [counts]") > 0.0, "{:?}", rows[4]);
    let table = case.path("maps/summary.h5");
    check_hdf5(&table, &rows);
    if let Some(python) = python::python("import h5py, silx.io") {
        succeed(Command::new(python).arg("tests/campaign_summary.py").arg(&table));
    }
}
