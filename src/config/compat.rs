//! Defaults of the switches, by the program whose conventions hold.

use crate::constants::Crystal;
use crate::lines::{LWeights, LineGate, MRatios, MuFraction, PileupGate, Switches};
use crate::problem::{Background, EscapeShift, Objective, Optimizer, SnipOrder, Weights};

use super::choices::Compat;

/// What `compat` decides.
pub(super) struct Defaults {
    pub pair_energy_ev: f64,
    pub switches: Switches,
    pub escape_shift: EscapeShift,
    pub snip_order: SnipOrder,
    /// Spectra are extended to this many channels with zeros; 0: not.
    pub pad_channels: usize,
    pub clip_net_counts: bool,
    pub weights: Weights,
    pub objective: Objective,
    pub optimizer: Optimizer,
    pub background: Background,
    pub f_tail_linear: f64,
}

/// Pair energy of XRF-Maps and MapsTorch, whatever the crystal \[eV\].
const MAPS_PAIR_ENERGY_EV: f64 = 3.58;

/// The column of `compat`; `None` is what is right.
pub(super) fn defaults(compat: Option<Compat>, crystal: Crystal) -> Defaults {
    match compat {
        None => Defaults {
            pair_energy_ev: crystal.pair_energy_ev(),
            switches: Switches {
                mu_fraction: MuFraction::Detector,
                l_weights: LWeights::Vacancies,
                m_ratios: MRatios::LineData,
                line_gate: LineGate::Own,
                pileup_gate: PileupGate::Components,
            },
            escape_shift: EscapeShift::Local,
            snip_order: SnipOrder::Simultaneous,
            pad_channels: 0,
            clip_net_counts: false,
            weights: Weights::Expected,
            // MAPS' 0.001 would give iron a tail of 12 % with silicon's true mu of 117 cm²/g
            objective: Objective::Poisson,
            optimizer: Optimizer::Newton,
            background: Background::Pooled,
            f_tail_linear: 0.0,
        },
        Some(Compat::XrfMaps) => Defaults {
            pair_energy_ev: MAPS_PAIR_ENERGY_EV,
            switches: Switches {
                mu_fraction: MuFraction::Element,
                l_weights: LWeights::Yields,
                m_ratios: MRatios::Equal,
                line_gate: LineGate::XrfMaps,
                pileup_gate: PileupGate::Sum,
            },
            escape_shift: EscapeShift::First,
            snip_order: SnipOrder::InPlace,
            pad_channels: 2048,
            clip_net_counts: true,
            weights: Weights::XrfMaps,
            objective: Objective::Mse,
            optimizer: Optimizer::Adam,
            background: Background::Snip,
            f_tail_linear: 0.001,
        },
        Some(Compat::Mapstorch) => Defaults {
            pair_energy_ev: MAPS_PAIR_ENERGY_EV,
            switches: Switches {
                mu_fraction: MuFraction::Detector,
                l_weights: LWeights::Yields,
                m_ratios: MRatios::Ma1Only,
                line_gate: LineGate::Mapstorch,
                pileup_gate: PileupGate::Components,
            },
            escape_shift: EscapeShift::Mean,
            snip_order: SnipOrder::Simultaneous,
            pad_channels: 0,
            clip_net_counts: false,
            weights: Weights::Expected,
            objective: Objective::Mse,
            optimizer: Optimizer::Adam,
            background: Background::Snip,
            f_tail_linear: 0.0,
        },
    }
}
