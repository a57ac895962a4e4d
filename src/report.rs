//! What the user reads while a run goes on: log lines and progress, on standard error.
//!
//! Rank 0 speaks; the others only when something is wrong, and then with their rank. Knows no
//! fitting. A line that ends the run is printed by [`crate::cluster::fail`].

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::error::{Error, Result};

/// Time between two plain progress lines when less than [`STEP`] was done meanwhile.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Part of the pixels after which a plain progress line comes.
const STEP: f64 = 0.1;
/// Time between two redraws of the progress line of a terminal.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Back to the start of the terminal's line, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Whether a terminal shows an unfinished progress line that a log line must clear first.
static LINE_OPEN: AtomicBool = AtomicBool::new(false);

/// Sets up `log` for this rank: from information on rank 0, from warnings on the others. The
/// variable `XRFIT_LOG` chooses differently, e.g. `debug` or `xrfit::scan=trace`.
///
/// Later calls in one process change nothing.
pub fn start_log(rank: usize) {
    let level = if rank == 0 { LevelFilter::Info } else { LevelFilter::Warn };
    let mut builder = env_logger::Builder::new();
    // Libraries say at "info" what is of no use to a user.
    builder.filter_level(LevelFilter::Warn).filter_module("xrfit", level);
    builder.parse_env("XRFIT_LOG");
    builder.format(move |out, record| {
        if LINE_OPEN.swap(false, Ordering::Relaxed) {
            out.write_all(CLEAR.as_bytes())?;
        }
        writeln!(out, "{}", log_line(rank, record.level(), &record.args().to_string()))
    });
    let _ = builder.try_init();
}

/// A log line: the message, after the rank unless it is 0 and the level unless it is information.
pub fn log_line(rank: usize, level: Level, message: &str) -> String {
    let who = if rank == 0 { String::new() } else { format!("rank {rank}: ") };
    let what = match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug => "debug: ",
        Level::Trace => "trace: ",
    };
    format!("{who}{what}{message}")
}

/// Logs what may come up several times in a run (once for each detector, say), the first time only.
pub fn note(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_new = SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(what.into());
    if is_new {
        log::info!("{what}");
    }
}

/// Prints what a command was asked for. A reader that has seen enough, as `head` does, is no error.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::file("standard output", format!("cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A terminal: one line that is redrawn.
    Terminal,
    /// A file or a pipe: a line now and then.
    Plain,
}

/// Pixels done, pixels per second and time left; for rank 0.
pub struct Progress {
    out: Box<dyn Write>,
    screen: Screen,
    total: usize,
    done: usize,
    start: Instant,
    shown: Instant,
    shown_done: usize,
}

impl Progress {
    /// Progress on standard error over `total` pixels; the clock starts.
    pub fn new(total: usize) -> Self {
        let err = std::io::stderr();
        let screen = if err.is_terminal() { Screen::Terminal } else { Screen::Plain };
        Self::shown_on(screen, Box::new(err), total)
    }

    /// As [`Progress::new`], elsewhere.
    pub fn shown_on(screen: Screen, out: Box<dyn Write>, total: usize) -> Self {
        let start = Instant::now();
        Self { out, screen, total, done: 0, start, shown: start, shown_done: 0 }
    }

    /// `pixels` more are done.
    pub fn advance(&mut self, pixels: usize) {
        self.done += pixels;
        let since = self.shown.elapsed();
        let due = match self.screen {
            Screen::Terminal => since >= REDRAW_INTERVAL,
            Screen::Plain => {
                let step = (self.done - self.shown_done) as f64;
                step >= STEP * self.total as f64 || since >= PLAIN_INTERVAL
            }
        };
        // The last line is the closing one.
        if due && self.done < self.total {
            self.show();
        }
    }

    /// Shows the last line and gives the time since the start.
    pub fn finish(mut self) -> Duration {
        let elapsed = self.start.elapsed();
        let rate = rate(self.done, elapsed);
        let line = format!("{} pixels in {}, {rate} pixels/s", count(self.done), duration(elapsed));
        let clear = if self.screen == Screen::Terminal { CLEAR } else { "" };
        LINE_OPEN.store(false, Ordering::Relaxed);
        self.print(&format!("{clear}{line}\n"));
        elapsed
    }

    fn show(&mut self) {
        let line = progress_line(self.done, self.total, self.start.elapsed());
        match self.screen {
            Screen::Terminal => {
                LINE_OPEN.store(true, Ordering::Relaxed);
                self.print(&format!("{CLEAR}{line}"));
            }
            Screen::Plain => self.print(&format!("{line}\n")),
        }
        (self.shown, self.shown_done) = (Instant::now(), self.done);
    }

    /// A progress line that nobody can read is no reason to end a run.
    fn print(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

/// `1,234 of 5,000 pixels (25 %), 310 pixels/s, 12 s left`.
pub fn progress_line(done: usize, total: usize, elapsed: Duration) -> String {
    let percent = 100 * done / total.max(1);
    let head = format!("{} of {} pixels ({percent} %)", count(done), count(total));
    if done == 0 {
        return head;
    }
    let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64);
    format!("{head}, {} pixels/s, {} left", rate(done, elapsed), duration(left))
}

/// A count with commas: `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 scan`, `1,234 scans`.
pub fn several(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Counts per second, with a decimal below 10: `0.4`, `7.3`, `12,345`.
pub fn rate(n: usize, time: Duration) -> String {
    let rate = n as f64 / time.as_secs_f64().max(1e-9);
    if rate < 9.95 { format!("{rate:.1}") } else { count(rate.round() as usize) }
}

/// A time as a person says it: `0.42 s`, `12 s`, `3 min 07 s`, `2 h 05 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if whole < 60 {
        format!("{whole} s")
    } else if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        let minutes = (seconds / 60.0).round() as u64;
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}
