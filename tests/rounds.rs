//! Promise: a round of tickets ends early on all ranks when one of them is asked to, with the results that were in
//! hand; and rank 0 gives up on a rank that hangs, and names it, but on none that waited for rank 0. Here ranks are threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xrfit::cluster::serve::Round;
use xrfit::cluster::{Cluster, channels, fail, serve};
use xrfit::error::Error;

const NEVER: Duration = Duration::MAX;

#[test]
fn a_rank_that_is_asked_to_stop_ends_the_round_on_all() {
    for (ranks, asked) in [(1, 0), (3, 0), (3, 2), (7, 5)] {
        let (begun, stored) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let program = |cluster: &mut dyn Cluster| {
            let stop = AtomicBool::new(false);
            let rank = cluster.rank();
            let work = |_| {
                begun.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(3));
                stop.fetch_or(rank == asked && begun.load(Ordering::SeqCst) > 20, Ordering::SeqCst);
                Ok(vec![7])
            };
            let store = |_, bytes: Vec<u8>| {
                assert_eq!(bytes, [7], "a result");
                stored.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let round = Round { tickets: 100_000, stop: &stop, patience: NEVER };
            let served = serve::run(cluster, round, work, store);
            assert!(matches!(served, Err(Error::Stopped)), "rank {rank} of {ranks}: {served:?}");
        };
        channels::run(ranks, program).expect("all ranks end");
        let (begun, stored) = (begun.into_inner(), stored.into_inner());
        assert_eq!(stored, begun, "results of {ranks} ranks, rank {asked} was asked");
        assert!((20..200).contains(&begun), "{begun} tickets of {ranks} ranks");
    }
}

#[test]
fn a_round_whose_last_ticket_is_in_hand_is_complete() {
    let stop = AtomicBool::new(true);
    let round = Round { tickets: 0, stop: &stop, patience: NEVER };
    let program =
        |cluster: &mut dyn Cluster| serve::run(cluster, round, |_| Ok(Vec::new()), |_, _| Ok(()));
    for served in channels::run(3, program).expect("all ranks end") {
        assert!(served.is_ok(), "{served:?}");
    }
}

#[test]
fn ranks_that_do_not_finish_in_time_are_cut_off_with_the_code_to_resume() {
    let start = Instant::now();
    let program = |cluster: &mut dyn Cluster| {
        let stop = AtomicBool::new(cluster.rank() == 0);
        let slow = cluster.rank() == 1;
        let work = |_| {
            thread::sleep(Duration::from_secs(if slow { 9 } else { 0 }));
            Ok(Vec::new())
        };
        // rank 1 has a ticket before rank 0 is asked
        if cluster.rank() == 0 {
            stop.store(false, Ordering::SeqCst);
        }
        let store = |_, _| {
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::SeqCst);
            Ok(())
        };
        let round = Round { tickets: 100, stop: &stop, patience: NEVER };
        let _ = serve::run(cluster, round, work, store);
    };
    let ended = channels::run(2, program);
    assert!(ended.is_err_and(|code| code == 75), "the job's exit code");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_rank_that_hangs_is_named() {
    let program = |cluster: &mut dyn Cluster| {
        let hangs = cluster.rank() == 2;
        let work = |ticket| {
            thread::sleep(Duration::from_millis(if hangs && ticket > 30 { 8000 } else { 5 }));
            Ok(Vec::new())
        };
        let stop = AtomicBool::new(false);
        let round = Round { tickets: 100_000, stop: &stop, patience: Duration::from_millis(1500) };
        if let Err(error) = serve::run(cluster, round, work, |_, _| Ok(())) {
            if cluster.rank() == 0 {
                let said = error.to_string();
                assert!(said.starts_with("rank 2: has not answered for "), "{said}");
            }
            fail(cluster, &error);
        }
    };
    assert_eq!(channels::run(4, program).err(), Some(1), "the job's exit code");
}

#[test]
fn a_rank_is_not_blamed_for_the_time_that_rank_0_spent_on_its_file() {
    let program = |cluster: &mut dyn Cluster| {
        let work = |_| {
            thread::sleep(Duration::from_millis(1));
            Ok(Vec::new())
        };
        let mut stored = 0;
        let store = |_, _| {
            stored += 1;
            thread::sleep(Duration::from_millis(if stored % 20 == 0 { 4000 } else { 0 }));
            Ok(())
        };
        let stop = AtomicBool::new(false);
        let round = Round { tickets: 50, stop: &stop, patience: Duration::from_millis(2500) };
        serve::run(cluster, round, work, store)
    };
    for served in channels::run(3, program).expect("all ranks end") {
        assert!(served.is_ok(), "{served:?}");
    }
}
