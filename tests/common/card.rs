//! Fits with the kernels of kernels/fit.cu through the CUDA driver alone, call by call, as emulate.cpp does
//! without one.

#[path = "tile.rs"]
mod tile;

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute as Attribute;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError,
    LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use tile::{RawLayout, RawProblem, RawTile};
use xrfit::engine::Precision;
use xrfit::problem::{Line, Optimizer, Problem, Variable};

use crate::standin::emulator::{Spectra, Way};

/// A context with its stream and the kernels.
pub struct Card {
    pub stream: Arc<CudaStream>,
    pub module: Arc<CudaModule>,
}

type Result<T> = std::result::Result<T, DriverError>;

impl Card {
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = CudaContext::new(ordinal)?;
        let image = std::env::var_os("XRFIT_KERNELS").expect("an image is named");
        let module = context.load_module(Ptx::from_file(image))?;
        Ok(Self { stream: context.new_stream()?, module })
    }

    pub fn kernel(&self, name: &str) -> Result<CudaFunction> {
        self.module.load_function(name)
    }

    /// Everything that a launch of `way` needs, on the device.
    pub fn load(&self, spectra: &Spectra, way: Way) -> Result<Loaded<'_>> {
        let mut arrays = Arrays { stream: &self.stream, held: Vec::new() };
        let problem = arrays.problem(spectra.problem)?;
        let layout = self.layout(&problem, way)?;
        let tile = arrays.tile(spectra, way, &layout)?;
        let shared = if way.memory == "shared" { layout.near_bytes as u32 } else { 0 };
        Ok(Loaded { card: self, arrays, problem, layout, tile, way, shared, allowed: None })
    }

    fn layout(&self, problem: &RawProblem, way: Way) -> Result<RawLayout> {
        let kernel = self.kernel(&format!("xrf_layout_{}", way.team))?;
        let mut out = self.stream.alloc_zeros::<u64>(6)?;
        let mut launch = self.stream.launch_builder(&kernel);
        launch.arg(problem).arg(&mut out);
        let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the kernel takes a problem and the address of a layout.
        unsafe { launch.launch(one)? };
        let words = self.stream.clone_dtoh(&out)?;
        let [threads, block] = [words[2] as u32, (words[2] >> 32) as u32].map(|x| x as i32);
        Ok(RawLayout { near_bytes: words[0], far_bytes: words[1], threads, block })
    }
}

/// A problem and its spectra on the device.
pub struct Loaded<'a> {
    card: &'a Card,
    arrays: Arrays<'a>,
    pub problem: RawProblem,
    pub layout: RawLayout,
    pub tile: RawTile,
    way: Way,
    /// Dynamic shared memory of a launch, and what the kernel's attribute says before it \[bytes\].
    pub shared: u32,
    pub allowed: Option<i32>,
}

impl Loaded<'_> {
    /// Launches `xrf_TASK_KIND` with so many blocks and threads.
    pub fn launch(&self, task: &str, blocks: usize, threads: i32) -> Result<()> {
        let kernel = self.card.kernel(&format!("xrf_{task}_{}", self.way.team))?;
        if let Some(bytes) = self.allowed {
            kernel
                .set_attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)?;
        }
        let mut launch = self.card.stream.launch_builder(&kernel);
        launch.arg(&self.problem).arg(&self.tile);
        let shape = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: self.shared,
        };
        // SAFETY: the kernel takes a problem and a tile, whose arrays `arrays` holds.
        unsafe { launch.launch(shape) }.map(drop)
    }

    /// One task with the blocks of the way and the threads of its team.
    pub fn run(&self, task: &str) -> Result<()> {
        let blocks = if task == "prepare" { 1 } else { self.way.blocks };
        self.launch(task, blocks, self.layout.threads)
    }

    /// Fits, and gives back what `emulate fit` writes.
    pub fn fit(&self) -> Result<Vec<f64>> {
        self.run("prepare")?;
        self.run("background")?;
        let mut all = self.arrays.counts(self.tile.total, self.way.precision())?;
        self.run(if self.problem.choices[5] == Optimizer::Newton as i32 {
            "newton"
        } else {
            "fit"
        })?;
        self.run("errors")?;
        let t = &self.tile;
        for address in [t.variables].into_iter().chain(t.errors).chain(t.measures) {
            all.extend(self.arrays.numbers(address, f64::from_le_bytes)?);
        }
        for address in t.codes {
            all.extend(self.arrays.numbers(address, |b| f64::from(i32::from_le_bytes(b)))?);
        }
        for address in t.sums {
            let sum = |b| i64::from_le_bytes(b) as f64 / 1_048_576.0;
            all.extend(self.arrays.numbers(address, sum)?);
        }
        Ok(all)
    }
}

/// Arrays on the device, by address.
struct Arrays<'a> {
    stream: &'a Arc<CudaStream>,
    held: Vec<(u64, CudaSlice<u8>)>,
}

