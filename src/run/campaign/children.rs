//! Entries of a campaign one after another, each in a process of its own: what ends one does not touch the others.

use std::num::NonZeroUsize;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::campaign::{Campaign, Entry, Place, Record, Standing, State, now};
use crate::cluster::VARIABLES;
use crate::error::{EXIT_STOPPED, Error, Result};
use crate::report::several;
use crate::signals::SIGNALS;

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// Maps those of the entries that are not done.
///
/// # Errors
///
/// When some failed, with their reasons; when a signal stopped it; when no process can be started.
pub(super) fn run(
    campaign: &Campaign,
    entries: &[Entry],
    ranks: Option<NonZeroUsize>,
) -> Result<()> {
    let signal = Arc::new(AtomicBool::new(false));
    for number in SIGNALS {
        signal_hook::flag::register(number, Arc::clone(&signal))
            .map_err(|e| Error::configuration(format!("signals cannot be heard: {e}")))?;
    }
    let mut failed = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        match campaign.standing(entry) {
            Standing::Done(_) => continue,
            Standing::Running(other) => {
                let Place { host, process, .. } = other.place;
                log::info!("{}: process {process} on {host} maps it", entry.scan.display());
                continue;
            }
            _ => {}
        }
        log::info!(
            "entry {}, {} of {}: {}",
            entry.index,
            i + 1,
            entries.len(),
            entry.scan.display()
        );
        let before = campaign.record(entry);
        let Some(status) = end_of(start(campaign, entry, ranks)?, &signal)? else {
            return Err(stopped(campaign));
        };
        if status.code() == Some(EXIT_STOPPED) {
            return Err(stopped(campaign));
        }
        if status.success() {
            continue;
        }
        if let Standing::Done(_) = campaign.standing(entry) {
            log::warn!(
                "{}: its maps are complete, though its process {}",
                entry.scan.display(),
                how(status)
            );
            continue;
        }
        failed.push(failure(campaign, entry, before.as_ref(), status)?);
    }
    if failed.is_empty() { Ok(()) } else { Err(listed(&failed)) }
}

/// The process of an entry. Signals from the terminal do not reach it by themselves.
fn start(campaign: &Campaign, entry: &Entry, ranks: Option<NonZeroUsize>) -> Result<Child> {
    let program = std::env::current_exe()
        .map_err(|e| Error::configuration(format!("this program cannot be found: {e}")))?;
    let mut command = match ranks {
        None => Command::new(program),
        Some(ranks) => {
            let mut mpirun = Command::new("mpirun");
            mpirun.args(["--bind-to", "none", "-n", &ranks.to_string()]).arg(program);
            mpirun
        }
    };
    // it belongs to no job of the launcher that started this one
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.args(["campaign", "run", "--index", &entry.index.to_string(), "--"]);
    command.arg(&campaign.manifest.path).stdin(Stdio::null()).process_group(0);
    let name = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|e| {
        Error::file(name, format!("cannot be started: {e}; --ranks needs mpirun on the PATH"))
    })
}

/// Waits for a process, and passes signals on to it. `None` where a signal ended it: maps that are complete all the same
/// are no reason to begin with the next.
fn end_of(mut child: Child, signal: &AtomicBool) -> Result<Option<ExitStatus>> {
    let mut is_stopping = false;
    loop {
        let ended = child.try_wait();
        let ended = ended.map_err(|e| Error::configuration(format!("a process is lost: {e}")))?;
        if let Some(status) = ended {
            is_stopping |= signal.load(Ordering::Relaxed);
            return Ok((!is_stopping).then_some(status));
        }
        if signal.swap(false, Ordering::Relaxed) {
            is_stopping = true;
            // mpirun hands on this one, and ends its ranks at others; a process that is gone needs none
            let _ = kill_process(Pid::from_child(&child), Signal::USR1);
        }
        thread::sleep(LOOK);
    }
}

fn stopped(campaign: &Campaign) -> Error {
    let manifest = campaign.manifest.path.display();
    log::warn!("a signal stopped the campaign; go on with\n    xrfit campaign run {manifest}");
    Error::Stopped
}

/// Why an entry failed: what its process wrote down, else how it ended, which is written for it.
fn failure(
    campaign: &Campaign,
    entry: &Entry,
    before: Option<&Record>,
    status: ExitStatus,
) -> Result<(usize, String)> {
    let record = campaign.record(entry).filter(|record| Some(record) != before);
    if let Some(reason) = record.as_ref().and_then(|record| record.reason.clone()) {
        return Ok((entry.index, reason));
    }
    let scan = campaign.scan_of(entry);
    let reason = format!("{}: its process {}", scan.display(), how(status));
    let record = match record {
        Some(record) => Record { seconds: campaign.worked(entry, &record), ..record },
        None => Record::begun(entry, 0.0),
    };
    let (ended, told) = (Some(now()), Some(reason.clone()));
    campaign
        .write_record(entry, &Record { state: State::Failed, ended, reason: told, ..record })?;
    Ok((entry.index, reason))
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(9)) => "was killed (signal 9; memory may have been short)".into(),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        (code, _) => format!("ended with exit code {}; its messages say why", code.unwrap_or(-1)),
    }
}

fn listed(failed: &[(usize, String)]) -> Error {
    let lines = failed.iter().map(|(index, reason)| format!("\n  {index} {reason}"));
    Error::configuration(format!(
        "{} failed (`xrfit campaign retry` maps them again):{}",
        several(failed.len(), "scan"),
        lines.collect::<String>()
    ))
}
