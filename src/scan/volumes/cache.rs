//! Unpacked chunks that the next tile will need again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes kept at most.
const LIMIT: usize = 128 << 20;

/// A bounded store of chunks by detector and origin. Tiles come in order, so when it is full, what the
/// present tile did not use goes; what still does not fit is not kept.
#[derive(Default)]
pub(super) struct Cache {
    kept: HashMap<(usize, [usize; 3]), Kept>,
    bytes: usize,
    tile: Range<usize>,
}

struct Kept {
    bytes: Arc<Vec<u8>>,
    tile: Range<usize>,
}

impl Cache {
    /// From here on, everything is for these pixels.
    pub(super) fn next_tile(&mut self, pixels: &Range<usize>) {
        self.tile = pixels.clone();
    }

    /// A chunk, when it is here.
    pub(super) fn get(&self, detector: usize, origin: [usize; 3]) -> Option<Arc<Vec<u8>>> {
        Some(Arc::clone(&self.kept.get(&(detector, origin))?.bytes))
    }

    /// Keeps a chunk that was used for this tile, if there is room.
    pub(super) fn put(&mut self, detector: usize, origin: [usize; 3], bytes: Arc<Vec<u8>>) {
        let tile = self.tile.clone();
        if let Some(known) = self.kept.get_mut(&(detector, origin)) {
            known.tile = tile;
            return;
        }
        if self.bytes + bytes.len() > LIMIT {
            self.kept.retain(|_, kept| kept.tile == tile);
            self.bytes = self.kept.values().map(|kept| kept.bytes.len()).sum();
        }
        if self.bytes + bytes.len() <= LIMIT {
            self.bytes += bytes.len();
            self.kept.insert((detector, origin), Kept { bytes, tile });
        }
    }
}
