//! From a manifest to a work list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{CALIBRATION, Campaign, Entry, Group, Manifest, SUMMARY, Shared};
use crate::error::Result;

/// The work list of a manifest, and sentences about what looks odd in it. Scans that `before` had keep their numbers and
/// outputs. Pixels and detectors are those that `before` knew.
///
/// # Errors
///
/// When the manifest names no scan, one twice, or one in its output folder.
pub fn plan(manifest: Manifest, before: Option<&Campaign>) -> Result<(Campaign, Vec<String>)> {
    let before = before.map_or(&[][..], |campaign| &campaign.entries);
    let mut notes = Vec::new();
    let mut names = Names::of(before);
    let mut entries = Vec::new();
    let mut groups: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let mut next = before.iter().map(|entry| entry.index + 1).max().unwrap_or(0);
    for group in &manifest.groups {
        let scans = found(&manifest, &group.scans, &mut notes)?;
        let shared = shared(&manifest, group, before, &mut names, &mut notes)?;
        for scan in scans {
            if let Some(other) = groups.insert(scan.clone(), &group.name) {
                return Err(manifest.wrong(format!(
                    "{} is in the groups {other} and {} (it would be mapped twice); take it out of one",
                    scan.display(),
                    group.name
                )));
            }
            let known = before.iter().find(|entry| entry.scan == scan);
            let index = known.map_or(next, |entry| entry.index);
            next = next.max(index + 1);
            let output = known.map(|entry| entry.output.clone());
            entries.push(Entry {
                index,
                group: group.name.clone(),
                output: output
                    .unwrap_or_else(|| names.map_file(folder_of(&manifest, group), &scan)),
                calibration: calibration_of(&scan, &shared),
                pixels: known.and_then(|entry| entry.pixels),
                detectors: known.and_then(|entry| entry.detectors),
                scan,
            });
        }
    }
    if entries.is_empty() {
        return Err(manifest.wrong("no scan is found; name scans that are there"));
    }
    entries.sort_by_key(|entry| entry.index);
    Ok((Campaign { manifest, entries }, notes))
}

/// The folder of a group's maps, in the output folder.
fn folder_of<'a>(manifest: &Manifest, group: &'a Group) -> &'a Path {
    Path::new(if manifest.groups.len() > 1 { group.name.as_str() } else { "" })
}

/// The scans that names and patterns stand for, relative to the manifest's folder, sorted, each once.
fn found(
    manifest: &Manifest,
    words: &[String],
    notes: &mut Vec<String>,
) -> Result<BTreeSet<PathBuf>> {
    let mut scans = BTreeSet::new();
    for word in words {
        let path = manifest.folder.join(word);
        if path.exists() || !word.contains(['*', '?', '[']) {
            scans.insert(relative(&path, &manifest.folder));
            continue;
        }
        let inside = Path::new(word).is_relative();
        let folder = glob::Pattern::escape(&format!("{}/", manifest.folder.display()));
        let pattern = if inside { folder + word } else { word.clone() };
        let matching = glob::glob(&pattern)
            .map_err(|e| manifest.wrong(format!("`{word}` is no pattern: {}", e.msg)))?;
        let none = scans.len();
        scans.extend(
            matching.flatten().filter(|p| p.is_file()).map(|p| relative(&p, &manifest.folder)),
        );
        if scans.len() == none {
            notes.push(format!("`{word}` finds no scan that is not there already"));
        }
    }
    let output = manifest.output.components().collect::<PathBuf>();
    match scans.iter().find(|scan| manifest.folder.join(scan).starts_with(&output)) {
        Some(scan) => Err(manifest.wrong(format!(
            "{} is in the output folder (maps would be taken for scans); give `output` a folder of its own",
            scan.display()
        ))),
        None => Ok(scans),
    }
}

/// A path without `.`, and without the folder that it is relative to.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|c| *c != Component::CurDir).collect();
    plain.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(plain)
}

/// The calibrations of a group, in the order of their scans.
fn shared(
    manifest: &Manifest,
    group: &Group,
    before: &[Entry],
    names: &mut Names,
    notes: &mut Vec<String>,
) -> Result<Vec<Shared>> {
    let scans = found(manifest, &group.calibrate_on, notes)?;
    let known = |scan: &PathBuf| {
        let mut old = before.iter().filter(|entry| entry.group == group.name);
        old.find_map(|entry| entry.calibration.clone().filter(|shared| shared.scan == *scan))
    };
    let folder = Path::new(CALIBRATION).join(folder_of(manifest, group));
    let all = scans.into_iter().map(|scan| {
        known(&scan).unwrap_or_else(|| Shared { folder: names.free(&folder, &scan, ""), scan })
    });
    Ok(all.collect())
}

/// The last calibration at or before a scan, the first where there is none before.
fn calibration_of(scan: &Path, shared: &[Shared]) -> Option<Shared> {
    shared.iter().rfind(|shared| shared.scan <= scan).or(shared.first()).cloned()
}

/// The names in the output folder that are taken.
struct Names(BTreeSet<PathBuf>);

impl Names {
    fn of(entries: &[Entry]) -> Self {
        let outputs = entries.iter().map(|entry| entry.output.clone());
        let folders =
            entries.iter().filter_map(|e| e.calibration.as_ref()).map(|s| s.folder.clone());
        let own = PathBuf::from(SUMMARY).with_extension("h5");
        Self(outputs.chain(folders).chain([own]).collect())
    }

    fn map_file(&mut self, folder: &Path, scan: &Path) -> PathBuf {
        self.free(folder, scan, ".h5")
    }

    /// A name after the scan that no other has.
    fn free(&mut self, folder: &Path, scan: &Path, extension: &str) -> PathBuf {
        let stem = scan.file_stem().unwrap_or(scan.as_os_str()).to_string_lossy();
        let mut name = folder.join(format!("{stem}{extension}"));
        for n in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = folder.join(format!("{stem}-{n}{extension}"));
        }
        name
    }
}
