//! What stands where.

use hdf5::{Group, Result};
use ndarray::{Array2, Array3, Axis, array, s};

use super::{elements, put, recorded};
use crate::maps::{Analysis, MapFile, Provenance};

/// Everything but the spectra of each pixel.
pub(super) fn write(file: &Group, content: &MapFile) -> Result<()> {
    put::label(file, "NX_class", "NXroot")?;
    put::label(file, "default", "MAPS")?;
    let maps = put::group(file, "MAPS", "NXentry")?;
    put::label(&maps, "default", "XRF_Analyzed")?;
    put::array(&maps, "version", &array![10.0f32])?;
    analysis(&maps, content)?;
    recorded::spectra(&maps, content)?;
    recorded::scalers(&maps, content)?;
    recorded::scan(&maps, content)?;
    recorded::parameters(&maps, content)?;
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

fn analysis(parent: &Group, content: &MapFile) -> Result<()> {
    let maps = &content.maps;
    let analyzed = put::group(parent, "XRF_Analyzed", "NXcollection")?;
    let name = group_name(content.analysis);
    put::label(&analyzed, "default", name)?;
    let group = put::group(&analyzed, name, "NXcollection")?;
    put::label(&group, "default", "xrfit")?;
    let (values, unit) = maps.rates();
    let (k, rows, cols) = values.dim();
    let mut names = maps.components.clone();
    let mut units = vec![unit; k];
    let mut all = Array3::from_elem((k + 4, rows, cols), f32::NAN);
    all.slice_mut(s![..k, .., ..]).assign(&values);
    let scatter = ["COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE"]
        .iter()
        .filter_map(|n| maps.components.iter().position(|c| c == n))
        .fold(Array2::zeros((rows, cols)), |sum, i| sum + values.index_axis(Axis(0), i));
    let extra: [(&str, &str, Array2<f32>); 4] = [
        ("Num_Iter", "", maps.steps.mapv(|n| n as f32)),
        ("Fit_Residual", "", maps.objective.clone()),
        ("Total_Fluorescence_Yield", unit, maps.total_rates()),
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
    let group = put::group(&group, "xrfit", "NXcollection")?;
    put::label(&group, "default", "Maps")?;
    elements::write(&group, content, &values, (&data, unit))?;
    own(&group, content)
}

/// What only xrfit stores.
fn own(group: &Group, content: &MapFile) -> Result<()> {
    let maps = &content.maps;
    let unit = |name: &str, data: hdf5::Dataset, unit: &str| -> Result<()> {
        put::label(&data, "units", unit).map_err(|e| format!("{name}: {e}").into())
    };
    unit("Counts", put::array(group, "Counts", &maps.amplitudes)?, "counts")?;
    put::names(group, "Names", &maps.components)?;
    for (stack, values) in
        [("Parameters", &maps.parameter_values), ("Parameters_Sigma", &maps.parameter_sigma)]
    {
        let shapes = put::group(group, stack, "NXcollection")?;
        for ((name, parameter_unit), map) in maps.parameters.iter().zip(values.outer_iter()) {
            let data = put::array(&shapes, name, &map.to_owned())?;
            if let Some(row) = content.parameters.iter().find(|row| row.name == *name) {
                put::number(
                    &data,
                    "prior_center",
                    if row.prior.is_nan() { f64::NAN } else { row.value[0] },
                )?;
                put::number(&data, "prior_width", row.prior)?;
            }
            unit(name, data, parameter_unit)?;
        }
    }
    if content.analysis == Analysis::Fitted {
        unit("Counts_Sigma", put::array(group, "Counts_Sigma", &maps.amplitude_sigma)?, "counts")?;
        unit(
            "Counts_Signed",
            put::array(group, "Counts_Signed", &maps.signed_amplitudes)?,
            "counts",
        )?;
    }
    for (name, limits) in ["Counts_Upper_Limit", "Detection_Limit"].iter().zip(&maps.limits) {
        if !limits.is_empty() {
            unit(name, put::array(group, name, limits)?, "counts")?;
        }
    }
    unit("Objective", put::array(group, "Objective", &maps.objective)?, &content.objective_unit)?;
    unit("R_Squared", put::array(group, "R_Squared", &maps.r_squared)?, "1")?;
    unit("R_Squared_Log", put::array(group, "R_Squared_Log", &maps.r_squared_log)?, "1")?;
    unit("Reduced_Deviance", put::array(group, "Reduced_Deviance", &maps.deviance)?, "1")?;
    let background = put::array(group, "Background_Counts", &maps.background_counts)?;
    unit("Background_Counts", background, "counts")?;
    put::array(group, "Steps", &maps.steps)?;
    let status = put::array(group, "Status", &maps.status)?;
    for (code, meaning) in &content.status_meanings {
        put::label(&status, &format!("code_{code}"), meaning)?;
    }
    if let Some(runs) = &content.provenance.runs {
        let data = put::array(group, "Run", &runs.of_pixel)?;
        for (i, engine) in runs.engines.iter().enumerate() {
            put::label(&data, &format!("run_{}", i + 1), engine)?;
        }
    }
    unit("Total_Counts", put::array(group, "Total_Counts", &maps.total_counts)?, "counts")?;
    if let Some(live) = &maps.live_time {
        unit("Live_Time", put::array(group, "Live_Time", live)?, "s")?;
    }
    let summed = put::group(group, "Summed", "NXcollection")?;
    let sums = &content.summed;
    for (name, spectrum) in [
        ("Spectrum", &sums.spectrum),
        ("Fit", &sums.fit_of_sum),
        ("Background", &sums.background_of_sum),
    ] {
        let data = put::array(&summed, name, spectrum)?;
        if name == "Background" {
            put::number(&data, "reduced_deviance", sums.deviance_of_sum)?;
        }
        unit(name, data, "counts")?;
    }
    unit("Energy", put::array(&summed, "Energy", &sums.energy)?, "keV")?;
    provenance(group, &content.provenance)
}

/// How a result was made.
pub(super) fn provenance(parent: &Group, p: &Provenance) -> Result<()> {
    let group = put::group(parent, "Provenance", "NXprocess")?;
    for (name, value) in [
        ("program", "xrfit"),
        ("version", &p.version),
        ("commit", &p.commit),
        ("command", &p.command),
        ("configuration", &p.configuration),
        ("engine", &p.engine),
        ("cluster", &p.cluster),
        ("started", &p.started),
    ] {
        put::string(&group, name, value)?;
    }
    let (files, sums): (Vec<_>, Vec<_>) =
        p.inputs.iter().map(|(file, sum)| (file.to_string_lossy(), sum)).unzip();
    put::strings(&group, "inputs", &files)?;
    put::strings(&group, "inputs_sha256", &sums)?;
    let taken_over = put::scalar(&group, "taken_over_by_cpu", p.taken_over as u64)?;
    put::label(&taken_over, "meaning", "spectra that a CUDA device failed on")?;
    put::label(&*put::scalar(&group, "seconds", p.seconds)?, "units", "s")
}
