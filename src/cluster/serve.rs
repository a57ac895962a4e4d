//! Hands every ticket of a run to one rank and brings every result to rank 0.
//!
//! A ticket is the number of a piece of work (a tile); what it means is the caller's. A rank takes
//! the next ticket when it is free, so no rank waits for a slow one. Rank 0 works too: a second
//! thread of it does, while the first serves the others and stores results.

use std::ops::ControlFlow;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::Cluster;
use super::desk::{Desk, Outcome, Own, Queue, seal};
use super::failure::{fail, known};
use super::worker::{Counter, one_by_one, reading_ahead};
use crate::error::{Error, Result};

/// How long a failed run lets rank 0's own ticket finish, so that files can be closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Works on the tickets `0..tickets`, each once, on some rank. All ranks call it.
///
/// * `work` computes the result of a ticket, on every rank.
/// * `sink` takes every ticket and its result on rank 0, in the order in which they arrive.
///
/// # Errors
///
/// The first error of `work` on any rank or of `sink`, on rank 0 and on the rank that failed. The
/// other ranks wait for the end of the job: pass the error to [`fail`]. When rank 0 works on a long
/// ticket of its own, the job ends here.
pub fn run<W, S>(cluster: &mut dyn Cluster, tickets: usize, work: W, sink: S) -> Result<()>
where
    W: FnMut(usize) -> Result<Vec<u8>> + Send,
    S: FnMut(usize, Vec<u8>) -> Result<()>,
{
    if cluster.rank() > 0 {
        return work_for_rank_0(cluster, |counter| one_by_one(counter, work));
    }
    work_on_rank_0(cluster, tickets, |counter| one_by_one(counter, work), sink)
}

/// As [`run`], where a rank reads what the next ticket needs while it works on the last one.
///
/// * `read` gets the input of a ticket.
/// * `work` computes its result, on another thread.
///
/// # Errors
///
/// As [`run`], and those of `read`.
pub fn run_reading_ahead<I, R, W, S>(
    cluster: &mut dyn Cluster,
    tickets: usize,
    read: R,
    work: W,
    sink: S,
) -> Result<()>
where
    I: Send,
    R: FnMut(usize) -> Result<I> + Send,
    W: FnMut(usize, I) -> Result<Vec<u8>> + Send,
    S: FnMut(usize, Vec<u8>) -> Result<()>,
{
    if cluster.rank() > 0 {
        return work_for_rank_0(cluster, |counter| reading_ahead(counter, read, work));
    }
    work_on_rank_0(cluster, tickets, |counter| reading_ahead(counter, read, work), sink)
}

/// Rank 0's own work, beside the thread that serves.
struct OwnCounter<'run> {
    queue: &'run Queue,
    results: SyncSender<Outcome>,
}

impl Counter for OwnCounter<'_> {
    fn next(&mut self) -> Option<usize> {
        self.queue.take()
    }

    fn give(&mut self, ticket: usize, result: Result<Vec<u8>>) -> ControlFlow<()> {
        let failed = result.is_err();
        // Nobody listens any more when the run has failed elsewhere.
        let unheard = self.results.send(result.map(|bytes| (ticket, bytes))).is_err();
        if unheard || failed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn work_on_rank_0<S>(
    cluster: &mut dyn Cluster,
    tickets: usize,
    work: impl FnOnce(&mut OwnCounter) + Send,
    sink: S,
) -> Result<()>
where
    S: FnMut(usize, Vec<u8>) -> Result<()>,
{
    let queue = Queue::new(tickets);
    let (give, own) = mpsc::sync_channel(1);
    let mut counter = OwnCounter { queue: &queue, results: give };
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&mut counter));
        let mut desk = Desk::new(cluster, &queue, sink, Own { results: own, worker: Some(worker) });
        let served = desk.serve();
        if let Err(error) = &served {
            let worker = desk.close();
            if !worker.is_none_or(|worker| ends_within(PATIENCE, &worker)) {
                fail(cluster, error);
            }
        }
        served
    })?;
    cluster.broadcast(Vec::new());
    Ok(())
}

/// The work of the other ranks.
struct RankCounter<'run> {
    cluster: &'run mut dyn Cluster,
    error: Option<Error>,
}

impl Counter for RankCounter<'_> {
    fn next(&mut self) -> Option<usize> {
        self.cluster.next_ticket()
    }

    fn give(&mut self, ticket: usize, result: Result<Vec<u8>>) -> ControlFlow<()> {
        match result {
            Ok(bytes) => {
                self.cluster.send(&seal(bytes, Some(ticket)));
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.cluster.send(&seal(error.to_string().into_bytes(), None));
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn work_for_rank_0(cluster: &mut dyn Cluster, work: impl FnOnce(&mut RankCounter)) -> Result<()> {
    let mut counter = RankCounter { cluster, error: None };
    work(&mut counter);
    if let Some(error) = counter.error {
        return Err(known(cluster.rank(), error));
    }
    // the desk still serves others; rank 0 tells when it is done, and what comes next is not for it
    cluster.broadcast(Vec::new());
    Ok(())
}

fn ends_within(limit: Duration, worker: &ScopedJoinHandle<'_, ()>) -> bool {
    let start = Instant::now();
    while !worker.is_finished() && start.elapsed() < limit {
        thread::sleep(Duration::from_millis(2));
    }
    worker.is_finished()
}
