//! Whatever kills one MPI rank ends the job on all: within seconds, with a non-zero exit code and
//! one message that names the rank.

#![cfg(feature = "mpi")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use rayon::prelude::*;
use xrfit::cluster::{Cluster, serve};
use xrfit::error::{Error, Result};

#[path = "common/ranks.rs"]
mod ranks;
use ranks::{Ended, as_rank, end_of, live, on_ranks, this_executable};

/// How soon a job must end, its start included.
const SOON: Duration = Duration::from_secs(10);

#[test]
#[ignore = "the program of a rank, which the other tests start"]
fn rank_program() {
    live(|program, cluster| match program {
        "agree" => agree(cluster),
        harm => serve_until_harm(cluster, harm),
    });
}

/// The job failed in time and with one message, this one; no rank ended as if all were well.
fn assert_failed(ended: &Ended, code: i32, message: &str) {
    assert_eq!(ended.code, Some(code), "exit code of {ended:#?}");
    assert!(ended.time < SOON, "the job ended after {:?}", ended.time);
    let said: Vec<_> = ended.err.lines().filter(|line| line.starts_with("xrfit: ")).collect();
    assert_eq!(said.len(), 1, "messages of {ended:#?}");
    assert!(said[0].contains(message), "message {:?}, expected {message:?}", said[0]);
    assert!(!ended.out.contains("test result: ok"), "{ended:#?}");
}

/// A result of some length.
fn result_of(ticket: usize) -> Vec<u8> {
    vec![ticket as u8; ticket * 3701 % 10_007]
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
    assert_failed(&ended, 101, "rank 2: ticket ");
}

#[test]
fn a_panic_in_a_thread_of_a_rank_ends_the_job() {
    let Some(ended) = on_ranks(4, "panic of a thread") else { return };
    assert_failed(&ended, 101, "rank 2: pixel ");
}

#[test]
fn a_panic_in_the_second_thread_of_rank_0_ends_the_job() {
    let Some(ended) = on_ranks(4, "panic on rank 0") else { return };
    assert_failed(&ended, 101, "rank 0: ticket ");
}

#[test]
fn an_error_on_one_rank_ends_the_job() {
    for (harm, message) in [
        ("error", "rank 2: scan.h5: chunk of ticket "),
        ("error on rank 0", "rank 0: scan.h5: chunk of ticket "),
        ("error of storing", "rank 0: maps.h5: the disk is full"),
    ] {
        let Some(ended) = on_ranks(4, harm) else { return };
        assert_failed(&ended, 1, message);
    }
}

#[test]
fn the_same_error_on_all_ranks_is_said_once() {
    let Some(ended) = on_ranks(4, "error on all") else { return };
    assert_failed(&ended, 1, "scan.h5: the file is gone");
}

#[test]
fn a_killed_rank_ends_the_job() {
    let Some(ended) = on_ranks(4, "death") else { return };
    assert_eq!(ended.code, Some(137), "{ended:#?}");
    assert!(ended.time < SOON, "the job ended after {:?}", ended.time);
    assert!(ended.err.contains("rank 2"), "mpirun names the rank: {ended:#?}");
}

/// Agrees, first on success, then on a failure of two ranks.
fn agree(cluster: &mut dyn Cluster) -> Result<()> {
    let rank = cluster.rank();
    assert_eq!(cluster.agree(Ok(rank))?, rank);
    let error = cluster.agree::<()>(match rank {
        0 => Ok(()),
        _ => Err(Error::file("scan.mda", format!("rank {rank} cannot read it"))),
    });
    Err(error.expect_err("a failure on ranks 1 and 2"))
}

#[test]
fn ranks_that_fail_together_say_so_once() {
    let Some(ended) = on_ranks(3, "agree") else { return };
    assert_failed(&ended, 1, "rank 1: scan.mda: rank 1 cannot read it");
}

#[test]
fn a_launcher_of_another_mpi_is_refused() {
    if on_ranks(1, "error of storing").is_none() {
        return;
    }
    let mut command = Command::new(this_executable());
    let ended = end_of(as_rank(&mut command, "agree").env("PMI_SIZE", "3").env("PMI_RANK", "0"));
    assert_failed(&ended, 1, "mpiexec started several processes, but Open MPI");
}
