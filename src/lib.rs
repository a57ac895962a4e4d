//! Fits X-ray fluorescence (XRF) raster scans, pixel by pixel, into elemental maps.
//!
//! Data flows one way:
//!
//! ```text
//! scan file ──scan──▶ spectra of a tile ──fit (engine)──▶ fits ──cluster──▶ maps ──maps──▶ map file
//! ```
//!
//! Read [`run`] first: it is the program as a table of contents. The physics is in `kernels/`.
//!
//! Everything that is fitted is a batch of spectra with a batch of starts: the pixels of a tile, the
//! regions of a scan, or the summed spectrum with a hundred random starts. One engine call serves them all.
//!
//! # Invariants
//!
//! 1. **A formula exists once.** Physics, objectives and optimisers stand in `kernels/*.cuh`,
//!    templates over the scalar and over the team of lanes that works on a spectrum. Rust moves
//!    numbers; only tests, written independently from the formulas, repeat physics.
//! 2. `hdf5::` occurs in [`scan`] and [`maps`] only, `mpi::` in [`cluster`] only.
//! 3. A spectrum's result does not depend on its tile, its rank, its neighbours or the number of
//!    threads: any number of ranks writes the same maps, bit for bit, on one engine.
//! 4. A bad pixel (empty, saturated, NaN, diverged) is a value: a status code, and NaN in the maps.
//!    It never ends a run. An error ends the whole run, on all ranks, with one message.
//! 5. Units inside: keV, channels, counts, seconds; conversion at the file boundary, once.
//!    Amplitudes are net counts in an element's first line (Ka1, La1, Ma1), the MAPS convention.
//! 6. A result file says how it was made.
//! 7. Memory per rank is bounded by the tile, not by the scan; rank 0 also holds the maps.

pub mod constants;
pub mod error;
pub mod output;
pub mod signals;
pub mod spelling;

pub mod scan;

pub mod lines;

pub mod kernels;
pub mod problem;

pub mod engine;

pub mod config;

pub mod cluster;
pub mod regions;
pub mod tile;

pub mod maps;

pub mod assemble;
pub mod background;
pub mod calibrate;
pub mod fit;
pub mod priors;
pub mod score;

pub mod cli;
pub mod report;
pub mod run;
pub mod simulate;
