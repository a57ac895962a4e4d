//! Runs the program on scans of its own making.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const XRFIT: &str = env!("CARGO_BIN_EXE_xrfit");
/// What is fitted.
pub const FIT: [&str; 4] = ["--elements", "Si,Ca,Fe,Zn", "--incident-kev", "10"];

/// Runs a command to its end, and panics with what it said if it failed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// Simulates a scan in a folder.
pub fn simulate(folder: &Path, [rows, cols]: [usize; 2]) -> PathBuf {
    let scan = folder.join("scan.h5");
    let mut command = Command::new(XRFIT);
    command.args(["simulate", "--counts", "2000", "--seed", "3"]);
    command.args(["--rows", &rows.to_string(), "--cols", &cols.to_string(), "-o"]);
    succeed(command.arg(&scan));
    scan
}

/// `xrfit map SCAN -o OUT` with a quick fit, without more.
pub fn map(scan: &Path, out: &Path) -> Command {
    map_by("nnls", scan, out)
}

/// As [`map`], with another optimiser.
pub fn map_by(optimizer: &str, scan: &Path, out: &Path) -> Command {
    let mut command = Command::new(XRFIT);
    command.arg("map").arg(scan).arg("-o").arg(out).args(FIT);
    command.args(["--threads", "2", "--optimizer", optimizer]);
    command
}
