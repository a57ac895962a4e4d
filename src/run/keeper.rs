//! Keeps tiles in the ledger, on a thread of its own: a slow disk must not keep ranks waiting for their next tile.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::checksums::Checksums;
use super::unfinished::Unfinished;
use crate::error::Result;
use crate::fit::Parts;
use crate::problem::Problem;
use crate::signals;

/// Work at risk when a process is killed, beside the tiles in hand: at least so long, so that few pixels are not
/// committed one by one, and at most so long.
const AT_RISK: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// The keeper commits for one part of its time in so many.
const SPARING: u32 = 100;
/// How often it looks at the clock.
const LOOK: Duration = Duration::from_millis(100);
/// Tiles that wait for the disk.
const WAITING: usize = 4;

/// The thread, and the way to it.
pub(super) struct Keeper {
    tiles: SyncSender<Vec<u8>>,
    /// Until it is found to have ended.
    thread: Option<JoinHandle<Result<Unfinished>>>,
}

impl Keeper {
    pub(super) fn start(unfinished: Unfinished, problem: &Problem, checksums: &Checksums) -> Self {
        let (tiles, given) = mpsc::sync_channel(WAITING);
        let (problem, checksums) = (problem.clone(), checksums.clone());
        let thread = thread::spawn(move || keep(unfinished, &problem, &checksums, &given));
        Self { tiles, thread: Some(thread) }
    }

    /// Hands a tile over, as its rank sent it.
    ///
    /// # Errors
    ///
    /// When an earlier one could not be written.
    pub(super) fn give(&mut self, tile: Vec<u8>) -> Result<()> {
        match self.tiles.send(tile) {
            Ok(()) => Ok(()),
            Err(_) => self.thread.take().map_or(Ok(()), |thread| joined(thread).map(drop)),
        }
    }

    /// Everything that was given is kept; nothing comes back of a keeper whose error is known.
    ///
    /// # Errors
    ///
    /// When it could not be written.
    pub(super) fn finish(self) -> Result<Option<Unfinished>> {
        drop(self.tiles);
        self.thread.map(joined).transpose()
    }
}

fn joined(thread: JoinHandle<Result<Unfinished>>) -> Result<Unfinished> {
    thread.join().expect("a keeper does not panic")
}

fn keep(
    mut unfinished: Unfinished,
    problem: &Problem,
    checksums: &Checksums,
    given: &Receiver<Vec<u8>>,
) -> Result<Unfinished> {
    let (mut committed, mut pending, mut sums_kept) = (Instant::now(), false, false);
    let mut interval = AT_RISK[0];
    loop {
        let open = match given.recv_timeout(LOOK) {
            Ok(tile) => {
                unfinished.record(&Parts::of(&tile, problem))?;
                pending = true;
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if let Some(sums) = checksums.known().filter(|_| !sums_kept) {
            unfinished.keep_checksums(sums)?;
            sums_kept = true;
        }
        let due = committed.elapsed() >= interval || signals::asked().load(Ordering::Relaxed);
        if pending && (due || !open) {
            let began = Instant::now();
            unfinished.commit()?;
            interval = (began.elapsed() * SPARING).clamp(AT_RISK[0], AT_RISK[1]);
            (committed, pending) = (Instant::now(), false);
        }
        if !open {
            return Ok(unfinished);
        }
    }
}
