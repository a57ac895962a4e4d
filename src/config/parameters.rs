//! Shape parameters: values, bounds and which of them move.

use std::path::Path;

use crate::error::{Error, Result};
use crate::kernels::{self, ParameterInfo};
use crate::problem::{Prior, Variable};

use super::choices::{DEFAULT_FREE, FIRST_PASS, FOUR, Free, PAPER, ParameterName};
use super::override_file::{Given, OverrideFile};
use super::raw::{Raw, RawParameter};

/// The elastic peak may move by this part of its energy when nobody gives bounds.
const INCIDENT_RANGE: f64 = 0.06;

/// Every parameter name, in the kernels' order.
pub(super) fn all_names() -> Vec<ParameterName> {
    let names: Vec<&str> = kernels::parameters().iter().map(|p| p.name).collect();
    ParameterName::known(&names)
}

/// Names of the free ones.
pub(super) fn free_names(parameters: &[Variable]) -> Vec<&'static str> {
    let infos = kernels::parameters().iter();
    infos.zip(parameters).filter(|(_, v)| v.free).map(|(info, _)| info.name).collect()
}

/// The parameters of a set.
pub(super) fn members(set: &Free) -> Vec<ParameterName> {
    match set {
        Free::None => Vec::new(),
        Free::Default => ParameterName::known(&DEFAULT_FREE),
        Free::Four => ParameterName::known(&FOUR),
        Free::Paper => ParameterName::known(&PAPER),
        Free::List(names) => names.clone(),
    }
}

/// The parameters that the first pass fits.
pub(super) fn of_first_pass(set: Option<&Free>) -> Vec<ParameterName> {
    let own = || [&PAPER[..], &FIRST_PASS].concat();
    set.map_or_else(|| ParameterName::known(&own()), members)
}

/// What parameters depend on.
pub(super) struct Inputs<'a> {
    pub raw: &'a Raw,
    /// The configuration file, for messages.
    pub config: Option<&'a Path>,
    pub override_file: &'a OverrideFile,
    /// `--free`.
    pub free: Option<&'a Free>,
    /// The elastic peak's start \[keV\].
    pub elastic_kev: f64,
    pub f_tail_linear: f64,
}

/// Resolves every parameter; `notes` takes what the user should hear.
pub(super) fn resolve(inputs: &Inputs, notes: &mut Vec<String>) -> Result<Vec<Variable>> {
    all_names()
        .into_iter()
        .zip(kernels::parameters())
        .map(|(name, info)| {
            let raw = inputs.raw.parameters.get(&name).copied().unwrap_or_default();
            let given = inputs.override_file.parameters.get(info.name).copied().unwrap_or_default();
            let start = match info.name {
                "COHERENT_SCT_ENERGY" => inputs.elastic_kev,
                "F_TAIL_LINEAR" => raw.value.or(given.value).unwrap_or(inputs.f_tail_linear),
                _ => raw.value.or(given.value).unwrap_or(info.value),
            };
            let [lower, upper] = bounds(info, start, &raw, &given, notes)
                .map_err(|what| inputs.refuse(info.name, &what))?;
            let rate = raw.rate.unwrap_or(info.rate);
            if info.name == "ENERGY_SLOPE" && start <= 0.0 {
                return Err(inputs.refuse(info.name, "it must be above 0 keV/channel"));
            }
            if !start.is_finite() || !rate.is_finite() || rate < 0.0 {
                return Err(inputs.refuse(info.name, "a number is infinite, negative or none"));
            }
            let prior = raw.prior_width.map(|width| Prior { center: start, width });
            if prior.is_some_and(|prior| !(prior.width.is_finite() && prior.width > 0.0)) {
                return Err(inputs.refuse(info.name, "its prior_width must be a number above 0"));
            }
            Ok(Variable { start, lower, upper, free: inputs.is_free(name), rate, prior })
        })
        .collect()
}

fn bounds(
    info: &ParameterInfo,
    start: f64,
    raw: &RawParameter,
    given: &Given,
    notes: &mut Vec<String>,
) -> std::result::Result<[f64; 2], String> {
    let lower = raw.min.or(given.lower);
    let upper = raw.max.or(given.upper);
    let elastic = info.name == "COHERENT_SCT_ENERGY";
    let (default_lower, default_upper) = if elastic {
        (start - INCIDENT_RANGE * start, start + INCIDENT_RANGE * start)
    } else {
        (info.lower, info.upper)
    };
    let (low, high) = (lower.unwrap_or(default_lower), upper.unwrap_or(default_upper));
    if !low.is_finite() || !high.is_finite() || low > high {
        return Err(format!("its bounds are {low} and {high}; give a finite min below max"));
    }
    if low <= start && start <= high {
        return Ok([low, high]);
    }
    // bounds around another energy are no bounds of this one
    if elastic {
        return Ok([default_lower, default_upper]);
    }
    let by_hand = (start < low && raw.min.is_some()) || (start > high && raw.max.is_some());
    if by_hand {
        return Err(format!(
            "it starts at {start}, outside its bounds {low} and {high}; change the value or the bounds"
        ));
    }
    if lower.is_some() || upper.is_some() {
        notes.push(format!(
            "{} starts at {start} {}, outside its bounds {low} and {high}: they were widened",
            info.name, info.unit
        ));
    }
    Ok([low.min(start), high.max(start)])
}

impl Inputs<'_> {
    fn refuse(&self, name: &str, what: &str) -> Error {
        let message = format!("parameter {name}: {what}");
        match self.config {
            Some(path) => Error::file(path, message),
            None => Error::configuration(message),
        }
    }

    /// `--free`, else the configuration, else the default set with the override file's tags.
    fn is_free(&self, name: ParameterName) -> bool {
        let parameter = kernels::parameters()[name.index()].name;
        let own = self.raw.parameters.get(&name).and_then(|p| p.free);
        if let (None, Some(free)) = (self.free, own) {
            return free;
        }
        let free = self.free.or(self.raw.fit.free.as_ref()).unwrap_or(&Free::Default);
        let tag = self.override_file.parameters.get(parameter).and_then(|given| given.free);
        match (free, tag) {
            (Free::Default, Some(free)) => free,
            _ => members(free).contains(&name),
        }
    }
}
