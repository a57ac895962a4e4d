//! A batch in pieces: how large they may be, and how they go over the device.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::{CudaStream, DriverError};

use super::constants;
use super::device::{Device, is_out_of_memory, words};
use super::layout::{Job, Load, Places};
use super::loaded::Failure;
use super::resident::Resident;
use super::slot::{Input, Results, Slot, Started};
use crate::engine::Starts;
use crate::error::{Error, Result};

/// Part of the device's free memory that pieces may take; the rest is for the driver and other ranks.
const SHARE_OF_MEMORY: f64 = 0.8;
/// Most bytes of one piece: pinned memory is dear.
const MOST_BYTES: usize = 512 << 20;
/// Spectra of a piece for each block that the device holds at once: few leave blocks idle at the end.
const SPECTRA_PER_BLOCK: usize = 4;

/// Takes the results of a piece.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&Results, &Started);

/// Spectra that the device failed on.
pub(super) struct Failed {
    pub spectra: Range<usize>,
    pub error: DriverError,
}

/// What the engine keeps between batches.
pub(super) struct Workshop {
    streams: [Arc<CudaStream>; 2],
    resident: Option<Resident>,
    slots: Vec<Slot>,
    /// Most spectra of a piece; lack of memory halves it until a batch is done.
    most: usize,
    /// Batches in a row that the device failed on.
    pub failures: usize,
    /// Where the kernels come from, once they are there: `, NVRTC 12.9, sm_90`.
    pub origin: String,
}

impl Workshop {
    pub fn new(device: &Device) -> Result<Self> {
        let stream = || {
            device.context.new_stream().map_err(|error| {
                Error::Engine(format!("the CUDA device has no stream: {}", words(&error)))
            })
        };
        Ok(Self {
            streams: [stream()?, stream()?],
            resident: None,
            slots: Vec::new(),
            most: usize::MAX,
            failures: 0,
            origin: String::new(),
        })
    }

    /// Runs a job over some spectra of a batch; what failed may be tried again.
    pub fn run<S: Copy + Into<f64> + Sync>(
        &mut self,
        device: &Device,
        job: Job,
        input: &Input<S>,
        spectra: &[Range<usize>],
        sink: Sink,
    ) -> Result<Vec<Failed>> {
        let whole = |error: DriverError| {
            spectra.iter().map(|s| Failed { spectra: s.clone(), error }).collect()
        };
        match self.make_ready(device, job, input, spectra) {
            Ok(plan) => {
                let failed = self.walk(plan, input, spectra, sink);
                if failed.is_empty() {
                    // others may have given back what was short
                    self.most = usize::MAX;
                }
                Ok(failed)
            }
            Err(Failure::Device(error)) => {
                self.forget();
                Ok(whole(error))
            }
            Err(Failure::Hopeless(error)) => Err(error),
        }
    }

    /// Drops everything on the device.
    pub fn forget(&mut self) {
        self.slots.clear();
        self.resident = None;
    }

    /// Puts the problem on the device, and makes room for pieces as large as memory allows.
    fn make_ready<S>(
        &mut self,
        device: &Device,
        job: Job,
        input: &Input<S>,
        spectra: &[Range<usize>],
    ) -> std::result::Result<Plan, Failure> {
        let constants = constants::of_run(input.problem, &input.starts);
        let fits = |r: &Resident| r.problem == *input.problem && r.constants == constants;
        if !self.resident.as_ref().is_some_and(fits) {
            self.forget();
            let new =
                Resident::new(device, &self.streams[0], input.precision, input.problem, constants)?;
            log::debug!("kernels for {} channels: {}", input.problem.count, new.origin);
            self.origin = format!(", {}", new.origin);
            self.resident = Some(new);
        }
        let resident = self.resident.as_ref().expect("made above");
        let at_once = resident.blocks_at_once(device, job)?;
        let longest = spectra.iter().map(Range::len).max().unwrap_or(0);
        let useful = longest.div_ceil(2).max(at_once * SPECTRA_PER_BLOCK).min(longest).max(1);
        let mut plan = Plan {
            job,
            at_once,
            piece: useful.min(self.most),
            own_starts: matches!(input.starts, Starts::Each(_)),
            background: input.background.is_some(),
        };
        let free = device.memory()?.0 + self.slots.iter().map(Slot::bytes).sum::<usize>();
        let most = ((free as f64 * SHARE_OF_MEMORY) as usize / 2).min(MOST_BYTES);
        while plan.piece > 1 && plan.places(resident, input, plan.piece).bytes > most {
            plan.piece = plan.piece.div_ceil(2);
        }
        loop {
            let places = plan.places(resident, input, plan.piece);
            if self.slots.len() == 2 && self.slots.iter().all(|slot| slot.holds(&places)) {
                return Ok(plan);
            }
            self.slots.clear();
            let made = self.streams.iter().map(|s| Slot::new(s.clone(), &places));
            match made.collect::<std::result::Result<Vec<_>, _>>() {
                Ok(slots) => self.slots = slots,
                Err(error) if is_out_of_memory(&error) && plan.piece > 1 => {
                    plan.piece = plan.piece.div_ceil(2);
                    self.most = plan.piece;
                    log::info!(
                        "the CUDA device is short of memory: {} spectra at a time",
                        plan.piece
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends the pieces over the slots in turn.
    fn walk<S: Copy + Into<f64> + Sync>(
        &mut self,
        plan: Plan,
        input: &Input<S>,
        spectra: &[Range<usize>],
        sink: Sink,
    ) -> Vec<Failed> {
        let resident = self.resident.as_ref().expect("made ready");
        let mut failed = Vec::new();
        let mut under_way: [Option<Started>; 2] = [None, None];
        let mut finish = |slot: &Slot, started: Started, failed: &mut Vec<Failed>| match slot
            .results(&started)
        {
            Ok(results) => sink(&results, &started),
            Err(error) => failed.push(Failed { spectra: started.spectra, error }),
        };
        let pieces = spectra.iter().flat_map(|range| {
            range.clone().step_by(plan.piece).map(|first| first..range.end.min(first + plan.piece))
        });
        for (i, piece) in pieces.enumerate() {
            let turn = i % 2;
            let slot = &mut self.slots[turn];
            if let Some(started) = under_way[turn].take() {
                finish(slot, started, &mut failed);
            }
            let load = plan.load(piece.len());
            let places = plan.places(resident, input, piece.len());
            match slot.start(resident, input, load, piece.clone(), places) {
                Ok(started) => under_way[turn] = Some(started),
                Err(error) => failed.push(Failed { spectra: piece, error }),
            }
        }
        for (slot, started) in self.slots.iter().zip(under_way) {
            if let Some(started) = started {
                finish(slot, started, &mut failed);
            }
        }
        if !failed.is_empty() {
            self.forget();
        }
        failed
    }
}

/// How a batch goes over the device.
#[derive(Clone, Copy)]
struct Plan {
    job: Job,
    /// Blocks that the device holds at once.
    at_once: usize,
    /// Spectra of a piece.
    piece: usize,
    own_starts: bool,
    background: bool,
}

impl Plan {
    fn load(&self, spectra: usize) -> Load {
        Load {
            job: self.job,
            spectra,
            blocks: self.at_once.min(spectra),
            own_starts: self.own_starts,
            background: self.background,
        }
    }

    fn places<S>(&self, resident: &Resident, input: &Input<S>, spectra: usize) -> Places {
        Places::new(
            input.problem,
            input.precision,
            resident.layout(),
            resident.near_in_memory(),
            self.load(spectra),
        )
    }
}
