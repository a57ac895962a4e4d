//! Emission lines of a component (an element's K, L or M lines, or a pile-up pair), from built-in
//! data (`xraydb`) or from a MAPS `xrf_library.csv` and `henke.xdr`.
//!
//! A component gives a list of [`Line`]s whose first has ratio 1 (Ka1, La1, Ma1): amplitudes are
//! counts in that line. What other programs do differently is behind [`Switches`]. No parameter of
//! a fit is known here, and no line shape.

mod builtin;
mod component;
mod henke;
mod maps_library;
mod ratios;
mod shells;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::constants::Crystal;
use crate::error::{Error, Result};
use crate::problem::{Family, Line};
use crate::spelling::did_you_mean;

pub use component::{Component, Shell};
use henke::Henke;
use shells::{Element, Subshell, TRANSITIONS};
pub use table::table;

/// Which mass turns the detector's attenuation into `mu_fraction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuFraction {
    /// The detector's own: the mass attenuation coefficient of the crystal.
    Detector,
    /// The fluorescing element's, and no points near edges, as XRF-Maps computes it.
    Element,
}

/// How L lines of different sub-shells compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LWeights {
    /// By the vacancies the beam makes in each sub-shell: jump factors and Coster-Kronig transfers.
    Vacancies,
    /// By yields alone, as if every sub-shell had as many vacancies.
    Yields,
}

/// Where the ratios of M lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MRatios {
    /// Yields and vacancies of the line data; a library without M yields takes the built-in ones.
    LineData,
    /// Four equal lines (XRF-Maps).
    Equal,
    /// Ma1 alone (MapsTorch).
    Ma1Only,
}

/// Which edge the beam must exceed before a line exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineGate {
    /// The edge of the sub-shell that emits it.
    Own,
    /// L by the line's place among the element's listed lines, M by M1 (XRF-Maps).
    XrfMaps,
    /// L by sub-shell, M by M1 (MapsTorch).
    Mapstorch,
}

/// When a pile-up peak exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PileupGate {
    /// The beam exceeds both components' edges.
    Components,
    /// The beam exceeds the sum energy (XRF-Maps).
    Sum,
}

/// What programs disagree about; the rows of the `compat` table that concern lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Definition of `mu_fraction`.
    pub mu_fraction: MuFraction,
    /// Weights of the L sub-shells.
    pub l_weights: LWeights,
    /// Ratios of M lines.
    pub m_ratios: MRatios,
    /// Gate of a line.
    pub line_gate: LineGate,
    /// Gate of a pile-up peak.
    pub pileup_gate: PileupGate,
}

/// What a user changed about a component's lines; all ones change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjustment {
    /// Factor of each line over MAPS' `xrf_library.csv`, in the order K: Ka1 Ka2 Kb1 Kb2, L: La1 La2 Lb1 Lb2 Lb3 Lb4 Lg1 Lg2 Lg3
    /// Lg4 Ll Ln, M: Ma1 Ma2 Mb Mg; the rest is unused. La1 and Ma1 keep ratio 1 whatever it says.
    pub factors: [f64; 12],
    /// Multiplier of the tail length \[1\].
    pub width: f64,
}

impl Default for Adjustment {
    fn default() -> Self {
        Self { factors: [1.0; 12], width: 1.0 }
    }
}

impl Adjustment {
    /// Multiplies a factor into each line.
    pub fn multiply(&mut self, factors: [f64; 12]) {
        for (own, factor) in self.factors.iter_mut().zip(factors) {
            *own *= factor;
        }
    }

    /// Multiplies factors into the L lines of L1, L2 and L3.
    pub fn multiply_l_families(&mut self, [l1, l2, l3]: [f64; 3]) {
        let slots = Shell::L.slots();
        self.multiply(std::array::from_fn(|i| match TRANSITIONS[slots.start + i].from {
            Subshell::L1 => l1,
            Subshell::L2 => l2,
            _ => l3,
        }));
    }
}

/// What lines depend on besides the component.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Incident photon energy \[keV\].
    pub incident_kev: f64,
    /// Detector crystal.
    pub crystal: Crystal,
    /// What programs disagree about.
    pub switches: Switches,
    /// Adjustments by component name.
    pub adjustments: &'a BTreeMap<String, Adjustment>,
}

/// Files of a MAPS line library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryFiles {
    /// `xrf_library.csv`.
    pub csv: PathBuf,
    /// `henke.xdr`.
    pub henke: PathBuf,
}

impl LibraryFiles {
    /// The library of `csv`, with `henke` or the `henke.xdr` beside it.
    pub fn new(csv: &Path, henke: Option<&Path>) -> Self {
        let beside = || csv.with_file_name("henke.xdr");
        Self { csv: csv.to_path_buf(), henke: henke.map_or_else(beside, Path::to_path_buf) }
    }
}

/// Emission lines of the elements.
#[derive(Clone, Debug)]
pub struct LineLibrary {
    elements: Vec<Element>,
    henke: Option<Henke>,
}

