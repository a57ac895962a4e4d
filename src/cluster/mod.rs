//! The ranks of a run, and nothing about what they compute.
//!
//! Rank 0 hands out tickets (the numbers of tiles) and receives messages; every rank, rank 0 too,
//! has one worker that takes the next ticket when it is free. Messages are bytes: this module knows
//! no pixels and no files.
//!
//! [`join`] gives a process its place. [`serve::run`] is the whole of a run's distribution; what
//! goes wrong on one rank ends the job on all, see [`Cluster::abort`] and [`fail`].

use std::time::Duration;

pub mod channels;
pub mod cores;
mod desk;
mod failure;
mod gather;
mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(not(feature = "mpi"))]
#[path = "mpi_absent.rs"]
mod mpi;
mod pause;
pub mod serve;
mod solo;
mod watch;
mod worker;

pub use failure::{fail, refuse};
pub use launcher::{Launcher, VARIABLES, speaks};
pub use solo::Solo;

use crate::error::Result;

/// This process's place in the run: a rank of an MPI job when a launcher started it, else alone.
///
/// MPI is initialised only when a launcher shows in the environment, so that a run on one process
/// starts at once. The calling thread becomes the only one that may use the cluster. When the
/// result of an MPI job is dropped, it waits for the other ranks.
///
/// # Errors
///
/// When a launcher started several processes that cannot join: a build without MPI, or another MPI
/// than the launcher's. Pass the error to [`refuse`].
pub fn join() -> Result<Box<dyn Cluster>> {
    match Launcher::seen() {
        Some(launcher) => mpi::join(&launcher),
        None => Ok(Box::new(Solo)),
    }
}

/// The MPI library of this program, in words.
pub fn library() -> String {
    mpi::library()
}

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
    /// Threads this rank may run: its share of the cores of its machine, at least 1. Logs a warning
    /// when a launcher keeps the ranks from cores that nobody else of this run uses.
    fn local_threads(&self) -> usize;

    /// Ranks above 0: asks rank 0 for the next ticket and waits; `None` when there is none left.
    fn next_ticket(&mut self) -> Option<usize>;
    /// Ranks above 0: sends bytes to rank 0.
    fn send(&mut self, bytes: &[u8]);

    /// Rank 0: the next event from the others, or `None` after `wait`. What one rank sends comes in
    /// the order in which it was sent.
    fn receive(&mut self, wait: Duration) -> Option<Event>;
    /// Rank 0: answers [`Event::Ready`].
    fn grant(&mut self, rank: usize, ticket: Option<usize>);

    /// Rank 0 gives `bytes`, every rank gets them. All ranks must call it.
    fn broadcast(&mut self, bytes: Vec<u8>) -> Vec<u8>;
    /// Waits until all ranks are here; waiting, here as in every call above, sleeps.
    fn barrier(&mut self);
    /// Ends the whole job, on all ranks, with this exit code.
    fn abort(&mut self, code: i32) -> !;
}
