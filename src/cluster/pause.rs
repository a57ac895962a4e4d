//! How long to sleep between two looks for a message.
//!
//! MPI waits by spinning, which takes a core from threads that compute. Here every wait is a look
//! and a sleep; the sleep grows with the wait, so that an answer that comes soon is seen soon and a
//! long wait costs next to nothing. A sleep takes 5 to 50 µs of a core, by machine.

use std::time::Duration;

const FIRST: Duration = Duration::from_micros(20);
/// The longest sleep of rank 0, on whose answer others wait.
pub(super) const ANSWER: Duration = Duration::from_micros(500);

/// The sleeps of one wait.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { next: FIRST.min(longest), longest }
    }

    /// The next sleep, twice as long as the one before up to a limit.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }
}
