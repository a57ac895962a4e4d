//! Rank 0's desk: tickets, and the results that come back.

use std::collections::VecDeque;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use super::pause::{ANSWER, Pause};
use super::serve::Round;
use super::watch::Watch;
use super::{Cluster, Event};
use crate::error::{Error, Result};

/// Results that rank 0 holds before it stores one. With those on their way (one of each other
/// rank, two of its own) this bounds its memory.
const BACKLOG: usize = 4;
/// How long ranks may finish the tickets in their hands when the round is to end early.
const GRACE: Duration = Duration::from_secs(5);

/// The tickets that nobody has taken.
pub(super) struct Queue {
    next: AtomicUsize,
    tickets: usize,
}

impl Queue {
    pub fn new(tickets: usize) -> Self {
        Self { next: AtomicUsize::new(0), tickets }
    }

    pub fn take(&self) -> Option<usize> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        (ticket < self.tickets).then_some(ticket)
    }

    fn close(&self) {
        self.next.store(self.tickets, Ordering::Relaxed);
    }
}

pub(super) type Outcome = Result<(usize, Vec<u8>)>;

/// What a message to rank 0 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    /// The result of a ticket.
    Result(usize),
    /// Words about what went wrong.
    Failure,
    /// The round is to end.
    Stop,
}

/// The content of a message and what it is, which goes behind, where it moves nothing.
pub(super) fn seal(mut bytes: Vec<u8>, what: Sealed) -> Vec<u8> {
    let number = match what {
        Sealed::Result(ticket) => ticket as u64,
        Sealed::Failure => u64::MAX,
        Sealed::Stop => u64::MAX - 1,
    };
    bytes.extend(number.to_le_bytes());
    bytes
}

fn open(mut bytes: Vec<u8>) -> (Sealed, Vec<u8>) {
    let seal = *bytes.last_chunk::<8>().expect("every message ends with what it is");
    bytes.truncate(bytes.len() - seal.len());
    let what = match u64::from_le_bytes(seal) {
        u64::MAX => Sealed::Failure,
        number if number == u64::MAX - 1 => Sealed::Stop,
        ticket => Sealed::Result(ticket as usize),
    };
    (what, bytes)
}

/// Rank 0's own worker and what it gives; `worker` is `None` once it has ended.
pub(super) struct Own<'scope> {
    pub results: Receiver<Outcome>,
    pub worker: Option<ScopedJoinHandle<'scope, ()>>,
}

/// Rank 0's first thread: answers, collects, stores.
pub(super) struct Desk<'run, 'scope, S> {
    cluster: &'run mut dyn Cluster,
    queue: &'run Queue,
    sink: S,
    own: Own<'scope>,
    backlog: VecDeque<(usize, Vec<u8>)>,
    /// Other ranks that will ask for a ticket again.
    asking: usize,
    /// Tickets of other ranks whose results have not come.
    awaited: usize,
    stored: usize,
    pause: Pause,
    /// Set where the round is to end early.
    stop: &'run AtomicBool,
    /// When the round was asked to end early.
    stopping: Option<Instant>,
    watch: Watch,
}

impl<'run, 'scope, S: FnMut(usize, Vec<u8>) -> Result<()>> Desk<'run, 'scope, S> {
    pub fn new(
        cluster: &'run mut dyn Cluster,
        queue: &'run Queue,
        sink: S,
        own: Own<'scope>,
        round: Round<'run>,
    ) -> Self {
        let mut watch = Watch::new(cluster.size(), round.patience);
        // its own worker has something in hand until it has ended
        watch.give(0);
        Self {
            asking: cluster.size() - 1,
            cluster,
            queue,
            sink,
            own,
            backlog: VecDeque::with_capacity(BACKLOG),
            awaited: 0,
            stored: 0,
            pause: Pause::up_to(ANSWER),
            stop: round.stop,
            stopping: None,
            watch,
        }
    }

    /// Will another rank speak?
    fn others(&self) -> bool {
        self.asking > 0 || self.awaited > 0
    }

    /// Serves until every ticket's result is stored and every rank has been sent home; or, where the round was asked to
    /// end early (`false`), every result of a ticket that was in somebody's hands.
    pub fn serve(&mut self) -> Result<bool> {
        loop {
            self.end_early()?;
            // Answers first: a rank that waits for its ticket must not wait for a file too.
            let all_heard = self.listen()?;
            if all_heard {
                self.watch.look()?;
            }
            if let Some((ticket, bytes)) = self.backlog.pop_front() {
                (self.sink)(ticket, bytes)?;
                self.stored += 1;
            } else if !self.others() && self.own.worker.is_none() {
                let complete = self.stored == self.queue.tickets;
                assert!(complete || self.stopping.is_some(), "{} results stored", self.stored);
                return Ok(complete);
            } else {
                self.wait()?;
            }
        }
    }

    /// Ends a round early that is asked to.
    fn end_early(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            let since = *self.stopping.get_or_insert_with(Instant::now);
            self.queue.close();
            if since.elapsed() > GRACE {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    /// Takes what is there, as far as there is room for it: was that all?
    fn listen(&mut self) -> Result<bool> {
        while self.others() && self.backlog.len() < BACKLOG {
            let Some(event) = self.cluster.receive(Duration::ZERO) else { break };
            self.hear(event)?;
        }
        while self.own.worker.is_some() && self.backlog.len() < BACKLOG {
            match self.own.results.try_recv() {
                Ok(outcome) => self.take_own(outcome)?,
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => self.own_work_ended(),
            }
        }
        Ok(self.backlog.len() < BACKLOG)
    }

    /// Sleeps until something may be there.
    fn wait(&mut self) -> Result<()> {
        if self.own.worker.is_none() {
            return match self.cluster.receive(Duration::from_secs(1)) {
                Some(event) => self.hear(event),
                None => Ok(()),
            };
        }
        let sleep = if self.others() { self.pause.next() } else { Duration::from_secs(1) };
        match self.own.results.recv_timeout(sleep) {
            Ok(outcome) => self.take_own(outcome)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.own_work_ended(),
        }
        Ok(())
    }

    fn take_own(&mut self, outcome: Outcome) -> Result<()> {
        self.watch.hear(0);
        self.backlog.push_back(outcome?);
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        self.pause = Pause::up_to(ANSWER);
        match event {
            Event::Ready { rank } => {
                let ticket = self.queue.take();
                self.watch.hear(rank);
                if ticket.is_some() {
                    self.awaited += 1;
                    self.watch.give(rank);
                } else {
                    self.asking -= 1;
                }
                self.cluster.grant(rank, ticket);
            }
            Event::Message { rank, bytes } => {
                self.watch.hear(rank);
                match open(bytes) {
                    (Sealed::Result(ticket), bytes) => {
                        self.backlog.push_back((ticket, bytes));
                        self.awaited -= 1;
                        self.watch.take(rank);
                    }
                    (Sealed::Failure, words) => {
                        let what = String::from_utf8_lossy(&words).into_owned();
                        return Err(Error::Rank { rank, what });
                    }
                    (Sealed::Stop, _) => self.stop.store(true, Ordering::Relaxed),
                }
            }
        }
        Ok(())
    }

    /// Rank 0's worker has no more tickets, or panicked: then so does this thread.
    fn own_work_ended(&mut self) {
        self.watch.take(0);
        if let Some(Err(panic)) = self.own.worker.take().map(ScopedJoinHandle::join) {
            panic::resume_unwind(panic);
        }
    }

    /// Hands out no more tickets and takes no more results.
    pub fn close(self) -> Option<ScopedJoinHandle<'scope, ()>> {
        self.queue.close();
        self.own.worker
    }
}
