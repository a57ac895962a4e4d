//! Merges what was said into settings: command line before configuration before override file
//! before scan before defaults.

use std::path::Path;

use crate::constants::{Crystal, MOST_CHANNELS};
use crate::error::{Error, Result};
use crate::lines::{Adjustment, Conditions, LineLibrary};
use crate::problem::Precision;

use super::choices::{Choices, Detector, FirstPass, Free, PROPOSED, ParameterName, Priors, Start};
use super::compat::{Defaults, defaults};
use super::components::{self, Origin, Requested, View};
use super::override_file::{self, OverrideFile};
use super::parameters::{self, Inputs};
use super::raw::Raw;
use super::settings::{Fit, Settings, Snip};

/// Default lower end of the fit window \[keV\].
const MIN_KEV: f64 = 1.0;

/// Default distance of the window's upper end above the incident energy \[keV\].
const ABOVE_INCIDENT_KEV: f64 = 1.0;

/// Default MAPS width factor of SNIP; override files of beamlines have it.
const SNIP_WIDTH: f64 = 0.5;

/// Default of the most steps: Adam's, as in MapsTorch; Newton ends before.
const ITERATIONS: usize = 500;

/// Default of `tolerance`: a fit that gains less than this part in 50 steps is at its noise.
const TOLERANCE: f64 = 1e-5;

/// Everything that can say something about a fit.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Configuration file.
    pub config: Option<&'a Path>,
    /// MAPS override file.
    pub override_file: Option<&'a Path>,
    /// The command line.
    pub choices: &'a Choices,
    /// Incident photon energy that the scan recorded \[keV\].
    pub scan_incident_kev: Option<f64>,
}

/// Settings, and what the user should hear about how they came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// One sentence each, to be logged once.
    pub notes: Vec<String>,
}

impl Settings {
    /// Merges all sources.
    ///
    /// # Errors
    ///
    /// A file or configuration error when a source cannot be read, names something unknown, asks for
    /// the impossible (an element that the beam does not excite), or when elements, incident energy
    /// or line library are missing.
    pub fn resolve(sources: &Sources) -> Result<Resolved> {
        let raw = sources.config.map(Raw::read).transpose()?.unwrap_or_default();
        Self::resolve_raw(sources, raw, Origin::Asked)
    }

    /// The same with a configuration that was read elsewhere.
    pub(super) fn resolve_raw(sources: &Sources, raw: Raw, origin: Origin) -> Result<Resolved> {
        let file = sources.override_file.map(override_file::read).transpose()?;
        let mut notes = Vec::new();
        if let (Some(path), Some(file)) = (sources.override_file, &file) {
            report(path, file, &mut notes);
        }
        let merge = Merge { sources, raw, origin, file: file.unwrap_or_default() };
        let settings = merge.settings(&mut notes)?;
        Ok(Resolved { settings, notes })
    }
}

/// Names what an override file says in vain.
fn report(path: &Path, file: &OverrideFile, notes: &mut Vec<String>) {
    notes.extend(file.warnings.iter().map(|w| format!("{}, {w} (skipped)", path.display())));
    if !file.without_effect.is_empty() {
        let keys = file.without_effect.join(", ");
        notes.push(format!("{}: keys without effect on a fit: {keys}", path.display()));
    }
}

/// What was said, side by side.
pub(super) struct Merge<'a> {
    pub sources: &'a Sources<'a>,
    pub raw: Raw,
    /// Who asked for the configuration's components.
    pub origin: Origin,
    pub file: OverrideFile,
}

