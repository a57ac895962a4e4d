//! What stands where.

use std::path::PathBuf;

use hdf5::{Group, Result};
use ndarray::{Array1, Array2, Array3, Axis, array, s};

use super::put;
use crate::maps::{Analysis, MapFile, Maps};

pub(super) fn write(file: &Group, content: &MapFile, link: Option<(PathBuf, &str)>) -> Result<()> {
    put::label(file, "NX_class", "NXroot")?;
    put::label(file, "default", "MAPS")?;
    let maps = put::group(file, "MAPS", "NXentry")?;
    put::label(&maps, "default", "XRF_Analyzed")?;
    put::array(&maps, "version", &array![10.0f32])?;
    analysis(&maps, content)?;
    spectra(&maps, content, link)?;
    scalers(&maps, content)?;
    scan(&maps, content)?;
    parameters(&maps, content)?;
    let quantification = maps.create_group("Quantification")?;
    put::array(&quantification, "Number_Of_Standards", &array![0i32])?;
    Ok(())
}

fn group_name(analysis: Analysis) -> &'static str {
    match analysis {
        Analysis::Fitted => "Fitted",
        Analysis::Nnls => "NNLS",
    }
}

/// Counts per second where the live time is known, else counts.
fn rates(maps: &Maps) -> (Array3<f32>, &'static str) {
    match &maps.live_time {
        Some(live) => (&maps.amplitudes / &live.view().insert_axis(Axis(0)), "cts/s"),
        None => (maps.amplitudes.clone(), "counts"),
    }
}

fn analysis(parent: &Group, content: &MapFile) -> Result<()> {
    let maps = &content.maps;
    let analyzed = put::group(parent, "XRF_Analyzed", "NXcollection")?;
    let name = group_name(content.analysis);
    put::label(&analyzed, "default", name)?;
    let group = put::group(&analyzed, name, "NXdata")?;
    let (values, unit) = rates(maps);
    let (k, rows, cols) = values.dim();
    let mut names = maps.components.clone();
    let mut units = vec![unit; k];
    let mut all = Array3::from_elem((k + 4, rows, cols), f32::NAN);
    all.slice_mut(s![..k, .., ..]).assign(&values);
    let per_time =
        |counts: &Array2<f32>| maps.live_time.as_ref().map_or(counts.clone(), |t| counts / t);
    let scatter = ["COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE"]
        .iter()
        .filter_map(|n| maps.components.iter().position(|c| c == n))
        .fold(Array2::zeros((rows, cols)), |sum, i| sum + values.index_axis(Axis(0), i));
    let extra: [(&str, &str, Array2<f32>); 4] = [
        ("Num_Iter", "", maps.steps.mapv(|n| n as f32)),
        ("Fit_Residual", "", maps.objective.clone()),
        ("Total_Fluorescence_Yield", unit, per_time(&maps.total_counts)),
        ("Sum_Elastic_Inelastic", unit, scatter),
    ];
    for (i, (name, unit, map)) in extra.iter().enumerate() {
        names.push((*name).to_string());
        units.push(unit);
        all.index_axis_mut(Axis(0), k + i).assign(map);
    }
    let data = put::array(&group, "Counts_Per_Sec", &all)?;
    put::label(&data, "units", unit)?;
    put::names(&group, "Channel_Names", &names)?;
    put::names(&group, "Channel_Units", &units)?;
    put::array(&group, "Fitted_Integrated_Spectra", &content.summed.fitted.mapv(|y| y as f32))?;
    put::array(&group, "FIT_Integrated_Background", &content.summed.background.mapv(|y| y as f32))?;
    shown(&group, content, &values, unit)?;
    own(&group, content)
}

/// What a viewer shows first: the strongest element's map, with its axes.
fn shown(group: &Group, content: &MapFile, values: &Array3<f32>, unit: &str) -> Result<()> {
    let element = |i: &usize| !content.maps.components[*i].ends_with("_AMPLITUDE");
    let total = |i: usize| {
        values
            .index_axis(Axis(0), i)
            .iter()
            .filter(|v| v.is_finite())
            .map(|&v| f64::from(v))
            .sum::<f64>()
    };
    let strongest = (0..content.maps.components.len())
        .filter(element)
        .max_by(|&a, &b| total(a).total_cmp(&total(b)));
    let Some(strongest) = strongest else { return Ok(()) };
    let name = &content.maps.components[strongest];
    let image = values.index_axis(Axis(0), strongest).to_owned();
    let data = put::array(group, name, &image)?;
    put::label(&data, "units", unit)?;
    put::label(&data, "long_name", &format!("{name} [{unit}]"))?;
    let (y, x) = (&content.axes.y, &content.axes.x);
    for (axis, values, unit) in [
        ("y", y.column(0).to_owned(), &content.axes.y_unit),
        ("x", x.row(0).to_owned(), &content.axes.x_unit),
    ] {
        let data = put::array(group, axis, &values)?;
        put::label(&data, "units", unit)?;
    }
    put::label(group, "signal", name)?;
    put::labels(group, "axes", &["y", "x"])?;
    put::label(group, "title", &format!("{name} ({})", content.provenance.input.display()))
}

