//! One table of all maps of a campaign.

use std::path::Path;

use serde::Deserialize;

use crate::campaign::{Campaign, Entry, Standing, now};
use crate::config::Detector;
use crate::error::{Error, Result};
use crate::kernels::Status;
use crate::maps::{self, SummaryRow, SummaryTable};
use crate::output::{self, Overwrite};
use crate::report::count;

pub(super) fn run(manifest: &Path) -> Result<()> {
    let campaign = Campaign::planned(manifest)?;
    let is_done = |entry: &&Entry| matches!(campaign.standing(entry), Standing::Done(_));
    let mut rows = Vec::new();
    for entry in campaign.entries.iter().filter(is_done) {
        rows.extend(rows_of(&campaign, entry)?);
    }
    if rows.is_empty() {
        return Err(Error::file(
            manifest,
            "no scan of this campaign is done (a table would be empty); run it first",
        ));
    }
    let table = SummaryTable {
        statuses: Status::ALL.map(|s| (name(s), s.meaning().into())).to_vec(),
        program: format!("xrfit {} ({})", env!("CARGO_PKG_VERSION"), env!("XRFIT_COMMIT")),
        written: now(),
        rows,
    };
    let [csv, h5] = ["csv", "h5"].map(|extension| campaign.summary(extension));
    output::write(&csv, Overwrite::Yes, table.to_csv())?;
    maps::write_summary(&h5, Overwrite::Yes, &table)?;
    let rows = count(table.rows.len());
    log::info!("wrote {} and {}, {rows} rows each", csv.display(), h5.display());
    Ok(())
}

/// A row for each map file of an entry.
fn rows_of(campaign: &Campaign, entry: &Entry) -> Result<Vec<SummaryRow>> {
    let files = campaign.maps_of(entry);
    let has_family = files.iter().any(|(detector, _)| detector.is_some());
    let row = |(detector, file): &(Option<usize>, std::path::PathBuf)| {
        let found = maps::read_summary(file)?;
        let detector = match detector {
            Some(number) => number.to_string(),
            None if has_family => SUM.into(),
            None => only_detector(&found.configuration),
        };
        Ok(SummaryRow {
            group: entry.group.clone(),
            scan: entry.scan.display().to_string(),
            detector,
            file: campaign.inside(file).display().to_string(),
            found,
        })
    };
    files.iter().map(row).collect()
}

const SUM: &str = "sum";

/// What is wanted of a recorded configuration.
#[derive(Deserialize)]
struct Recorded {
    scan: RecordedScan,
}

#[derive(Deserialize)]
struct RecordedScan {
    detector: Detector,
}

/// The detector of a map file that is the only one of its scan; empty where its configuration does not say.
fn only_detector(configuration: &str) -> String {
    match toml::from_str(configuration).map(|recorded: Recorded| recorded.scan.detector) {
        Ok(Detector::Index(number)) => number.to_string(),
        Ok(Detector::Sum) => SUM.into(),
        Ok(Detector::Each) => "0".into(),
        Err(_) => String::new(),
    }
}

/// A status as the name of a column: `StepLimit` is `step_limit`.
fn name(status: Status) -> String {
    let mut name = String::new();
    for c in format!("{status:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}
