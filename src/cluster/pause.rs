//! How long to sleep between two looks for a message.
//!
//! MPI waits by spinning, which takes a core from threads that compute. Here every wait is a look
//! and a sleep; the sleep grows with the wait, so that an answer that comes soon is seen soon and a
//! long wait costs 1 to 2 % of a core.

use std::time::Duration;

const FIRST: Duration = Duration::from_micros(5);
const LONGEST: Duration = Duration::from_micros(320);

/// The sleeps of one wait.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The next sleep, twice as long as the one before up to a limit.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        now
    }

    pub(super) fn sleep(&mut self) {
        std::thread::sleep(self.next());
    }
}
