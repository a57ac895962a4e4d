//! A MAPS `xrf_library.csv`: energies, yields, binding energies and jump factors of Z = 1..100.

use std::path::Path;

use super::builtin;
use super::shells::Element;
use super::{Error, Result, Shell};

/// First column of the groups that are read; the columns are listed in the file's fourth row.
const ENERGIES: usize = 2;
const YIELDS: usize = 27;
const MASS: usize = 48;
const EDGES: usize = 49;
const JUMPS: usize = 73;
const COLUMNS: usize = JUMPS + 9;

/// Reads the file's elements, by Z.
pub(super) fn elements(path: &Path) -> Result<Vec<Element>> {
    let bytes = std::fs::read(path).map_err(|e| {
        Error::file(path, format!("the line library cannot be read ({e}); check --line-library"))
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let mut elements = Vec::new();
    let built_in = builtin::elements();
    for (number, row) in text.lines().enumerate() {
        if row.starts_with(|c: char| c.is_ascii_digit()) {
            let mut element = element(row).map_err(|what| {
                Error::file(
                    path,
                    format!("line {}: {what}; is this a MAPS xrf_library.csv?", number + 1),
                )
            })?;
            fill_m_yields(&mut element, &built_in);
            elements.push(element);
        }
    }
    let has = |symbol| elements.iter().any(|e: &Element| e.symbol == symbol);
    if !has("Si") || !has("Ge") {
        return Err(Error::file(
            path,
            "it has no rows for silicon and germanium, the detectors; give a MAPS xrf_library.csv",
        ));
    }
    Ok(elements)
}

fn element(row: &str) -> std::result::Result<Element, String> {
    let fields: Vec<&str> = row.split(',').map(str::trim).collect();
    if fields.len() < COLUMNS {
        return Err(format!("{} columns, of at least {COLUMNS}", fields.len()));
    }
    let number = |column: usize| match fields[column] {
        "" => Ok(0.0),
        text => match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
            _ => Err(format!("column {}: `{text}` is no number", column + 1)),
        },
    };
    let z = fields[0].parse().map_err(|_| format!("`{}` is no atomic number", fields[0]))?;
    Ok(Element {
        symbol: fields[1].to_string(),
        z,
        mass: number(MASS)?,
        energies: group(ENERGIES, &number)?,
        yields: group(YIELDS, &number)?,
        maps_yields: group(YIELDS, &number)?,
        edges: group(EDGES, &number)?,
        jumps: group(JUMPS, &number)?,
        transfers: builtin::transfers_of(fields[1]),
    })
}

/// `N` numbers from column `first` on.
fn group<const N: usize>(
    first: usize,
    number: &impl Fn(usize) -> std::result::Result<f64, String>,
) -> std::result::Result<[f64; N], String> {
    let mut values = [0.0; N];
    for (i, value) in values.iter_mut().enumerate() {
        *value = number(first + i)?;
    }
    Ok(values)
}

/// The library knows yields of Ma1 alone; the built-in ones say how the four lines compare.
fn fill_m_yields(element: &mut Element, built_in: &[Element]) {
    let slots = Shell::M.slots();
    let only_first = element.yields[slots.start + 1..slots.end].iter().all(|y| *y == 0.0);
    if let Some(own) = built_in.iter().find(|e| e.symbol == element.symbol && only_first) {
        element.yields[slots.clone()].copy_from_slice(&own.yields[slots]);
    }
}
