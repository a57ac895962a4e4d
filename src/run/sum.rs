//! The summed spectrum of a scan, on all ranks.

use ndarray::Array1;

use super::Chosen;
use crate::cluster::{Cluster, serve};
use crate::engine::ExactSum;
use crate::error::Result;
use crate::scan::{ScanReader, spectra_of};
use crate::tile::Tiles;

/// Sums all spectra; the sum, `[channels]` \[counts\], is known to all ranks. Counts that are no numbers count
/// as zero.
pub(super) fn spectrum(
    scan: &mut dyn ScanReader,
    chosen: Chosen,
    tiles: Tiles,
    cluster: &mut dyn Cluster,
) -> Result<Array1<f64>> {
    let channels = scan.info().channels;
    let mut total = ExactSum::zeros(channels);
    let tile_sum = |ticket| {
        let pixels = tiles.get(ticket).expect("tickets are tiles");
        let mut sum = ExactSum::zeros(channels);
        for row in spectra_of(scan, chosen.detector, pixels)?.rows() {
            sum.add(row.iter().map(|&y| if y.is_finite() { f64::from(y) } else { 0.0 }));
        }
        Ok(to_bytes(&sum))
    };
    serve::run(cluster, tiles.count(), tile_sum, |_, bytes| {
        total.merge(&from_bytes(&bytes));
        Ok(())
    })?;
    Ok(from_bytes(&cluster.broadcast(to_bytes(&total))).counts())
}

fn to_bytes(sum: &ExactSum) -> Vec<u8> {
    sum.0.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> ExactSum {
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "a sum is made of whole numbers");
    ExactSum(values.iter().map(|v| i64::from_le_bytes(*v)).collect())
}
