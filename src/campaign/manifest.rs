//! `MANIFEST.toml`: which scans, how, and where to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{CALIBRATION, STATE};
use crate::error::{Error, Result};
use crate::output;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    output: PathBuf,
    #[serde(default)]
    group: Vec<Group>,
}

/// Scans that are mapped alike. Paths are as they were written: relative to the manifest's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name, and that of its folder where there are several groups.
    #[serde(default)]
    pub name: String,
    /// Names of scans, and patterns with `*`, `?`, `[]` and `**`.
    pub scans: Vec<String>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// MAPS override file.
    #[serde(rename = "override")]
    pub override_file: Option<PathBuf>,
    /// Elements to fit.
    pub elements: Option<Vec<String>>,
    /// Incident photon energy \[keV\].
    pub incident_kev: Option<f64>,
    /// Further options of `xrfit map`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Scans on whose sums shapes are fitted, for all.
    #[serde(default)]
    pub calibrate_on: Vec<String>,
}

/// What a person wrote.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file.
    pub path: PathBuf,
    /// Its folder, from the root on.
    pub folder: PathBuf,
    /// The output folder.
    pub output: PathBuf,
    /// Its groups, each with a name.
    pub groups: Vec<Group>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has a key that is not known, or names groups in a way that their folders cannot have.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let written: Written = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::file(
                path,
                format!("line {line}: {}; `xrfit campaign --help` lists the keys", e.message()),
            )
        })?;
        let folder = std::path::absolute(output::folder(path))
            .map_err(|e| Error::file(path, format!("its folder cannot be found: {e}")))?;
        let mut manifest = Self {
            path: path.to_path_buf(),
            output: folder.join(written.output),
            folder,
            groups: written.group,
        };
        manifest.name_groups()?;
        Ok(manifest)
    }

    /// The group of this name.
    ///
    /// # Errors
    ///
    /// When it has none, as after a change that was not planned.
    pub fn group(&self, name: &str) -> Result<&Group> {
        self.groups.iter().find(|group| group.name == name).ok_or_else(|| {
            self.wrong(format!("there is no group {name} any more; plan the campaign again"))
        })
    }

    /// An error in the manifest.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.path, what)
    }

    fn name_groups(&mut self) -> Result<()> {
        if self.groups.is_empty() {
            return Err(
                self.wrong("there is no [[group]], so no scans; add one with `scans = [...]`")
            );
        }
        for (i, group) in self.groups.iter_mut().enumerate() {
            if group.name.is_empty() {
                group.name = format!("group-{}", i + 1);
            }
        }
        let mut names = BTreeSet::new();
        for Group { name, .. } in &self.groups {
            if [STATE, CALIBRATION, ".", ".."].contains(&&**name) || name.contains('/') {
                return Err(self.wrong(format!(
                    "no group can be called {name} (a folder gets its name); choose another"
                )));
            }
            if !names.insert(name) {
                return Err(
                    self.wrong(format!("two groups are called {name}; give them different names"))
                );
            }
        }
        Ok(())
    }
}
