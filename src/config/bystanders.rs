//! Elements that nobody asked for, as a first pass needs them: a strong peak without a component of its own
//! would pull the energy calibration to where another one can pose as it. And all that may be proposed where nobody
//! asked for any.

use crate::error::Result;
use crate::lines::{Component, LineLibrary, Shell};

use super::settings::Settings;

/// Atomic numbers below uranium's without a long-lived isotope.
const RADIOACTIVE: [u32; 9] = [43, 61, 84, 85, 86, 87, 88, 89, 91];

impl Settings {
    /// The same with every further element whose K lines the beam excites inside the fit window, behind the
    /// components that were asked for.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read.
    pub fn with_bystanders(&self) -> Result<Self> {
        let library = LineLibrary::open(self.line_library.as_ref())?;
        let view = self.view(&library);
        let k_lines = |c: &Component| matches!(c, Component::Lines { shell: Shell::K, .. });
        let all = library.components();
        let further = all
            .iter()
            .filter_map(|name| view.component(name).ok())
            .filter(|c| k_lines(c) && !self.components.contains(c));
        let mut settings = self.clone();
        settings.components.extend(further);
        Ok(settings)
    }

    /// The same with every component that a list of elements may propose: of each element that occurs in nature the
    /// lines of the innermost shell that the beam excites, where the first of them lies inside the fit window. An outer
    /// shell is out: its lines would be far weaker than those of the inner one.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read.
    pub fn with_candidates(&self) -> Result<Self> {
        let library = LineLibrary::open(self.line_library.as_ref())?;
        let view = self.view(&library);
        let [low, high] = self.fit.window_kev;
        let natural = |c: &Component| {
            let z = library.atomic_number(c.symbols()[0]).unwrap_or(0);
            z < 93 && !RADIOACTIVE.contains(&z)
        };
        let first = |c: &Component| {
            let lines = library.lines(c, &view.conditions, 0).into_iter();
            lines.take(1).find(|l| l.edge < self.incident_kev)
        };
        let shows = |c: &Component| {
            let Component::Lines { symbol, shell } = c else { return false };
            let mut inner = [Shell::K, Shell::L].into_iter().filter(|inner| inner < shell);
            let excited = |s: Shell| first(&Component::lines(symbol, s)).is_some();
            first(c).is_some_and(|l| (low..=high).contains(&l.energy)) && !inner.any(excited)
        };
        let all = library.components();
        let candidates = all.iter().filter_map(|name| view.component(name).ok());
        let components = candidates.filter(|c| natural(c) && shows(c)).collect();
        Ok(Self { components, ..self.clone() })
    }

    /// The same with these components alone.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read.
    pub fn with_only(&self, names: &[String]) -> Result<Self> {
        Self { components: Vec::new(), ..self.clone() }.with_components(names)
    }
}
