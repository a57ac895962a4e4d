//! Elements that nobody asked for, as a first pass needs them: a strong peak without a component of its own
//! would pull the energy calibration to where another one can pose as it.

use crate::error::Result;
use crate::lines::{Component, LineLibrary, Shell};

use super::components::View;
use super::settings::Settings;

impl Settings {
    /// The same with every further element whose K lines the beam excites inside the fit window, behind the
    /// components that were asked for.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read.
    pub fn with_bystanders(&self) -> Result<Self> {
        let library = LineLibrary::open(self.line_library.as_ref())?;
        let view = View {
            library: &library,
            conditions: self.conditions(),
            window_kev: self.fit.window_kev,
        };
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
}
