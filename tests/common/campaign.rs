//! A campaign of simulated scans in a folder of its own.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hdf5::types::VarLenUnicode;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{XRFIT, succeed};

/// A group's keys for a quick fit whose shapes are those of the first pass.
pub const QUICK: &str = "elements = ['Si', 'Ca', 'Fe', 'Zn']\nincident_kev = 10.0\n\
    options = ['--optimizer', 'nnls', '--background', 'snip', '--threads', '1', '--engine', 'cpu']\n";

/// The same for a scan that takes seconds.
pub fn slow() -> String {
    QUICK.replace(
        "'nnls'",
        "'newton', '--precision', 'f64', '--free', 'four', '--tile-pixels', '35'",
    )
}

/// Options of `simulate` for that scan.
pub const LARGE: [&str; 6] = ["--rows", "131", "--cols", "67", "--channels", "2048"];

pub struct Case {
    folder: TempDir,
}

impl Case {
    /// A campaign with these groups, without scans.
    pub fn new(groups: &str) -> Self {
        let case = Self { folder: tempfile::tempdir().expect("a folder") };
        for folder in ["raw", "more"] {
            std::fs::create_dir(case.path(folder)).expect("a folder of scans");
        }
        case.write_manifest(groups);
        case
    }

    pub fn write_manifest(&self, groups: &str) {
        let text = format!("output = 'maps'\n{groups}");
        std::fs::write(self.path("campaign.toml"), text).expect("a manifest");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A scan of 5 x 7 pixels, unless the options say something else.
    pub fn simulate(&self, name: &str, seed: usize, options: &[&str]) {
        let mut command = Command::new(XRFIT);
        command.args(["simulate", "--counts", "2000", "--seed", &seed.to_string()]);
        for (option, value) in [("--rows", "5"), ("--cols", "7"), ("--channels", "1024")] {
            if !options.contains(&option) {
                command.args([option, value]);
            }
        }
        succeed(command.args(options).arg("-o").arg(self.path(name)));
    }

    /// `xrfit campaign STEP MANIFEST`, outside of any job.
    pub fn campaign(&self, step: &str) -> Command {
        let mut command = Command::new(XRFIT);
        command.args(["campaign", step]).arg(self.path("campaign.toml")).stdin(Stdio::null());
        command.env_remove("SLURM_ARRAY_TASK_ID");
        command
    }

    pub fn maybe_json(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.path(name)).ok()?).ok()
    }

    pub fn json(&self, name: &str) -> Value {
        self.maybe_json(name).unwrap_or_else(|| panic!("{name} is no JSON"))
    }

    /// What the provenance of a map file says.
    pub fn provenance(&self, name: &str, what: &str) -> String {
        let file = hdf5::File::open(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let path = |analysis: &str| format!("MAPS/XRF_Analyzed/{analysis}/xrfit/Provenance/{what}");
        let data = file.dataset(&path("Fitted")).or_else(|_| file.dataset(&path("NNLS")));
        let text: VarLenUnicode = data.expect("a provenance").read_scalar().expect("words");
        text.to_string()
    }

    pub fn configuration(&self, name: &str) -> String {
        self.provenance(name, "configuration")
    }
}

pub fn code(ended: &Output) -> i32 {
    ended.status.code().unwrap_or_else(|| panic!("{}: {}", ended.status, said(ended)))
}

pub fn said(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

pub fn status_of(case: &Case) -> String {
    String::from_utf8_lossy(&succeed(&mut case.campaign("status")).stdout).into_owned()
}

pub fn kill(signal: &str, process: u32) {
    succeed(Command::new("kill").args([&format!("-{signal}"), &process.to_string()]));
}
