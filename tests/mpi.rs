//! Any number of MPI ranks stores what one rank stores, waiting costs no core, and whatever kills
//! one rank ends the job on all: within seconds, with a non-zero exit code and one message that
//! names the rank.
//!
//! The tests start this executable again under `mpirun`; there [`rank_program`] is the rank.

#![cfg(feature = "mpi")]

use std::fs::File;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use xrfit::cluster::{self, Cluster, VARIABLES, fail, refuse, serve};
use xrfit::error::{Error, Result};

/// Says which program a rank runs.
const PROGRAM: &str = "XRFIT_TEST_RANK_PROGRAM";
/// A job that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// How a process ended and what it wrote.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    time: Duration,
}

impl Ended {
    /// What `program` printed after `name`.
    fn value(&self, name: &str) -> &str {
        let line = self.out.lines().find_map(|line| line.split_once(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no `{name}` in {self:#?}")).1
    }

    /// The job failed in time, and its only message is this.
    fn failed_with(&self, code: i32, message: &str) {
        assert_eq!(self.code, Some(code), "exit code of {self:#?}");
        assert!(self.time < Duration::from_secs(10), "the job ended after {:?}", self.time);
        let said: Vec<_> = self.err.lines().filter(|line| line.starts_with("xrfit: ")).collect();
        assert_eq!(said.len(), 1, "messages of {self:#?}");
        assert!(said[0].contains(message), "message {:?}, expected {message:?}", said[0]);
    }
}

/// Runs a command to its end, at most for [`LIMIT`].
fn end_of(command: &mut Command) -> Ended {
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
fn as_rank<'a>(command: &'a mut Command, program: &str) -> &'a mut Command {
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

fn this_executable() -> std::path::PathBuf {
    std::env::current_exe().expect("a path")
}

/// Runs `program` on ranks, or `None` and a line where there is no Open MPI to start them.
fn on_ranks(ranks: usize, program: &str) -> Option<Ended> {
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

#[test]
#[ignore = "the program of a rank, which the other tests start"]
fn rank_program() {
    let Ok(program) = std::env::var(PROGRAM) else {
        println!("skipped: the other tests start this one");
        return;
    };
    let mut cluster = cluster::join().unwrap_or_else(|error| refuse(&error));
    let ran = match program.as_str() {
        "deliver" => deliver(&mut *cluster),
        "share" => share(&mut *cluster),
        "carry" => carry(&mut *cluster),
        "wait" => wait(&mut *cluster),
        "describe" => {
            println!("\nplace: {} of {}", cluster.rank(), cluster.size());
            println!("by: {}", cluster.describe());
            xrfit::report::start_log(cluster.rank());
            println!("threads: {}", cluster.local_threads());
            Ok(())
        }
        _ => serve_until_harm(&mut *cluster, &program),
    };
    if let Err(error) = ran {
        fail(&mut *cluster, &error);
    }
}

fn result_of(ticket: usize) -> Vec<u8> {
    (0..ticket * 3701 % 10_007).map(|i| (ticket * 31 + i) as u8).collect()
}

/// Stores 101 results and prints what is stored, by ticket.
fn deliver(cluster: &mut dyn Cluster) -> Result<()> {
    let mut stored = vec![Vec::new(); 101];
    let work = |ticket| {
        thread::sleep(Duration::from_micros(300));
        Ok(result_of(ticket))
    };
    serve::run(cluster, stored.len(), work, |ticket, bytes| {
        assert!(stored[ticket].is_empty(), "ticket {ticket} came twice");
        stored[ticket] = bytes;
        Ok(())
    })?;
    if cluster.rank() == 0 {
        let expected: Vec<_> = (0..101).map(result_of).collect();
        println!("\nstored: {}", if stored == expected { "all" } else { "other results" });
    }
    Ok(())
}

#[test]
fn any_number_of_ranks_delivers_the_same() {
    for ranks in [1, 2, 3, 7] {
        let Some(ended) = on_ranks(ranks, "deliver") else { return };
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.value("stored"), "all", "{ranks} ranks");
        assert!(!ended.err.contains("xrfit:"), "{ended:#?}");
    }
}

/// Agrees, and prints what each rank knows of its machine.
fn share(cluster: &mut dyn Cluster) -> Result<()> {
    let (rank, size) = (cluster.rank(), cluster.size());
    let (local, locals) = cluster.local();
    assert_eq!(cluster.agree(Ok(rank))?, rank);
    assert!(local == rank && locals == size, "rank {rank} is {local} of {locals} here");
    let threads = size * cluster.local_threads();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert!(threads <= cores.max(size), "threads of {size} ranks on {cores} cores: {threads}");
    let error = cluster.agree::<()>(match rank {
        0 => Ok(()),
        _ => Err(Error::file("scan.mda", format!("rank {rank} cannot read it"))),
    });
    Err(error.expect_err("a failure on ranks 1 and 2"))
}

#[test]
fn ranks_that_fail_together_say_so_once() {
    let Some(ended) = on_ranks(3, "share") else { return };
    ended.failed_with(1, "rank 1: scan.mda: rank 1 cannot read it");
}

/// Sends more than one part holds in both directions.
fn carry(cluster: &mut dyn Cluster) -> Result<()> {
    let length = (130 << 20) + 13;
    let bytes: Vec<_> = (0..length).map(|i: usize| (i % 251) as u8).collect();
    let start = Instant::now();
    if cluster.rank() > 0 {
        cluster.send(&bytes);
    } else {
        let mut heard = 0;
        while heard < cluster.size() - 1 {
            if let Some(cluster::Event::Message { bytes: heard_bytes, .. }) =
                cluster.receive(Duration::from_secs(1))
            {
                assert!(heard_bytes == bytes, "{} bytes arrived", heard_bytes.len());
                heard += 1;
            }
        }
        println!("\nsent [ms]: {}", start.elapsed().as_millis());
    }
    cluster.barrier();
    let start = Instant::now();
    let told = cluster.broadcast(if cluster.rank() == 0 { bytes.clone() } else { Vec::new() });
    assert!(told == bytes, "{} bytes told", told.len());
    if cluster.rank() == 0 {
        println!("\ntold [ms]: {}", start.elapsed().as_millis());
    }
    Ok(())
}

#[test]
fn long_messages_arrive_whole() {
    let Some(ended) = on_ranks(3, "carry") else { return };
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    println!(
        "130 MiB from 2 ranks: {} ms; to 2 ranks: {} ms",
        ended.value("sent [ms]"),
        ended.value("told [ms]")
    );
}

/// User and system time of this process [s].
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// Ranks 0 and 2 wait for rank 1, in a run, a broadcast and a barrier; then rank 0 answers quickly.
fn wait(cluster: &mut dyn Cluster) -> Result<()> {
    let second = Duration::from_secs(1);
    let before = cpu_seconds();
    let rank = cluster.rank();
    let work = |_| {
        thread::sleep(if rank == 1 { second } else { Duration::ZERO });
        Ok(vec![0; 7])
    };
    serve::run(cluster, 3, work, |_, _| Ok(()))?;
    if rank == 1 {
        thread::sleep(second);
    }
    cluster.barrier();
    if rank == 0 {
        thread::sleep(second);
    }
    cluster.broadcast(vec![0; 13]);
    println!("\ncpu of rank {rank} [s]: {:.3}", cpu_seconds() - before);
    answer(cluster)
}

/// How long rank 1 waits for a ticket of an idle rank 0.
fn answer(cluster: &mut dyn Cluster) -> Result<()> {
    let mut times = Vec::new();
    if cluster.rank() == 0 {
        let (mut tickets, mut asking) = (0..201, cluster.size() - 1);
        while asking > 0 {
            if let Some(cluster::Event::Ready { rank }) = cluster.receive(Duration::from_secs(1)) {
                let ticket = tickets.next().filter(|_| rank == 1);
                asking -= usize::from(ticket.is_none());
                cluster.grant(rank, ticket);
            }
        }
        return Ok(());
    }
    loop {
        let start = Instant::now();
        let ticket = cluster.next_ticket();
        times.push(start.elapsed());
        if ticket.is_none() {
            break;
        }
        thread::sleep(Duration::from_millis(3));
    }
    times.sort_unstable();
    println!("\nanswer to rank {} [us]: {}", cluster.rank(), times[times.len() / 2].as_micros());
    Ok(())
}

#[test]
fn waiting_costs_no_core() {
    if !std::path::Path::new("/proc/self/stat").exists() {
        println!("skipped: there is no /proc here that tells processor time");
        return;
    }
    let Some(ended) = on_ranks(3, "wait") else { return };
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    println!("median answer of an idle rank 0: {} us", ended.value("answer to rank 1 [us]"));
    for rank in 0..3 {
        let cpu = ended.value(&format!("cpu of rank {rank} [s]"));
        println!("processor time of rank {rank} in 3 s: {cpu} s");
        assert!(cpu.parse::<f64>().expect("seconds") < 0.5, "processor time of rank {rank}: {cpu}");
    }
}

/// Serves until `harm` comes to a rank; no ticket is the last.
fn serve_until_harm(cluster: &mut dyn Cluster, harm: &str) -> Result<()> {
    let rank = cluster.rank();
    let work = |ticket| {
        thread::sleep(Duration::from_millis(5));
        if ticket < 20 {
            return Ok(result_of(ticket));
        }
        match (harm, rank) {
            ("panic", 2) | ("panic on rank 0", 0) => panic!("ticket {ticket} is odd"),
            ("panic of a thread", 2) => {
                (0..64).into_par_iter().for_each(|i| assert!(i % 2 == 0, "pixel {i} is odd"));
            }
            ("error", 2) | ("error on rank 0", 0) => {
                return Err(Error::file("scan.h5", format!("chunk of ticket {ticket} is damaged")));
            }
            ("error on all", _) => return Err(Error::file("scan.h5", "the file is gone")),
            ("death", 2) => kill_this_process(),
            _ => {}
        }
        Ok(result_of(ticket))
    };
    serve::run(cluster, usize::MAX / 2, work, |ticket, _| match harm {
        "error of storing" if ticket == 20 => Err(Error::file("maps.h5", "the disk is full")),
        _ => Ok(()),
    })
}

fn kill_this_process() {
    let id = std::process::id().to_string();
    Command::new("kill").args(["-9", &id]).status().expect("kill");
}

#[test]
fn a_panic_of_one_rank_ends_the_job() {
    let Some(ended) = on_ranks(4, "panic") else { return };
    ended.failed_with(101, "rank 2: ticket ");
}

#[test]
fn a_panic_in_a_thread_of_a_rank_ends_the_job() {
    let Some(ended) = on_ranks(4, "panic of a thread") else { return };
    ended.failed_with(101, "rank 2: pixel ");
}

#[test]
fn a_panic_in_the_second_thread_of_rank_0_ends_the_job() {
    let Some(ended) = on_ranks(4, "panic on rank 0") else { return };
    ended.failed_with(101, "rank 0: ticket ");
}

#[test]
fn an_error_on_one_rank_ends_the_job() {
    for (harm, message) in [
        ("error", "rank 2: scan.h5: chunk of ticket "),
        ("error on rank 0", "rank 0: scan.h5: chunk of ticket "),
        ("error of storing", "rank 0: maps.h5: the disk is full"),
    ] {
        let Some(ended) = on_ranks(4, harm) else { return };
        ended.failed_with(1, message);
    }
}

#[test]
fn the_same_error_on_all_ranks_is_said_once() {
    let Some(ended) = on_ranks(4, "error on all") else { return };
    ended.failed_with(1, "scan.h5: the file is gone");
}

#[test]
fn a_killed_rank_ends_the_job() {
    let Some(ended) = on_ranks(4, "death") else { return };
    assert_eq!(ended.code, Some(137), "{ended:#?}");
    assert!(ended.time < Duration::from_secs(10), "the job ended after {:?}", ended.time);
    assert!(ended.err.contains("rank 2"), "mpirun names the rank: {ended:#?}");
}

#[test]
fn a_run_without_mpirun_starts_at_once() {
    let runs: Vec<_> =
        (0..5).map(|_| end_of(as_rank(&mut Command::new(this_executable()), "describe"))).collect();
    for ended in &runs {
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.value("place"), "0 of 1");
        assert_eq!(ended.value("by"), "one process, without MPI");
    }
    let fastest = runs.iter().map(|ended| ended.time).min().expect("five runs");
    println!("the fastest of 5 runs on one process: {fastest:?}");
    assert!(fastest < Duration::from_millis(50), "the fastest of 5 runs: {fastest:?}");
}

#[test]
fn a_run_under_mpirun_says_what_carries_it() {
    let Some(ended) = on_ranks(1, "describe") else { return };
    assert_eq!(ended.value("place"), "0 of 1");
    assert!(ended.value("by").starts_with("Open MPI v"), "{:?}", ended.value("by"));
}

#[test]
fn a_launcher_of_another_mpi_is_refused() {
    if on_ranks(1, "describe").is_none() {
        return;
    }
    let mut command = Command::new(this_executable());
    let ended = end_of(as_rank(&mut command, "deliver").env("PMI_SIZE", "3").env("PMI_RANK", "0"));
    ended.failed_with(1, "mpiexec started several processes, but Open MPI");
}
