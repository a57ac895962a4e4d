//! Which components are fitted, and in which order.

use crate::error::{Error, Result};
use crate::lines::{Component, Conditions, LineLibrary, Shell};

use super::settings::Settings;

/// Who asked for the components decides how strict we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line or the configuration: what cannot be fitted is refused.
    Asked,
    /// An override file, often shared by many scans: what cannot be fitted is left out with a note.
    Shared,
    /// A case of the forward model: what cannot be seen is a spectrum of zeros.
    Modelled,
}

/// Names and where they come from.
pub(super) struct Requested {
    pub names: Vec<String>,
    pub origin: Origin,
}

/// What a component must show itself in.
pub(super) struct View<'a> {
    pub library: &'a LineLibrary,
    pub conditions: Conditions<'a>,
    pub window_kev: [f64; 2],
}

impl Settings {
    /// What further components must show themselves in.
    pub(super) fn view<'a>(&'a self, library: &'a LineLibrary) -> View<'a> {
        View { library, conditions: self.conditions(), window_kev: self.fit.window_kev }
    }
}

/// Checks and orders components: K lines by Z, L by Z, M by Z, pile-ups.
pub(super) fn resolve(
    requested: &Requested,
    view: &View,
    notes: &mut Vec<String>,
) -> Result<Vec<Component>> {
    let mut components: Vec<Component> = Vec::new();
    for name in &requested.names {
        let component = match requested.origin {
            Origin::Modelled => view.library.component(name),
            Origin::Asked | Origin::Shared => view.component(name),
        };
        match component {
            Ok(component) if components.contains(&component) => {}
            Ok(component) => components.push(component),
            Err(error) if requested.origin == Origin::Shared => {
                notes.push(format!("left out of the override file's elements: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    components.sort_by_key(|component| view.order(component));
    Ok(components)
}

impl View<'_> {
    /// The component, when it can show itself.
    pub(super) fn component(&self, name: &str) -> Result<Component> {
        let component = self.library.component(name)?;
        let incident = self.conditions.incident_kev;
        let lines = self.library.lines(&component, &self.conditions, 0);
        let Some(lowest) = lines.iter().map(|l| l.edge).min_by(f64::total_cmp) else {
            return Err(Error::configuration(format!(
                "`{name}`: the line data have no such lines; leave it out"
            )));
        };
        let excited: Vec<f64> =
            lines.iter().filter(|l| l.edge < incident).map(|l| l.energy).collect();
        if excited.is_empty() {
            return Err(Error::configuration(format!(
                "`{name}`: a beam of {incident} keV excites none of its lines (edge {lowest} keV), so \
                 its amplitude would mean nothing; leave it out"
            )));
        }
        let [low, high] = self.window_kev;
        if !excited.iter().any(|energy| low <= *energy && *energy <= high) {
            let first = excited[0];
            return Err(Error::configuration(format!(
                "`{name}`: none of its lines (the first at {first:.3} keV) lies in the fit window of \
                 {low} to {high} keV, so its amplitude would mean nothing; leave it out or widen the \
                 window"
            )));
        }
        Ok(component)
    }

    fn order(&self, component: &Component) -> (usize, Vec<u32>) {
        let group = match component {
            Component::Lines { shell: Shell::K, .. } => 0,
            Component::Lines { shell: Shell::L, .. } => 1,
            Component::Lines { shell: Shell::M, .. } => 2,
            Component::Pileup { .. } => 3,
        };
        let z = component.symbols().into_iter().filter_map(|s| self.library.atomic_number(s));
        (group, z.collect())
    }
}
