//! The summed spectrum of a scan, on all ranks.

use ndarray::Array1;

use super::Chosen;
use crate::cluster::{Cluster, serve};
use crate::engine::ExactSum;
use crate::error::Result;
use crate::fit::is_sound;
use crate::scan::{ScanReader, spectra_of};
use crate::tile::Tiles;

/// Sums all sound spectra; the sum, `[channels]` \[counts\], is known to all ranks.
pub(super) fn spectrum(
    scan: &mut dyn ScanReader,
    chosen: Chosen,
    tiles: Tiles,
    cluster: &mut dyn Cluster,
) -> Result<Array1<f64>> {
    let channels = scan.info().channels;
    let saturation = chosen.saturation(scan.info());
    let mut total = Part { left_out: 0, sum: ExactSum::zeros(channels) };
    let tile_sum = |ticket| {
        let pixels = tiles.get(ticket).expect("tickets are tiles");
        let mut part = Part { left_out: 0, sum: ExactSum::zeros(channels) };
        for row in spectra_of(scan, chosen.detector, pixels)?.rows() {
            if is_sound(row, saturation) {
                part.sum.add(row.iter().map(|&y| f64::from(y)));
            } else {
                part.left_out += 1;
            }
        }
        Ok(part.to_bytes())
    };
    serve::run(cluster, tiles.count(), tile_sum, |_, bytes| {
        let part = Part::from_bytes(&bytes);
        total.left_out += part.left_out;
        total.sum.merge(&part.sum);
        Ok(())
    })?;
    if total.left_out > 0 && cluster.rank() == 0 {
        log::warn!(
            "{}the summed spectrum leaves out {} of {} pixels: a count is negative, saturated or no number",
            chosen.prefix(),
            total.left_out,
            scan.info().pixels()
        );
    }
    Ok(Part::from_bytes(&cluster.broadcast(total.to_bytes())).sum.counts())
}

/// What some spectra add up to, and how many could not be added.
struct Part {
    left_out: i64,
    sum: ExactSum,
}

impl Part {
    fn to_bytes(&self) -> Vec<u8> {
        std::iter::once(&self.left_out).chain(&self.sum.0).flat_map(|v| v.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let (values, rest) = bytes.as_chunks();
        assert!(rest.is_empty(), "a sum is made of whole numbers");
        let mut values = values.iter().map(|v| i64::from_le_bytes(*v));
        let left_out = values.next().expect("a sum begins with a number of pixels");
        Self { left_out, sum: ExactSum(values.collect()) }
    }
}
