//! What the kernels' memory looks like from here: their own blocks, and arrays in the engine's scalar type.

use std::ffi::c_void;

use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use crate::problem::Precision;

/// Memory of the kernels, freed with the function that belongs to it.
pub(super) struct Owned {
    pub memory: *mut c_void,
    pub free: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Owned {}
// SAFETY: shared access only reads (the kernels take it const).
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: `memory` came from the allocator that `free` belongs to, and is freed once.
        unsafe { (self.free)(self.memory) }
    }
}

/// Rows of numbers in the engine's own type, one after another; where they are so already, they are not copied.
pub(super) enum Rows<'a> {
    F32(CowArray<'a, f32, Ix2>),
    F64(Array2<f64>),
}

impl<'a> Rows<'a> {
    pub fn of(precision: Precision, rows: &'a ArrayView2<f32>) -> Self {
        match precision {
            Precision::F32 => Self::F32(rows.as_standard_layout()),
            Precision::F64 => Self::F64(rows.as_standard_layout().mapv(f64::from)),
        }
    }

    pub fn address(&self) -> u64 {
        match self {
            Self::F32(rows) => rows.as_ptr() as u64,
            Self::F64(rows) => rows.as_ptr() as u64,
        }
    }
}

/// Numbers in the engine's own type.
pub(super) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Numbers {
    pub fn zeros(precision: Precision, n: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(vec![0.0; n]),
            Precision::F64 => Self::F64(vec![0.0; n]),
        }
    }

    pub fn of(precision: Precision, values: impl Iterator<Item = f64>) -> Self {
        match precision {
            Precision::F32 => Self::F32(values.map(|v| v as f32).collect()),
            Precision::F64 => Self::F64(values.collect()),
        }
    }

    pub fn pointer(&self) -> *const c_void {
        match self {
            Self::F32(v) => v.as_ptr().cast(),
            Self::F64(v) => v.as_ptr().cast(),
        }
    }

    pub fn pointer_mut(&mut self) -> *mut c_void {
        match self {
            Self::F32(v) => v.as_mut_ptr().cast(),
            Self::F64(v) => v.as_mut_ptr().cast(),
        }
    }

    pub fn get(&self) -> Vec<f64> {
        match self {
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }
}
