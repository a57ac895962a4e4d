//! Promise: the memory of a rank is bounded by its tile, not by the scan: 200 x 200 pixels of 2048 channels, 328 MB as
//! the 32-bit numbers that are fitted, are simulated and mapped by processes that never hold half of that.
//!
//! The allowed 150 MB is what does not grow with the scan: up to 64 MiB of unpacked chunks in work, a tile of 2500
//! pixels (20 MB), the chunks that the next tile needs again, the program, HDF5 and MPI. The maps, which
//! do grow, are 4 MB.

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use program::{FIT, XRFIT};

/// Rows, and columns.
const SIDE: &str = "200";
/// Allowed peak of a process \[kB\].
const ALLOWED: usize = 150_000;
/// Between two looks at a process, which takes its peak with it when it ends.
const LOOK: Duration = Duration::from_millis(2);
/// A command that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A number in `/proc/ID/status`; `None` once the process has ended.
fn status(id: u32, name: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The process itself, and those that it started.
fn family(id: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc can be listed").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&other| other == id || status(other, "PPid:") == Some(id as usize)).collect()
}

fn is_xrfit(id: u32) -> bool {
    fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == Path::new(XRFIT))
}

/// Runs a command to its end; the peak resident memory of each of its xrfit processes \[kB\].
fn peaks(command: &mut Command, processes: usize) -> Vec<usize> {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let err = log.reopen().expect("a temporary file opens");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err);
    let mut child = command.spawn().expect("the program starts");
    let (start, mut peaks) = (Instant::now(), BTreeMap::new());
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        if peaks.len() < processes {
            peaks.extend(
                family(child.id()).into_iter().filter(|&id| is_xrfit(id)).map(|id| (id, 0)),
            );
        }
        for (&id, peak) in &mut peaks {
            *peak = status(id, "VmHWM:").unwrap_or(0).max(*peak);
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("a child to kill");
            panic!("{command:?} hangs");
        }
        thread::sleep(LOOK);
    };
    let said = fs::read_to_string(log.path()).expect("what it said");
    assert!(ended.success(), "{command:?}: {ended}\n{said}");
    assert_eq!(peaks.len(), processes, "xrfit processes seen of {command:?}");
    peaks.into_values().collect()
}

fn expect_bounded(what: &str, peaks: &[usize]) {
    for peak in peaks {
        println!("{what}: {} MB", peak / 1000);
        assert!(*peak <= ALLOWED, "{what}: a process held {peak} kB, allowed {ALLOWED} kB");
    }
}

fn map(launcher: &[&str], scan: &Path, out: &Path) -> Command {
    let words = [launcher, &[XRFIT, "map"]].concat();
    let mut command = Command::new(words[0]);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(&words[1..]).arg(scan).arg("-o").arg(out).args(FIT).args(["--optimizer", "nnls"]);
    command
}

#[test]
fn memory_is_bounded_by_the_tile_not_by_the_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let scan = path("scan.h5");
    let mut simulate = Command::new(XRFIT);
    simulate.args(["simulate", "--rows", SIDE, "--cols", SIDE, "--counts", "2000", "-o"]);
    expect_bounded("simulate", &peaks(simulate.arg(&scan), 1));
    let mut alone = map(&[], &scan, &path("alone.h5"));
    expect_bounded("map, 2 threads", &peaks(alone.args(["--threads", "2"]), 1));
    if !cfg!(feature = "mpi") || Command::new("mpirun").arg("--version").output().is_err() {
        println!("skipped: no mpirun, so the memory of several ranks was not looked at");
        return;
    }
    let launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"];
    let mut ranks = map(&launcher, &scan, &path("ranks.h5"));
    expect_bounded("map, each of 2 ranks", &peaks(ranks.args(["--threads", "1"]), 2));
}
