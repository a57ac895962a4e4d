//! Line data built into the program: Elam, Ravel & Sieber, Radiat. Phys. Chem. 63 (2002) 121, through
//! the `xraydb` crate.

use std::collections::HashMap;

use xraydb::{CrossSectionKind, XrayDb, XrayLine};

use super::Crystal;
use super::shells::{Element, SUBSHELLS, Subshell, TRANSITIONS};

/// Ma2 over Ma1: the 2j+1 of the final states (M5-N6 to M5-N7), which Elam's tables do not split.
const MA2_TO_MA1: f64 = 1.0 / 20.0;

/// Kb over Ka of Z = 12..19, where Elam's tables extrapolate a straight line and are up to ten times
/// too high: Scofield, At. Data Nucl. Data Tables 14 (1974) 121, as in xraylib 4.
const KB_TO_KA: [f64; 8] = [0.0, 0.0132, 0.0277, 0.0444, 0.0617, 0.0807, 0.1020, 0.1156];
const KB_TO_KA_FIRST: u32 = 12;

/// Kb1 over Ka1 of Z = 13..40 in MAPS' `xrf_library.csv` 1.2. They are low (calcium by 40 %), which
/// beamlines mend with `BRANCHING_RATIO_ADJUSTMENT_K` lines; those factors need these ratios.
#[rustfmt::skip]
const MAPS_KB1_TO_KA1: [f64; 28] = [
    0.0117, 0.0211, 0.0310, 0.0501, 0.0599, 0.0902, 0.0994, 0.1162, 0.1264, 0.1368,
    0.1462, 0.1549, 0.1637, 0.1718, 0.1804, 0.1889, 0.1956, 0.2018, 0.2086, 0.2152,
    0.2199, 0.2249, 0.2300, 0.2351, 0.2396, 0.2439, 0.2476, 0.2511,
];
const MAPS_KB1_TO_KA1_FIRST: u32 = 13;

/// Places among the twenty lines.
const KA1: usize = 0;
const KA2: usize = 1;
const KB1: usize = 2;

fn database() -> XrayDb {
    XrayDb::try_new().expect("the line data are part of the program")
}

/// Every element of the database, by Z.
pub(super) fn elements() -> Vec<Element> {
    let db = database();
    let mut elements: Vec<Element> = db
        .raw()
        .elements
        .iter()
        .map(|e| element(db, &e.symbol, u32::from(e.atomic_number), e.molar_mass))
        .collect();
    elements.sort_by_key(|e| e.z);
    elements
}

/// Photo-absorption of the detector crystal at `energy` \[keV\], \[cm²/g\].
pub(super) fn attenuation(crystal: Crystal, energy: f64) -> f64 {
    database()
        .mu_elam_at(crystal.symbol(), energy * 1000.0, CrossSectionKind::Photo)
        .expect("silicon and germanium are in the table")
}

fn element(db: XrayDb, symbol: &str, z: u32, mass: f64) -> Element {
    let mut element = Element {
        symbol: symbol.to_string(),
        z,
        mass,
        energies: [0.0; 20],
        yields: [0.0; 20],
        maps_yields: [0.0; 20],
        edges: [0.0; 9],
        jumps: [1.0; 9],
        transfers: transfers(db, symbol),
    };
    let mut fluorescence = [0.0; 9];
    let edges = db.xray_edges(symbol).unwrap_or_default();
    for (i, name) in SUBSHELLS.iter().enumerate() {
        if let Some(edge) = edges.get(*name) {
            element.edges[i] = edge.energy / 1000.0;
            element.jumps[i] = edge.jump_ratio;
            fluorescence[i] = edge.fluorescence_yield;
        }
    }
    // light elements have no M5 yield, but M4's, which differs by a few per cent where both are known
    if fluorescence[Subshell::M5 as usize] == 0.0 {
        fluorescence[Subshell::M5 as usize] = fluorescence[Subshell::M4 as usize];
    }
    let lines = db.xray_lines(symbol, None, None).unwrap_or_default();
    for (slot, transition) in TRANSITIONS.iter().enumerate() {
        let (energy, share) = line(&lines, transition.name);
        element.energies[slot] = energy;
        element.yields[slot] = share * fluorescence[transition.from as usize];
        // MAPS gives the sub-shells of a shell one fluorescence yield
        element.maps_yields[slot] = share;
    }
    let of = |table: &[f64], first: u32| table.get(z.checked_sub(first)? as usize).copied();
    if let Some(ratio) = of(&KB_TO_KA, KB_TO_KA_FIRST) {
        element.yields[KB1] = ratio * (element.yields[KA1] + element.yields[KA2]);
    }
    if let Some(ratio) = of(&MAPS_KB1_TO_KA1, MAPS_KB1_TO_KA1_FIRST) {
        element.maps_yields[KB1] = ratio * element.maps_yields[KA1];
    }
    element
}

/// Energy \[keV\] and share of the vacancies of its sub-shell that a MAPS line stands for.
fn line(lines: &HashMap<String, XrayLine>, name: &str) -> (f64, f64) {
    let (labels, part): (&[&str], f64) = match name {
        "Kb1" => (&["Kb1", "Kb3"], 1.0),
        "Lb2" => (&["Lb2,15"], 1.0),
        "Ma1" => (&["Ma"], 1.0 / (1.0 + MA2_TO_MA1)),
        "Ma2" => (&["Ma"], MA2_TO_MA1 / (1.0 + MA2_TO_MA1)),
        own => (&[own], 1.0),
    };
    let found: Vec<&XrayLine> = labels.iter().filter_map(|l| lines.get(*l)).collect();
    let share: f64 = found.iter().map(|l| l.intensity).sum();
    if share <= 0.0 {
        return (0.0, 0.0);
    }
    let centre = found.iter().map(|l| l.energy * l.intensity).sum::<f64>() / share;
    (centre / 1000.0, share * part)
}

/// Coster-Kronig transfers of one step, `[from][to]`.
pub(super) fn transfers_of(symbol: &str) -> [[f64; 9]; 9] {
    transfers(database(), symbol)
}

fn transfers(db: XrayDb, symbol: &str) -> [[f64; 9]; 9] {
    let direct =
        |from, to| db.ck_probability(symbol, SUBSHELLS[from], SUBSHELLS[to], false).unwrap_or(0.0);
    std::array::from_fn(|from| std::array::from_fn(|to| direct(from, to)))
}
