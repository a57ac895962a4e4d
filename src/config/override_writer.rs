//! Writes a MAPS override file that XRF-Maps, MapsTorch and [`super::override_file`] read.
//!
//! Numbers have the shortest form that reads back to the same 64-bit value, where XRF-Maps writes
//! six decimals.

use std::fmt::Write;

use crate::constants::Crystal;
use crate::lines::{Component, Shell};
use crate::problem::Variable;

use super::choices::ParameterName;
use super::override_keys::PARAMETERS;
use super::settings::Settings;

/// The override file of `settings`: components, window, shape parameters with bounds and tags,
/// branching factors. What the format cannot say (switches, objective) is left out.
pub fn write(settings: &Settings) -> String {
    let mut text = String::from("   MAPS fit parameters, written by xrfit\nVERSION: 5.0\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}: {value}").expect("a string takes any text");
    };
    // XRF-Maps wants it before the options
    line("DETECTOR_ELEMENTS", &1);
    let (pileups, elements): (Vec<&Component>, Vec<&Component>) =
        settings.components.iter().partition(|c| c.is_pileup());
    let names = |list: &[&Component]| list.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
    line("ELEMENTS_TO_FIT", &names(&elements));
    line("ELEMENTS_WITH_PILEUP", &names(&pileups));
    for (name, key, _) in &PARAMETERS {
        let parameter = variable(settings, name);
        line(key, &number(parameter.start));
        line(&format!("{key}_MIN"), &number(parameter.lower));
        line(&format!("{key}_MAX"), &number(parameter.upper));
        line(&format!("{key}_FITTING"), &if parameter.free { "limit_lo_hi" } else { "fixed" });
    }
    line("SNIP_WIDTH", &number(settings.snip.width));
    line("FIT_SNIP_WIDTH", &0);
    line("DETECTOR_MATERIAL", &i32::from(settings.model.crystal == Crystal::Si));
    line("MAX_ENERGY_TO_FIT", &number(settings.fit.window_kev[1]));
    line("MIN_ENERGY_TO_FIT", &number(settings.fit.window_kev[0]));
    for component in &settings.components {
        adjust(settings, component, &mut line);
    }
    for crystal in ["SI", "GE"] {
        let escape = variable(settings, &format!("{crystal}_ESCAPE"));
        line(&format!("{crystal}_ESCAPE_FACTOR"), &number(escape.start));
        line(&format!("{crystal}_ESCAPE_ENABLE"), &i32::from(escape.free));
    }
    text
}

fn adjust(
    settings: &Settings,
    component: &Component,
    line: &mut impl FnMut(&str, &dyn std::fmt::Display),
) {
    let name = component.name();
    let Some(adjustment) = settings.adjustments.get(&name) else { return };
    let factors = &adjustment.factors[..component.line_count()];
    let list = |numbers: &[f64]| {
        let mut items = vec![name.clone()];
        items.extend(numbers.iter().map(|x| number(*x)));
        items.join(", ")
    };
    let shell = match component {
        Component::Lines { shell: Shell::L, .. } => "L",
        Component::Lines { shell: Shell::M, .. } => "M",
        _ => "K",
    };
    if factors.iter().any(|f| *f != 1.0) {
        line(&format!("BRANCHING_RATIO_ADJUSTMENT_{shell}"), &list(factors));
    }
    if adjustment.width != 1.0 {
        line("WIDTH_MULTIPLIER", &list(&[adjustment.width]));
    }
}

fn variable<'a>(settings: &'a Settings, name: &str) -> &'a Variable {
    &settings.parameters[ParameterName::known(&[name])[0].index()]
}

fn number(x: f64) -> String {
    format!("{x:?}")
}
