//! A stream with the memory of one launch: while one slot computes, another's spectra are copied.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DriverError, PinnedHostSlice};
use ndarray::{ArrayView2, s};

use super::layout::{Job, Load, Places, scalar};
use super::resident::{Resident, address};
use crate::engine::Starts;
use crate::problem::{Precision, Problem};

pub(super) struct Slot {
    pub stream: Arc<CudaStream>,
    memory: CudaSlice<u8>,
    given: PinnedHostSlice<u8>,
    found: PinnedHostSlice<u8>,
}

/// A launch that was started: which spectra, and where its results will be.
pub(super) struct Started {
    pub spectra: Range<usize>,
    pub places: Places,
}

impl Slot {
    /// Room for a launch of these places.
    pub fn new(stream: Arc<CudaStream>, places: &Places) -> Result<Self, DriverError> {
        let context = stream.context().clone();
        // SAFETY: every byte that is read was written before: inputs by `start`, results by the kernels.
        let (memory, given, found) = unsafe {
            (
                stream.alloc::<u8>(places.bytes)?,
                // plain pinned memory: write-combined memory is slow to read
                context.alloc_pinned_with_flags::<u8>(places.inputs, 0)?,
                context.alloc_pinned_with_flags::<u8>(places.bytes - places.outputs, 0)?,
            )
        };
        Ok(Self { stream, memory, given, found })
    }

    /// Device memory that it holds.
    pub fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Does a launch of these places fit?
    pub fn holds(&self, places: &Places) -> bool {
        places.bytes <= self.memory.len()
            && places.inputs <= self.given.len()
            && places.bytes - places.outputs <= self.found.len()
    }

    /// Copies spectra to the device, starts the kernel and the copy of its results; returns at once.
    pub fn start<S: Copy + Into<f64> + Sync>(
        &mut self,
        resident: &Resident,
        input: &Input<S>,
        load: Load,
        spectra: Range<usize>,
        places: Places,
    ) -> Result<Started, DriverError> {
        self.stream.synchronize()?;
        let given = &mut self.given.as_mut_slice()?[..places.inputs];
        input.fill(given, &places, spectra.clone());
        self.stream.memcpy_htod(&*given, &mut self.memory)?;
        if load.job == Job::Fit {
            let sums = places.fitted_sum.start..places.background_sum.end;
            self.stream.memset_zeros(&mut self.memory.slice_mut(sums))?;
        }
        let variables = input.problem.variable_count();
        let block = address(&self.memory, &self.stream);
        let tile = places.tile(block, load, variables, resident.layout(), &resident.shared);
        resident.launch(load.job, &self.stream, load.blocks, &tile)?;
        let results = self.memory.slice(places.outputs..places.bytes);
        let found = &mut self.found.as_mut_slice()?[..places.bytes - places.outputs];
        self.stream.memcpy_dtoh(&results, found)?;
        Ok(Started { spectra, places })
    }

    /// Waits for the results of what was started.
    pub fn results(&self, started: &Started) -> Result<Results<'_>, DriverError> {
        self.stream.synchronize()?;
        let bytes = self.found.as_slice()?;
        Ok(Results { bytes, first: started.places.outputs })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // copies to and from the pinned memory may be under way; an error was or will be met elsewhere
        let _ = self.stream.synchronize();
    }
}

/// What launches over a batch are given.
pub(super) struct Input<'p, 'a, S> {
    pub problem: &'p Problem,
    pub precision: Precision,
    /// `[n, channels]`
    pub counts: ArrayView2<'a, S>,
    /// `[n, window]`
    pub background: Option<ArrayView2<'a, S>>,
    pub starts: Starts<'a>,
}

impl<S: Copy + Into<f64> + Sync> Input<'_, '_, S> {
    fn fill(&self, given: &mut [u8], places: &Places, spectra: Range<usize>) {
        let width = scalar(self.precision);
        let rows = |given: &mut [u8], from: ArrayView2<S>| {
            let from = from.slice(s![spectra.clone(), ..]);
            let row = from.ncols() * width;
            // not by rayon: a thread that waits for its part may take up another task that needs this engine
            given.chunks_exact_mut(row).zip(from.rows()).for_each(|(to, from)| {
                for (to, &y) in to.chunks_exact_mut(width).zip(from) {
                    let y: f64 = y.into();
                    match self.precision {
                        Precision::F32 => to.copy_from_slice(&(y as f32).to_ne_bytes()),
                        Precision::F64 => to.copy_from_slice(&y.to_ne_bytes()),
                    }
                }
            });
        };
        rows(&mut given[places.counts.clone()], self.counts);
        if let Some(background) = self.background {
            rows(&mut given[places.background.clone()], background);
        }
        let to = given[places.start.clone()].chunks_exact_mut(8);
        let put = |(to, v): (&mut [u8], f64)| to.copy_from_slice(&v.to_ne_bytes());
        match self.starts {
            Starts::FirstPass => to.zip(self.problem.start_values()).for_each(put),
            Starts::Each(starts) => {
                to.zip(starts.slice(s![spectra, ..]).iter().copied()).for_each(put);
            }
        }
    }
}

/// What came back from a launch.
pub(super) struct Results<'a> {
    bytes: &'a [u8],
    /// Where the first of these bytes was on the device.
    first: usize,
}

impl Results<'_> {
    fn words<const N: usize>(&self, place: &Range<usize>) -> impl Iterator<Item = [u8; N]> {
        let bytes = &self.bytes[place.start - self.first..place.end - self.first];
        bytes.as_chunks::<N>().0.iter().copied()
    }

    pub fn f64(&self, place: &Range<usize>) -> Vec<f64> {
        self.words(place).map(f64::from_ne_bytes).collect()
    }

    pub fn i32(&self, place: &Range<usize>) -> Vec<i32> {
        self.words(place).map(i32::from_ne_bytes).collect()
    }

    pub fn i64(&self, place: &Range<usize>) -> Vec<i64> {
        self.words(place).map(i64::from_ne_bytes).collect()
    }

    /// Values of the channel loops.
    pub fn scalars(&self, place: &Range<usize>, precision: Precision) -> Vec<f64> {
        match precision {
            Precision::F32 => self.words(place).map(|w| f64::from(f32::from_ne_bytes(w))).collect(),
            Precision::F64 => self.f64(place),
        }
    }
}
