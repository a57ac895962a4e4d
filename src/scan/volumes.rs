//! Spectra in HDF5 datasets `[channel, row, col]`, the MAPS order, one dataset per detector.
//!
//! Chunked datasets are read chunk by chunk: libhdf5, behind its global lock, only hands over the
//! stored bytes; they are unpacked and turned into spectra on all threads. What that cannot do (other
//! filters, other byte orders, virtual or contiguous datasets) goes through libhdf5. Either way, memory
//! is bounded by the pixels asked for, [`IN_FLIGHT`] and [`Cache`], not by the scan.

mod cache;
mod chunk;
mod sample;

use std::ops::Range;
use std::path::PathBuf;

use hdf5::dataset::Layout;
use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use self::cache::Cache;
use self::chunk::Chunks;
pub(super) use self::chunk::storage;
use self::sample::{Block, Piece, Sample};
use super::hdf5_file::Hdf5File;
use crate::constants::MOST_CHANNELS;
use crate::error::{Error, Result};

/// Unpacked bytes that are worked on at once, unless a single chunk is larger.
const IN_FLIGHT: usize = 64 << 20;

/// Beyond this a shape is a damaged one.
const MOST_PIXELS: usize = 100_000_000;

/// Pixels that one thread turns from images into spectra at once.
const BLOCK_PIXELS: usize = 32;

/// The spectra of all detectors.
pub(super) struct Volumes {
    path: PathBuf,
    /// Channels, rows and columns.
    shape: [usize; 3],
    volumes: Vec<Volume>,
    cache: Cache,
}

struct Volume {
    name: String,
    dataset: hdf5::Dataset,
    sample: Sample,
    /// How to unpack its chunks; `None` leaves that to libhdf5.
    chunks: Option<Chunks>,
}

impl Volumes {
    /// Opens the spectra of each detector.
    pub(super) fn open(file: &Hdf5File, names: &[String]) -> Result<Self> {
        let mut volumes = Vec::new();
        let mut shapes = Vec::new();
        for name in names {
            let dataset =
                file.dataset(name)?.ok_or_else(|| file.error(format!("{name} is missing")))?;
            shapes.push(shape(file, name, &dataset)?);
            volumes.push(Volume::open(file, name, dataset)?);
        }
        let shape = shapes[0];
        if let Some(other) = shapes.iter().position(|&other| other != shape) {
            return Err(file.error(format!(
                "{} has the shape {shape:?}, but {} has {:?} (all detectors see the same pixels); the file \
                 is damaged or was put together from two scans",
                names[0], names[other], shapes[other]
            )));
        }
        Ok(Self { path: file.path().to_path_buf(), shape, volumes, cache: Cache::default() })
    }

    /// Channels, rows and columns.
    pub(super) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Largest count that fits the stored type, of the narrowest if they differ.
    pub(super) fn saturation(&self) -> Option<f32> {
        self.volumes.iter().filter_map(|volume| volume.sample.saturation()).reduce(f32::min)
    }

    /// Spectra of one detector, `[pixels.len(), channels]` \[counts\].
    pub(super) fn read(&mut self, detector: usize, pixels: Range<usize>) -> Result<Array2<f32>> {
        let mut spectra = Array2::zeros((pixels.len(), self.shape[0]));
        // Whatever stands in the way here, libhdf5 can read, or it says what is wrong.
        if !pixels.is_empty() && self.read_chunks(detector, &pixels, &mut spectra).is_none() {
            self.read_through_library(detector, &pixels, &mut spectra)?;
        }
        Ok(spectra)
    }

    fn read_chunks(
        &mut self,
        detector: usize,
        pixels: &Range<usize>,
        spectra: &mut Array2<f32>,
    ) -> Option<()> {
        let Volume { dataset, sample, chunks, .. } = &self.volumes[detector];
        let chunks = chunks.as_ref()?;
        self.cache.next_tile(pixels);
        for origins in chunks.touched(pixels).chunks((IN_FLIGHT / chunks.bytes()).max(1)) {
            let cache = &self.cache;
            let unpacked: Option<Vec<_>> = origins
                .par_iter()
                .map(|&origin| {
                    cache.get((detector, origin)).or_else(|| chunks.read(dataset, origin))
                })
                .collect();
            let unpacked = unpacked?;
            let pieces: Vec<_> =
                origins.iter().map(|&origin| chunks.piece(origin)).zip(&unpacked).collect();
            for_blocks(spectra, pixels, self.shape, |mut block| {
                for (piece, bytes) in &pieces {
                    sample.place(&mut block, piece, bytes);
                }
            });
            for (&origin, bytes) in origins.iter().zip(unpacked) {
                self.cache.put((detector, origin), bytes, chunks.last_pixel(origin));
            }
        }
        Some(())
    }

