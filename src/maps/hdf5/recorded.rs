//! What was recorded beside the spectra, and the parameters: `Spectra`, `Scalers`, `Scan`,
//! `Fit_Parameters_Override`.

use hdf5::{Group, Result};
use ndarray::{Array1, Array2, Array3, Axis, array};

use super::put;
use crate::maps::MapFile;

pub(super) fn spectra(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Spectra")?;
    let sums = &content.summed;
    let energy = put::array(&group, "Energy", &sums.energy.mapv(|e| e as f32))?;
    put::label(&energy, "units", "keV")?;
    let calibration = Array1::from(sums.calibration.to_vec()).mapv(|v| v as f32);
    put::array(&group, "Energy_Calibration", &calibration)?;
    let times = &content.times;
    let (rows, cols) = content.maps.status.dim();
    let integrated = group.create_group("Integrated_Spectra")?;
    for (name, unit, map) in [
        ("Elapsed_Livetime", "s", &content.maps.live_time),
        ("Elapsed_Realtime", "s", &times.real),
        // rates under the name of counts, as MAPS has them
        ("Input_Counts", "counts/s", &times.input_rate),
        ("Output_Counts", "counts/s", &times.output_rate),
    ] {
        let map = map.clone().unwrap_or_else(|| Array2::zeros((rows, cols)));
        let sum = map.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).sum::<f64>();
        let data = put::array(&group, name, &map)?;
        put::label(&data, "units", unit)?;
        let data = put::array(&integrated, name, &array![sum as f32])?;
        put::label(&data, "units", unit)?;
    }
    put::array(&integrated, "Spectra", &sums.spectrum.mapv(|y| y as f32))?;
    parent.link_hard("/MAPS/Spectra/Integrated_Spectra/Spectra", "int_spec")
}

/// The scalers, and as MAPS adds them the times and rates of the detector. Written even when there are none:
/// uProbeX refuses a file without.
pub(super) fn scalers(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Scalers")?;
    let recorded = &content.scalers;
    let (rows, cols) = content.maps.status.dim();
    let (mut names, mut units) = (recorded.names.clone(), recorded.units.clone());
    let mut values = match names.len() {
        0 => Array3::zeros((0, rows, cols)),
        _ => recorded.values.clone(),
    };
    let times = &content.times;
    let lost = times.input_rate.as_ref().zip(times.output_rate.as_ref());
    let lost = lost.map(|(input, output)| (1.0 - output / input) * 100.0);
    for (name, unit, map) in [
        ("ELT", "seconds", &content.maps.live_time),
        ("ERT", "seconds", &times.real),
        ("ICR", "cts/s", &times.input_rate),
        ("OCR", "cts/s", &times.output_rate),
        ("Dead_Time", "%", &lost),
    ] {
        if let Some(map) = map.as_ref().filter(|_| !names.iter().any(|n| n == name)) {
            names.push(name.into());
            units.push(unit.into());
            values.push(Axis(0), map.view()).expect("maps of one size");
        }
    }
    put::names(&group, "Names", &names)?;
    put::names(&group, "Units", &units)?;
    put::array(&group, "Values", &values).map(drop)
}

pub(super) fn scan(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Scan")?;
    let meta = &content.metadata;
    for (name, axis, unit) in [
        ("y_axis", &content.axes.y, &content.axes.y_unit),
        ("x_axis", &content.axes.x, &content.axes.x_unit),
    ] {
        let data = put::array(&group, name, axis)?;
        put::label(&data, "units", unit)?;
    }
    put::array(&group, "requested_rows", &array![meta.requested_rows as i32])?;
    put::array(&group, "requested_cols", &array![meta.requested_cols as i32])?;
    put::array(&group, "theta", &array![meta.theta.unwrap_or(0.0) as f32])?;
    put::names(&group, "scan_time_stamp", &[&meta.time_stamp])?;
    put::names(&group, "scan_type", &[""])?;
    put::names(&group, "name", &[&meta.name])?;
    if meta.extra_pvs.is_empty() {
        return Ok(());
    }
    let pvs = group.create_group("Extra_PVs")?;
    let column =
        |f: fn(&crate::scan::ExtraPv) -> &String| meta.extra_pvs.iter().map(f).collect::<Vec<_>>();
    put::names(&pvs, "Names", &column(|p| &p.name))?;
    put::names(&pvs, "Values", &column(|p| &p.value))?;
    put::names(&pvs, "Description", &column(|p| &p.description))?;
    put::names(&pvs, "Unit", &column(|p| &p.unit)).map(drop)
}

/// Value, lower and upper bound, and a step of 0 (no step is used here) of each parameter.
pub(super) fn parameters(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Fit_Parameters_Override")?;
    let rows = &content.parameters;
    put::names(&group, "Fit_Parameters_Names", &rows.iter().map(|r| &r.name).collect::<Vec<_>>())?;
    put::names(&group, "Fit_Parameters_Units", &rows.iter().map(|r| &r.unit).collect::<Vec<_>>())?;
    let values = Array2::from_shape_fn((rows.len(), 4), |(i, j)| {
        rows[i].value.get(j).map_or(0.0, |&v| v as f32)
    });
    put::array(&group, "Fit_Parameters_Values", &values)?;
    let free: Array1<u8> = rows.iter().map(|r| u8::from(r.free)).collect();
    put::array(&group, "Fit_Parameters_Free", &free).map(drop)
}