/// What only xrfit stores.
fn own(parent: &Group, content: &MapFile) -> Result<()> {
    let maps = &content.maps;
    let group = put::group(parent, "xrfit", "NXcollection")?;
    let unit = |name: &str, data: hdf5::Dataset, unit: &str| -> Result<()> {
        put::label(&data, "units", unit).map_err(|e| format!("{name}: {e}").into())
    };
    unit("Counts", put::array(&group, "Counts", &maps.amplitudes)?, "counts")?;
    put::names(&group, "Names", &maps.components)?;
    let shapes = put::group(&group, "Parameters", "NXcollection")?;
    for (i, (name, parameter_unit)) in maps.parameters.iter().enumerate() {
        let map = maps.parameter_values.index_axis(Axis(0), i).to_owned();
        unit(name, put::array(&shapes, name, &map)?, parameter_unit)?;
    }
    unit("Objective", put::array(&group, "Objective", &maps.objective)?, &content.objective_unit)?;
    unit("R_Squared", put::array(&group, "R_Squared", &maps.r_squared)?, "1")?;
    unit("R_Squared_Log", put::array(&group, "R_Squared_Log", &maps.r_squared_log)?, "1")?;
    put::array(&group, "Steps", &maps.steps)?;
    let status = put::array(&group, "Status", &maps.status)?;
    for (code, meaning) in &content.status_meanings {
        put::label(&status, &format!("code_{code}"), meaning)?;
    }
    unit("Total_Counts", put::array(&group, "Total_Counts", &maps.total_counts)?, "counts")?;
    if let Some(live) = &maps.live_time {
        unit("Live_Time", put::array(&group, "Live_Time", live)?, "s")?;
    }
    let summed = put::group(&group, "Summed", "NXcollection")?;
    let sums = &content.summed;
    for (name, spectrum) in [
        ("Spectrum", &sums.spectrum),
        ("Fit", &sums.fit_of_sum),
        ("Background", &sums.background_of_sum),
    ] {
        unit(name, put::array(&summed, name, spectrum)?, "counts")?;
    }
    unit("Energy", put::array(&summed, "Energy", &sums.energy)?, "keV")?;
    provenance(&group, content)
}

fn provenance(parent: &Group, content: &MapFile) -> Result<()> {
    let p = &content.provenance;
    let group = put::group(parent, "Provenance", "NXprocess")?;
    for (name, value) in [
        ("program", "xrfit"),
        ("version", &p.version),
        ("commit", &p.commit),
        ("command", &p.command),
        ("configuration", &p.configuration),
        ("engine", &p.engine),
        ("cluster", &p.cluster),
        ("input", &p.input.to_string_lossy()),
        ("input_sha256", &p.input_sha256),
        ("started", &p.started),
    ] {
        put::string(&group, name, value)?;
    }
    put::label(&*put::scalar(&group, "seconds", p.seconds)?, "units", "s")
}

fn spectra(parent: &Group, content: &MapFile, link: Option<(PathBuf, &str)>) -> Result<()> {
    let group = parent.create_group("Spectra")?;
    let sums = &content.summed;
    put::array(&group, "Energy", &sums.energy.mapv(|e| e as f32))?;
    put::array(
        &group,
        "Energy_Calibration",
        &Array1::from(sums.calibration.to_vec()).mapv(|v| v as f32),
    )?;
    let (rows, cols) = content.maps.status.dim();
    let none = || Array2::zeros((rows, cols));
    let times = &content.times;
    let counts = |rate: &Option<Array2<f32>>| match (rate, &times.real) {
        (Some(rate), Some(real)) => rate * real,
        _ => none(),
    };
    let live = content.maps.live_time.clone().unwrap_or_else(none);
    let recorded = [
        ("Elapsed_Livetime", live),
        ("Elapsed_Realtime", times.real.clone().unwrap_or_else(none)),
        ("Input_Counts", counts(&times.input_rate)),
        ("Output_Counts", counts(&times.output_rate)),
    ];
    let integrated = group.create_group("Integrated_Spectra")?;
    for (name, map) in &recorded {
        put::array(&group, name, map)?;
        put::array(&integrated, name, &array![map.iter().filter(|v| v.is_finite()).sum::<f32>()])?;
    }
    put::array(&integrated, "Spectra", &sums.spectrum.mapv(|y| y as f32))?;
    parent.link_hard("/MAPS/Spectra/Integrated_Spectra/Spectra", "int_spec")?;
    if let Some((file, dataset)) = link {
        group.link_external(&file.to_string_lossy(), dataset, "mca_arr")?;
        parent.link_external(&file.to_string_lossy(), dataset, "mca_arr")?;
    }
    Ok(())
}

fn scalers(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Scalers")?;
    let scalers = &content.scalers;
    if scalers.names.is_empty() {
        return Ok(());
    }
    put::names(&group, "Names", &scalers.names)?;
    put::names(&group, "Units", &scalers.units)?;
    put::array(&group, "Values", &scalers.values).map(drop)
}

fn scan(parent: &Group, content: &MapFile) -> Result<()> {
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

fn parameters(parent: &Group, content: &MapFile) -> Result<()> {
    let group = parent.create_group("Fit_Parameters_Override")?;
    let rows = &content.parameters;
    put::names(&group, "Fit_Parameters_Names", &rows.iter().map(|r| &r.name).collect::<Vec<_>>())?;
    put::names(&group, "Fit_Parameters_Units", &rows.iter().map(|r| &r.unit).collect::<Vec<_>>())?;
    let values = Array2::from_shape_fn((rows.len(), 4), |(i, j)| match j {
        3 => {
            if rows[i].free {
                1.0
            } else {
                0.0
            }
        }
        _ => rows[i].value[j] as f32,
    });
    put::array(&group, "Fit_Parameters_Values", &values).map(drop)
}