impl Merge<'_> {
    fn settings(&self, notes: &mut Vec<String>) -> Result<Settings> {
        let (raw, choices) = (&self.raw, self.sources.choices);
        let compat = choices.compat.or(raw.compat);
        let line_library = self.line_library(compat)?;
        let crystal = raw.model.crystal.or(self.file.detector).unwrap_or(Crystal::Si);
        let defaults = defaults(compat, crystal);
        let model = self.model(crystal, compat, &defaults, notes)?;
        let (incident_kev, elastic_kev) = self.incident()?;
        let fit = self.fit(incident_kev, &defaults)?;
        let width = raw.snip.width.or(self.file.snip_width).unwrap_or(SNIP_WIDTH);
        if !(width > 0.0 && width < 100.0) {
            return Err(Error::configuration(format!("the SNIP width is {width}; give 0.1 to 3")));
        }
        let inputs = Inputs {
            raw,
            config: self.sources.config,
            override_file: &self.file,
            free: choices.free.as_ref(),
            elastic_kev,
            f_tail_linear: defaults.f_tail_linear,
        };
        let parameters = parameters::resolve(&inputs, notes)?;
        let pad_channels = raw.scan.pad_channels.unwrap_or(defaults.pad_channels);
        if pad_channels > MOST_CHANNELS {
            return Err(Error::configuration(format!(
                "scan.pad_channels is {pad_channels}; a spectrum can have {MOST_CHANNELS} channels"
            )));
        }

        let library = LineLibrary::open(line_library.as_ref())?;
        let mut adjustments = self.adjustments(&library)?;
        let conditions = Conditions {
            incident_kev,
            crystal,
            switches: model.switches,
            adjustments: &adjustments,
        };
        let view = View { library: &library, conditions, window_kev: fit.window_kev };
        let requested = self.requested()?;
        let proposed = requested.names == [PROPOSED];
        let components =
            if proposed { Vec::new() } else { components::resolve(&requested, &view, notes)? };
        if components.is_empty() && !proposed && self.origin != Origin::Modelled {
            return Err(self.no_elements());
        }
        adjustments.retain(|name, adjustment| {
            let fitted = proposed || components.iter().any(|c| c.name() == *name);
            fitted && *adjustment != Adjustment::default()
        });

        Ok(Settings {
            compat,
            components,
            incident_kev,
            line_library,
            detector: choices.detector.or(raw.scan.detector).unwrap_or(Detector::Each),
            pad_channels,
            model,
            fit,
            snip: Snip { order: raw.snip.order.unwrap_or(defaults.snip_order), width },
            parameters,
            adjustments,
            first_pass_free: parameters::of_first_pass(raw.fit.first_pass_free.as_ref()),
            calibration_given: self.calibration_given()?,
        })
    }

    /// Incident energy, and where the elastic peak starts \[keV\].
    fn incident(&self) -> Result<(f64, f64)> {
        let elastic = ParameterName::known(&["COHERENT_SCT_ENERGY"])[0];
        let typed = self.sources.choices.incident_kev;
        let peak = self.raw.parameters.get(&elastic).and_then(|p| p.value);
        let tuned = self.file.parameters.get("COHERENT_SCT_ENERGY").and_then(|g| g.value);
        let incident = typed
            .or(self.raw.incident_kev)
            .or(peak)
            .or(tuned)
            .or(self.sources.scan_incident_kev)
            .ok_or_else(|| {
                Error::configuration(
                    "the incident photon energy is not known (it decides which lines exist): neither \
                     the command line nor a configuration, an override file or the scan has it; give \
                     --incident-kev, e.g. --incident-kev 10",
                )
            })?;
        let start = typed.or(peak).unwrap_or(incident);
        match [incident, start].into_iter().find(|kev| !(*kev >= 1.0 && *kev <= 200.0)) {
            Some(kev) => Err(Error::configuration(format!(
                "the incident photon energy is {kev} keV; it must lie between 1 and 200 keV (is it in \
                 eV?)"
            ))),
            None => Ok((incident, start)),
        }
    }

    fn fit(&self, incident_kev: f64, defaults: &Defaults) -> Result<Fit> {
        let (raw, choices) = (&self.raw.fit, self.sources.choices);
        let low = raw.min_kev.or(self.file.min_kev).unwrap_or(MIN_KEV);
        let high = raw.max_kev.or(self.file.max_kev).unwrap_or(incident_kev + ABOVE_INCIDENT_KEV);
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::configuration(format!(
                "the fit window is {low} to {high} keV; its upper end must lie above its lower end \
                 (fit.min_kev, fit.max_kev, or MIN_ENERGY_TO_FIT, MAX_ENERGY_TO_FIT)"
            )));
        }
        let iterations = choices.iterations.or(raw.iterations).unwrap_or(ITERATIONS);
        let tolerance = raw.tolerance.unwrap_or(TOLERANCE);
        if iterations == 0 || !(0.0..1.0).contains(&tolerance) {
            return Err(Error::configuration(format!(
                "{iterations} iterations with a tolerance of {tolerance}; give 1 or more iterations \
                 and a tolerance from 0 to below 1"
            )));
        }
        let free = choices.free.as_ref().or(raw.free.as_ref());
        let priors = match free.unwrap_or(&Free::Default) {
            Free::Default => Priors::Scan,
            _ => Priors::None,
        };
        Ok(Fit {
            window_kev: [low, high],
            priors: raw.priors.unwrap_or(priors),
            objective: choices.objective.or(raw.objective).unwrap_or(defaults.objective),
            weights: raw.weights.unwrap_or(defaults.weights),
            optimizer: choices.optimizer.or(raw.optimizer).unwrap_or(defaults.optimizer),
            iterations,
            tolerance,
            background: choices.background.or(raw.background).unwrap_or(defaults.background),
            precision: choices.precision.or(raw.precision).unwrap_or(Precision::F32),
            start: raw.start.unwrap_or(Start::Solve),
            limits: choices.limits.or(raw.limits).unwrap_or(false),
            clip_net_counts: raw.clip_net_counts.unwrap_or(defaults.clip_net_counts),
        })
    }

    /// Names of the components, from the strongest source that has any.
    fn requested(&self) -> Result<Requested> {
        let asked = self.sources.choices.elements.as_ref().or(self.raw.elements.as_ref());
        let requested = match asked {
            Some(names) => Requested { names: names.clone(), origin: self.origin },
            None => {
                let names = self.file.elements.iter().chain(&self.file.pileups).cloned().collect();
                Requested { names, origin: Origin::Shared }
            }
        };
        if requested.names.is_empty() && requested.origin != Origin::Modelled {
            return Err(self.no_elements());
        }
        Ok(requested)
    }

    fn no_elements(&self) -> Error {
        let what = "there is nothing to fit; give --elements, e.g. --elements Si,Ca,Fe,Pb_L, or \
                    `elements = [\"Si\", \"Ca\"]` in a configuration";
        match self.sources.override_file.or(self.sources.config) {
            Some(path) => Error::file(path, what),
            None => Error::configuration(what),
        }
    }

    fn calibration_given(&self) -> Result<bool> {
        let slope = ParameterName::known(&["ENERGY_SLOPE"])[0];
        let in_config = self.raw.parameters.get(&slope).is_some_and(|p| p.value.is_some());
        let in_file = self.file.parameters.get("ENERGY_SLOPE").is_some_and(|g| g.value.is_some());
        match self.raw.fit.first_pass {
            Some(FirstPass::Run) => Ok(false),
            Some(FirstPass::Skip) if !in_config && !in_file => Err(Error::configuration(
                "fit.first_pass = \"skip\" needs a calibration, but nothing gives ENERGY_SLOPE; add \
                 [parameters.ENERGY_SLOPE] with its value, or let the first pass run",
            )),
            _ => Ok(in_config || in_file),
        }
    }
}
