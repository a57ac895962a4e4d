//! A configuration in which nothing is left open.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::Serialize;

use crate::constants::Crystal;
use crate::error::{Error, Result};
use crate::lines::{Adjustment, Component, Conditions, LibraryFiles, LineLibrary, Switches};
use crate::problem::{
    Background, EscapeShift, Line, Objective, Optimizer, Precision, Prior, Problem, SnipOrder,
    Tail, Variable, Weights,
};

use super::choices::{Compat, Detector, Free, ParameterName, Priors, Start};
use super::parameters::members;
use super::raw::Raw;

/// log10 counts: start, bounds (MAPS) and Adam's rate (MapsTorch) of every amplitude.
const AMPLITUDE: Variable =
    Variable { start: 0.0, lower: -11.0, upper: 20.0, free: true, rate: 1e-2, prior: None };

/// Rest energy of the electron \[keV\], as the Compton peak of the model has it.
const ELECTRON_KEV: f64 = 511.0;

/// Edge of a line that exists whatever the elastic peak's energy \[keV\].
const ALWAYS: f64 = -1.0;

/// How far outside the window a scatter peak still reaches into it \[keV\].
const SCATTER_REACH_KEV: f64 = 0.5;

/// The spectral model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Detector crystal.
    pub crystal: Crystal,
    /// Energy per electron-hole pair \[eV\].
    pub pair_energy_ev: f64,
    /// Tail shape.
    pub tail: Tail,
    /// Escape shift.
    pub escape_shift: EscapeShift,
    /// Conventions of the line data.
    pub switches: Switches,
}

/// How it is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Fit window, lower and upper end \[keV\].
    pub window_kev: [f64; 2],
    /// Where free shapes without a prior have theirs from.
    pub priors: Priors,
    /// What is minimised.
    pub objective: Objective,
    /// Weights of the channels in chi2.
    pub weights: Weights,
    /// What minimises.
    pub optimizer: Optimizer,
    /// Steps of the optimiser.
    pub iterations: usize,
    /// Relative decrease of the objective over 50 steps below which a fit ends; 0: never.
    pub tolerance: f64,
    /// What is added to the model.
    pub background: Background,
    /// Arithmetic.
    pub precision: Precision,
    /// Where amplitudes start.
    pub start: Start,
    /// Upper and detection limits are found too.
    pub limits: bool,
    /// Counts below the background count as zero in linear solves.
    pub clip_net_counts: bool,
}

/// How the background is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snip {
    /// Order of the updates.
    pub order: SnipOrder,
    /// MAPS' width factor \[1\].
    pub width: f64,
}

/// A resolved configuration: what a run was asked to do, with every default filled in.
///
/// Written as TOML by [`Settings::to_toml`], which `--config` reads back to equal settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "Raw")]
pub struct Settings {
    /// Whose conventions the defaults followed.
    pub compat: Option<Compat>,
    /// Fitted components in output order, scatter aside; none: the first pass proposes them.
    pub components: Vec<Component>,
    /// Incident photon energy \[keV\]; the fitted one is the parameter COHERENT_SCT_ENERGY.
    pub incident_kev: f64,
    /// Files of the line library; `None` is the built-in one.
    pub line_library: Option<LibraryFiles>,
    /// Detector elements to fit.
    pub detector: Detector,
    /// Spectra with fewer channels are extended to this many with zeros; 0: not.
    pub pad_channels: usize,
    /// The model.
    pub model: Model,
    /// The fit.
    pub fit: Fit,
    /// The background.
    pub snip: Snip,
    /// Shape parameters in the kernels' order.
    pub parameters: Vec<Variable>,
    /// Branching factors and width multipliers of fitted components.
    pub adjustments: BTreeMap<String, Adjustment>,
    /// Shape parameters that move in the first pass.
    pub first_pass_free: Vec<ParameterName>,
    /// The parameters' values are a calibration, not mere defaults: no first pass is needed.
    pub calibration_given: bool,
}

impl Settings {
    /// Values of the shape parameters at the start, in the kernels' order.
    pub fn shapes(&self) -> Vec<f64> {
        self.parameters.iter().map(|v| v.start).collect()
    }

    /// The same with other values of the shape parameters (in the kernels' order), as a calibration.
    ///
    /// # Panics
    ///
    /// When `values` has another length than the model has parameters.
    pub fn with_calibrated(&self, values: &[f64]) -> Self {
        assert_eq!(values.len(), self.parameters.len(), "values of all shape parameters");
        let mut settings = self.clone();
        for (parameter, &value) in settings.parameters.iter_mut().zip(values) {
            parameter.move_to(value);
        }
        settings.calibration_given = true;
        settings
    }

    /// The same with other free parameters in the first pass.
    pub fn with_first_pass_free(self, free: &Free) -> Self {
        Self { first_pass_free: members(free), ..self }
    }

    /// The same with priors of shape parameters, by index and around their values.
    pub fn with_priors(&self, widths: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut settings = self.clone();
        for (parameter, width) in widths {
            let variable = &mut settings.parameters[parameter];
            variable.prior = Some(Prior { center: variable.start, width });
        }
        settings
    }

    /// The same as the first pass fits it: squares, with its own free parameters.
    pub fn of_first_pass(&self) -> Self {
        let mut settings = self.clone();
        settings.fit.optimizer = Optimizer::Adam;
        settings.fit.objective = Objective::Mse;
        if settings.fit.background.has_templates() {
            settings.fit.background = Background::Snip;
        }
        for (i, parameter) in settings.parameters.iter_mut().enumerate() {
            parameter.free = self.first_pass_free.iter().any(|name| name.index() == i);
            parameter.prior = None;
        }
        settings
    }

