//! A line table that was made elsewhere: one structured NumPy array named `lines`.

use std::path::Path;

use npyz::npz::NpzArchive;

use super::{Error, Result};
use crate::problem::{Family, Line};

/// One row of the table.
#[derive(npyz::Deserialize)]
#[expect(dead_code, reason = "a structured array is read with all its columns")]
struct Row {
    /// Component.
    elem: String,
    /// Place among MAPS' lines of the element.
    slot: i32,
    /// Kind of line, in letters.
    ptype: String,
    /// Energy \[keV\].
    energy: f64,
    /// Intensity over the component's first line \[1\].
    ratio: f64,
    /// `mu_fraction` \[cm²/g\].
    mu: f64,
    /// Multiplier of the tail length \[1\].
    width_multi: f64,
    /// MAPS' line type: 2 is K-beta, 7 is M.
    r#type: i32,
    /// 1 for pile-up.
    pileup: i32,
    /// Edge that the beam must exceed \[keV\]; -1: none.
    thr: f64,
}

/// Lines of `components`, from an `.npz` file with the array `lines`.
///
/// # Errors
///
/// A file error when it cannot be read or has another layout, or lacks a component (the two scatter peaks
/// have no lines).
pub fn table(path: &Path, components: &[String]) -> Result<Vec<Line>> {
    let unreadable = |e: std::io::Error| Error::file(path, format!("cannot be read ({e})"));
    let mut archive = NpzArchive::open(path).map_err(unreadable)?;
    let array = archive.by_name("lines").map_err(unreadable)?.ok_or_else(|| {
        Error::file(
            path,
            "there is no array `lines`; a line table is one structured array of that name",
        )
    })?;
    let rows: Vec<Row> = array.into_vec().map_err(unreadable)?;
    let lacking = components
        .iter()
        .find(|name| !name.ends_with("_AMPLITUDE") && rows.iter().all(|row| row.elem != **name));
    if let Some(name) = lacking {
        return Err(Error::file(path, format!("the line table has no lines of `{name}`")));
    }
    let line = |row: &Row| {
        Some(Line {
            component: components.iter().position(|name| *name == row.elem)?,
            energy: row.energy,
            ratio: row.ratio,
            mu: row.mu,
            width: row.width_multi,
            edge: row.thr,
            family: match row.r#type {
                2 => Family::Beta,
                7 => Family::M,
                _ => Family::Alpha,
            },
        })
    };
    Ok(rows.iter().filter_map(line).collect())
}