impl LineLibrary {
    /// Elam's tables, built into the program: lines, edges, yields and jumps of Z = 1..98.
    pub fn builtin() -> Self {
        Self { elements: builtin::elements(), henke: None }
    }

    /// A MAPS `xrf_library.csv` with the `henke.xdr` beside it, or the one given.
    ///
    /// # Errors
    ///
    /// A file error when one of them cannot be read or has another layout.
    pub fn maps(csv: &Path, henke: Option<&Path>) -> Result<Self> {
        let files = LibraryFiles::new(csv, henke);
        Ok(Self {
            elements: maps_library::elements(&files.csv)?,
            henke: Some(Henke::read(&files.henke)?),
        })
    }

    /// The library of these files, or the built-in one.
    ///
    /// # Errors
    ///
    /// As [`LineLibrary::maps`].
    pub fn open(files: Option<&LibraryFiles>) -> Result<Self> {
        files.map_or_else(|| Ok(Self::builtin()), |f| Self::maps(&f.csv, Some(&f.henke)))
    }

    /// Reads a component's name: `Fe`, `Pb_L`, `Pb_M`, or the pile-up `Si_Cl`.
    ///
    /// # Errors
    ///
    /// A configuration error when the library has no such element or no such lines, with near names.
    pub fn component(&self, name: &str) -> Result<Component> {
        let component = Component::parse(name).map_err(Error::configuration)?;
        for symbol in component.symbols() {
            if self.find(symbol).is_none() {
                let near = did_you_mean(symbol, self.elements.iter().map(|e| e.symbol.as_str()));
                return Err(Error::configuration(format!(
                    "`{name}`: there is no element `{symbol}`{near} (K lines are written Fe, L lines \
                     Pb_L, M lines Pb_M, pile-up Si_Cl)"
                )));
            }
        }
        Ok(component)
    }

    /// Names of every component the library has lines for, pile-ups aside: K by Z, then L, then M.
    pub fn components(&self) -> Vec<String> {
        let has = |e: &Element, shell: Shell| e.energies[shell.slots().start] > 0.0;
        [Shell::K, Shell::L, Shell::M]
            .into_iter()
            .flat_map(|shell| {
                let elements = self.elements.iter().filter(move |e| has(e, shell));
                elements.map(move |e| Component::lines(&e.symbol, shell).name())
            })
            .collect()
    }

    /// Atomic number of an element of the library.
    pub fn atomic_number(&self, symbol: &str) -> Option<u32> {
        self.find(symbol).map(|e| e.z)
    }

    /// Lines of a component, the first with ratio 1 unless a K factor says otherwise; lines of ratio
    /// 0 are left out. Empty when the library has no data, as for the L lines of hydrogen.
    ///
    /// # Panics
    ///
    /// When the component's element is not in the library: [`LineLibrary::component`] checks that.
    pub fn lines(&self, component: &Component, conditions: &Conditions, index: usize) -> Vec<Line> {
        let plain = Adjustment::default();
        let adjustment = conditions.adjustments.get(&component.name()).unwrap_or(&plain);
        let peaks = match component {
            Component::Lines { symbol, shell } => {
                ratios::peaks(self.element(symbol), *shell, conditions, adjustment)
            }
            Component::Pileup { first, second } => {
                let pair = (self.element(first), self.element(second));
                ratios::pileup_peaks(pair, conditions, adjustment)
            }
        };
        let mass = self.element(component.symbols()[0]).mass;
        peaks
            .into_iter()
            .filter(|p| p.ratio != 0.0)
            .map(|p| Line {
                component: index,
                energy: p.energy,
                ratio: p.ratio,
                mu: self.mu_fraction(p.energy, mass, conditions),
                width: adjustment.width,
                edge: p.edge,
                family: p.family,
            })
            .collect()
    }

    /// `mu_fraction` of a line at `energy` \[keV\] of an element of `mass` \[g/mol\], \[cm²/g\].
    ///
    /// XRF-Maps divides by the element's mass where the crystal's belongs: its value is
    /// mu/rho A_crystal / A_element.
    fn mu_fraction(&self, energy: f64, mass: f64, conditions: &Conditions) -> f64 {
        let crystal = conditions.crystal;
        let detector_mass = self.element(crystal.symbol()).mass;
        let own = conditions.switches.mu_fraction == MuFraction::Detector;
        let tabulated = self.henke.as_ref().and_then(|h| {
            h.attenuation(crystal, energy, if own { detector_mass } else { mass }, own)
        });
        tabulated.unwrap_or_else(|| {
            let attenuation = builtin::attenuation(crystal, energy);
            if own { attenuation } else { attenuation * detector_mass / mass }
        })
    }

    fn find(&self, symbol: &str) -> Option<&Element> {
        self.elements.iter().find(|e| e.symbol == symbol)
    }

    fn element(&self, symbol: &str) -> &Element {
        self.find(symbol).unwrap_or_else(|| panic!("the line library has no element {symbol}"))
    }
}
