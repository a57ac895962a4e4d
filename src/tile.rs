//! Which pixels a tile holds.
//!
//! A tile is a run of pixels, counted row by row. Its size bounds memory; it is not physics.

use std::ops::Range;

/// The tiles of a scan, or of what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Runs of pixels, and the number of the first tile of each.
    runs: Vec<(usize, Range<usize>)>,
    tile_pixels: usize,
    count: usize,
}

impl Tiles {
    /// Cuts `pixels` pixels into tiles of `tile_pixels`, the last one shorter.
    ///
    /// # Panics
    ///
    /// When `tile_pixels` is 0.
    pub fn new(pixels: usize, tile_pixels: usize) -> Self {
        Self::of(std::iter::once(0..pixels), tile_pixels)
    }

    /// Cuts each of these runs of pixels into tiles of `tile_pixels`, the last one of each shorter.
    ///
    /// # Panics
    ///
    /// When `tile_pixels` is 0.
    pub fn of(runs: impl IntoIterator<Item = Range<usize>>, tile_pixels: usize) -> Self {
        assert!(tile_pixels > 0, "a tile holds at least one pixel");
        let mut count = 0;
        let numbered = |run: Range<usize>| {
            let first = count;
            count += run.len().div_ceil(tile_pixels);
            (first, run)
        };
        let runs = runs.into_iter().filter(|run| !run.is_empty()).map(numbered).collect();
        Self { runs, tile_pixels, count }
    }

    /// Number of tiles.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Pixels of all tiles.
    pub fn pixels(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.len()).sum()
    }

    /// The pixels of tile `index`, or `None` past the last.
    pub fn get(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.count {
            return None;
        }
        let (number, run) = &self.runs[self.runs.partition_point(|(first, _)| *first <= index) - 1];
        let start = run.start + (index - number) * self.tile_pixels;
        Some(start..run.end.min(start + self.tile_pixels))
    }
}
