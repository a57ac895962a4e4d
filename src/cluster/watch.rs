//! Rank 0's watch over the ranks that have work in their hands.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How often rank 0 looks whether a rank hangs.
const ROUNDS: Duration = Duration::from_secs(1);
/// The most silence that one look may count. Where rank 0 itself did not look for longer, because the whole job was
/// suspended or its own file kept it, it cannot tell how long the others were silent.
const MOST: Duration = Duration::from_secs(2);

/// What rank 0 knows of a rank.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    /// Tickets it holds.
    held: usize,
    /// How long rank 0 has looked in vain for a sign of life.
    silent: Duration,
}

/// Counts for how long each rank has been silent.
pub(super) struct Watch {
    hands: Vec<Hand>,
    patience: Duration,
    looked: Instant,
}

impl Watch {
    pub fn new(ranks: usize, patience: Duration) -> Self {
        Self { hands: vec![Hand::default(); ranks], patience, looked: Instant::now() }
    }

    /// The rank spoke.
    pub fn hear(&mut self, rank: usize) {
        self.hands[rank].silent = Duration::ZERO;
    }

    /// The rank got a ticket.
    pub fn give(&mut self, rank: usize) {
        self.hands[rank].held += 1;
    }

    /// The rank's ticket is done.
    pub fn take(&mut self, rank: usize) {
        self.hands[rank].held -= 1;
    }

    /// To be called while no word of any rank waits to be heard: those that hold tickets are silent.
    ///
    /// # Errors
    ///
    /// The first rank that holds a ticket and has been silent for longer than patience allows.
    pub fn look(&mut self) -> Result<()> {
        let unseen = self.looked.elapsed();
        if unseen < ROUNDS {
            return Ok(());
        }
        self.looked = Instant::now();
        for (rank, hand) in self.hands.iter_mut().enumerate().filter(|(_, hand)| hand.held > 0) {
            hand.silent += unseen.min(MOST);
            if hand.silent > self.patience {
                return Err(hangs(rank, hand.silent));
            }
        }
        Ok(())
    }
}

fn hangs(rank: usize, silent: Duration) -> Error {
    Error::Rank {
        rank,
        what: format!(
            "has not answered for {} s (it hangs, or its machine or its file system does); look at that machine, or \
             give slow tiles more time with --rank-timeout",
            silent.as_secs()
        ),
    }
}
