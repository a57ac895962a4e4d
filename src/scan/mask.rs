//! A mask of a scan's pixels: from NumPy, a PNG or a dataset of an HDF5 file.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use hdf5::types::TypeDescriptor;
use ndarray::Array2;
use npyz::{DType, NpyFile, Order, TypeChar};
use png::{BitDepth, ColorType};

use super::hdf5_file::Hdf5File;
use super::{OpenOptions, check_file};
use crate::error::{Error, Result};

/// First bytes of NumPy's files and of PNG.
const NUMPY: [u8; 6] = *b"\x93NUMPY";
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// What every wrong file is answered with.
const ADVICE: &str =
    "a mask is FILE.npy, FILE.png or FILE.h5:/path/of/dataset with whole numbers, [row, col]";

/// File and dataset of `FILE.h5:/path`; a file alone where the whole is the name of one.
pub fn mask_file(name: &Path) -> (PathBuf, Option<String>) {
    let text = name.to_string_lossy();
    match text.rsplit_once(':') {
        Some((file, dataset)) if !name.exists() && Path::new(file).exists() => {
            (file.into(), Some(dataset.into()))
        }
        _ => (name.to_path_buf(), None),
    }
}

/// Reads a mask `[row, col]`: 0 outside, 1, 2, ... inside. Of truth values and of pictures with a single value
/// beside 0 that one is 1.
///
/// # Errors
///
/// A file error when it cannot be read, has other than two axes, or holds no whole numbers.
pub fn mask(name: &Path, options: OpenOptions) -> Result<Array2<i64>> {
    let (path, dataset) = mask_file(name);
    check_file(&path)?;
    if let Some(dataset) = dataset {
        return of_hdf5(&path, &dataset, options);
    }
    let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, &e))?;
    if bytes.starts_with(&NUMPY) {
        of_numpy(&path, &bytes)
    } else if bytes.starts_with(&PNG) {
        of_png(&path)
    } else {
        Err(Error::file(&path, format!("holds no mask that is known here; {ADVICE}")))
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::file(path, format!("cannot be read: {why}"))
}

fn no_whole_numbers(path: &Path, kind: impl std::fmt::Display) -> Error {
    Error::file(
        path,
        format!("the mask holds {kind}; save it as whole numbers or as true and false"),
    )
}

/// Two axes, of which both have something.
fn check_axes(path: &Path, shape: &[usize]) -> Result<(usize, usize)> {
    match *shape {
        [rows, cols] if rows * cols > 0 => Ok((rows, cols)),
        _ => {
            Err(Error::file(path, format!("the mask has the shape {shape:?}; it needs [row, col]")))
        }
    }
}

fn of_hdf5(path: &Path, name: &str, options: OpenOptions) -> Result<Array2<i64>> {
    let file = Hdf5File::open(path, options)?
        .ok_or_else(|| Error::file(path, format!("is no HDF5 file; {ADVICE}")))?;
    let dataset = file
        .dataset(name)?
        .ok_or_else(|| file.error(format!("there is no {name}; name the mask's dataset")))?;
    let failed = |e: hdf5::Error| file.error(format!("{name} cannot be read: {e}"));
    let shape = check_axes(path, &dataset.shape())?;
    let values = match dataset.dtype().and_then(|t| t.to_descriptor()).map_err(failed)? {
        TypeDescriptor::Boolean => {
            let values: Vec<bool> = dataset.read_raw().map_err(failed)?;
            values.into_iter().map(i64::from).collect()
        }
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            dataset.read_raw().map_err(failed)?
        }
        other => return Err(no_whole_numbers(path, other)),
    };
    Ok(Array2::from_shape_vec(shape, values).expect("a number for each pixel"))
}

fn of_numpy(path: &Path, bytes: &[u8]) -> Result<Array2<i64>> {
    let unreadable = |e: std::io::Error| unreadable(path, &e);
    let array = NpyFile::new(bytes).map_err(unreadable)?;
    let axes: Vec<usize> = array.shape().iter().map(|&n| n as usize).collect();
    let (rows, cols) = check_axes(path, &axes)?;
    let by_column = array.order() == Order::Fortran;
    let DType::Plain(kind) = array.dtype() else {
        return Err(no_whole_numbers(path, "structures"));
    };
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Bool, _) => array.into_vec::<bool>().map(widened),
        (TypeChar::Uint, 1) => array.into_vec::<u8>().map(widened),
        (TypeChar::Uint, 2) => array.into_vec::<u16>().map(widened),
        (TypeChar::Uint, 4) => array.into_vec::<u32>().map(widened),
        (TypeChar::Uint, 8) => array
            .into_vec::<u64>()
            .map(|v| v.into_iter().map(|n| i64::try_from(n).unwrap_or(i64::MAX - 1)).collect()),
        (TypeChar::Int, 1) => array.into_vec::<i8>().map(widened),
        (TypeChar::Int, 2) => array.into_vec::<i16>().map(widened),
        (TypeChar::Int, 4) => array.into_vec::<i32>().map(widened),
        (TypeChar::Int, 8) => array.into_vec::<i64>(),
        _ => return Err(no_whole_numbers(path, kind)),
    };
    let values = values.map_err(unreadable)?;
    let wrong = |_| Error::file(path, "the array is shorter than its header says; save it again");
    if by_column {
        let transposed = Array2::from_shape_vec((cols, rows), values).map_err(wrong)?;
        return Ok(transposed.reversed_axes());
    }
    Array2::from_shape_vec((rows, cols), values).map_err(wrong)
}

fn widened<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
}

fn of_png(path: &Path) -> Result<Array2<i64>> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut reader =
        png::Decoder::new(BufReader::new(file)).read_info().map_err(|e| unreadable(path, &e))?;
    let (colour, depth) = (reader.info().color_type, reader.info().bit_depth);
    let bytes = match (colour, depth) {
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::Eight) => 1,
        (ColorType::Grayscale, BitDepth::Sixteen) => 2,
        _ => {
            return Err(Error::file(
                path,
                format!(
                    "the picture is {colour:?} with {depth:?} bits (which number a colour means is not said \
                     in it); save it in grey with 8 or 16 bits"
                ),
            ));
        }
    };
    let size = reader.output_buffer_size().unwrap_or(0);
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(|e| unreadable(path, &e))?;
    let values = data[..frame.buffer_size()].chunks(bytes);
    let values = values.map(|v| v.iter().fold(0, |n, &byte| n << 8 | i64::from(byte))).collect();
    let shape = (frame.height as usize, frame.width as usize);
    let mut mask: Array2<i64> =
        Array2::from_shape_vec(shape, values).map_err(|e| unreadable(path, &e))?;
    let painted = mask.iter().copied().find(|v| *v > 0);
    if let Some(one) = painted.filter(|one| mask.iter().all(|v| v == one || *v == 0)) {
        mask.mapv_inplace(|v| i64::from(v == one));
    }
    Ok(mask)
}
