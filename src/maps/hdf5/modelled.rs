//! The file of one evaluation of the forward model.

use std::path::Path;

use hdf5::Group;
use ndarray::ArrayView1;

use super::{Overwrite, create, put, unwritten};
use crate::error::Result;
use crate::maps::Modelled;

/// Writes an evaluation: `/energy`, `/components/<name>`, `/sum`, `/background`, and with an observed spectrum
/// `/observed`, `/objective` and `/gradient`.
///
/// # Errors
///
/// When the file exists and may not be replaced, or cannot be written.
pub fn write_modelled(path: &Path, overwrite: Overwrite, content: &Modelled) -> Result<()> {
    create(path, overwrite)?.fill(|file, path| tree(file, content).map_err(|e| unwritten(path, &e)))
}

fn tree(file: &Group, content: &Modelled) -> hdf5::Result<()> {
    put::label(file, "NX_class", "NXroot")?;
    put::label(file, "default", "spectrum")?;
    let entry = put::group(file, "spectrum", "NXentry")?;
    put::label(&entry, "default", "data")?;
    let shown = put::group(&entry, "data", "NXdata")?;
    let spectrum = |name: &str, values: ArrayView1<f64>, unit: &str| {
        put::label(&*put::array(file, name, &values)?, "units", unit)?;
        file.link_hard(&format!("/{name}"), &format!("/spectrum/data/{name}"))
    };
    spectrum("energy", content.energy.view(), "keV")?;
    spectrum("sum", content.sum.view(), "counts")?;
    spectrum("background", content.background.view(), "counts")?;
    put::label(&shown, "signal", "sum")?;
    put::labels(&shown, "axes", &["energy"])?;
    let mut beside = vec!["background"];
    if let Some((observed, objective)) = &content.observed {
        spectrum("observed", observed.view(), "counts")?;
        beside.push("observed");
        put::label(
            &*put::scalar(file, "objective", *objective)?,
            "units",
            &content.objective_unit,
        )?;
    }
    put::labels(&shown, "auxiliary_signals", &beside)?;
    let components = put::group(file, "components", "NXcollection")?;
    for (name, values) in content.components.iter().zip(content.spectra.rows()) {
        put::label(&*put::array(&components, name, &values)?, "units", "counts")?;
    }
    content.gradient.as_ref().map_or(Ok(()), |(parameters, amplitudes)| {
        let group = put::group(file, "gradient", "NXcollection")?;
        put::array(&group, "parameters", parameters)?;
        put::names(&group, "parameter_names", &content.parameters)?;
        put::array(&group, "amplitudes", amplitudes)?;
        put::names(&group, "amplitude_names", &content.components)?;
        Ok(())
    })
}
