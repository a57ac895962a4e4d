//! What every rank says once, brought to rank 0.

use std::time::Duration;

use super::{Cluster, Event};

impl dyn Cluster + '_ {
    /// Every rank gives `bytes`; rank 0 gets those of all, by rank, the others nothing. All ranks must call it, and
    /// none between [`Cluster::next_ticket`] and its last answer.
    pub fn gather(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        if self.rank() > 0 {
            self.send(&bytes);
            // what comes next must not be taken for this
            self.broadcast(Vec::new());
            return Vec::new();
        }
        let others = self.hear_all();
        self.broadcast(Vec::new());
        [vec![bytes], others].concat()
    }

    /// Rank 0: one message of each other rank, from rank 1 on.
    pub(super) fn hear_all(&mut self) -> Vec<Vec<u8>> {
        let mut messages = vec![Vec::new(); self.size() - 1];
        let mut missing = messages.len();
        while missing > 0 {
            match self.receive(Duration::from_secs(1)) {
                Some(Event::Message { rank, bytes }) => {
                    messages[rank - 1] = bytes;
                    missing -= 1;
                }
                Some(Event::Ready { rank }) => {
                    unreachable!("rank {rank} asks for a ticket while rank 0 hears all ranks")
                }
                None => {}
            }
        }
        messages
    }
}
