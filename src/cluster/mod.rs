//! The ranks of a run, and nothing about what they compute.
//!
//! Rank 0 hands out tickets (the numbers of tiles) and receives messages; every rank, rank 0 too,
//! has one worker that takes the next ticket when it is free. Messages are bytes: this module knows
//! no pixels and no files.

use std::time::Duration;

/// What rank 0 hears from the others.
#[derive(Debug)]
pub enum Event {
    /// Rank `rank` is free and wants a ticket; answer with [`Cluster::grant`].
    Ready {
        /// The rank that asks.
        rank: usize,
    },
    /// Rank `rank` sent bytes with [`Cluster::send`].
    Message {
        /// The sender.
        rank: usize,
        /// What it sent.
        bytes: Vec<u8>,
    },
}

/// One rank's view of the run. Calls come from the thread that made it.
pub trait Cluster {
    /// This rank, counted from 0.
    fn rank(&self) -> usize;
    /// Number of ranks.
    fn size(&self) -> usize;
    /// This rank among those of its machine, and how many those are.
    fn local(&self) -> (usize, usize);
    /// What carries the messages, for the log and the result file, e.g. `Open MPI 4.1.4`.
    fn describe(&self) -> String;

    /// Ranks above 0: asks rank 0 for the next ticket and waits; `None` when there is none left.
    fn next_ticket(&mut self) -> Option<usize>;
    /// Ranks above 0: sends bytes to rank 0.
    fn send(&mut self, bytes: &[u8]);

    /// Rank 0: the next event from the others, or `None` after `wait`.
    fn receive(&mut self, wait: Duration) -> Option<Event>;
    /// Rank 0: answers [`Event::Ready`].
    fn grant(&mut self, rank: usize, ticket: Option<usize>);

    /// Rank 0 gives `bytes`, every rank gets them. All ranks must call it.
    fn broadcast(&mut self, bytes: Vec<u8>) -> Vec<u8>;
    /// Waits until all ranks are here.
    fn barrier(&mut self);
    /// Ends the whole job, on all ranks, with this exit code.
    fn abort(&mut self, code: i32) -> !;
}
