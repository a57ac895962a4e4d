//! Any number of MPI ranks stores what one rank stores, messages arrive whole whatever their
//! length, waiting costs no core, and without a launcher there is no MPI.

#![cfg(feature = "mpi")]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use xrfit::cluster::{Cluster, Event, serve};
use xrfit::error::Result;

#[path = "common/ranks.rs"]
mod ranks;
use ranks::{Ended, as_rank, end_of, live, on_ranks, this_executable};

#[test]
#[ignore = "the program of a rank, which the other tests start"]
fn rank_program() {
    live(|program, cluster| match program {
        "deliver" => deliver(cluster),
        "carry" => carry(cluster),
        "wait" => wait(cluster),
        _ => describe(cluster),
    });
}

impl Ended {
    /// What a rank printed after `name`.
    fn value(&self, name: &str) -> &str {
        let line = self.out.lines().find_map(|line| line.split_once(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no `{name}` in {self:#?}")).1
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
            if let Some(Event::Message { bytes: heard_bytes, .. }) =
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
            if let Some(Event::Ready { rank }) = cluster.receive(Duration::from_secs(1)) {
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

/// Prints this rank's place.
fn describe(cluster: &mut dyn Cluster) -> Result<()> {
    let (rank, size) = (cluster.rank(), cluster.size());
    let threads = size * cluster.local_threads();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(cluster.local(), (rank, size), "place among the ranks of this machine");
    assert!(threads <= cores.max(size), "threads of {size} ranks on {cores} cores: {threads}");
    println!("\nplace: {rank} of {size}\nby: {}", cluster.describe());
    Ok(())
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
    for ranks in [1, 3] {
        let Some(ended) = on_ranks(ranks, "describe") else { return };
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.value("place").ends_with(&format!(" of {ranks}")), "{ended:#?}");
        assert!(ended.value("by").starts_with("Open MPI v"), "{:?}", ended.value("by"));
    }
}
