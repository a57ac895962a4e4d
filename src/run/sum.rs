//! Summed spectra: of a whole scan, or of regions of it. All ranks add.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use ndarray::Array1;

use super::{Chosen, round, tile_pixels};
use crate::cli::WorkArgs;
use crate::cluster::{Cluster, serve};
use crate::engine::ExactSum;
use crate::error::{Error, Result};
use crate::fit::is_sound;
use crate::regions::Regions;
use crate::scan::{ScanReader, spectra_of};
use crate::tile::Tiles;

/// Pixels of a tile of which only the sum is made.
const SUMMED_AT_ONCE: RangeInclusive<usize> = 64..=4096;

/// Sums all sound spectra; the sum, `[channels]` \[counts\], is known to all ranks.
pub(super) fn spectrum(
    scan: &mut dyn ScanReader,
    chosen: Chosen,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<Array1<f64>> {
    let channels = scan.info().channels;
    let mut total = Part::new(channels);
    let add = |_, part: &Part| total.merge(part);
    tile_by_tile(scan, (chosen, work), |_| [0].into_iter(), add, cluster)?;
    if total.left_out > 0 && cluster.rank() == 0 {
        log::warn!(
            "{}the summed spectrum leaves out {} of {} pixels: a count is negative, saturated or no number",
            chosen.prefix(),
            total.left_out,
            scan.info().pixels()
        );
    }
    let mut everywhere = &*cluster.broadcast(total.to_bytes());
    Ok(Part::from_bytes(&mut everywhere, channels).sum.counts())
}

/// Sums the sound spectra of each region, on rank 0.
pub(super) fn regions(
    scan: &mut dyn ScanReader,
    chosen: Chosen,
    regions: &Regions,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<Vec<Part>> {
    let mut sums = vec![Part::new(scan.info().channels); regions.names().len()];
    let add = |region: usize, part: &Part| sums[region].merge(part);
    tile_by_tile(scan, (chosen, work), |pixel| regions.of_pixel(pixel), add, cluster)?;
    Ok(sums)
}

/// Sums each tile by the groups of its pixels; `add` takes the sums on rank 0, in any order. Of a tile only the
/// pixels from the first to the last of a group are read.
fn tile_by_tile<G: Iterator<Item = usize>>(
    scan: &mut dyn ScanReader,
    (chosen, work): (Chosen, &WorkArgs),
    groups: impl Fn(usize) -> G + Send + Sync,
    mut add: impl FnMut(usize, &Part),
    cluster: &mut dyn Cluster,
) -> Result<()> {
    let channels = scan.info().channels;
    let size = tile_pixels(work, scan.info(), SUMMED_AT_ONCE, cluster)?;
    let tiles = Tiles::new(scan.info().pixels(), size);
    let saturation = chosen.saturation(scan.info());
    let tile_sums = |ticket| {
        let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
        let pixels = within(tiles.get(ticket).expect("tickets are tiles"), &groups);
        if pixels.is_empty() {
            return Ok(Vec::new());
        }
        let spectra = spectra_of(scan, chosen.detector, pixels.clone())?;
        for (row, pixel) in spectra.rows().into_iter().zip(pixels) {
            let sound = is_sound(row, saturation);
            for group in groups(pixel) {
                let part = parts.entry(group).or_insert_with(|| Part::new(channels));
                if sound {
                    part.pixels += 1;
                    part.sum.add(row.iter().map(|&y| f64::from(y)));
                } else {
                    part.left_out += 1;
                }
            }
        }
        let bytes = |(group, part): (&usize, &Part)| {
            [(*group as i64).to_le_bytes().to_vec(), part.to_bytes()].concat()
        };
        Ok(parts.iter().flat_map(bytes).collect())
    };
    let summed = serve::run(cluster, round(work, tiles.count()), tile_sums, |_, bytes| {
        let mut rest = &*bytes;
        while !rest.is_empty() {
            let group = number(&mut rest) as usize;
            add(group, &Part::from_bytes(&mut rest, channels));
        }
        Ok(())
    });
    if let (Err(Error::Stopped), 0) = (&summed, cluster.rank()) {
        log::warn!(
            "stopped before the first fit; nothing is lost, and the same command begins again"
        );
    }
    summed
}

/// The pixels from the first to the last that belong to a group.
fn within<G: Iterator<Item = usize>>(
    mut pixels: Range<usize>,
    groups: impl Fn(usize) -> G,
) -> Range<usize> {
    let outside = |pixel| groups(pixel).next().is_none();
    while !pixels.is_empty() && outside(pixels.start) {
        pixels.start += 1;
    }
    while !pixels.is_empty() && outside(pixels.end - 1) {
        pixels.end -= 1;
    }
    pixels
}

/// What some spectra add up to, how many they are, and how many could not be added.
#[derive(Clone)]
pub(super) struct Part {
    /// Spectra in the sum.
    pub pixels: i64,
    /// Spectra that are not: a count is negative, saturated or no number.
    pub left_out: i64,
    /// Their sum, over all channels.
    pub sum: ExactSum,
}

impl Part {
    fn new(channels: usize) -> Self {
        Self { pixels: 0, left_out: 0, sum: ExactSum::zeros(channels) }
    }

    fn merge(&mut self, other: &Self) {
        self.pixels += other.pixels;
        self.left_out += other.left_out;
        self.sum.merge(&other.sum);
    }

    fn to_bytes(&self) -> Vec<u8> {
        let values = [self.pixels, self.left_out];
        values.iter().chain(&self.sum.0).flat_map(|v| v.to_le_bytes()).collect()
    }

    fn from_bytes(rest: &mut &[u8], channels: usize) -> Self {
        let (pixels, left_out) = (number(rest), number(rest));
        Self { pixels, left_out, sum: ExactSum((0..channels).map(|_| number(rest)).collect()) }
    }
}

fn number(rest: &mut &[u8]) -> i64 {
    let (head, tail) = rest.split_first_chunk().expect("sums are made of whole numbers");
    *rest = tail;
    i64::from_le_bytes(*head)
}
