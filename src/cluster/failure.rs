//! How a run ends when something goes wrong: on all ranks, with one message that names the rank.
//!
//! Errors only; a panic is ended by the hook that the cluster sets when it starts.

use std::thread;
use std::time::Duration;

use super::{Cluster, speaks};
use crate::error::{Error, Result};

/// Exit code of a run that a panic ended.
pub(super) const PANICKED: i32 = 101;
/// How long a rank waits for rank 0 to report a failure that rank 0 has heard of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends the run on all ranks with one line, `xrfit: rank R: message`; a run on one rank leaves out
/// the rank.
///
/// An [`Error::Rank`] is one that rank 0 knows of: rank 0 prints it, the others wait for the end.
pub fn fail(cluster: &mut dyn Cluster, error: &Error) -> ! {
    let known = matches!(error, Error::Rank { .. });
    if known && cluster.rank() > 0 {
        thread::sleep(PATIENCE);
    }
    if known || cluster.size() == 1 {
        say(&error.to_string());
    } else {
        say(&format!("rank {}: {error}", cluster.rank()));
    }
    cluster.abort(error.exit_code())
}

/// Ends a process that [`super::join`] refused; the first of those that were started speaks.
pub fn refuse(error: &Error) -> ! {
    if speaks() {
        say(&error.to_string());
    } else {
        // The launcher ends the others when one has ended: let the first speak before.
        thread::sleep(Duration::from_secs(1));
    }
    std::process::exit(error.exit_code())
}

/// Prints a line in one piece, so that lines of several ranks do not mix.
pub(super) fn say(what: &str) {
    let line = format!("xrfit: {what}\n");
    eprint!("{line}");
}

/// The error as the other ranks know it.
pub(super) fn known(rank: usize, error: Error) -> Error {
    match error {
        Error::Rank { .. } => error,
        other => Error::Rank { rank, what: other.to_string() },
    }
}

impl dyn Cluster + '_ {
    /// Makes a step that every rank tried fail on all ranks when it failed on one. All ranks must
    /// call it, and none between [`Cluster::next_ticket`] and its last answer.
    ///
    /// # Errors
    ///
    /// The error of the lowest rank that failed, the same [`Error::Rank`] on every rank. A run on
    /// one rank keeps its own.
    pub fn agree<T>(&mut self, result: Result<T>) -> Result<T> {
        if self.size() == 1 {
            return result;
        }
        let (value, failure) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let verdict = if self.rank() == 0 {
            let lowest = self.lowest_failure(failure);
            self.broadcast(encode(lowest.as_ref()))
        } else {
            let rank = self.rank();
            let own = failure.map(|error| known(rank, error));
            self.send(&encode(own.as_ref()));
            self.broadcast(Vec::new())
        };
        match (decode(&verdict), value) {
            (Some(error), _) => Err(error),
            (None, Some(value)) => Ok(value),
            (None, None) => unreachable!("a failure that no rank has heard of"),
        }
    }

    /// Rank 0: hears every rank and keeps the failure of the lowest.
    fn lowest_failure(&mut self, own: Option<Error>) -> Option<Error> {
        let others = self.hear_all();
        let own = own.map(|error| known(0, error));
        own.or_else(|| others.iter().find_map(|bytes| decode(bytes)))
    }
}

/// A failure as bytes: nothing, or the rank and the message.
fn encode(failure: Option<&Error>) -> Vec<u8> {
    match failure {
        None => Vec::new(),
        Some(Error::Rank { rank, what }) => {
            [&(*rank as u64).to_le_bytes()[..], what.as_bytes()].concat()
        }
        Some(error) => unreachable!("{error} without its rank"),
    }
}

fn decode(bytes: &[u8]) -> Option<Error> {
    let (rank, what) = bytes.split_first_chunk::<8>()?;
    let what = String::from_utf8_lossy(what).into_owned();
    Some(Error::Rank { rank: u64::from_le_bytes(*rank) as usize, what })
}
