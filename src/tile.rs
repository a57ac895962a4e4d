//! Which pixels a tile holds.
//!
//! A tile is a run of pixels, counted row by row. Its size bounds memory; it is not physics.

use std::ops::Range;

/// The tiles of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    pixels: usize,
    tile_pixels: usize,
}

impl Tiles {
    /// Cuts `pixels` pixels into tiles of `tile_pixels`, the last one shorter.
    ///
    /// # Panics
    ///
    /// When `tile_pixels` is 0.
    pub fn new(pixels: usize, tile_pixels: usize) -> Self {
        assert!(tile_pixels > 0, "a tile holds at least one pixel");
        Self { pixels, tile_pixels }
    }

    /// Number of tiles.
    pub fn count(self) -> usize {
        self.pixels.div_ceil(self.tile_pixels)
    }

    /// The pixels of tile `index`, or `None` past the last.
    pub fn get(self, index: usize) -> Option<Range<usize>> {
        let first = index.checked_mul(self.tile_pixels)?;
        (first < self.pixels).then(|| first..self.pixels.min(first + self.tile_pixels))
    }
}