    /// As a configuration file.
    pub fn to_toml(&self) -> String {
        toml::to_string(&Raw::from(self.clone())).expect("settings are plain values")
    }

    /// Starting value of a shape parameter, by its MAPS name.
    ///
    /// # Panics
    ///
    /// When the model has no such parameter.
    pub fn value(&self, name: &str) -> f64 {
        self.parameters[ParameterName::known(&[name])[0].index()].start
    }

    /// The fit of spectra of `channels` channels (at least [`Settings::pad_channels`] are taken).
    /// What only the scan knows, `saturation`, is left open.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read; a configuration error when the fit window
    /// holds no channel.
    pub fn problem(&self, channels: usize) -> Result<Problem> {
        let channels = channels.max(self.pad_channels);
        let (first, count) = self.window(channels)?;
        let library = LineLibrary::open(self.line_library.as_ref())?;
        let conditions = self.conditions();
        let lines = self
            .components
            .iter()
            .enumerate()
            .flat_map(|(index, component)| library.lines(component, &conditions, index))
            // the beam decides which lines exist, not where a fit moves the elastic peak
            .filter(|line| line.edge < self.incident_kev)
            .map(|line| Line { edge: ALWAYS, ..line })
            .collect();
        let mut components: Vec<String> = self.components.iter().map(Component::name).collect();
        let mut add = |name: &str, present: bool| {
            present.then(|| {
                components.push(name.to_string());
                components.len() - 1
            })
        };
        let [elastic, compton] = self.scatter_in_window();
        let elastic = add("COHERENT_SCT_AMPLITUDE", elastic);
        let compton = add("COMPTON_AMPLITUDE", compton);
        let mut parameters = self.parameters.clone();
        if self.fit.optimizer == Optimizer::Nnls {
            parameters.iter_mut().for_each(|p| p.free = false);
        }
        Ok(Problem {
            channels,
            first,
            count,
            amplitudes: vec![AMPLITUDE; components.len()],
            components,
            elastic,
            compton,
            lines,
            parameters,
            templates: Array2::zeros((0, count)),
            pair_energy_ev: self.model.pair_energy_ev,
            tail: self.model.tail,
            escape_shift: self.model.escape_shift,
            background: self.fit.background,
            snip_order: self.snip.order,
            snip_width: self.snip.width,
            objective: self.fit.objective,
            weights: self.fit.weights,
            optimizer: self.fit.optimizer,
            steps: self.fit.iterations,
            tolerance: self.fit.tolerance,
            solve_start: self.fit.start == Start::Solve,
            clip_net_counts: self.fit.clip_net_counts,
            limits: self.fit.limits,
            saturation: None,
        })
    }

    /// The problem of these settings at other values of the shape parameters (in the kernels' order): the fit
    /// window follows the energy axis, and the lines stay.
    ///
    /// # Errors
    ///
    /// A configuration error when the fit window holds no channel.
    pub fn moved(&self, problem: &Problem, values: &[f64]) -> Result<Problem> {
        let settings = self.with_calibrated(values);
        let (first, count) = settings.window(problem.channels)?;
        let mut parameters = problem.parameters.clone();
        for (parameter, moved) in parameters.iter_mut().zip(&settings.parameters) {
            parameter.start = moved.start;
            parameter.prior = moved.prior;
        }
        Ok(Problem { first, count, parameters, ..problem.clone() })
    }

    /// What lines depend on.
    pub(super) fn conditions(&self) -> Conditions<'_> {
        Conditions {
            incident_kev: self.incident_kev,
            crystal: self.model.crystal,
            switches: self.model.switches,
            adjustments: &self.adjustments,
        }
    }

    /// First channel and number of channels of the fit window, as XRF-Maps finds them: the curvature
    /// of the energy axis is left out, halves are rounded away from zero, and an end outside the
    /// spectrum moves to its end. Where no channel is left XRF-Maps takes the whole spectrum, under its
    /// conventions alone.
    fn window(&self, channels: usize) -> Result<(usize, usize)> {
        let [offset, slope] = ["ENERGY_OFFSET", "ENERGY_SLOPE"].map(|name| self.value(name));
        let last = channels as f64 - 1.0;
        let [low, mut high] = self.fit.window_kev.map(|kev| ((kev - offset) / slope).round());
        let xrf_maps = self.compat == Some(Compat::XrfMaps);
        if high > last || (xrf_maps && high <= low) {
            high = last;
        }
        let low = if xrf_maps && low > high { 0.0 } else { low.max(0.0) };
        if low.is_nan() || high.is_nan() || low > high {
            return Err(Error::configuration(format!(
                "the fit window holds no channel of a spectrum of {channels} (ENERGY_OFFSET {offset} \
                 keV, ENERGY_SLOPE {slope} keV/channel); check the calibration"
            )));
        }
        Ok((low as usize, (high - low) as usize + 1))
    }

    /// Whether the elastic and the Compton peak can show in the fit window; an amplitude without any
    /// channel would be noise.
    fn scatter_in_window(&self) -> [bool; 2] {
        let highest = self.fit.window_kev[1] + SCATTER_REACH_KEV;
        let elastic = self.value("COHERENT_SCT_ENERGY");
        // the lowest the Compton peak can be: straight back
        let compton = elastic / (1.0 + 2.0 * elastic / ELECTRON_KEV);
        [elastic <= highest, compton <= highest]
    }
}
