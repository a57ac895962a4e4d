//! Settings as the configuration file that gives them.

use std::collections::BTreeMap;

use crate::lines::{Adjustment, Component};
use crate::problem::Variable;

use super::choices::{FirstPass, Free, PROPOSED, ParameterName};
use super::parameters::{all_names, free_names};
use super::raw::{Raw, RawBranching, RawFit, RawModel, RawParameter, RawScan, RawSnip};
use super::settings::Settings;

impl From<Settings> for Raw {
    fn from(s: Settings) -> Self {
        let free: Vec<&str> = free_names(&s.parameters);
        let switches = s.model.switches;
        let parameter = |v: &Variable| RawParameter {
            value: Some(v.start),
            min: Some(v.lower),
            max: Some(v.upper),
            free: None,
            rate: Some(v.rate),
            prior_width: v.prior.map(|prior| prior.width),
        };
        let names = all_names();
        let first_pass = if s.calibration_given { FirstPass::Skip } else { FirstPass::Run };
        Raw {
            compat: s.compat,
            elements: Some(elements(&s.components)),
            incident_kev: Some(s.incident_kev),
            line_library: s.line_library.as_ref().map(|files| files.csv.clone()),
            henke: s.line_library.as_ref().map(|files| files.henke.clone()),
            scan: RawScan { detector: Some(s.detector), pad_channels: Some(s.pad_channels) },
            model: RawModel {
                crystal: Some(s.model.crystal),
                pair_energy_ev: Some(s.model.pair_energy_ev),
                tail: Some(s.model.tail),
                escape_shift: Some(s.model.escape_shift),
                mu_fraction: Some(switches.mu_fraction),
                l_weights: Some(switches.l_weights),
                m_ratios: Some(switches.m_ratios),
                line_gate: Some(switches.line_gate),
                pileup_gate: Some(switches.pileup_gate),
            },
            fit: RawFit {
                min_kev: Some(s.fit.window_kev[0]),
                max_kev: Some(s.fit.window_kev[1]),
                free: Some(Free::List(ParameterName::known(&free))),
                priors: Some(s.fit.priors),
                objective: Some(s.fit.objective),
                weights: Some(s.fit.weights),
                optimizer: Some(s.fit.optimizer),
                iterations: Some(s.fit.iterations),
                tolerance: Some(s.fit.tolerance),
                background: Some(s.fit.background),
                precision: Some(s.fit.precision),
                start: Some(s.fit.start),
                limits: Some(s.fit.limits),
                clip_net_counts: Some(s.fit.clip_net_counts),
                first_pass: Some(first_pass),
                first_pass_free: Some(Free::List(s.first_pass_free.clone())),
            },
            snip: RawSnip { order: Some(s.snip.order), width: Some(s.snip.width) },
            parameters: names.into_iter().zip(s.parameters.iter().map(parameter)).collect(),
            branching: branching(&s.adjustments, &s.components),
        }
    }
}

fn elements(components: &[Component]) -> Vec<String> {
    if components.is_empty() {
        return vec![PROPOSED.to_string()];
    }
    components.iter().map(Component::name).collect()
}

fn branching(
    adjustments: &BTreeMap<String, Adjustment>,
    components: &[Component],
) -> BTreeMap<String, RawBranching> {
    components
        .iter()
        .filter_map(|component| {
            let adjustment = adjustments.get(&component.name())?;
            let lines = adjustment.factors[..component.line_count()].to_vec();
            let width = Some(adjustment.width);
            Some((component.name(), RawBranching { lines: Some(lines), families: None, width }))
        })
        .collect()
}
