//! A campaign: many scans, mapped one by one, and what is known of each.
//!
//! The [`Manifest`] is what a person wrote, the [`Campaign`] the work list that was made of it: entries with numbers that
//! they keep. A [`Record`] beside it says how one entry fares. Everything is a small file in the output folder that is
//! written whole or not at all, so processes on many machines need nothing else in common. No ranks, no fitting.

mod manifest;
mod plan;
mod record;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::manifest::{Group, Manifest};
pub use self::plan::plan;
pub use self::record::{BEAT, Place, Record, Standing, State, now};
use crate::error::{Error, Result};
use crate::output::{self, Overwrite, numbered};

/// A calibration that several scans share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// The scan it is found on, relative to the manifest's folder.
    pub scan: PathBuf,
    /// The folder of its configurations, in the output folder; there as soon as they are complete.
    pub folder: PathBuf,
}

impl Shared {
    /// The configuration in such a folder; of several detectors `FILE0`, `FILE1`, ...
    pub fn configuration(folder: &Path) -> PathBuf {
        folder.join("fit.toml")
    }
}

/// One scan of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, which it keeps.
    pub index: usize,
    /// The group it belongs to.
    pub group: String,
    /// The scan, relative to the manifest's folder.
    pub scan: PathBuf,
    /// The map file, in the output folder.
    pub output: PathBuf,
    /// Where its shapes come from, if not from its own sum.
    pub calibration: Option<Shared>,
    /// Pixels of the scan, where it could be opened.
    pub pixels: Option<usize>,
    /// Detectors of the scan, where it could be opened.
    pub detectors: Option<usize>,
}

/// A campaign that was planned.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// What a person wrote.
    pub manifest: Manifest,
    /// The scans, by number.
    pub entries: Vec<Entry>,
}

impl Campaign {
    /// The campaign of a manifest that was planned; `None` when it was not.
    ///
    /// # Errors
    ///
    /// When the manifest or the work list cannot be read or understood.
    pub fn open(manifest: &Path) -> Result<Option<Self>> {
        let manifest = Manifest::read(manifest)?;
        let path = list_of(&manifest);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read: {e}")))?;
        let entries = serde_json::from_slice(&text).map_err(|e| {
            Error::file(&path, format!("is no work list ({e}); delete it and plan again"))
        })?;
        Ok(Some(Self { manifest, entries }))
    }

    /// As [`Campaign::open`], of one that has to be planned.
    ///
    /// # Errors
    ///
    /// Those of [`Campaign::open`], and when it was not planned.
    pub fn planned(manifest: &Path) -> Result<Self> {
        Self::open(manifest)?.ok_or_else(|| {
            Error::file(
                manifest,
                format!(
                    "this campaign has no work list yet; run `xrfit campaign plan {}`",
                    manifest.display()
                ),
            )
        })
    }

    /// Writes the work list.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = list_of(&self.manifest);
        make_folder(output::folder(&path))?;
        output::write(&path, Overwrite::Yes, json(&self.entries))
    }

    /// The entry of a number; `None` when its scan is in the manifest no more.
    ///
    /// # Errors
    ///
    /// When no entry ever had it.
    pub fn entry(&self, index: usize) -> Result<Option<&Entry>> {
        let last = self.entries.iter().map(|entry| entry.index).max();
        if last.is_none_or(|last| index > last) {
            let all =
                last.map_or("none are planned".into(), |last| format!("0 to {last} are planned"));
            return Err(Error::file(
                &self.manifest.path,
                format!("there is no entry {index} ({all}); `xrfit campaign plan` lists them"),
            ));
        }
        Ok(self.entries.iter().find(|entry| entry.index == index))
    }

    /// The scan of an entry.
    pub fn scan_of(&self, entry: &Entry) -> PathBuf {
        self.manifest.folder.join(&entry.scan)
    }

    /// The map file of an entry.
    pub fn output_of(&self, entry: &Entry) -> PathBuf {
        self.manifest.output.join(&entry.output)
    }

    /// The map files of an entry that are there: of the detectors, by number, and of their sum or the only one.
    pub fn maps_of(&self, entry: &Entry) -> Vec<(Option<usize>, PathBuf)> {
        let output = self.output_of(entry);
        let detectors = (0..).map(|i| (Some(i), numbered(&output, Some(i))));
        let mut there: Vec<_> = detectors.take_while(|(_, file)| file.exists()).collect();
        there.extend(Some((None, output)).filter(|(_, file)| file.exists()));
        there
    }

    /// A file of the output folder, relative to that.
    pub fn inside(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.manifest.output).unwrap_or(file).to_path_buf()
    }

    /// The table of all scans, with this extension.
    pub fn summary(&self, extension: &str) -> PathBuf {
        self.manifest.output.join(SUMMARY).with_extension(extension)
    }
}

/// The work list in an output folder.
const LIST: &str = "campaign.json";
/// The records.
const STATE: &str = "state";
/// Shared calibrations.
const CALIBRATION: &str = "calibration";
/// The table of all scans, without its extension.
const SUMMARY: &str = "summary";

fn list_of(manifest: &Manifest) -> PathBuf {
    manifest.output.join(LIST)
}

/// A folder, with those above it.
///
/// # Errors
///
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| output::uncreated(folder, &e))
}

/// As JSON that a person can read.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data become JSON") + "\n"
}
