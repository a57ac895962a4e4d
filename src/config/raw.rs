//! The configuration file as written: everything may be missing, nothing may be unknown.
//!
//! [`super::Settings`] is what it means. Every key is listed in [`super::reference`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::constants::Crystal;
use crate::error::{Error, Result};
use crate::lines::{LWeights, LineGate, MRatios, MuFraction, PileupGate};
use crate::problem::{
    Background, EscapeShift, Objective, Optimizer, Precision, SnipOrder, Tail, Weights,
};

use super::choices::{Compat, Detector, FirstPass, Free, ParameterName, Priors, Start};

/// A configuration file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub compat: Option<Compat>,
    pub elements: Option<Vec<String>>,
    pub incident_kev: Option<f64>,
    pub line_library: Option<PathBuf>,
    pub henke: Option<PathBuf>,
    pub scan: RawScan,
    pub model: RawModel,
    pub fit: RawFit,
    pub snip: RawSnip,
    pub parameters: BTreeMap<ParameterName, RawParameter>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub branching: BTreeMap<String, RawBranching>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScan {
    pub detector: Option<Detector>,
    pub pad_channels: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawModel {
    pub crystal: Option<Crystal>,
    pub pair_energy_ev: Option<f64>,
    pub tail: Option<Tail>,
    pub escape_shift: Option<EscapeShift>,
    pub mu_fraction: Option<MuFraction>,
    pub l_weights: Option<LWeights>,
    pub m_ratios: Option<MRatios>,
    pub line_gate: Option<LineGate>,
    pub pileup_gate: Option<PileupGate>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFit {
    pub min_kev: Option<f64>,
    pub max_kev: Option<f64>,
    pub free: Option<Free>,
    pub priors: Option<Priors>,
    pub objective: Option<Objective>,
    pub weights: Option<Weights>,
    pub optimizer: Option<Optimizer>,
    pub iterations: Option<usize>,
    pub tolerance: Option<f64>,
    pub background: Option<Background>,
    pub precision: Option<Precision>,
    pub start: Option<Start>,
    pub limits: Option<bool>,
    pub clip_net_counts: Option<bool>,
    pub first_pass: Option<FirstPass>,
    pub first_pass_free: Option<Free>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSnip {
    pub order: Option<SnipOrder>,
    pub width: Option<f64>,
}

/// A table, or a number for its `value` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct RawParameter {
    pub value: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub free: Option<bool>,
    pub rate: Option<f64>,
    pub prior_width: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBranching {
    pub lines: Option<Vec<f64>>,
    pub families: Option<[f64; 3]>,
    pub width: Option<f64>,
}

impl Serialize for RawParameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for RawParameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = RawParameter;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a number, or a table with value, min, max, free, rate and prior_width")
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<RawParameter, E> {
        Ok(RawParameter { value: Some(value), ..RawParameter::default() })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<RawParameter, E> {
        self.visit_f64(value as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<RawParameter, A::Error> {
        RawParameter::deserialize(MapAccessDeserializer::new(map))
    }
}

impl Raw {
    /// Reads a configuration file; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let mut raw: Raw = read(path, "`xrfit check` lists every key")?;
        relative_to(path, [&mut raw.line_library, &mut raw.henke]);
        Ok(raw)
    }
}

/// Makes paths that a file gives relative to its folder.
pub(super) fn relative_to<const N: usize>(file: &Path, paths: [&mut Option<PathBuf>; N]) {
    let folder = file.parent().unwrap_or(Path::new("."));
    for path in paths.into_iter().flatten() {
        *path = folder.join(&*path);
    }
}

/// Reads a TOML file; an error names line and column and gives `advice`.
pub(super) fn read<T: DeserializeOwned>(path: &Path, advice: &str) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::file(path, format!("cannot be read ({e})")))?;
    toml::from_str(&text).map_err(|e| {
        let (line, column) = place(&text, e.span().map_or(0, |span| span.start));
        Error::configuration(format!(
            "{}:{line}:{column}: {}; {advice}",
            path.display(),
            e.message()
        ))
    })
}

/// Line and column of a byte, from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}
