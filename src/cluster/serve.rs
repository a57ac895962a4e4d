//! Hands every ticket of a run to one rank and brings every result to rank 0.
//!
//! A ticket is the number of a piece of work (a tile); what it means is the caller's. A rank takes
//! the next ticket when it is free, so no rank waits for a slow one. Rank 0 works too: a second
//! thread of it does, while the first serves the others and stores results.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::Cluster;
use super::desk::{Desk, Outcome, Own, Queue, Sealed, seal};
use super::failure::{fail, known};
use super::worker::{Counter, one_by_one, reading_ahead};
use crate::error::{Error, Result};

/// How long a failed run lets rank 0's own ticket finish, so that files can be closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tickets of a run, and what may end it before the last one.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// How many there are.
    pub tickets: usize,
    /// Set on any rank it asks for an early end: no rank begins a further ticket, and the results of those in hand
    /// still count.
    pub stop: &'a AtomicBool,
    /// A rank that gives no sign of life for so long, with a ticket in hand, hangs.
    pub patience: Duration,
}

impl From<usize> for Round<'static> {
    /// So many tickets, to the last.
    fn from(tickets: usize) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { tickets, stop: &NEVER, patience: Duration::MAX }
    }
}

/// Works on the tickets of a round, each once, on some rank. All ranks call it.
///
/// * `work` computes the result of a ticket, on every rank.
/// * `sink` takes every ticket and its result on rank 0, in the order in which they arrive.
///
/// # Errors
///
/// The first error of `work` on any rank or of `sink`, on rank 0 and on the rank that failed. The
/// other ranks wait for the end of the job: pass the error to [`fail`]. When rank 0 works on a long
/// ticket of its own, the job ends here. [`Error::Stopped`] on all ranks when the round was stopped before its last ticket;
/// where ranks do not end their tickets soon, the job ends here.
pub fn run<'a, W, S>(
    cluster: &mut dyn Cluster,
    round: impl Into<Round<'a>>,
    work: W,
    sink: S,
) -> Result<()>
where
    W: FnMut(usize) -> Result<Vec<u8>> + Send,
    S: FnMut(usize, Vec<u8>) -> Result<()>,
{
    let round = round.into();
    if cluster.rank() > 0 {
        return work_for_rank_0(cluster, round, |counter| one_by_one(counter, work));
    }
    work_on_rank_0(cluster, round, |counter| one_by_one(counter, work), sink)
}

/// As [`run`], where a rank reads what the next ticket needs while it works on the last one.
///
/// * `read` gets the input of a ticket.
/// * `work` computes its result, on another thread.
///
/// # Errors
///
/// As [`run`], and those of `read`.
pub fn run_reading_ahead<'a, I, R, W, S>(
    cluster: &mut dyn Cluster,
    round: impl Into<Round<'a>>,
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
    let round = round.into();
    if cluster.rank() > 0 {
        return work_for_rank_0(cluster, round, |counter| reading_ahead(counter, read, work));
    }
    work_on_rank_0(cluster, round, |counter| reading_ahead(counter, read, work), sink)
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
    round: Round,
    work: impl FnOnce(&mut OwnCounter) + Send,
    sink: S,
) -> Result<()>
where
    S: FnMut(usize, Vec<u8>) -> Result<()>,
{
    let queue = Queue::new(round.tickets);
    let (give, own) = mpsc::sync_channel(1);
    let mut counter = OwnCounter { queue: &queue, results: give };
    let complete = thread::scope(|scope| {
        let worker = scope.spawn(move || work(&mut counter));
        let own = Own { results: own, worker: Some(worker) };
        let mut desk = Desk::new(cluster, &queue, sink, own, round);
        let served = desk.serve();
        if let Err(error) = &served {
            let worker = desk.close();
            // the others are still at their tickets
            let late = matches!(error, Error::Stopped);
            if late || !worker.is_none_or(|worker| ends_within(PATIENCE, &worker)) {
                fail(cluster, error);
            }
        }
        served
    })?;
    cluster.broadcast(vec![u8::from(complete)]);
    if complete { Ok(()) } else { Err(Error::Stopped) }
}

/// The work of the other ranks.
struct RankCounter<'run> {
    cluster: &'run mut dyn Cluster,
    stop: &'run AtomicBool,
    told: bool,
    error: Option<Error>,
}

impl Counter for RankCounter<'_> {
    fn next(&mut self) -> Option<usize> {
        if !self.told && self.stop.load(Ordering::Relaxed) {
            self.cluster.send(&seal(Vec::new(), Sealed::Stop));
            self.told = true;
        }
        self.cluster.next_ticket()
    }

    fn give(&mut self, ticket: usize, result: Result<Vec<u8>>) -> ControlFlow<()> {
        match result {
            Ok(bytes) => {
                self.cluster.send(&seal(bytes, Sealed::Result(ticket)));
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.cluster.send(&seal(error.to_string().into_bytes(), Sealed::Failure));
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn work_for_rank_0(
    cluster: &mut dyn Cluster,
    round: Round,
    work: impl FnOnce(&mut RankCounter),
) -> Result<()> {
    let mut counter = RankCounter { cluster, stop: round.stop, told: false, error: None };
    work(&mut counter);
    if let Some(error) = counter.error {
        return Err(known(cluster.rank(), error));
    }
    // the desk still serves others; rank 0 tells when it is done, and what comes next is not for it
    let complete = cluster.broadcast(Vec::new());
    if complete == [1] { Ok(()) } else { Err(Error::Stopped) }
}

fn ends_within(limit: Duration, worker: &ScopedJoinHandle<'_, ()>) -> bool {
    let start = Instant::now();
    while !worker.is_finished() && start.elapsed() < limit {
        thread::sleep(Duration::from_millis(2));
    }
    worker.is_finished()
}
