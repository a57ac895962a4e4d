//! How a rank works through its tickets.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::{panic, thread};

use crate::error::Result;

/// Where a rank's tickets come from, and where their results go.
pub(super) trait Counter {
    /// The next ticket, or `None` when there is none left.
    fn next(&mut self) -> Option<usize>;
    /// Takes the result of a ticket; breaks when nobody wants more.
    fn give(&mut self, ticket: usize, result: Result<Vec<u8>>) -> ControlFlow<()>;
}

/// Works on one ticket after another.
pub(super) fn one_by_one(
    counter: &mut impl Counter,
    mut work: impl FnMut(usize) -> Result<Vec<u8>>,
) {
    while let Some(ticket) = counter.next() {
        if counter.give(ticket, work(ticket)).is_break() {
            return;
        }
    }
}

/// Reads what belongs to the next ticket while another thread works on the last one. At most two tickets are in hand.
pub(super) fn reading_ahead<I: Send>(
    counter: &mut impl Counter,
    mut read: impl FnMut(usize) -> Result<I>,
    mut work: impl FnMut(usize, I) -> Result<Vec<u8>> + Send,
) {
    let (hand_over, handed) = mpsc::sync_channel::<(usize, I)>(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for (ticket, input) in handed {
                let result = work(ticket, input);
                let failed = result.is_err();
                if done.send((ticket, result)).is_err() || failed {
                    return;
                }
            }
        });
        let fed = feed(counter, &mut read, &hand_over, &results);
        drop(hand_over);
        if fed.is_continue() {
            for (ticket, result) in &results {
                if counter.give(ticket, result).is_break() {
                    break;
                }
            }
        }
        drop(results);
        if let Err(panic) = worker.join() {
            panic::resume_unwind(panic);
        }
    });
}

/// Breaks when nobody wants more results.
fn feed<I>(
    counter: &mut impl Counter,
    read: &mut impl FnMut(usize) -> Result<I>,
    hand_over: &mpsc::SyncSender<(usize, I)>,
    results: &mpsc::Receiver<(usize, Result<Vec<u8>>)>,
) -> ControlFlow<()> {
    while let Some(ticket) = counter.next() {
        let input = match read(ticket) {
            Ok(input) => input,
            Err(error) => {
                let _ = counter.give(ticket, Err(error));
                return ControlFlow::Break(());
            }
        };
        // the worker has ended: its last result says why
        if hand_over.send((ticket, input)).is_err() {
            return ControlFlow::Continue(());
        }
        for (ticket, result) in results.try_iter() {
            counter.give(ticket, result)?;
        }
    }
    ControlFlow::Continue(())
}
