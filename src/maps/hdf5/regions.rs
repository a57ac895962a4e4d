//! The file of a scan's regions: a plot for each, and tables of what was fitted.

use std::path::Path;

use hdf5::{Group, Result};
use ndarray::{Array1, Array2, s};

use super::{Overwrite, create, put, tree, unwritten};
use crate::maps::RegionFile;

/// Writes `/regions/<name>` with the spectra, `/fits` with a row for each region, `/map` and `/provenance`.
///
/// # Errors
///
/// When the file exists and may not be replaced, or cannot be written.
pub fn write_regions(
    path: &Path,
    overwrite: Overwrite,
    content: &RegionFile,
) -> crate::error::Result<()> {
    create(path, overwrite)?
        .fill(|file, path| whole(file, content).map_err(|e| unwritten(path, &e)))
}

fn whole(file: &Group, content: &RegionFile) -> Result<()> {
    put::label(file, "NX_class", "NXroot")?;
    put::label(file, "default", "regions")?;
    labelled(file, "energy", &content.energy, "keV")?;
    put::array(file, "map", &content.map)?;
    let regions = put::group(file, "regions", "NXentry")?;
    put::label(&regions, "default", &content.names[0])?;
    for region in 0..content.names.len() {
        spectra(file, &regions, content, region)?;
    }
    fits(&put::group(file, "fits", "NXcollection")?, content)?;
    tree::provenance(file, &content.provenance)
}

fn labelled(group: &Group, name: &str, values: &Array1<f64>, unit: &str) -> Result<()> {
    put::label(&*put::array(group, name, values)?, "units", unit)
}

/// One region as a NeXus plot: what was counted, the fit, the background.
fn spectra(file: &Group, regions: &Group, content: &RegionFile, region: usize) -> Result<()> {
    let name = &content.names[region];
    let group = put::group(regions, name, "NXdata")?;
    file.link_hard("/energy", &format!("/regions/{name}/energy"))?;
    let all = [
        ("spectrum", &content.spectra),
        ("fit", &content.fitted),
        ("background", &content.backgrounds),
    ];
    for (what, of_all) in all {
        labelled(&group, what, &of_all.row(region).to_owned(), "counts")?;
    }
    put::label(&group, "signal", "spectrum")?;
    put::labels(&group, "axes", &["energy"])?;
    put::labels(&group, "auxiliary_signals", &["fit", "background"])?;
    let pixels = content.pixels[region];
    put::label(&group, "title", &format!("{name}: sum of {pixels} pixels"))?;
    let components = put::group(&group, "components", "NXcollection")?;
    for (k, component) in content.components.iter().enumerate() {
        let spectrum = content.component_spectra.slice(s![region, k, ..]).to_owned();
        labelled(&components, component, &spectrum, "counts")?;
    }
    Ok(())
}

/// The tables: a row for each region, in the order of `names`.
fn fits(group: &Group, content: &RegionFile) -> Result<()> {
    put::strings(group, "names", &content.names)?;
    put::array(group, "pixels", &Array1::from(content.pixels.clone()))?;
    put::array(group, "left_out", &Array1::from(content.left_out.clone()))?;
    put::strings(group, "components", &content.components)?;
    let table = |name: &str, values: &Array2<f64>| put::array(group, name, values);
    put::label(&*table("amplitudes", &content.amplitudes)?, "units", "counts")?;
    let rows = &content.parameters;
    put::strings(group, "parameter_names", &rows.iter().map(|r| &r.name).collect::<Vec<_>>())?;
    put::strings(group, "parameter_units", &rows.iter().map(|r| &r.unit).collect::<Vec<_>>())?;
    let free: Array1<u8> = rows.iter().map(|r| u8::from(r.free)).collect();
    put::array(group, "parameters_free", &free)?;
    table("parameters", &content.parameter_values)?;
    labelled(group, "objective", &content.objective, &content.objective_unit)?;
    labelled(group, "r_squared", &content.r_squared, "1")?;
    labelled(group, "r_squared_log", &content.r_squared_log, "1")?;
    put::array(group, "steps", &content.steps)?;
    let status = put::array(group, "status", &Array1::from(content.status.clone()))?;
    for (code, meaning) in &content.status_meanings {
        put::label(&status, &format!("code_{code}"), meaning)?;
    }
    Ok(())
}
