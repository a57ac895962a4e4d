//! The spectra of every pixel: a link to where they are, or a copy.

use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File};
use ndarray::{Array3, s};

use super::put;
use crate::error::{Error, Result};
use crate::maps::{MapFile, ReadSpectra};

/// Counts that are in memory at once.
const MOST_COUNTS: usize = 8 << 20;
/// Counts of a chunk, a mebibyte of them.
const CHUNK_COUNTS: usize = 1 << 18;

/// Where version 10 of MAPS has them; version 9 has `/MAPS/mca_arr`.
const GROUP: &str = "/MAPS/Spectra";
const NAME: &str = "mca_arr";

/// Links a dataset `[channel, row, col]` of another file.
pub(super) fn link(file: &File, target: &Path, dataset: &str) -> hdf5::Result<()> {
    for group in [GROUP, "/MAPS"] {
        file.group(group)?.link_external(&target.to_string_lossy(), dataset, NAME)?;
    }
    Ok(())
}

/// Copies the spectra, a few rows at a time; `failed` words an error of writing.
pub(super) fn copy(
    file: &File,
    content: &MapFile,
    read: &mut ReadSpectra<'_>,
    failed: impl Fn(hdf5::Error) -> Error,
) -> Result<()> {
    let (rows, cols) = content.maps.status.dim();
    let channels = content.summed.spectrum.len();
    let data = create(file, [channels, rows, cols]).map_err(&failed)?;
    for [rows, cols_of] in blocks([rows, cols], (MOST_COUNTS / channels).max(1)) {
        let (first, last) =
            (rows.start * cols + cols_of.start, (rows.end - 1) * cols + cols_of.end);
        let spectra = read(first..last)?;
        let images = spectra.reversed_axes().as_standard_layout().into_owned();
        let images: Array3<f32> = images
            .into_shape_with_order((channels, rows.len(), cols_of.len()))
            .expect("a spectrum of every pixel of the block");
        data.write_slice(&images, s![.., rows, cols_of]).map_err(&failed)?;
    }
    Ok(())
}

fn create(file: &File, [channels, rows, cols]: [usize; 3]) -> hdf5::Result<Dataset> {
    let width = (CHUNK_COUNTS / channels).clamp(1, cols);
    let data = file
        .group(GROUP)?
        .new_dataset::<f32>()
        .shape([channels, rows, cols])
        .chunk([channels, 1, width])
        .shuffle()
        .deflate(1)
        .create(NAME)?;
    put::label(&data, "units", "counts")?;
    file.group("/MAPS")?.link_hard(&format!("{GROUP}/{NAME}"), NAME)?;
    Ok(data)
}

/// Boxes of at most `most` pixels: whole rows, or parts of one where a row has more.
fn blocks([rows, cols]: [usize; 2], most: usize) -> Vec<[Range<usize>; 2]> {
    let (height, width) = ((most / cols).max(1), most.min(cols));
    let pieces =
        |n: usize, size: usize| (0..n).step_by(size).map(move |start| start..n.min(start + size));
    pieces(rows, height)
        .flat_map(|rows| pieces(cols, width).map(move |cols| [rows.clone(), cols]))
        .collect()
}
