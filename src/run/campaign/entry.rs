//! One entry of a campaign, on all ranks of this job.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Instant, SystemTime};

use super::super::{calibrate, map, on_rank_0};
use super::task::{SharedTask, Task};
use crate::campaign::{BEAT, Campaign, Entry, Place, Record, Standing, State, make_folder, now};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kernels::Status;
use crate::maps;
use crate::output::folder;
use crate::signals;

pub(super) fn run(manifest: &Path, index: usize, cluster: &mut dyn Cluster) -> Result<()> {
    // also while shapes are found, not from the map on alone
    cluster.agree(signals::listen())?;
    let campaign = cluster.agree(Campaign::planned(manifest))?;
    let Some(entry) = cluster.agree(campaign.entry(index).map(Option::<&Entry>::cloned))? else {
        return on_rank_0(cluster, || {
            log::info!(
                "the scan of entry {index} is in the manifest no more; there is nothing to do"
            );
            Ok(())
        });
    };
    let mut attempt = None;
    on_rank_0(cluster, || {
        attempt = Attempt::begin(&campaign, &entry)?;
        Ok(())
    })?;
    let is_wanted = cluster.broadcast(vec![u8::from(attempt.is_some())]);
    if is_wanted == [0] {
        return Ok(());
    }
    let worked = work(&campaign, &entry, cluster);
    if let Err(error) = &worked {
        if cluster.rank() == 0 || is_own(error, cluster.rank()) {
            end_badly(&campaign, &entry, attempt.as_ref(), error);
        }
        return worked;
    }
    on_rank_0(cluster, || attempt.map_or(Ok(()), |attempt| attempt.end_well(&campaign, &entry)))
}

/// Did this rank fail, and not another?
fn is_own(error: &Error, this: usize) -> bool {
    match error {
        Error::Rank { rank, .. } => *rank == this,
        Error::Stopped => false,
        _ => true,
    }
}

fn work(campaign: &Campaign, entry: &Entry, cluster: &mut dyn Cluster) -> Result<()> {
    let task = cluster.agree(Task::of(campaign, entry))?;
    on_rank_0(cluster, || make_folder(folder(&task.map.output)))?;
    if let Some(shared) = &task.shared {
        calibrated(shared, cluster)?;
    }
    map::run(&task.map, cluster)
}

/// Makes a shared calibration that is not there. Two jobs that do so at once find the same.
fn calibrated(shared: &SharedTask, cluster: &mut dyn Cluster) -> Result<()> {
    let is_there = cluster.broadcast(vec![u8::from(shared.folder.is_dir())]);
    if is_there == [1] {
        return Ok(());
    }
    on_rank_0(cluster, || make_folder(&shared.partial))?;
    calibrate::run(&shared.calibrate, cluster).map_err(|error| {
        let scan = shared.calibrate.scan.display();
        let told = |what: &str| format!("the calibration that its group shares, on {scan}: {what}");
        match error {
            Error::Rank { rank, what } => Error::Rank { rank, what: told(&what) },
            Error::Stopped => error,
            _ => Error::configuration(told(&error.to_string())),
        }
    })?;
    on_rank_0(cluster, || {
        if let Err(e) = std::fs::rename(&shared.partial, &shared.folder) {
            // another job was faster
            let _ = std::fs::remove_dir_all(&shared.partial);
            if !shared.folder.is_dir() {
                return Err(Error::file(&shared.folder, format!("cannot be named: {e}")));
            }
        }
        log::info!("shared from now on: {}", shared.folder.display());
        Ok(())
    })
}

/// Work on an entry: its record says so, and is touched now and then.
struct Attempt {
    record: Record,
    began: Instant,
    pulse: Sender<()>,
}

impl Attempt {
    /// Begins, unless there is nothing to do.
    ///
    /// # Errors
    ///
    /// When another process works on the entry, or the record cannot be written.
    fn begin(campaign: &Campaign, entry: &Entry) -> Result<Option<Self>> {
        let _held = campaign.hold()?;
        let seconds = match campaign.standing(entry) {
            Standing::Done(_) => {
                log::info!("entry {} is done already: {}", entry.index, entry.scan.display());
                return Ok(None);
            }
            Standing::Running(other) if !is_before(&other.place, &Place::here()) => {
                return Err(Error::file(
                    campaign.scan_of(entry),
                    format!(
                        "process {} on {} maps it (two would write the same file); wait until that ends",
                        other.place.process, other.place.host
                    ),
                ));
            }
            _ => campaign.record(entry).map_or(0.0, |record| campaign.worked(entry, &record)),
        };
        let record = Record::begun(entry, seconds);
        campaign.write_record(entry, &record)?;
        let pulse = pulse(campaign.record_file(entry));
        Ok(Some(Self { record, began: Instant::now(), pulse }))
    }

    /// The record as it is when the work ends now.
    fn ended(&self, state: State) -> Record {
        let seconds = self.record.seconds + self.began.elapsed().as_secs_f64();
        Record { state, ended: Some(now()), seconds, ..self.record.clone() }
    }

    /// The maps are complete.
    fn end_well(self, campaign: &Campaign, entry: &Entry) -> Result<()> {
        let mut record = self.ended(State::Done);
        drop(self.pulse);
        for (_, file) in campaign.maps_of(entry) {
            let status = maps::read_status(&file)?;
            record.maps.push(campaign.inside(&file));
            let unfitted =
                status.iter().filter(|&&s| !Status::from_code(i32::from(s)).is_fitted()).count();
            record.pixels = Some(status.len());
            // of several detectors the one that could be fitted least
            record.unfitted = record.unfitted.max(Some(unfitted));
        }
        campaign.write_record(entry, &record)
    }
}

/// The record of a process that this one takes the place of, as after a requeue?
fn is_before(other: &Place, this: &Place) -> bool {
    other == this || (other.job.is_some() && other.job == this.job && other.host != this.host)
}

/// Touches a file until the other end is dropped.
fn pulse(file: std::path::PathBuf) -> Sender<()> {
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            // a sign that cannot be given is no reason to end
            let opened = std::fs::File::options().write(true).open(&file);
            let _ = opened.and_then(|file| file.set_modified(SystemTime::now()));
        }
    });
    stop
}

/// Writes why an entry is not done. That this cannot be written is no news: the error is on its way to the user.
fn end_badly(campaign: &Campaign, entry: &Entry, attempt: Option<&Attempt>, error: &Error) {
    let record = attempt.map(|a| a.ended(State::Failed)).or_else(|| campaign.record(entry));
    let Some(record) = record else { return };
    let (state, reason) = match error {
        Error::Stopped => (State::Stopped, None),
        _ => (State::Failed, Some(error.to_string())),
    };
    let record = Record { state, ended: Some(now()), reason, ..record };
    if let Err(unwritten) = campaign.write_record(entry, &record) {
        log::warn!("{unwritten}");
    }
}
