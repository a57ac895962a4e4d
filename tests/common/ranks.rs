//! Starts the running test again as ranks of an MPI job, or as a process without a launcher.
//!
//! There the ignored test `rank_program` is what a rank runs; see [`live`].

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xrfit::cluster::{self, Cluster, VARIABLES, fail, refuse};
use xrfit::error::Result;

/// Says which program a rank runs.
const PROGRAM: &str = "XRFIT_TEST_RANK_PROGRAM";
/// A job that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// How a process ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub time: Duration,
}

/// Runs a command to its end, at most for [`LIMIT`].
pub fn end_of(command: &mut Command) -> Ended {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let file = |path| File::create(path).expect("a temporary file");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file(&out))
        .stderr(file(&err))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).expect("output")).into_owned();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            let time = start.elapsed();
            return Ended { code: status.code(), out: read(&out), err: read(&err), time };
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("a child to kill");
            panic!("{command:?} hangs; it wrote {}{}", read(&out), read(&err));
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// This executable as a rank that runs `program`.
pub fn as_rank<'a>(command: &'a mut Command, program: &str) -> &'a mut Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env(PROGRAM, program).env("RUST_BACKTRACE", "0").args([
        "--exact",
        "rank_program",
        "--ignored",
        "--nocapture",
    ])
}

/// The test that is running.
pub fn this_executable() -> PathBuf {
    std::env::current_exe().expect("a path")
}

/// Runs `program` on ranks, or `None` and a line where there is no Open MPI to start them.
pub fn on_ranks(ranks: usize, program: &str) -> Option<Ended> {
    let version = Command::new("mpirun").arg("--version").stdin(Stdio::null()).output();
    if !version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("Open MPI")) {
        println!("skipped {program} on {ranks} ranks: there is no `mpirun` of Open MPI");
        return None;
    }
    let mut mpirun = Command::new("mpirun");
    mpirun.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    mpirun.args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    mpirun.arg(this_executable());
    Some(end_of(as_rank(&mut mpirun, program)))
}

/// The life of a rank: joins, runs the program that it was started for, and fails if that does.
pub fn live(run: impl FnOnce(&str, &mut dyn Cluster) -> Result<()>) {
    let Ok(program) = std::env::var(PROGRAM) else {
        println!("skipped: the other tests start this one");
        return;
    };
    let mut cluster = cluster::join().unwrap_or_else(|error| refuse(&error));
    if let Err(error) = run(&program, &mut *cluster) {
        fail(&mut *cluster, &error);
    }
}
