//! Unpacked chunks that the next tile will need again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes kept at most.
const LIMIT: usize = 128 << 20;

/// A bounded store of chunks by detector and origin. Tiles come in order, so what lies before a tile goes;
/// when the store is full, what the present tile did not use goes too, and what still does not fit is not kept.
#[derive(Default)]
pub(super) struct Cache {
    kept: HashMap<Key, Kept>,
    bytes: usize,
    tile: Range<usize>,
}

/// Detector, and first channel, row and column of the chunk.
type Key = (usize, [usize; 3]);

struct Kept {
    bytes: Arc<Vec<u8>>,
    last_pixel: usize,
    tile: Range<usize>,
}

impl Cache {
    /// From here on, everything is for these pixels.
    pub(super) fn next_tile(&mut self, pixels: &Range<usize>) {
        self.tile = pixels.clone();
        self.keep_only(|kept| kept.last_pixel >= pixels.start);
    }

    /// A chunk, when it is here.
    pub(super) fn get(&self, key: Key) -> Option<Arc<Vec<u8>>> {
        Some(Arc::clone(&self.kept.get(&key)?.bytes))
    }

    /// Keeps a chunk that was used for this tile and goes on to `last_pixel`, if it will be needed again
    /// and there is room.
    pub(super) fn put(&mut self, key: Key, bytes: Arc<Vec<u8>>, last_pixel: usize) {
        let tile = self.tile.clone();
        if last_pixel < tile.end {
            return;
        }
        if let Some(known) = self.kept.get_mut(&key) {
            known.tile = tile;
            return;
        }
        if self.bytes + bytes.len() > LIMIT {
            self.keep_only(|kept| kept.tile == tile);
        }
        if self.bytes + bytes.len() <= LIMIT {
            self.bytes += bytes.len();
            self.kept.insert(key, Kept { bytes, last_pixel, tile });
        }
    }

    fn keep_only(&mut self, is_wanted: impl Fn(&Kept) -> bool) {
        self.kept.retain(|_, kept| is_wanted(kept));
        self.bytes = self.kept.values().map(|kept| kept.bytes.len()).sum();
    }
}
