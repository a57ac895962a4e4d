//! What an entry of a campaign asks for, as the commands that it stands for would have it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::campaign::{Campaign, Entry, Group, Shared};
use crate::cli::{CalibrateArgs, Cli, Command, FitArgs, MapArgs};
use crate::error::{Error, Result};

/// The work on one scan.
pub(super) struct Task {
    /// `xrfit map`.
    pub map: MapArgs,
    /// Where the shapes come from, if not from the scan's own sum.
    pub shared: Option<SharedTask>,
}

/// `xrfit calibrate` for several scans.
pub(super) struct SharedTask {
    /// Its folder when it is complete.
    pub folder: PathBuf,
    /// Its folder before.
    pub partial: PathBuf,
    /// What makes it there.
    pub calibrate: CalibrateArgs,
}

impl Task {
    /// The work on an entry.
    ///
    /// # Errors
    ///
    /// When its group is in the manifest no more, or has options that `xrfit map` has not.
    pub fn of(campaign: &Campaign, entry: &Entry) -> Result<Self> {
        let manifest = &campaign.manifest;
        let group = manifest.group(&entry.group)?;
        let wrong = |what: &dyn std::fmt::Display| {
            Error::file(&manifest.path, format!("group {}: {what}", group.name))
        };
        let mut map = map(group, &campaign.scan_of(entry), &campaign.output_of(entry))
            .map_err(|e| wrong(&said(&e)))?;
        found_in(&manifest.folder, &mut map);
        // each scan has pictures of its own
        let pictures = entry.output.with_extension("");
        map.png = map.png.map(|folder| folder.join(pictures));
        let Some(shared) = &entry.calibration else { return Ok(Self { map, shared: None }) };
        let scan = manifest.folder.join(&shared.scan);
        let shared = SharedTask::of(shared, entry, &scan, &manifest.output, &map)?;
        map.fit = FitArgs {
            config: Some(Shared::configuration(&shared.folder)),
            // all of this is in the calibrated configuration
            override_file: None,
            elements: None,
            incident_kev: None,
            ..map.fit
        };
        Ok(Self { map, shared: Some(shared) })
    }
}

impl SharedTask {
    /// The calibration with what is fitted and how from `map`.
    fn of(
        shared: &Shared,
        entry: &Entry,
        scan: &Path,
        output: &Path,
        map: &MapArgs,
    ) -> Result<Self> {
        let folder = output.join(&shared.folder);
        let name = shared.folder.file_name().unwrap_or_default().to_string_lossy();
        let partial = folder.with_file_name(format!(".{name}.partial-{}", entry.index));
        let file = Shared::configuration(&partial);
        let words = ["xrfit", "calibrate", "--overwrite", "-o"].map(OsString::from);
        let words = words.into_iter().chain([file.into(), "--".into(), scan.into()]);
        let Ok(Command::Calibrate(defaults)) = Cli::try_parse_from(words).map(|cli| cli.command)
        else {
            unreachable!("these words are a calibration")
        };
        // the free shapes are those of the pixels: the first pass has its own, as before a map
        let fit = FitArgs { free: None, ..map.fit.clone() };
        let calibrate = CalibrateArgs { fit, work: map.work.clone(), ..defaults };
        Ok(Self { folder, partial, calibrate })
    }
}

/// `xrfit map` of a scan, as a group has it.
fn map(group: &Group, scan: &Path, output: &Path) -> std::result::Result<MapArgs, clap::Error> {
    let mut words: Vec<OsString> = ["xrfit", "map", "--resume", "-o"].map(OsString::from).into();
    words.push(output.into());
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    if let Some(config) = &group.config {
        option("--config", config.into());
    }
    if let Some(file) = &group.override_file {
        option("--override", file.into());
    }
    if let Some(elements) = &group.elements {
        option("--elements", elements.join(",").into());
    }
    if let Some(kev) = group.incident_kev {
        option("--incident-kev", kev.to_string().into());
    }
    words.extend(group.options.iter().map(OsString::from));
    words.extend(["--".into(), scan.into()]);
    match Cli::try_parse_from(words)?.command {
        Command::Map(args) => Ok(args),
        _ => unreachable!("the words begin with `map`"),
    }
}

/// The first lines of what is wrong with options, without the usage.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines: Vec<&str> =
        text.lines().take_while(|l| !l.starts_with("Usage")).map(str::trim).collect();
    format!("its options: {}", lines.join(" ").trim())
}

/// Paths of options are relative to the manifest's folder, too.
fn found_in(folder: &Path, map: &mut MapArgs) {
    let fit = &mut map.fit;
    let paths = [&mut fit.config, &mut fit.override_file, &mut fit.line_library, &mut map.png];
    for path in paths.into_iter().flatten() {
        *path = folder.join(&*path);
    }
}
