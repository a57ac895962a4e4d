//! The spectral model and the line data behind it: which conventions hold.

use std::collections::BTreeMap;
use std::path::Path;

use crate::constants::Crystal;
use crate::error::{Error, Result};
use crate::lines::{Adjustment, LibraryFiles, LineLibrary, MuFraction, Switches};
use crate::problem::Tail;

use super::choices::Compat;
use super::compat::Defaults;
use super::raw::RawBranching;
use super::resolve::Merge;
use super::settings::Model;

/// A coefficient of mu below this is a zero that passed through 32-bit arithmetic (1.7e-21 in real
/// files): with mu up to 1e4 cm²/g no spectrum can show it.
const ZERO: f64 = 1e-12;

impl Merge<'_> {
    pub(super) fn line_library(&self, compat: Option<Compat>) -> Result<Option<LibraryFiles>> {
        let choices = self.sources.choices;
        let csv = choices.line_library.as_ref().or(self.raw.line_library.as_ref());
        // the configuration's table belongs to the configuration's library
        let own = choices.line_library.is_none();
        let henke = choices.henke.as_ref().or(self.raw.henke.as_ref().filter(|_| own));
        match csv {
            Some(csv) => {
                let absolute = |path: &Path| {
                    std::path::absolute(path)
                        .map_err(|e| Error::file(path, format!("no path ({e})")))
                };
                let files = LibraryFiles::new(csv, henke.map(|p| p.as_path()));
                let (csv, henke) = (absolute(&files.csv)?, absolute(&files.henke)?);
                Ok(Some(LibraryFiles { csv, henke }))
            }
            None if compat == Some(Compat::XrfMaps) => Err(Error::configuration(
                "compat xrf-maps needs XRF-Maps' own line data (the built-in ones differ); give \
                 --line-library xrf_library.csv, with henke.xdr beside it",
            )),
            None => Ok(None),
        }
    }

    pub(super) fn model(
        &self,
        crystal: Crystal,
        compat: Option<Compat>,
        defaults: &Defaults,
        notes: &mut Vec<String>,
    ) -> Result<Model> {
        let raw = &self.raw.model;
        let own = defaults.switches;
        let mu_fraction = raw.mu_fraction.unwrap_or_else(|| {
            if compat.is_none() && self.file_uses_mu() {
                notes.push(
                    "the override file uses mu_fraction (F_STEP_*, F_TAIL_LINEAR or \
                     KB_F_TAIL_LINEAR): it is taken as XRF-Maps defines it, with the element's mass; \
                     model.mu_fraction = \"detector\" takes the detector's"
                        .to_string(),
                );
                return MuFraction::Element;
            }
            own.mu_fraction
        });
        let pair_energy_ev = raw.pair_energy_ev.unwrap_or(defaults.pair_energy_ev);
        if !(0.1..=100.0).contains(&pair_energy_ev) {
            return Err(Error::configuration(format!(
                "model.pair_energy_ev is {pair_energy_ev}; silicon's is 3.58 eV, germanium's 2.96"
            )));
        }
        Ok(Model {
            crystal,
            pair_energy_ev,
            tail: raw.tail.unwrap_or(Tail::Maps),
            escape_shift: raw.escape_shift.unwrap_or(defaults.escape_shift),
            switches: Switches {
                mu_fraction,
                l_weights: raw.l_weights.unwrap_or(own.l_weights),
                m_ratios: raw.m_ratios.unwrap_or(own.m_ratios),
                line_gate: raw.line_gate.unwrap_or(own.line_gate),
                pileup_gate: raw.pileup_gate.unwrap_or(own.pileup_gate),
            },
        })
    }

    fn file_uses_mu(&self) -> bool {
        ["F_STEP_OFFSET", "F_STEP_LINEAR", "F_TAIL_LINEAR", "KB_F_TAIL_LINEAR"].iter().any(|name| {
            self.file.parameters.get(name).and_then(|g| g.value).is_some_and(|v| v.abs() > ZERO)
        })
    }

    /// The override file's adjustments with the configuration's in their place where it has any.
    pub(super) fn adjustments(
        &self,
        library: &LineLibrary,
    ) -> Result<BTreeMap<String, Adjustment>> {
        let mut adjustments = self.file.adjustments.clone();
        for (name, branching) in &self.raw.branching {
            let count = library.component(name)?.line_count();
            let adjustment = adjustment(branching, count)
                .map_err(|what| Error::configuration(format!("branching.{name}: {what}")))?;
            adjustments.insert(name.clone(), adjustment);
        }
        Ok(adjustments)
    }
}

/// A configuration's adjustment of a component with `count` lines.
fn adjustment(raw: &RawBranching, count: usize) -> std::result::Result<Adjustment, String> {
    let mut adjustment = Adjustment::default();
    if let Some(lines) = &raw.lines {
        if lines.len() != count {
            return Err(format!("{} factors for {count} lines; give one each", lines.len()));
        }
        adjustment.factors[..count].copy_from_slice(lines);
    }
    if let Some(families) = raw.families {
        if count != 12 {
            return Err("only L lines have families; give `lines`".to_string());
        }
        adjustment.multiply_l_families(families);
    }
    adjustment.width = raw.width.unwrap_or(1.0);
    let factors = adjustment.factors.iter().all(|f| f.is_finite() && *f >= 0.0);
    if !(factors && adjustment.width.is_finite() && adjustment.width > 0.0) {
        return Err("factors must be 0 or more, and the width above 0".to_string());
    }
    Ok(adjustment)
}
