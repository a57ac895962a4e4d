//! Blocks of memory for the kernels' workspaces, megabytes each, that are used again: freed and taken for every spectrum
//! they would leave holes between what threads keep.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that kernels load at once.
#[repr(align(64))]
struct CacheLine(#[allow(dead_code, reason = "the kernels' own")] [u8; 64]);

/// Its capacity is the kernels'; it has no elements.
type Block = Vec<CacheLine>;

/// Blocks that nobody works in, at most one for each thread.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Block>>);

/// A block in use; the pool has it again afterwards.
pub(super) struct Workspace<'a> {
    block: Block,
    pool: &'a Pool,
}

impl Pool {
    /// A block of at least `bytes`, whatever they hold.
    pub fn take(&self, bytes: usize) -> Workspace<'_> {
        let lines = bytes.div_ceil(size_of::<CacheLine>());
        let known = self.blocks().pop().filter(|block| block.capacity() >= lines);
        Workspace { block: known.unwrap_or_else(|| Vec::with_capacity(lines)), pool: self }
    }

    fn blocks(&self) -> MutexGuard<'_, Vec<Block>> {
        // a block is whole whatever its last user died of
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workspace<'_> {
    pub fn pointer_mut(&mut self) -> *mut c_void {
        self.block.as_mut_ptr().cast()
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        let mut blocks = self.pool.blocks();
        if blocks.len() < rayon::current_num_threads() {
            blocks.push(std::mem::take(&mut self.block));
        }
    }
}
