//! Hands every ticket of a run to one rank and brings every result to rank 0.
//!
//! A ticket is the number of a piece of work (a tile); what it means is the caller's. A rank takes
//! the next ticket when it is free, so no rank waits for a slow one. Rank 0 works too: a second
//! thread of it does, while the first serves the others and stores results.

use std::collections::VecDeque;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::failure::{fail, known};
use super::pause::{ANSWER, Pause};
use super::{Cluster, Event};
use crate::error::{Error, Result};

/// Results that rank 0 holds before it stores one. With those on their way (one of each other
/// rank, two of its own) this bounds its memory.
const BACKLOG: usize = 4;
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
        work_for_rank_0(cluster, work)?;
        // the desk still serves others; rank 0 tells when it is done, and what comes next is not for it
        cluster.broadcast(Vec::new());
        return Ok(());
    }
    let queue = Queue { next: AtomicUsize::new(0), tickets };
    let (give, own) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let worker = scope.spawn(|| work_on_rank_0(&queue, work, give));
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

/// The tickets that nobody has taken.
struct Queue {
    next: AtomicUsize,
    tickets: usize,
}

impl Queue {
    fn take(&self) -> Option<usize> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        (ticket < self.tickets).then_some(ticket)
    }

    fn close(&self) {
        self.next.store(self.tickets, Ordering::Relaxed);
    }
}

type Outcome = Result<(usize, Vec<u8>)>;

/// Rank 0's own work, beside the thread that serves.
fn work_on_rank_0(
    queue: &Queue,
    mut work: impl FnMut(usize) -> Result<Vec<u8>>,
    give: SyncSender<Outcome>,
) {
    while let Some(ticket) = queue.take() {
        let outcome = work(ticket).map(|bytes| (ticket, bytes));
        let failed = outcome.is_err();
        // Nobody listens any more when the run has failed elsewhere.
        if give.send(outcome).is_err() || failed {
            return;
        }
    }
}

/// The work of the other ranks.
fn work_for_rank_0(
    cluster: &mut dyn Cluster,
    mut work: impl FnMut(usize) -> Result<Vec<u8>>,
) -> Result<()> {
    while let Some(ticket) = cluster.next_ticket() {
        match work(ticket) {
            Ok(bytes) => cluster.send(&seal(bytes, Some(ticket))),
            Err(error) => {
                cluster.send(&seal(error.to_string().into_bytes(), None));
                return Err(known(cluster.rank(), error));
            }
        }
    }
    Ok(())
}

/// A result and its ticket, or a message and none, as one message. The ticket goes behind, where it
/// moves nothing.
fn seal(mut bytes: Vec<u8>, ticket: Option<usize>) -> Vec<u8> {
    bytes.extend(ticket.map_or(u64::MAX, |ticket| ticket as u64).to_le_bytes());
    bytes
}

fn open(rank: usize, mut bytes: Vec<u8>) -> Outcome {
    let seal = *bytes.last_chunk::<8>().expect("every message ends with its ticket");
    bytes.truncate(bytes.len() - seal.len());
    match u64::from_le_bytes(seal) {
        u64::MAX => Err(Error::Rank { rank, what: String::from_utf8_lossy(&bytes).into_owned() }),
        ticket => Ok((ticket as usize, bytes)),
    }
}

/// Rank 0's own worker and what it gives; `worker` is `None` once it has ended.
struct Own<'scope> {
    results: Receiver<Outcome>,
    worker: Option<ScopedJoinHandle<'scope, ()>>,
}

/// Rank 0's first thread: answers, collects, stores.
struct Desk<'run, 'scope, S> {
    cluster: &'run mut dyn Cluster,
    queue: &'run Queue,
    sink: S,
    own: Own<'scope>,
    backlog: VecDeque<(usize, Vec<u8>)>,
    /// Other ranks that still work.
    working: usize,
    stored: usize,
    pause: Pause,
}

impl<'run, 'scope, S: FnMut(usize, Vec<u8>) -> Result<()>> Desk<'run, 'scope, S> {
    fn new(cluster: &'run mut dyn Cluster, queue: &'run Queue, sink: S, own: Own<'scope>) -> Self {
        let working = cluster.size() - 1;
        let backlog = VecDeque::with_capacity(BACKLOG);
        Self { cluster, queue, sink, own, backlog, working, stored: 0, pause: Pause::up_to(ANSWER) }
    }

    /// Serves until every ticket's result is stored and every rank has been sent home.
    fn serve(&mut self) -> Result<()> {
        loop {
            // Answers first: a rank that waits for its ticket must not wait for a file too.
            self.listen()?;
            if let Some((ticket, bytes)) = self.backlog.pop_front() {
                (self.sink)(ticket, bytes)?;
                self.stored += 1;
            } else if self.working == 0 && self.own.worker.is_none() {
                assert_eq!(self.stored, self.queue.tickets, "results stored, of all tickets");
                return Ok(());
            } else {
                self.wait()?;
            }
        }
    }

    /// Takes what is there, as far as there is room for it.
    fn listen(&mut self) -> Result<()> {
        while self.working > 0 && self.backlog.len() < BACKLOG {
            let Some(event) = self.cluster.receive(Duration::ZERO) else { break };
            self.hear(event)?;
        }
        while self.own.worker.is_some() && self.backlog.len() < BACKLOG {
            match self.own.results.try_recv() {
                Ok(outcome) => self.backlog.push_back(outcome?),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.own_work_ended(),
            }
        }
        Ok(())
    }

    /// Sleeps until something may be there.
    fn wait(&mut self) -> Result<()> {
        if self.own.worker.is_none() {
            return match self.cluster.receive(Duration::from_secs(1)) {
                Some(event) => self.hear(event),
                None => Ok(()),
            };
        }
        let sleep = if self.working > 0 { self.pause.next() } else { Duration::from_secs(1) };
        match self.own.results.recv_timeout(sleep) {
            Ok(outcome) => self.backlog.push_back(outcome?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.own_work_ended(),
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        self.pause = Pause::up_to(ANSWER);
        match event {
            Event::Ready { rank } => {
                let ticket = self.queue.take();
                self.working -= usize::from(ticket.is_none());
                self.cluster.grant(rank, ticket);
            }
            Event::Message { rank, bytes } => self.backlog.push_back(open(rank, bytes)?),
        }
        Ok(())
    }

    /// Rank 0's worker has no more tickets, or panicked: then so does this thread.
    fn own_work_ended(&mut self) {
        if let Some(Err(panic)) = self.own.worker.take().map(ScopedJoinHandle::join) {
            panic::resume_unwind(panic);
        }
    }

    /// Hands out no more tickets and takes no more results.
    fn close(self) -> Option<ScopedJoinHandle<'scope, ()>> {
        self.queue.close();
        self.own.worker
    }
}

fn ends_within(limit: Duration, worker: &ScopedJoinHandle<'_, ()>) -> bool {
    let start = Instant::now();
    while !worker.is_finished() && start.elapsed() < limit {
        thread::sleep(Duration::from_millis(2));
    }
    worker.is_finished()
}
