//! How long to sleep between two looks for a message.
//!
//! MPI waits by spinning, which takes a core from threads that compute. Here every wait is a look
//! and a sleep; the sleep grows with the wait, so that an answer that comes soon is seen soon and a
//! long wait costs next to nothing. A sleep takes 5 to 50 µs of a core, by machine.

use std::time::Duration;

const FIRST: Duration = Duration::from_micros(20);

/// The sleeps of one wait.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    /// For rank 0, on whose answer others wait.
    pub(super) fn short() -> Self {
        Self { next: FIRST, longest: Duration::from_micros(500) }
    }

    /// For a rank that nobody waits for.
    pub(super) fn long() -> Self {
        Self { next: FIRST, longest: Duration::from_millis(2) }
    }

    /// The next sleep, twice as long as the one before up to a limit.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    pub(super) fn sleep(&mut self) {
        std::thread::sleep(self.next());
    }
}
