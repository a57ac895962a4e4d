//! A case of the forward model: parameters, amplitudes and what the model is compared with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::constants::MOST_CHANNELS;
use crate::error::{Error, Result};
use crate::lines;
use crate::problem::{Background, Objective, Problem, Weights};

use super::choices::{Choices, Compat, ParameterName};
use super::components::Origin;
use super::raw::{Raw, RawBranching, RawFit, RawModel, RawParameter, RawSnip, read, relative_to};
use super::resolve::Sources;
use super::settings::Settings;

/// Window that holds every line and both scatter peaks \[keV\]: a case says its window in channels.
const EVERYWHERE_KEV: [f64; 2] = [0.0, 1000.0];

/// The scatter peaks, as amplitudes name them.
const SCATTER: [&str; 2] = ["COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE"];

/// `CASE.toml` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    channels: [usize; 2],
    amplitudes: BTreeMap<String, f64>,
    #[serde(default)]
    parameters: BTreeMap<ParameterName, RawParameter>,
    #[serde(default)]
    model: RawModel,
    #[serde(default)]
    snip: RawSnip,
    #[serde(default)]
    branching: BTreeMap<String, RawBranching>,
    compat: Option<Compat>,
    incident_kev: Option<f64>,
    line_library: Option<PathBuf>,
    henke: Option<PathBuf>,
    line_table: Option<PathBuf>,
    observed: Option<PathBuf>,
    objective: Option<Objective>,
    weights: Option<Weights>,
    background: Option<Background>,
}

/// One evaluation of the forward model.
#[derive(Clone, Debug)]
pub struct Case {
    /// The model and its window.
    pub problem: Problem,
    /// Shape parameters, then log10 amplitudes \[log10 counts\].
    pub variables: Vec<f64>,
    /// Spectrum to compare with (`.npy`), when the case names one.
    pub observed: Option<PathBuf>,
    /// The files that the case names: line data and the spectrum.
    pub files: Vec<PathBuf>,
}

impl Case {
    /// Reads a case; paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// A file or configuration error when it cannot be read, has an unknown key or component, or a window
    /// without channels.
    pub fn read(path: &Path) -> Result<Self> {
        let mut raw: RawCase = read(path, "the keys of a case are in `xrfit spectrum --help`")?;
        relative_to(
            path,
            [&mut raw.line_library, &mut raw.henke, &mut raw.line_table, &mut raw.observed],
        );
        let refuse = |what: String| Error::file(path, what);
        let [first, last] = raw.channels;
        if first > last {
            return Err(refuse(format!(
                "channels = [{first}, {last}] holds none; give the first and the last"
            )));
        }
        if last >= MOST_CHANNELS {
            return Err(refuse(format!(
                "channels = [{first}, {last}] goes beyond channel {}, the last that a spectrum can have",
                MOST_CHANNELS - 1
            )));
        }
        if let Some((name, value)) = raw.amplitudes.iter().find(|(_, v)| !v.is_finite()) {
            return Err(refuse(format!("amplitude {name} is {value}; give log10 counts")));
        }
        let mut problem = raw.problem(last + 1)?;
        (problem.first, problem.count) = (first, last - first + 1);
        if let Some(table) = &raw.line_table {
            problem.lines = lines::table(table, &problem.components)?;
        }
        for (variable, name) in problem.amplitudes.iter_mut().zip(&problem.components) {
            variable.start = raw.amplitudes[name];
        }
        let variables =
            problem.parameters.iter().chain(&problem.amplitudes).map(|v| v.start).collect();
        let files = [raw.line_library, raw.henke, raw.line_table, raw.observed.clone()];
        let files = files.into_iter().flatten().collect();
        Ok(Self { problem, variables, observed: raw.observed, files })
    }
}

impl RawCase {
    /// The problem with the components that have an amplitude.
    fn problem(&self, channels: usize) -> Result<Problem> {
        let has = |name: &str| self.amplitudes.contains_key(name);
        let elements = self.amplitudes.keys().filter(|n| !SCATTER.contains(&n.as_str()));
        let raw = Raw {
            compat: self.compat,
            elements: Some(elements.cloned().collect()),
            incident_kev: self.incident_kev,
            line_library: self.line_library.clone(),
            henke: self.henke.clone(),
            model: self.model.clone(),
            fit: RawFit {
                min_kev: Some(EVERYWHERE_KEV[0]),
                max_kev: Some(EVERYWHERE_KEV[1]),
                objective: self.objective.or(Some(Objective::Mse)),
                weights: self.weights,
                background: self.background.or(Some(Background::Snip)),
                ..RawFit::default()
            },
            snip: self.snip.clone(),
            parameters: self.parameters.clone(),
            branching: self.branching.clone(),
            ..Raw::default()
        };
        let choices = Choices::default();
        let sources = Sources {
            config: None,
            override_file: None,
            choices: &choices,
            scan_incident_kev: None,
        };
        let resolved = Settings::resolve_raw(&sources, raw, Origin::Modelled)?;
        let mut problem = resolved.settings.problem(channels)?;
        let elements = problem.components.len() - SCATTER.len();
        problem.components.retain(|name| has(name));
        problem.amplitudes.truncate(problem.components.len());
        problem.elastic = has(SCATTER[0]).then_some(elements);
        problem.compton = has(SCATTER[1]).then_some(problem.components.len() - 1);
        Ok(problem)
    }
}
