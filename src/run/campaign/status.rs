//! How a campaign stands, in words.

use std::path::Path;
use std::time::Duration;

use crate::campaign::{Campaign, Entry, Record, Standing};
use crate::error::Result;
use crate::maps;
use crate::output::numbered;
use crate::report::{count, duration, rate, say, several};

pub(super) fn run(manifest: &Path) -> Result<()> {
    let campaign = Campaign::planned(manifest)?;
    let stand = |entry| (entry, campaign.standing(entry));
    let all: Vec<(&Entry, Standing)> = campaign.entries.iter().map(stand).collect();
    let of = |standing: fn(&Standing) -> bool| all.iter().filter(|(_, s)| standing(s)).count();
    let mut text = format!(
        "{}: {} done, {} running, {} interrupted, {} failed, {} waiting\n",
        several(all.len(), "scan"),
        of(|s| matches!(s, Standing::Done(_))),
        of(|s| matches!(s, Standing::Running(_))),
        of(|s| matches!(s, Standing::Interrupted(_))),
        of(|s| matches!(s, Standing::Failed(_))),
        of(|s| matches!(s, Standing::Waiting)),
    );
    text += &Work::of(&campaign, &all).line();
    for (entry, standing) in &all {
        text += &line(&campaign, entry, standing);
    }
    say(&text)
}

/// What there is to say of one entry: nothing, where all is well.
fn line(campaign: &Campaign, entry: &Entry, standing: &Standing) -> String {
    let what = match standing {
        Standing::Failed(record) => {
            let reason = record.reason.as_deref().unwrap_or("nobody wrote down why");
            format!("failed: {reason}")
        }
        Standing::Interrupted(record) => {
            format!("interrupted at {:.0} %", 100.0 * share(campaign, entry)) + &on(record)
        }
        Standing::Running(record) => {
            format!("running, {:.0} %", 100.0 * share(campaign, entry)) + &on(record)
        }
        Standing::Done(_) | Standing::Waiting => return String::new(),
    };
    format!("  {} {}: {what}\n", entry.index, entry.scan.display())
}

fn on(record: &Record) -> String {
    let place = &record.place;
    let job = place.job.as_ref().map_or(String::new(), |job| format!(", job {job}"));
    format!(", process {} on {}{job}, since {}", place.process, place.host, record.started)
}

/// The share of an entry's pixels that is done, by its ledgers.
fn share(campaign: &Campaign, entry: &Entry) -> f64 {
    let output = campaign.output_of(entry);
    let of = |file: &Path| {
        // a ledger that cannot be read now can be the next time
        let found = maps::progress(&maps::ledger_of(file)).ok().flatten();
        found.map(|found| found.done as f64 / found.pixels.max(1) as f64)
    };
    if let Some(share) = of(&output) {
        return share;
    }
    let detectors = entry.detectors.unwrap_or(0);
    let shares = (0..detectors).filter_map(|i| of(&numbered(&output, Some(i))));
    shares.fold(0.0, |sum, share| sum + share) / detectors.max(1) as f64
}

/// Pixels, and the time that those that are done took.
#[derive(Default)]
struct Work {
    done: f64,
    pixels: usize,
    /// Scans whose pixels nobody knows.
    unknown: usize,
    /// What is still to be fitted, failed scans apart.
    left: f64,
    seconds: f64,
    running: usize,
}

impl Work {
    fn of(campaign: &Campaign, all: &[(&Entry, Standing)]) -> Self {
        let mut work = Self::default();
        for (entry, standing) in all {
            let recorded = if let Standing::Done(record) = standing { record.pixels } else { None };
            let Some(pixels) = recorded.or(entry.pixels) else {
                work.unknown += 1;
                continue;
            };
            let (share, record) = match standing {
                Standing::Done(record) => (1.0, Some(record)),
                Standing::Running(record) | Standing::Interrupted(record) => {
                    (share(campaign, entry), Some(record))
                }
                Standing::Failed(_) | Standing::Waiting => (0.0, None),
            };
            let done = share * pixels as f64;
            work.pixels += pixels;
            work.done += done;
            if !matches!(standing, Standing::Failed(_)) {
                work.left += pixels as f64 - done;
            }
            // time without pixels says nothing about their rate
            if let Some(record) = record.filter(|_| done > 0.0) {
                work.seconds += campaign.worked(entry, record);
            }
            work.running += usize::from(matches!(standing, Standing::Running(_)));
        }
        work
    }

    fn line(&self) -> String {
        let done = self.done.round() as usize;
        let percent = 100 * done / self.pixels.max(1);
        let mut text = format!("{} of {} pixels ({percent} %)", count(done), count(self.pixels));
        if self.unknown > 0 {
            text += &format!(", {} of unknown size", several(self.unknown, "scan"));
        }
        if done > 0 && self.seconds > 0.0 && self.left > 0.0 {
            let at_once = self.running.max(1);
            let left = self.left / self.done * self.seconds / at_once as f64;
            text += &format!(
                ", {} pixels/s in a scan, {} left with {at_once} at once",
                rate(done, Duration::from_secs_f64(self.seconds)),
                duration(Duration::from_secs_f64(left))
            );
        }
        text + "\n"
    }
}
