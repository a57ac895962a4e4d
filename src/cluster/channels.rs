//! Ranks as threads of one process, for tests of what runs on ranks.
//!
//! Not a way to run: threads of one rank do that. It keeps every promise of [`Cluster`], the end of
//! all ranks included.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, Event, cores, failure::PANICKED};

/// No rank has ended the job.
const RUNNING: i32 = i32::MIN;
/// How often a waiting rank looks whether the job has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Runs `program` on `ranks` ranks and returns what each returned, by rank.
///
/// # Errors
///
/// The exit code of the job when a rank called [`Cluster::abort`], 101 when one panicked.
pub fn run<T: Send>(
    ranks: usize,
    program: impl Fn(&mut dyn Cluster) -> T + Sync,
) -> Result<Vec<T>, i32> {
    let ended = AtomicI32::new(RUNNING);
    let program = &program;
    let results = thread::scope(|scope| {
        let threads: Vec<_> = cluster(ranks, &ended)
            .into_iter()
            .map(|mut rank| scope.spawn(move || rank.live(program)))
            .collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect::<Option<Vec<T>>>()
    });
    results.ok_or_else(|| ended.load(Ordering::SeqCst))
}

/// What rank 0 sends to another.
enum Reply {
    Ticket(Option<usize>),
    Broadcast(Vec<u8>),
}

/// Why a rank stops in the middle: the job has ended.
struct Ended;

struct Rank<'job> {
    rank: usize,
    size: usize,
    /// From the others to rank 0; rank 0 alone listens.
    to_first: Sender<Event>,
    events: Option<Receiver<Event>>,
    /// From rank 0 to this one.
    replies: Receiver<Reply>,
    to_others: Vec<Sender<Reply>>,
    ended: &'job AtomicI32,
}

fn cluster(size: usize, ended: &AtomicI32) -> Vec<Rank<'_>> {
    let (to_first, events) = mpsc::channel();
    let mut events = Some(events);
    let (to_others, replies): (Vec<_>, Vec<_>) = (0..size).map(|_| mpsc::channel()).unzip();
    replies
        .into_iter()
        .enumerate()
        .map(|(rank, replies)| Rank {
            rank,
            size,
            to_first: to_first.clone(),
            events: events.take(),
            replies,
            to_others: to_others.clone(),
            ended,
        })
        .collect()
}

impl Rank<'_> {
    /// This rank's program; `None` when the job ended before it did.
    fn live<T>(&mut self, program: &impl Fn(&mut dyn Cluster) -> T) -> Option<T> {
        match panic::catch_unwind(AssertUnwindSafe(|| program(self))) {
            Ok(value) => Some(value),
            Err(_) => {
                self.end(PANICKED);
                None
            }
        }
    }

    /// The first to end the job says how.
    fn end(&self, code: i32) {
        let _ = self.ended.compare_exchange(RUNNING, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Waits for `inbox`, at most until `limit`, and ends with the job.
    fn hear<M>(&self, inbox: &Receiver<M>, limit: Option<Instant>) -> Option<M> {
        loop {
            if self.ended.load(Ordering::SeqCst) != RUNNING {
                panic::resume_unwind(Box::new(Ended));
            }
            let left = limit.map_or(LOOK, |limit| limit.saturating_duration_since(Instant::now()));
            match inbox.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if left > LOOK || limit.is_none() => {}
                Err(_) => return None,
            }
        }
    }

    fn reply(&self) -> Reply {
        self.hear(&self.replies, None).expect("rank 0 lives as long as the job")
    }

    fn tell(&self, event: Event) {
        // Rank 0 may have ended with the job.
        let _ = self.to_first.send(event);
    }
}

impl Cluster for Rank<'_> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local(&self) -> (usize, usize) {
        (self.rank, self.size)
    }

    fn describe(&self) -> String {
        format!("{} threads of one process", self.size)
    }

    fn local_threads(&self) -> usize {
        (cores::limit() / self.size).max(1)
    }

    fn next_ticket(&mut self) -> Option<usize> {
        self.tell(Event::Ready { rank: self.rank });
        match self.reply() {
            Reply::Ticket(ticket) => ticket,
            Reply::Broadcast(_) => {
                panic!("a broadcast while rank {} waits for a ticket", self.rank)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        assert!(self.rank > 0, "rank 0 sends to nobody");
        self.tell(Event::Message { rank: self.rank, bytes: bytes.to_vec() });
    }

    fn receive(&mut self, wait: Duration) -> Option<Event> {
        let events = self.events.as_ref().expect("rank 0 alone receives");
        self.hear(events, Some(Instant::now() + wait))
    }

    fn grant(&mut self, rank: usize, ticket: Option<usize>) {
        let _ = self.to_others[rank].send(Reply::Ticket(ticket));
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.rank > 0 {
            return match self.reply() {
                Reply::Broadcast(bytes) => bytes,
                Reply::Ticket(_) => panic!("a ticket for rank {} in a broadcast", self.rank),
            };
        }
        for other in &self.to_others[1..] {
            let _ = other.send(Reply::Broadcast(bytes.clone()));
        }
        bytes
    }

    fn barrier(&mut self) {
        let cluster: &mut dyn Cluster = self;
        cluster.agree(Ok(())).expect("nothing fails in a barrier");
    }

    fn abort(&mut self, code: i32) -> ! {
        self.end(code);
        panic::resume_unwind(Box::new(Ended))
    }
}
