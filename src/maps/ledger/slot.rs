//! One account of what is done.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::Extent;

/// Bytes of the checksum behind a slot.
const CHECKSUM: usize = 32;

/// What is done after so many commits.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// How many; the slot with the higher number is the later one.
    pub number: u64,
    /// By pixel the number of the run that did it; 0: not done.
    pub done: Vec<u8>,
    /// Sums over the pixels that are done.
    pub sums: [Vec<i64>; 3],
}

impl Slot {
    /// Nothing is done.
    pub fn empty(extent: Extent) -> Self {
        Self { number: 0, done: vec![0; extent.pixels], sums: extent.sums.map(|n| vec![0; n]) }
    }

    /// Length of [`Slot::to_bytes`].
    pub fn bytes(extent: Extent) -> usize {
        8 + extent.pixels + 8 * extent.sums.iter().sum::<usize>() + CHECKSUM
    }

    /// Pixels are done, and have these sums (little-endian).
    pub fn add(&mut self, run: u8, pixels: &Range<usize>, sums: [&[u8]; 3]) {
        self.done[pixels.clone()].fill(run);
        for (sum, more) in self.sums.iter_mut().zip(sums) {
            for (sum, more) in sum.iter_mut().zip(more.as_chunks().0) {
                *sum = sum.saturating_add(i64::from_le_bytes(*more));
            }
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend(&self.done);
        bytes.extend(self.sums.iter().flatten().flat_map(|v| v.to_le_bytes()));
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum);
        bytes
    }

    /// The slot at a place of a file; `None` where it was never written, or not to its end.
    pub fn read(file: &File, place: u64, extent: Extent) -> Option<Self> {
        let mut bytes = vec![0; Self::bytes(extent)];
        file.read_exact_at(&mut bytes, place).ok()?;
        let (bytes, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if Sha256::digest(bytes)[..] != checksum[..] {
            return None;
        }
        let (number, rest) = bytes.split_first_chunk()?;
        let (done, mut rest) = rest.split_at(extent.pixels);
        let sums = extent.sums.map(|n| {
            let (own, others) = rest.split_at(8 * n);
            rest = others;
            own.as_chunks().0.iter().map(|v| i64::from_le_bytes(*v)).collect()
        });
        Some(Self { number: u64::from_le_bytes(*number), done: done.to_vec(), sums })
    }
}
