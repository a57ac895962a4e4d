//! The settings that a result file records, read back.

use crate::error::{Error, Result};
use crate::lines::LineLibrary;

use super::choices::Choices;
use super::components::Origin;
use super::raw::Raw;
use super::resolve::Sources;
use super::settings::Settings;

impl Settings {
    /// The settings of which [`Settings::to_toml`] made `text`.
    ///
    /// # Errors
    ///
    /// A configuration error when the text is of another version, and a file error when a line library is gone.
    pub fn recorded(text: &str) -> Result<Self> {
        let raw: Raw = toml::from_str(text).map_err(|e| {
            Error::configuration(format!(
                "the recorded configuration cannot be read ({}); make the result again with this version",
                e.message()
            ))
        })?;
        let sources = Sources {
            config: None,
            override_file: None,
            choices: &Choices::default(),
            scan_incident_kev: None,
        };
        Ok(Self::resolve_raw(&sources, raw, Origin::Asked)?.settings)
    }

    /// The same with further components behind its own, as far as the fit window shows them.
    ///
    /// # Errors
    ///
    /// A file error when the line library cannot be read.
    pub fn with_components(&self, names: &[String]) -> Result<Self> {
        let library = LineLibrary::open(self.line_library.as_ref())?;
        let view = self.view(&library);
        let further = names.iter().filter_map(|name| view.component(name).ok());
        let mut settings = self.clone();
        for component in further {
            if !settings.components.contains(&component) {
                settings.components.push(component);
            }
        }
        Ok(settings)
    }
}
