//! `xrfit campaign`: many scans, each a run of its own.

mod children;
mod entry;
mod status;
mod summary;
mod task;

use std::path::Path;

use self::task::Task;
use super::on_rank_0;
use crate::campaign::{self, Campaign, Entry, Manifest, Standing};
use crate::cli::{CampaignStep, RunArgs};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::report::{count, say, several};
use crate::scan::{self, OpenOptions};

pub(super) fn run(step: &CampaignStep, cluster: &mut dyn Cluster) -> Result<()> {
    match step {
        CampaignStep::Plan(args) => on_rank_0(cluster, || plan(&args.manifest).map(drop)),
        CampaignStep::Run(args) => match (index(args)?, args.ranks) {
            (Some(index), None) => entry::run(&args.manifest, index, cluster),
            (Some(index), ranks) => alone(cluster, || {
                let campaign = Campaign::planned(&args.manifest)?;
                let one: Vec<Entry> = campaign.entry(index)?.cloned().into_iter().collect();
                children::run(&campaign, &one, ranks)
            }),
            (None, ranks) => alone(cluster, || {
                let campaign = Campaign::open(&args.manifest)?;
                let campaign = campaign.map_or_else(|| plan(&args.manifest), Ok)?;
                children::run(&campaign, &campaign.entries, ranks)
            }),
        },
        CampaignStep::Status(args) => on_rank_0(cluster, || status::run(&args.manifest)),
        CampaignStep::Retry(args) => alone(cluster, || {
            let campaign = Campaign::planned(&args.manifest)?;
            let again = |entry: &&Entry| {
                matches!(campaign.standing(entry), Standing::Failed(_) | Standing::Interrupted(_))
            };
            let entries: Vec<Entry> = campaign.entries.iter().filter(again).cloned().collect();
            children::run(&campaign, &entries, args.ranks)
        }),
        CampaignStep::Summary(args) => on_rank_0(cluster, || summary::run(&args.manifest)),
    }
}

/// The entry of this process, if it has one: as typed, or as a job array numbers it.
fn index(args: &RunArgs) -> Result<Option<usize>> {
    let of_array = std::env::var("SLURM_ARRAY_TASK_ID").ok();
    let Some(text) = of_array.filter(|_| args.index.is_none()) else { return Ok(args.index) };
    text.parse().map(Some).map_err(|_| {
        Error::configuration(format!(
            "SLURM_ARRAY_TASK_ID is `{text}`, no number of an entry; begin the array at 0"
        ))
    })
}

/// What starts processes of its own, and so is none of several.
fn alone(cluster: &mut dyn Cluster, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let several = cluster.size() > 1;
    on_rank_0(cluster, || match several {
        true => Err(Error::configuration(
            "a whole campaign is run by one process (each would map every scan); give --index to map one scan on the \
             ranks of this job, or start it without mpirun, with --ranks",
        )),
        false => work(),
    })
}

/// Makes the work list, and says what is in it.
fn plan(path: &Path) -> Result<Campaign> {
    let before = Campaign::open(path)?;
    let (mut campaign, notes) = campaign::plan(Manifest::read(path)?, before.as_ref())?;
    let mut unopened = Vec::new();
    for i in 0..campaign.entries.len() {
        let entry = &campaign.entries[i];
        let task = Task::of(&campaign, entry)?;
        match scan::open(
            &task.map.scan,
            OpenOptions { file_locking: !task.map.work.no_file_locking },
        ) {
            Ok(scan) => {
                let info = scan.info();
                campaign.entries[i].pixels = Some(info.pixels());
                campaign.entries[i].detectors = Some(info.detectors);
            }
            Err(error) => unopened.push(format!("  {} {error}\n", entry.index)),
        }
    }
    campaign.write()?;
    notes.iter().for_each(|note| log::warn!("{}: {note}", path.display()));
    say(&planned(&campaign, &unopened))?;
    Ok(campaign)
}

/// How many scans and pixels there are, and which scans cannot be opened.
fn planned(campaign: &Campaign, unopened: &[String]) -> String {
    let entries = &campaign.entries;
    let last = entries.iter().map(|entry| entry.index).max().unwrap_or(0);
    let pixels: usize = entries.iter().filter_map(|entry| entry.pixels).sum();
    let done = entries.iter().filter(|e| matches!(campaign.standing(e), Standing::Done(_))).count();
    let mut text = format!(
        "{}, {} pixels, entries 0 to {last}; {done} done; maps go to {}\n",
        several(entries.len(), "scan"),
        count(pixels),
        campaign.manifest.output.display()
    );
    if !unopened.is_empty() {
        text += &format!("{} cannot be opened now:\n{}", unopened.len(), unopened.concat());
    }
    text
}
