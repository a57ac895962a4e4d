//! How an entry fares: a small file that only who works on the entry writes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Campaign, Entry, STATE, json};
use crate::error::{Error, Result};
use crate::output::{self, Overwrite};

/// Time between two signs of life of an entry that is being worked on: its record is touched.
pub const BEAT: Duration = Duration::from_secs(20);
/// Who gave no sign for so long is dead.
const SILENCE: Duration = Duration::from_secs(180);

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being worked on, or was until something ended that without a word.
    Running,
    /// Its maps are complete.
    Done,
    /// It failed.
    Failed,
    /// A signal stopped it, and it can be gone on with.
    Stopped,
}

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The machine.
    pub host: String,
    /// The process's number there.
    pub process: u32,
    /// Its Slurm job.
    pub job: Option<String>,
}

impl Place {
    /// This process.
    pub fn here() -> Self {
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            job: std::env::var("SLURM_JOB_ID").ok(),
        }
    }
}

/// How an entry fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The scan, as in the work list.
    pub scan: PathBuf,
    /// What became of it.
    pub state: State,
    /// Who works or worked on it.
    #[serde(flatten)]
    pub place: Place,
    /// When that began, ISO 8601, UTC.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Time that all attempts took together, up to the beginning of the one that runs \[s\].
    pub seconds: f64,
    /// Why it failed.
    pub reason: Option<String>,
    /// Pixels of its maps, when they are done.
    pub pixels: Option<usize>,
    /// Those of them without a fit.
    pub unfitted: Option<usize>,
    /// Its map files, when they are done.
    pub maps: Vec<PathBuf>,
}

impl Record {
    /// Work on an entry begins, here and now, after attempts that took so long \[s\].
    pub fn begun(entry: &Entry, seconds: f64) -> Self {
        Self {
            scan: entry.scan.clone(),
            state: State::Running,
            place: Place::here(),
            started: now(),
            ended: None,
            seconds,
            reason: None,
            pixels: None,
            unfitted: None,
            maps: Vec::new(),
        }
    }
}

/// The time, ISO 8601, UTC.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// How an entry stands, as seen from here.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nobody has begun.
    Waiting,
    /// Somebody works on it.
    Running(Record),
    /// Somebody worked on it and ended before it did.
    Interrupted(Record),
    /// It failed.
    Failed(Record),
    /// Its maps are complete.
    Done(Record),
}

impl Campaign {
    /// The file of an entry's record.
    pub fn record_file(&self, entry: &Entry) -> PathBuf {
        self.manifest.output.join(STATE).join(format!("{:04}.json", entry.index))
    }

    /// The record of an entry; `None` where there is none, or one that cannot be read.
    pub fn record(&self, entry: &Entry) -> Option<Record> {
        let text = std::fs::read(self.record_file(entry)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        Some(record).filter(|record| record.scan == entry.scan)
    }

    /// Writes the record of an entry.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_record(&self, entry: &Entry, record: &Record) -> Result<()> {
        let file = self.record_file(entry);
        super::make_folder(output::folder(&file))?;
        output::write(&file, Overwrite::Yes, json(record))
    }

    /// Lets nobody else begin an entry until the file is dropped; on a file system without locks it holds nobody back.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn hold(&self) -> Result<File> {
        let path = self.manifest.output.join(STATE).join("lock");
        super::make_folder(output::folder(&path))?;
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::file(&path, format!("cannot be written: {e}")))?;
        let lock = || rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive);
        if let Err(e) = rustix::io::retry_on_intr(lock) {
            log::debug!("{}: there are no locks here: {e}", path.display());
        }
        Ok(file)
    }

    /// How an entry stands.
    pub fn standing(&self, entry: &Entry) -> Standing {
        let Some(record) = self.record(entry) else { return Standing::Waiting };
        match record.state {
            State::Done
                if record.maps.iter().all(|map| self.manifest.output.join(map).exists()) =>
            {
                Standing::Done(record)
            }
            // somebody removed the maps, so they are wanted anew
            State::Done => Standing::Waiting,
            State::Failed => Standing::Failed(record),
            State::Running if lives(&record, &self.record_file(entry)) => Standing::Running(record),
            State::Running | State::Stopped => Standing::Interrupted(record),
        }
    }

    /// Time that all attempts at an entry took, the one that runs up to its last sign of life \[s\].
    pub fn worked(&self, entry: &Entry, record: &Record) -> f64 {
        let began = humantime::parse_rfc3339(&record.started).ok();
        let last = touched(&self.record_file(entry));
        let running = began.zip(last).and_then(|(began, last)| last.duration_since(began).ok());
        match record.state {
            State::Running => record.seconds + running.map_or(0.0, |time| time.as_secs_f64()),
            _ => record.seconds,
        }
    }
}

fn touched(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|data| data.modified()).ok()
}

/// Does who says that he works on it still live? On this machine its process is looked for.
fn lives(record: &Record, file: &Path) -> bool {
    // a sign from the future comes from a clock that is ahead
    let silent = touched(file).and_then(|time| SystemTime::now().duration_since(time).ok());
    let gone = record.place.host == Place::here().host && !exists(record.place.process);
    silent.unwrap_or_default() < SILENCE && !gone
}

fn exists(process: u32) -> bool {
    let number = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    let found = number.map(rustix::process::test_kill_process);
    !matches!(found, None | Some(Err(rustix::io::Errno::SRCH)))
}
