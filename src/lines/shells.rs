//! Shells and sub-shells of an element: which transition belongs where, and how many vacancies the
//! beam makes.

use super::{Family, Shell};

/// K, L1-L3 and M1-M5, as places in [`Element::edges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subshell {
    K = 0,
    L1 = 1,
    L2 = 2,
    L3 = 3,
    M1 = 4,
    M3 = 6,
    M4 = 7,
    M5 = 8,
}

/// IUPAC names in the order of [`Element::edges`].
pub(super) const SUBSHELLS: [&str; 9] = ["K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5"];

/// An emission line of the MAPS list.
pub(super) struct Transition {
    pub name: &'static str,
    pub from: Subshell,
    pub family: Family,
}

const fn transition(name: &'static str, from: Subshell, family: Family) -> Transition {
    Transition { name, from, family }
}

/// The twenty lines of an element, in the order of `xrf_library.csv`.
pub(super) const TRANSITIONS: [Transition; 20] = [
    transition("Ka1", Subshell::K, Family::Alpha),
    transition("Ka2", Subshell::K, Family::Alpha),
    transition("Kb1", Subshell::K, Family::Beta),
    transition("Kb2", Subshell::K, Family::Beta),
    transition("La1", Subshell::L3, Family::Alpha),
    transition("La2", Subshell::L3, Family::Alpha),
    transition("Lb1", Subshell::L2, Family::Alpha),
    transition("Lb2", Subshell::L3, Family::Alpha),
    transition("Lb3", Subshell::L1, Family::Alpha),
    transition("Lb4", Subshell::L1, Family::Alpha),
    transition("Lg1", Subshell::L2, Family::Alpha),
    transition("Lg2", Subshell::L1, Family::Alpha),
    transition("Lg3", Subshell::L1, Family::Alpha),
    transition("Lg4", Subshell::L1, Family::Alpha),
    transition("Ll", Subshell::L3, Family::Alpha),
    transition("Ln", Subshell::L2, Family::Alpha),
    transition("Ma1", Subshell::M5, Family::M),
    transition("Ma2", Subshell::M5, Family::M),
    transition("Mb", Subshell::M4, Family::M),
    transition("Mg", Subshell::M3, Family::M),
];

/// Line data of one element.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub symbol: String,
    pub z: u32,
    /// Molar mass \[g/mol\].
    pub mass: f64,
    /// Line energies in the order of [`TRANSITIONS`] \[keV\]; 0: absent.
    pub energies: [f64; 20],
    /// Photons per vacancy of the line's sub-shell \[1\].
    pub yields: [f64; 20],
    /// The yields as MAPS' library has them: what branching factors are relative to.
    pub maps_yields: [f64; 20],
    /// Binding energies in the order of [`SUBSHELLS`] \[keV\]; 0: unknown.
    pub edges: [f64; 9],
    /// Jump ratios of the photo-absorption at the edges \[1\].
    pub jumps: [f64; 9],
    /// Coster-Kronig transfers `[from][to]`, vacancies per vacancy \[1\].
    pub transfers: [[f64; 9]; 9],
}

impl Element {
    /// Vacancies in the sub-shells of `shell` per photon that the shell absorbs, in the order of
    /// [`SUBSHELLS`], zero elsewhere.
    ///
    ///   n_i = (1 - 1/J_i) / prod_{j<i} J_j + sum_{j<i} f_ji n_j
    ///
    /// with the sub-shells below the beam's energy only: one that it cannot reach has J = 1.
    pub fn vacancies(&self, shell: Shell, incident_kev: f64) -> [f64; 9] {
        let members = match shell {
            Shell::K => 0..1,
            Shell::L => 1..4,
            Shell::M => 4..9,
        };
        let mut vacancies = [0.0; 9];
        let mut remaining = 1.0;
        for i in members.clone() {
            let reached = self.edges[i] < incident_kev;
            let jump = if reached { self.jumps[i].max(1.0) } else { 1.0 };
            vacancies[i] = remaining * (1.0 - 1.0 / jump);
            remaining /= jump;
            for j in members.start..i {
                vacancies[i] += self.transfers[j][i] * vacancies[j];
            }
        }
        vacancies
    }
}
