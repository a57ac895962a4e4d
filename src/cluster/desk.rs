//! Rank 0's desk: tickets, and the results that come back.

use std::collections::VecDeque;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::pause::{ANSWER, Pause};
use super::{Cluster, Event};
use crate::error::{Error, Result};

/// Results that rank 0 holds before it stores one. With those on their way (one of each other
/// rank, two of its own) this bounds its memory.
const BACKLOG: usize = 4;

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

/// A result and its ticket, or a message and none, as one message. The ticket goes behind, where it
/// moves nothing.
pub(super) fn seal(mut bytes: Vec<u8>, ticket: Option<usize>) -> Vec<u8> {
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
}

impl<'run, 'scope, S: FnMut(usize, Vec<u8>) -> Result<()>> Desk<'run, 'scope, S> {
    pub fn new(
        cluster: &'run mut dyn Cluster,
        queue: &'run Queue,
        sink: S,
        own: Own<'scope>,
    ) -> Self {
        let asking = cluster.size() - 1;
        let backlog = VecDeque::with_capacity(BACKLOG);
        let pause = Pause::up_to(ANSWER);
        Self { cluster, queue, sink, own, backlog, asking, awaited: 0, stored: 0, pause }
    }

    /// Will another rank speak?
    fn others(&self) -> bool {
        self.asking > 0 || self.awaited > 0
    }

    /// Serves until every ticket's result is stored and every rank has been sent home.
    pub fn serve(&mut self) -> Result<()> {
        loop {
            // Answers first: a rank that waits for its ticket must not wait for a file too.
            self.listen()?;
            if let Some((ticket, bytes)) = self.backlog.pop_front() {
                (self.sink)(ticket, bytes)?;
                self.stored += 1;
            } else if !self.others() && self.own.worker.is_none() {
                assert_eq!(self.stored, self.queue.tickets, "results stored, of all tickets");
                return Ok(());
            } else {
                self.wait()?;
            }
        }
    }

    /// Takes what is there, as far as there is room for it.
    fn listen(&mut self) -> Result<()> {
        while self.others() && self.backlog.len() < BACKLOG {
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
        let sleep = if self.others() { self.pause.next() } else { Duration::from_secs(1) };
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
                self.asking -= usize::from(ticket.is_none());
                self.awaited += usize::from(ticket.is_some());
                self.cluster.grant(rank, ticket);
            }
            Event::Message { rank, bytes } => {
                self.backlog.push_back(open(rank, bytes)?);
                self.awaited -= 1;
            }
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
    pub fn close(self) -> Option<ScopedJoinHandle<'scope, ()>> {
        self.queue.close();
        self.own.worker
    }
}
