//! Signals that ask a run to end early and to be gone on with: SIGUSR1 and SIGTERM of a batch system, SIGINT of a person.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{EXIT_STOPPED, Error, Result};

/// How long a run has to end by itself. What is on disk is consistent at every instant, so it can be cut off.
const GRACE: Duration = Duration::from_secs(8);

/// The signals.
pub const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGUSR1];

static ASKED: AtomicBool = AtomicBool::new(false);

/// Is this run to end early? It begins to be so after [`listen`] alone.
pub fn asked() -> &'static AtomicBool {
    &ASKED
}

/// Listens from now on. The first signal asks; eight seconds later, or with a second SIGINT, the process ends with
/// [`EXIT_STOPPED`]. Later calls in one process change nothing.
///
/// # Errors
///
/// When the system lets nobody listen.
pub fn listen() -> Result<()> {
    static LISTENING: AtomicBool = AtomicBool::new(false);
    if LISTENING.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut signals = Signals::new(SIGNALS)
        .map_err(|e| Error::configuration(format!("cannot listen to signals: {e}")))?;
    thread::spawn(move || {
        for signal in &mut signals {
            let again = ASKED.swap(true, Ordering::SeqCst);
            if again && signal == SIGINT {
                std::process::exit(EXIT_STOPPED);
            }
            if !again {
                thread::spawn(|| {
                    thread::sleep(GRACE);
                    std::process::exit(EXIT_STOPPED);
                });
            }
        }
    });
    Ok(())
}