    fn read_through_library(
        &self,
        detector: usize,
        pixels: &Range<usize>,
        spectra: &mut Array2<f32>,
    ) -> Result<()> {
        let Volume { name, dataset, .. } = &self.volumes[detector];
        let unreadable = |cause: hdf5::Error| {
            let what = chunk::missing_filter(dataset)
                .unwrap_or_else(|| format!("cannot be read: {cause}"));
            Error::file(&self.path, format!("{name} {what}"))
        };
        for [rows, cols] in boxes(pixels, self.shape[2]) {
            let origin = [0, rows.start, cols.start];
            let images: Array3<f32> =
                dataset.read_slice(s![.., rows.clone(), cols.clone()]).map_err(unreadable)?;
            let piece = Piece { origin, shape: [self.shape[0], rows.len(), cols.len()] };
            let images = images.as_slice().expect("a new array is contiguous");
            for_blocks(spectra, pixels, self.shape, |mut block| {
                block.place(&piece, |index| images[index]);
            });
        }
        Ok(())
    }
}

impl Volume {
    fn open(file: &Hdf5File, name: &str, dataset: hdf5::Dataset) -> Result<Self> {
        let sample = Sample::of(&dataset).ok_or_else(|| {
            file.error(format!(
                "{name} holds no plain numbers (spectra are counts); this is another format"
            ))
        })?;
        let chunks = match dataset.layout() {
            Layout::Chunked => Chunks::of(&dataset, sample),
            _ => None,
        };
        Ok(Self { name: name.to_owned(), dataset, sample, chunks })
    }
}

fn shape(file: &Hdf5File, name: &str, dataset: &hdf5::Dataset) -> Result<[usize; 3]> {
    let shape = dataset.shape();
    let Ok([channels, rows, cols]) = <[usize; 3]>::try_from(shape.as_slice()) else {
        return Err(file.error(format!(
            "{name} has {} dimensions, not the three of [channel, row, col]; this is another format",
            shape.len()
        )));
    };
    let pixels = rows.saturating_mul(cols);
    if (1..=MOST_CHANNELS).contains(&channels) && (1..=MOST_PIXELS).contains(&pixels) {
        return Ok([channels, rows, cols]);
    }
    Err(file.error(format!(
        "{name} has {channels} channels and {rows} x {cols} pixels (1 to {MOST_CHANNELS} channels and 1 to \
         {MOST_PIXELS} pixels are possible); nothing was recorded or the file is damaged"
    )))
}

/// Calls `work` for each block of neighbouring pixels, on all threads.
fn for_blocks(
    spectra: &mut Array2<f32>,
    pixels: &Range<usize>,
    volume: [usize; 3],
    work: impl Fn(Block<'_>) + Sync,
) {
    let spectra = spectra.as_slice_mut().expect("a new array is contiguous");
    spectra.par_chunks_mut(BLOCK_PIXELS * volume[0]).enumerate().for_each(|(index, spectra)| {
        let first = pixels.start + index * BLOCK_PIXELS;
        let pixels = first..first + spectra.len() / volume[0];
        work(Block { spectra, pixels, volume });
    });
}

/// A run of pixels as boxes of rows and columns: the rest of the first row, whole rows, the
/// beginning of the last.
fn boxes(pixels: &Range<usize>, cols: usize) -> Vec<[Range<usize>; 2]> {
    let (first, last) = (pixels.start / cols, (pixels.end - 1) / cols);
    let (begin, end) = (pixels.start % cols, (pixels.end - 1) % cols + 1);
    if first == last {
        return vec![[first..first + 1, begin..end]];
    }
    let boxes =
        [[first..first + 1, begin..cols], [first + 1..last, 0..cols], [last..last + 1, 0..end]];
    boxes.into_iter().filter(|[rows, _]| !rows.is_empty()).collect()
}
