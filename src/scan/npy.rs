//! One spectrum in a NumPy file, for the forward model as a tool.

use std::path::Path;

use ndarray::Array1;
use npyz::{DType, NpyFile, TypeChar};

use crate::error::{Error, Result};

/// Reads a spectrum `[channels]` \[counts\] of any real type from a one-dimensional `.npy` file.
///
/// # Errors
///
/// A file error when it cannot be read or holds something else.
pub fn npy_spectrum(path: &Path) -> Result<Array1<f64>> {
    let unreadable = |e: std::io::Error| Error::file(path, format!("cannot be read ({e})"));
    let file = std::io::BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
    let array = NpyFile::new(file).map_err(unreadable)?;
    if array.shape().len() != 1 {
        return Err(Error::file(
            path,
            format!("the array has {} axes; a spectrum has one, of channels", array.shape().len()),
        ));
    }
    let DType::Plain(kind) = array.dtype() else {
        return Err(Error::file(path, "this is a structured array; a spectrum is one of numbers"));
    };
    let counts: std::io::Result<Vec<f64>> = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 8) => array.into_vec(),
        (TypeChar::Float, 4) => array.into_vec::<f32>().map(widened),
        (TypeChar::Int, 8) => {
            array.into_vec::<i64>().map(|v| v.iter().map(|&y| y as f64).collect())
        }
        (TypeChar::Int, 4) => array.into_vec::<i32>().map(widened),
        (TypeChar::Int, 2) => array.into_vec::<i16>().map(widened),
        (TypeChar::Uint, 8) => {
            array.into_vec::<u64>().map(|v| v.iter().map(|&y| y as f64).collect())
        }
        (TypeChar::Uint, 4) => array.into_vec::<u32>().map(widened),
        (TypeChar::Uint, 2) => array.into_vec::<u16>().map(widened),
        _ => return Err(Error::file(path, format!("its numbers are {kind}; give float64"))),
    };
    Ok(Array1::from(counts.map_err(unreadable)?))
}

fn widened<T: Into<f64>>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Into::into).collect()
}
