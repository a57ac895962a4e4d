//! A small scan, mapped by the program on the CPU and on stand-in devices, and its maps compared.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "program.rs"]
pub mod program;
#[path = "standin.rs"]
pub mod standin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{ArrayD, ArrayViewD};
use program::{XRFIT, succeed};
use standin::{Log, equip};
use tempfile::TempDir;

/// Odd on purpose: no tile, piece, warp or rank divides it.
pub const ROWS: usize = 9;
pub const COLS: usize = 11;

/// A scan, and the configuration of its fits.
pub struct Case {
    folder: TempDir,
}

impl Case {
    pub fn new() -> Self {
        Self::of([ROWS, COLS], 1300)
    }

    /// Of so many rows and columns, with so many channels.
    pub fn of(shape: [usize; 2], channels: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let case = Self { folder };
        let [rows, cols] = shape.map(|n| n.to_string());
        let channels = channels.to_string();
        let simulate = ["simulate", "--counts", "4000", "--channels", &channels, "--rows", &rows];
        succeed(Command::new(XRFIT).args(simulate).args(["--cols", &cols, "-o"]).arg(case.scan()));
        let calibrate = ["--elements", "Si,Ca,Fe,Zn", "--incident-kev", "10", "--threads", "1"];
        let mut command = Command::new(XRFIT);
        command
            .arg("calibrate")
            .arg(case.scan())
            .args(calibrate)
            .arg("-o")
            .arg(case.path("fit.toml"));
        succeed(&mut command);
        case
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn scan(&self) -> PathBuf {
        self.path("scan.h5")
    }

    /// `xrfit map` of the scan into a file of this name.
    pub fn map(&self, name: &str, options: &[&str]) -> Command {
        let mut command = Command::new(XRFIT);
        command.arg("map").arg(self.scan()).arg("--config").arg(self.path("fit.toml"));
        command.args(["--iterations", "7", "--threads", "1"]).args(options);
        if !options.contains(&"--tile-pixels") {
            command.args(["--tile-pixels", "35"]);
        }
        command.arg("-o").arg(self.path(name));
        command
    }

    /// Maps on a stand-in device under these conditions; what it said, and what the device did. `None` without one.
    pub fn on_device(
        &self,
        name: &str,
        options: &[&str],
        conditions: &[(&str, &str)],
    ) -> Option<(Maps, String, Log)> {
        let log = Log::new();
        let mut command = self.map(name, options);
        if !equip(&mut command, &log) {
            return None;
        }
        let ended = succeed(command.args(["--engine", "cuda"]).envs(conditions.iter().copied()));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        Some((maps(&self.path(name)), said, log))
    }

    pub fn on_cpu(&self, name: &str, options: &[&str]) -> Maps {
        succeed(self.map(name, options).args(["--engine", "cpu"]));
        maps(&self.path(name))
    }
}

/// Who fitted, as the map file says it: the engines, and the number of spectra that a CPU took over.
pub fn engines_of(file: &Path) -> (String, usize) {
    let file = hdf5::File::open(file).expect("a map file opens");
    let said = |name: &str| {
        let path = format!("MAPS/XRF_Analyzed/Fitted/xrfit/Provenance/{name}");
        file.dataset(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let engine = said("engine").read_scalar::<hdf5::types::VarLenUnicode>().expect("words");
    let taken_over = said("taken_over_by_cpu").read_scalar::<u64>().expect("a number");
    (engine.to_string(), taken_over as usize)
}

pub type Maps = BTreeMap<String, ArrayD<f64>>;

/// Everything numeric of the analysis.
pub fn maps(file: &Path) -> Maps {
    let file = hdf5::File::open(file).expect("a map file opens");
    let all = file.group("MAPS/XRF_Analyzed").expect("analyses").groups().expect("groups");
    let analysis = &all[0];
    let numbers = |name: &String| {
        let read = analysis.dataset(name).ok()?.read_dyn::<f64>().ok()?;
        Some((name.clone(), read))
    };
    let found: Maps = analysis.member_names().expect("names").iter().filter_map(numbers).collect();
    assert!(found.contains_key("Counts_Per_Sec"), "maps among {:?}", found.keys());
    found
}

/// Largest difference, over the largest value.
fn difference(a: ArrayViewD<f64>, b: ArrayViewD<f64>) -> f64 {
    let scale = b.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut largest: f64 = 0.0;
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.is_nan(), b.is_nan(), "NaN in one engine alone: {a}, {b}");
        if a.is_finite() && scale > 0.0 {
            largest = largest.max((a - b).abs() / scale);
        }
    }
    largest
}

pub fn compare(found: &Maps, expected: &Maps, allowed: f64, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(found.shape(), expected.shape(), "{what}: {name}");
        let off = difference(found.view(), expected.view());
        assert!(
            off <= allowed,
            "{what}: {name} differs by {off:.1e} of its largest value, allowed {allowed:.1e}"
        );
    }
}

/// Bit for bit.
pub fn same(found: &Maps, expected: &Maps, what: &str) {
    compare(found, expected, 0.0, what);
}
