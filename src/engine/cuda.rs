//! The CUDA engine's kernels; see [`compile`].

pub mod compile;
