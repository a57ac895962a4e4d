//! Energies, ratios and gates of a component's peaks.
//!
//! MAPS' rules (XRF-Maps `fit_element_map.cpp`), with the corrections that [`Switches`] names.
//!
//! [`Switches`]: super::Switches

use super::{
    Adjustment, Conditions, Element, Family, LWeights, LineGate, MRatios, PileupGate, Shell,
    Subshell, TRANSITIONS,
};

/// A peak before it knows its component and the detector.
pub(super) struct Peak {
    /// Energy \[keV\].
    pub energy: f64,
    /// Over the first line \[1\].
    pub ratio: f64,
    /// The beam must exceed this \[keV\].
    pub edge: f64,
    pub family: Family,
}

/// Peaks of one shell; empty when its first line has no energy or no yield.
pub(super) fn peaks(
    element: &Element,
    shell: Shell,
    conditions: &Conditions,
    adjustment: &Adjustment,
) -> Vec<Peak> {
    let slots = shell.slots();
    let first = slots.start;
    let needs_yield = shell != Shell::M || conditions.switches.m_ratios == MRatios::LineData;
    if element.energies[first] <= 0.0 || (needs_yield && element.yields[first] <= 0.0) {
        return Vec::new();
    }
    let weights = weights(element, shell, conditions, adjustment);
    let listed = slots.filter(|&slot| element.energies[slot] > 0.0);
    listed
        .enumerate()
        .map(|(place, slot)| Peak {
            energy: element.energies[slot],
            ratio: match (shell, slot - first) {
                (Shell::L | Shell::M, 0) => 1.0,
                (_, i) => weights[i] * adjustment.factors[i],
            },
            edge: element.edges[gate(conditions.switches.line_gate, slot, place) as usize],
            family: TRANSITIONS[slot].family,
        })
        .collect()
}

/// Intensity of each line of a shell over its first, before the user's factors.
fn weights(
    element: &Element,
    shell: Shell,
    conditions: &Conditions,
    adjustment: &Adjustment,
) -> Vec<f64> {
    let slots = shell.slots();
    let first = slots.start;
    // factors were tuned against MAPS' yields: correcting those as well would count twice
    let untouched = adjustment.factors == [1.0; 12];
    let yields = if untouched { &element.yields } else { &element.maps_yields };
    let by_yield = |slot: usize| yields[slot] / yields[first];
    let by_vacancies = |slot: usize| {
        let vacancies = element.vacancies(shell, conditions.incident_kev);
        let [own, reference] = [slot, first].map(|s| vacancies[TRANSITIONS[s].from as usize]);
        // without jump data there is nothing to weight by
        by_yield(slot) * if reference > 0.0 { own / reference } else { 1.0 }
    };
    let switches = conditions.switches;
    slots
        .map(|slot| match shell {
            Shell::L if switches.l_weights == LWeights::Vacancies && untouched => {
                by_vacancies(slot)
            }
            Shell::K | Shell::L => by_yield(slot),
            Shell::M => match switches.m_ratios {
                MRatios::LineData if untouched => by_vacancies(slot),
                MRatios::LineData | MRatios::Equal => 1.0,
                MRatios::Ma1Only => f64::from(slot == first),
            },
        })
        .collect()
}

/// The sub-shell whose edge gates a line: `slot` among the twenty, `place` among those of its shell
/// that have an energy.
fn gate(rule: LineGate, slot: usize, place: usize) -> Subshell {
    let own = TRANSITIONS[slot].from;
    match (rule, own) {
        (_, Subshell::K) | (LineGate::Own, _) => own,
        (LineGate::XrfMaps, Subshell::L1 | Subshell::L2 | Subshell::L3) => match place {
            4 | 5 | 7 | 8 | 9 => Subshell::L1,
            2 | 6 | 11 => Subshell::L2,
            _ => Subshell::L3,
        },
        (LineGate::Mapstorch, Subshell::L1 | Subshell::L2 | Subshell::L3) => own,
        _ => Subshell::M1,
    }
}

/// Peaks of two K photons counted as one: Ka+Ka, Ka+Kb, Kb+Kb and, of two elements, Kb+Ka.
pub(super) fn pileup_peaks(
    (a, b): (&Element, &Element),
    conditions: &Conditions,
    adjustment: &Adjustment,
) -> Vec<Peak> {
    const KA: usize = 0;
    const KB: usize = 2;
    if [a, b].iter().any(|e| e.energies[KA] <= 0.0 || e.yields[KA] <= 0.0) {
        return Vec::new();
    }
    let beta = |e: &Element| e.yields[KB] / e.yields[KA];
    let edge = match conditions.switches.pileup_gate {
        PileupGate::Components => a.edges[Subshell::K as usize].max(b.edges[Subshell::K as usize]),
        PileupGate::Sum => a.energies[KA] + b.energies[KA],
    };
    let mut terms = vec![
        (KA, KA, 1.0, Family::Alpha),
        (KA, KB, beta(b), Family::Beta),
        (KB, KB, beta(a) * beta(b), Family::Beta),
    ];
    if a.z != b.z {
        terms.push((KB, KA, beta(a), Family::Beta));
    }
    terms
        .into_iter()
        .zip(adjustment.factors)
        .filter(|((line_a, line_b, ..), _)| a.energies[*line_a] > 0.0 && b.energies[*line_b] > 0.0)
        .map(|((line_a, line_b, ratio, family), factor)| Peak {
            energy: a.energies[line_a] + b.energies[line_b],
            ratio: ratio * factor,
            edge,
            family,
        })
        .collect()
}
