//! MAPS' `maps_fit_parameters_override.txt`: reading it as XRF-Maps does.
//!
//! Line based: the text before the first colon is the key, exactly (an indented line is a comment),
//! the value runs to the next colon. Nothing here decides what a value means for a fit; that is
//! `resolve.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::constants::Crystal;
use crate::error::{Error, Result};
use crate::lines::Adjustment;

use super::override_keys::{Key, key};

/// Name of the file that beamlines keep beside their scans.
pub const FILE_NAME: &str = "maps_fit_parameters_override.txt";

/// What a file says about one shape parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Given {
    /// Value, in the parameter's unit.
    pub value: Option<f64>,
    /// Lower bound.
    pub lower: Option<f64>,
    /// Upper bound.
    pub upper: Option<f64>,
    /// `_FITTING`: true unless `fixed`.
    pub free: Option<bool>,
}

/// The content of an override file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OverrideFile {
    /// `ELEMENTS_TO_FIT` as written: `Fe`, `Au_L`, `Pb_M`.
    pub elements: Vec<String>,
    /// `ELEMENTS_WITH_PILEUP` as written: `Si_Cl`.
    pub pileups: Vec<String>,
    /// Shape parameters by MAPS name, e.g. `ENERGY_OFFSET`.
    pub parameters: BTreeMap<&'static str, Given>,
    /// `MIN_ENERGY_TO_FIT` \[keV\].
    pub min_kev: Option<f64>,
    /// `MAX_ENERGY_TO_FIT` \[keV\].
    pub max_kev: Option<f64>,
    /// `SNIP_WIDTH` \[1\].
    pub snip_width: Option<f64>,
    /// `DETECTOR_MATERIAL`.
    pub detector: Option<Crystal>,
    /// Branching factors and width multipliers by component name; repeated lines multiply.
    pub adjustments: BTreeMap<String, Adjustment>,
    /// Keys that change nothing here although their value asks for something, each once.
    pub without_effect: Vec<String>,
    /// Numbers that cannot be read, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads an override file.
///
/// # Errors
///
/// A file error when it cannot be read or holds no numeric parameter.
pub fn read(path: &Path) -> Result<OverrideFile> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::file(path, format!("the override file cannot be read ({e})")))?;
    let file = parse(&bytes);
    if file.parameters.values().all(|p| p.value.is_none()) {
        return Err(Error::file(
            path,
            "it sets no fit parameter, so it is no MAPS override file (a line reads \
             `FWHM_OFFSET: 0.12`, without spaces before the key); check the name",
        ));
    }
    Ok(file)
}

/// The override file that belongs to a scan: in the scan's folder, else in the folder above; of each
/// the detector's own (`...txt0`) before the common one.
pub fn find(scan: &Path, detector: Option<usize>) -> Option<PathBuf> {
    let folder = match scan.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return None,
    };
    let above = folder.canonicalize().ok().and_then(|f| f.parent().map(Path::to_path_buf));
    let names = detector.map(|d| format!("{FILE_NAME}{d}")).into_iter().chain([FILE_NAME.into()]);
    let names: Vec<String> = names.collect();
    [Some(folder.to_path_buf()), above]
        .into_iter()
        .flatten()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

/// Reads the content of an override file; any bytes are fine.
pub fn parse(bytes: &[u8]) -> OverrideFile {
    let text = String::from_utf8_lossy(bytes);
    let mut file = OverrideFile::default();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let mut fields = line.split(':');
        if let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            file.line(name, value.trim(), number + 1);
        }
    }
    file.drop_overflown();
    file
}

impl OverrideFile {
    fn line(&mut self, name: &str, value: &str, number: usize) {
        match key(name) {
            Some(Key::Value(parameter)) => {
                if let Some(x) = self.number(name, value, number) {
                    self.parameters.entry(parameter).or_default().value = Some(x);
                }
            }
            Some(Key::Lower(parameter)) => {
                if let Some(x) = self.number(name, value, number) {
                    self.parameters.entry(parameter).or_default().lower = Some(x);
                }
            }
            Some(Key::Upper(parameter)) => {
                if let Some(x) = self.number(name, value, number) {
                    self.parameters.entry(parameter).or_default().upper = Some(x);
                }
            }
            Some(Key::Fitting(parameter)) => self.fitting(parameter, name, value, number),
            Some(Key::Enable(parameter)) => {
                if let Some(x) = self.number(name, value, number) {
                    self.parameters.entry(parameter).or_default().free = Some(x == 1.0);
                }
            }
            Some(Key::MinEnergy) => {
                self.min_kev = self.number(name, value, number).or(self.min_kev)
            }
            Some(Key::MaxEnergy) => {
                self.max_kev = self.number(name, value, number).or(self.max_kev)
            }
            Some(Key::SnipWidth) => {
                self.snip_width = self.number(name, value, number).or(self.snip_width);
            }
            Some(Key::Detector) => self.detector(name, value, number),
            Some(Key::Elements) => self.elements.extend(list(value)),
            Some(Key::Pileups) => self.pileups.extend(list(value)),
            Some(Key::Width) => self.width(name, value, number),
            Some(Key::Branching) => self.branching(name, value, number),
            Some(Key::FamilyL) => self.family(name, value, number),
            Some(Key::Silent) => {}
            None => self.unknown(name, value),
        }
    }