impl Arrays<'_> {
    fn hold(&mut self, slice: CudaSlice<u8>) -> u64 {
        let address = slice.device_ptr(self.stream).0;
        self.held.push((address, slice));
        address
    }

    fn put<const N: usize>(&mut self, values: impl IntoIterator<Item = [u8; N]>) -> Result<u64> {
        let bytes: Vec<u8> = values.into_iter().flatten().collect();
        let slice = self.stream.clone_htod(&bytes)?;
        Ok(self.hold(slice))
    }

    fn doubles(&mut self, values: impl IntoIterator<Item = f64>) -> Result<u64> {
        self.put(values.into_iter().map(f64::to_le_bytes))
    }

    fn scalars(&mut self, values: &[f64], precision: Precision) -> Result<u64> {
        match precision {
            Precision::F32 => self.put(values.iter().map(|&x| (x as f32).to_le_bytes())),
            Precision::F64 => self.doubles(values.iter().copied()),
        }
    }

    fn all_zeros<const N: usize>(&mut self, bytes: usize) -> Result<[u64; N]> {
        let mut addresses = [0; N];
        for address in &mut addresses {
            let slice = self.stream.alloc_zeros(bytes)?;
            *address = self.hold(slice);
        }
        Ok(addresses)
    }

    fn unwritten(&mut self, bytes: usize) -> Result<u64> {
        // SAFETY: the kernels write it before anything reads it.
        let slice = unsafe { self.stream.alloc(bytes)? };
        Ok(self.hold(slice))
    }

    fn numbers<const N: usize>(&self, address: u64, of: fn([u8; N]) -> f64) -> Result<Vec<f64>> {
        let (_, slice) = self.held.iter().find(|(a, _)| *a == address).expect("it is held");
        let bytes = self.stream.clone_dtoh(slice)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|&b| of(b)).collect())
    }

    fn counts(&self, address: u64, precision: Precision) -> Result<Vec<f64>> {
        match precision {
            Precision::F32 => self.numbers(address, |b| f64::from(f32::from_le_bytes(b))),
            Precision::F64 => self.numbers(address, f64::from_le_bytes),
        }
    }

    fn problem(&mut self, p: &Problem) -> Result<RawProblem> {
        let index = |i: Option<usize>| i.map_or(-1, |i| i as i32);
        let [channels, first, count, k, templates, lines] =
            [p.channels, p.first, p.count, p.components.len(), p.templates.nrows(), p.lines.len()]
                .map(|n| n as i32);
        let of_lines: [fn(&Line) -> f64; 5] =
            [|l| l.energy, |l| l.ratio, |l| l.mu, |l| l.width, |l| l.edge];
        let indices: [fn(&Line) -> i32; 2] = [|l| l.component as i32, |l| l.family as i32];
        let variables: [fn(&Variable) -> f64; 6] = [
            |v| v.start,
            |v| v.lower,
            |v| v.upper,
            |v| v.rate,
            |v| v.prior.map_or(0.0, |p| p.center),
            |v| v.prior.map_or(0.0, |p| p.width),
        ];
        let all: Vec<Variable> = p.variables().collect();
        let mut raw = RawProblem {
            sizes: [
                channels,
                first,
                count,
                k,
                templates,
                index(p.elastic),
                index(p.compton),
                lines,
            ],
            templates: if p.templates.is_empty() {
                0
            } else {
                self.doubles(p.templates.iter().copied())?
            },
            lines: [0; 5],
            indices: [0; 2],
            variables: [0; 6],
            free: self.put(all.iter().map(|v| [u8::from(v.free)]))?,
            numbers: [p.pair_energy_ev, p.snip_width, p.tolerance],
            choices: [
                p.tail as i32,
                p.escape_shift as i32,
                p.snip_order as i32,
                p.background as i32,
                p.objective as i32,
                p.optimizer as i32,
                p.steps as i32,
                i32::from(p.solve_start),
                i32::from(p.clip_net_counts),
                p.weights as i32,
            ],
            saturation: p.saturation.unwrap_or(f32::INFINITY),
        };
        for (to, of) in raw.lines.iter_mut().zip(of_lines) {
            *to = self.doubles(p.lines.iter().map(of))?;
        }
        for (to, of) in raw.indices.iter_mut().zip(indices) {
            *to = self.put(p.lines.iter().map(|l| of(l).to_le_bytes()))?;
        }
        for (to, of) in raw.variables.iter_mut().zip(variables) {
            *to = self.doubles(all.iter().map(of))?;
        }
        Ok(raw)
    }

    fn tile(&mut self, spectra: &Spectra, way: Way, layout: &RawLayout) -> Result<RawTile> {
        let (p, precision) = (spectra.problem, way.precision());
        let (n, window, k) = (spectra.counts.nrows(), p.count, p.components.len());
        let (variables, linear) = (p.variable_count(), k + p.templates.nrows());
        let scalar = if precision == Precision::F64 { 8 } else { 4 };
        let padded = window.next_multiple_of(layout.block as usize);
        let row = |a: &ndarray::Array2<f64>| a.iter().copied().collect::<Vec<f64>>();
        let in_global = way.memory == "global";
        let near = way.blocks * layout.near_bytes as usize;
        Ok(RawTile {
            n_spectra: n as i32,
            start_stride: variables as i32,
            counts: self.scalars(&row(&spectra.counts), precision)?,
            background: self.scalars(&row(&spectra.background), precision)?,
            start: self.doubles(row(&spectra.starts))?,
            snip: [
                self.unwritten(4)?,
                self.unwritten(256 * window)?,
                self.unwritten(256 * window)?,
            ],
            columns: self.unwritten(linear * padded * scalar)?,
            reach: self.unwritten(8 * linear)?,
            start_weight: self.unwritten(padded * scalar)?,
            gram: self.unwritten(8 * linear * linear)?,
            near: if in_global { self.unwritten(near)? } else { 0 },
            far: self.unwritten(way.blocks * layout.far_bytes as usize)?,
            near_bytes: layout.near_bytes,
            far_bytes: layout.far_bytes,
            variables: self.unwritten(8 * n * variables)?,
            errors: [
                self.unwritten(8 * n * variables)?,
                self.unwritten(8 * n * k)?,
                self.unwritten(16 * n * k)?,
            ],
            measures: self.all_zeros(8 * n)?,
            codes: self.all_zeros(4 * n)?,
            sums: self.all_zeros(8 * window)?,
            total: self.unwritten(n * window * scalar)?,
            components: 0,
            gradient: 0,
        })
    }
}
