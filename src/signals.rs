//! Signals that ask a run to end early and to be gone on with: SIGUSR1 and SIGTERM of a batch system, SIGINT of a person.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{EXIT_STOPPED, Error, Result};

/// How long a run has to end by itself. What is on disk is consistent at every instant, so it can be cut off.
const GRACE: Duration = Duration::from_secs(8);

static ASKED: AtomicBool = AtomicBool::new(false);

/// Is this run to end early? It begins to be so after [`listen`] alone.
pub fn asked() -> &'static AtomicBool {
    &ASKED
}

/// Listens from now on. The first signal asks; [`GRACE`] later, or with a second SIGINT, the process ends with
/// [`EXIT_STOPPED`].
///
/// # Errors
///
/// When the system lets nobody listen.
pub fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])
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
