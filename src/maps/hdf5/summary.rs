//! Map files as rows of a table, and the table as a file.

use std::path::Path;

use hdf5::types::{FixedAscii, VarLenUnicode};
use hdf5::{Dataset, File, Group, Result};
use ndarray::{Array1, Array2, s};

use super::estimates::open_results;
use super::{Overwrite, create, put, unwritten};
use crate::maps::summary::{MapSummary, SummaryTable, Total, quartiles};

/// Reads the status of every pixel of a map file, `[row, col]`.
///
/// # Errors
///
/// When it is none, or cannot be read.
pub fn read_status(path: &Path) -> crate::error::Result<Array2<u8>> {
    open_results(path, |group| group.dataset("Status")?.read())
}

/// Reads what a table says of a map file, one map at a time.
///
/// # Errors
///
/// When it is none, or cannot be read.
pub fn read_summary(path: &Path) -> crate::error::Result<MapSummary> {
    open_results(path, |group| {
        let configuration: VarLenUnicode =
            group.dataset("Provenance/configuration")?.read_scalar()?;
        let status: Vec<u8> = group.dataset("Status")?.read_raw()?;
        let mut by_status = vec![0; status.iter().max().map_or(0, |&most| usize::from(most) + 1)];
        status.iter().for_each(|&code| by_status[usize::from(code)] += 1);
        let r_squared: Vec<f32> = group.dataset("R_Squared")?.read_raw()?;
        Ok(MapSummary {
            by_status,
            r_squared: quartiles(r_squared),
            totals: totals(group)?,
            configuration: configuration.to_string(),
        })
    })
}

fn totals(group: &Group) -> Result<Vec<Total>> {
    let beside = |name| group.link_exists(name).then(|| group.dataset(name)).transpose();
    // clipped at 0, counts lie above the truth on average
    let counts = beside("Counts_Signed")?.map_or_else(|| group.dataset("Counts"), Ok)?;
    let sigma = beside("Counts_Sigma")?;
    let names: Vec<FixedAscii<256>> = group.dataset("Names")?.read_raw()?;
    let totals = names.iter().enumerate().map(|(k, name)| {
        let added = finite(&counts, k)?.iter().sum();
        let variances = sigma.as_ref().map_or_else(|| Ok(Vec::new()), |data| finite(data, k))?;
        let variance: f64 = variances.iter().map(|v| v * v).sum();
        Ok(Total {
            component: name.as_str().trim_end().to_string(),
            counts: added,
            sigma: if variances.is_empty() { f64::NAN } else { variance.sqrt() },
        })
    });
    totals.collect()
}

/// The numbers in one map of a stack `[K, row, col]`.
fn finite(stack: &Dataset, k: usize) -> Result<Vec<f64>> {
    let map: Array2<f32> = stack.read_slice(s![k, .., ..])?;
    Ok(map.iter().map(|&v| f64::from(v)).filter(|v| v.is_finite()).collect())
}

/// Writes a table: each column a dataset of `/summary`, the elements' totals as a NeXus plot.
///
/// # Errors
///
/// When the file exists and may not be replaced, or cannot be written.
pub fn write_summary(
    path: &Path,
    overwrite: Overwrite,
    table: &SummaryTable,
) -> crate::error::Result<()> {
    create(path, overwrite)?.fill(|file, path| whole(file, table).map_err(|e| unwritten(path, &e)))
}

fn whole(file: &File, table: &SummaryTable) -> Result<()> {
    put::label(file, "NX_class", "NXroot")?;
    put::label(file, "default", "summary")?;
    put::label(file, "creator", &table.program)?;
    put::label(file, "file_time", &table.written)?;
    let summary = put::group(file, "summary", "NXentry")?;
    let rows = &table.rows;
    let words = |name: &str, word: fn(&crate::maps::SummaryRow) -> &String| {
        put::strings(&summary, name, &rows.iter().map(word).collect::<Vec<_>>())
    };
    words("group", |row| &row.group)?;
    words("scan", |row| &row.scan)?;
    words("detector", |row| &row.detector)?;
    words("map_file", |row| &row.file)?;
    let pixels: Array1<u64> = rows.iter().map(|row| row.found.pixels() as u64).collect();
    put::array(&summary, "pixels", &pixels)?;
    for (q, name) in ["r_squared_q1", "r_squared_median", "r_squared_q3"].into_iter().enumerate() {
        let values: Array1<f64> = rows.iter().map(|row| row.found.r_squared[q]).collect();
        put::label(&*put::array(&summary, name, &values)?, "units", "1")?;
    }
    statuses(&put::group(&summary, "status", "NXcollection")?, table)?;
    elements(&summary, table)
}

/// Pixels by status: a column for each code.
fn statuses(group: &Group, table: &SummaryTable) -> Result<()> {
    for (code, (name, meaning)) in table.statuses.iter().enumerate() {
        let pixels = table.rows.iter().map(|row| SummaryTable::with_status(row, code) as u64);
        let data = put::array(group, name, &pixels.collect::<Array1<u64>>())?;
        put::label(&data, "units", "pixels")?;
        put::label(&data, "meaning", meaning)?;
    }
    Ok(())
}

/// The totals, with what is a standard deviation under the name that NeXus gives it.
fn elements(summary: &Group, table: &SummaryTable) -> Result<()> {
    let components = table.components();
    let Some((first, others)) = components.split_first() else { return Ok(()) };
    put::label(summary, "default", "totals")?;
    let group = put::group(summary, "totals", "NXdata")?;
    put::label(&group, "title", "counts of all fitted pixels")?;
    put::label(&group, "signal", first)?;
    if !others.is_empty() {
        put::labels(&group, "auxiliary_signals", others)?;
    }
    put::labels(&group, "axes", &["row"])?;
    put::array(&group, "row", &(0..table.rows.len() as u64).collect::<Array1<u64>>())?;
    for name in components {
        let column = |value: fn(&Total) -> f64| -> Array1<f64> {
            table.rows.iter().map(|row| row.total(name).map_or(f64::NAN, value)).collect()
        };
        let errors = format!("{name}_errors");
        put::label(&*put::array(&group, name, &column(|t| t.counts))?, "units", "counts")?;
        let sigma = put::array(&group, &errors, &column(|t| t.sigma))?;
        put::label(&sigma, "units", "counts")?;
        put::label(&sigma, "meaning", "root of the sum of the variances of the pixels")?;
    }
    Ok(())
}