    fn fitting(&mut self, parameter: &'static str, name: &str, value: &str, number: usize) {
        let free = match value.to_ascii_lowercase().as_str() {
            "fixed" => false,
            "limit_lo_hi" | "limit_lo" | "limit_hi" | "fit" => true,
            _ => {
                self.warnings.push(format!(
                    "line {number}: {name} is `{value}`; it can be fixed, limit_lo_hi, limit_lo, \
                     limit_hi or fit"
                ));
                return;
            }
        };
        self.parameters.entry(parameter).or_default().free = Some(free);
    }

    fn detector(&mut self, name: &str, value: &str, number: usize) {
        match value {
            "0" | "Ge" => self.detector = Some(Crystal::Ge),
            "1" | "Si" => self.detector = Some(Crystal::Si),
            _ => self
                .warnings
                .push(format!("line {number}: {name} is `{value}`; it can be 0 or Ge, 1 or Si")),
        }
    }

    fn width(&mut self, name: &str, value: &str, number: usize) {
        match self.factors::<1>(name, value, number) {
            Some((component, [width])) if width > 0.0 => {
                self.adjustments.entry(component).or_default().width = width;
            }
            Some(_) => self.warnings.push(format!("line {number}: {name} must be above 0")),
            None => {}
        }
    }

    /// `BRANCHING_RATIO_ADJUSTMENT_K`, `_L` and `_M`: a factor for every line.
    fn branching(&mut self, name: &str, value: &str, number: usize) {
        let given = if name.ends_with('L') {
            self.factors::<12>(name, value, number)
        } else {
            self.factors::<4>(name, value, number).map(|(component, four)| {
                let mut factors = [1.0; 12];
                factors[..4].copy_from_slice(&four);
                (component, factors)
            })
        };
        if let Some((component, factors)) = given {
            self.adjustments.entry(component).or_default().multiply(factors);
        }
    }

    /// `BRANCHING_FAMILY_ADJUSTMENT_L`: a factor for the lines of L1, of L2 and of L3.
    fn family(&mut self, name: &str, value: &str, number: usize) {
        if let Some((component, [l1, l2, l3])) = self.factors::<3>(name, value, number) {
            self.adjustments.entry(component).or_default().multiply_l_families([l1, l2, l3]);
        }
    }

    /// Repeated factors multiply, until no number can hold them.
    fn drop_overflown(&mut self) {
        let warnings = &mut self.warnings;
        self.adjustments.retain(|component, adjustment| {
            let fits = adjustment.factors.iter().all(|f| f.is_finite());
            if !fits {
                warnings.push(format!("the branching factors of {component} multiply to infinity"));
            }
            fits
        });
    }

    /// A component's name and `N` factors.
    fn factors<const N: usize>(
        &mut self,
        name: &str,
        value: &str,
        number: usize,
    ) -> Option<(String, [f64; N])> {
        let items = list(value);
        let numbers: Vec<f64> = items.iter().skip(1).map_while(|x| finite(x)).collect();
        match <[f64; N]>::try_from(numbers) {
            Ok(factors) if items.len() == N + 1 && factors.iter().all(|f| *f >= 0.0) => {
                Some((items[0].clone(), factors))
            }
            _ => {
                self.warnings.push(format!(
                    "line {number}: {name} needs a name and {N} factors of 0 or more, has `{value}`"
                ));
                None
            }
        }
    }

    fn number(&mut self, name: &str, value: &str, number: usize) -> Option<f64> {
        let read = value.split_whitespace().next().and_then(finite);
        if read.is_none() {
            self.warnings.push(format!("line {number}: {name} is `{value}`, no number"));
        }
        read
    }

    /// Notes a key that nothing here obeys, unless its value asks for nothing. Prose with a colon in
    /// it is no key.
    fn unknown(&mut self, name: &str, value: &str) {
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_[]".contains(c);
        let asks = !value.is_empty() && finite(value) != Some(0.0);
        if asks && !name.is_empty() && name.chars().all(is_key) && !self.has_noted(name) {
            self.without_effect.push(name.to_string());
        }
    }

    fn has_noted(&self, name: &str) -> bool {
        self.without_effect.iter().any(|known| known == name)
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect()
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}
