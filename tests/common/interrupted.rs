//! Maps that are cut off: a scan that takes some seconds, runs on ranks, and what is done to them.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "program.rs"]
pub mod program;
#[path = "whole.rs"]
pub mod whole;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use program::{FIT, XRFIT, succeed};
use tempfile::TempDir;
use whole::{Whole, whole};

/// A run that takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(60);
/// In which a run that was asked to stop has to end.
pub const SOON: Duration = Duration::from_secs(10);

/// A scan that takes some seconds to map, on one thread.
pub struct Case {
    pub folder: TempDir,
}

impl Case {
    pub fn new([rows, cols]: [usize; 2]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let case = Self { folder };
        let mut simulate = Command::new(XRFIT);
        simulate.args(["simulate", "--channels", "1024", "--counts", "1500", "--rows"]);
        simulate.args([&rows.to_string(), "--cols", &cols.to_string(), "-o"]);
        succeed(simulate.arg(case.path("scan.h5")));
        case
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `xrfit map` into a file of this name, on so many ranks.
    pub fn map(&self, ranks: usize, name: &str, options: &[&str]) -> Command {
        let mut command = match ranks {
            1 => Command::new(XRFIT),
            _ => {
                let mut mpirun = Command::new("mpirun");
                mpirun
                    .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
                    .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
                mpirun.args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
                mpirun.arg(XRFIT);
                mpirun
            }
        };
        command.arg("map").arg(self.path("scan.h5")).args(FIT).args(["--engine", "cpu"]);
        command.args(["--threads", "1"]).args(options).arg("-o").arg(self.path(name));
        if !options.contains(&"--tile-pixels") {
            command.args(["--tile-pixels", "29"]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// The maps of a run that nothing happens to.
    pub fn uninterrupted(&self) -> Whole {
        succeed(&mut self.map(1, "whole.h5", &[]));
        assert!(!self.path("whole.h5.ledger").exists(), "a ledger of a complete map");
        whole(&self.path("whole.h5"))
    }

    /// Starts a run whose words go to a file.
    pub fn start(&self, command: &mut Command) -> Started {
        let log = self.path("log");
        let file = fs::File::create(&log).expect("a log");
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the program starts");
        Started { child, log }
    }
}

pub struct Started {
    pub child: Child,
    log: PathBuf,
}

impl Started {
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            if start.elapsed() > limit {
                self.child.kill().expect("a child to kill");
                panic!("no end after {limit:?}; it said:\n{}", self.said());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// The processes that run xrfit: itself, or the ranks that mpirun started.
    pub fn ranks(&self) -> Vec<u32> {
        let own = self.child.id();
        let about = |id: u32, name: &str| {
            fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default()
        };
        let is_xrfit = |id: &u32| about(*id, "comm").trim() == "xrfit";
        let parent = |id: u32| -> Option<u32> {
            let status = about(id, "status");
            status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut ranks: Vec<u32> =
            ids.filter(|&id| id == own || parent(id) == Some(own)).filter(is_xrfit).collect();
        ranks.sort_unstable();
        ranks
    }

    /// Waits until the ledger says that some pixels are done.
    pub fn wait_for_pixels(&mut self, ledger: &Path, least: usize) {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            let progress = xrfit::maps::progress(ledger).ok().flatten();
            if progress.is_some_and(|p| p.done >= least) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("ended before {least} pixels: {status}\n{}", self.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{least} pixels are not done after {LIMIT:?}:\n{}", self.said());
    }
}

pub fn signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    assert!(
        kill.args([&format!("-{name}"), &process.to_string()]).status().expect("kill").success()
    );
}

pub fn has_mpi() -> bool {
    let found = cfg!(feature = "mpi") && Command::new("mpirun").arg("--version").output().is_ok();
    if !found {
        println!("skipped: no mpirun, so several ranks were not tried");
    }
    found
}

/// Begins a map and stops it.
pub fn stopped(case: &Case, options: &[&str]) {
    let mut run = case.start(&mut case.map(1, "cut.h5", options));
    run.wait_for_pixels(&case.path("cut.h5.ledger"), 50);
    signal(run.child.id(), "TERM");
    assert_eq!(run.ended(SOON).code(), Some(75), "{}", run.said());
}

/// What a run says that is refused.
pub fn refused(case: &Case, options: &[&str]) -> String {
    let output = case.map(1, "cut.h5", options).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{options:?}: {said}");
    said
}
