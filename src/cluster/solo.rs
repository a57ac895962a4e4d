//! One process without a launcher: rank 0 of 1.
//!
//! There is nobody to hear from and nobody to wait for.

use std::time::Duration;

use super::{Cluster, Event, cores};

/// The only rank.
#[derive(Clone, Copy, Debug)]
pub struct Solo;

impl Cluster for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn local(&self) -> (usize, usize) {
        (0, 1)
    }

    fn describe(&self) -> String {
        "one process, without MPI".into()
    }

    fn local_threads(&self) -> usize {
        cores::limit()
    }

    fn next_ticket(&mut self) -> Option<usize> {
        panic!("rank 0 asks nobody for tickets")
    }

    fn send(&mut self, _: &[u8]) {
        panic!("rank 0 sends to nobody")
    }

    fn receive(&mut self, wait: Duration) -> Option<Event> {
        std::thread::sleep(wait);
        None
    }

    fn grant(&mut self, rank: usize, _: Option<usize>) {
        panic!("there is no rank {rank} to answer")
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn barrier(&mut self) {}

    fn abort(&mut self, code: i32) -> ! {
        std::process::exit(code)
    }
}
