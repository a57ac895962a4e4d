//! A [`Problem`] in the layout of the C ABI.

use crate::kernels::abi::RawProblem;
use crate::problem::{Line, Problem};

/// A [`Problem`] laid out for the kernels: the pointers of `raw` lead into the vectors beside it, which
/// never change.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "`raw` points there"))]
pub(crate) struct LaidOut {
    pub raw: RawProblem,
    lines: [Vec<f64>; 5],
    indices: [Vec<i32>; 2],
    variables: [Vec<f64>; 6],
    free: Vec<u8>,
    templates: Vec<f64>,
}

// SAFETY: the pointers lead to memory this value owns and nobody writes.
unsafe impl Send for LaidOut {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for LaidOut {}

impl LaidOut {
    pub fn new(p: &Problem) -> Self {
        let line = |f: fn(&Line) -> f64| p.lines.iter().map(f).collect::<Vec<_>>();
        let lines = [
            line(|l| l.energy),
            line(|l| l.ratio),
            line(|l| l.mu),
            line(|l| l.width),
            line(|l| l.edge),
        ];
        let indices = [
            p.lines.iter().map(|l| l.component as i32).collect(),
            p.lines.iter().map(|l| l.family as i32).collect::<Vec<_>>(),
        ];
        let all = || p.variables();
        let variables = [
            all().map(|v| v.start).collect::<Vec<_>>(),
            all().map(|v| v.lower).collect(),
            all().map(|v| v.upper).collect(),
            all().map(|v| v.rate).collect(),
            all().map(|v| v.prior.map_or(0.0, |prior| prior.center)).collect(),
            all().map(|v| v.prior.map_or(0.0, |prior| prior.width)).collect(),
        ];
        let free: Vec<u8> = all().map(|v| u8::from(v.free)).collect();
        let templates: Vec<f64> = p.templates.iter().copied().collect();
        let index = |i: Option<usize>| i.map_or(-1, |i| i as i32);
        let raw = RawProblem {
            n_channels: p.channels as i32,
            first: p.first as i32,
            count: p.count as i32,
            n_components: p.components.len() as i32,
            n_templates: p.templates.nrows() as i32,
            elastic: index(p.elastic),
            compton: index(p.compton),
            n_lines: p.lines.len() as i32,
            templates: templates.as_ptr(),
            energy: lines[0].as_ptr(),
            ratio: lines[1].as_ptr(),
            mu: lines[2].as_ptr(),
            width: lines[3].as_ptr(),
            edge: lines[4].as_ptr(),
            component: indices[0].as_ptr(),
            family: indices[1].as_ptr(),
            start: variables[0].as_ptr(),
            lower: variables[1].as_ptr(),
            upper: variables[2].as_ptr(),
            rate: variables[3].as_ptr(),
            prior: variables[4].as_ptr(),
            prior_width: variables[5].as_ptr(),
            free: free.as_ptr(),
            pair_energy_ev: p.pair_energy_ev,
            snip_width: p.snip_width,
            tolerance: p.tolerance,
            tail: p.tail as i32,
            escape_shift: p.escape_shift as i32,
            snip_order: p.snip_order as i32,
            background: p.background as i32,
            objective: p.objective as i32,
            optimizer: p.optimizer as i32,
            steps: p.steps as i32,
            start_amplitudes: i32::from(p.solve_start),
            clip_net_counts: i32::from(p.clip_net_counts),
            weights: p.weights as i32,
            saturation: p.saturation.unwrap_or(f32::INFINITY),
        };
        Self { raw, lines, indices, variables, free, templates }
    }

    /// All arrays as bytes, one after another, and where each begins; for memory that is not this process's.
    #[cfg(feature = "cuda")]
    pub fn packed(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let mut put = |array: &mut dyn Iterator<Item = u8>| {
            bytes.resize(bytes.len().next_multiple_of(64), 0);
            places.push(bytes.len());
            bytes.extend(array);
        };
        for array in self.lines.iter().chain(&self.variables) {
            put(&mut array.iter().flat_map(|v| v.to_ne_bytes()));
        }
        for array in &self.indices {
            put(&mut array.iter().flat_map(|v| v.to_ne_bytes()));
        }
        put(&mut self.free.iter().copied());
        put(&mut self.templates.iter().flat_map(|v| v.to_ne_bytes()));
        (bytes, places)
    }

    /// The problem with its arrays where [`LaidOut::packed`] was copied to.
    #[cfg(feature = "cuda")]
    pub fn moved_to(&self, address: u64, places: &[usize]) -> RawProblem {
        let f64_at = |i: usize| (address + places[i] as u64) as *const f64;
        let i32_at = |i: usize| (address + places[i] as u64) as *const i32;
        RawProblem {
            energy: f64_at(0),
            ratio: f64_at(1),
            mu: f64_at(2),
            width: f64_at(3),
            edge: f64_at(4),
            start: f64_at(5),
            lower: f64_at(6),
            upper: f64_at(7),
            rate: f64_at(8),
            prior: f64_at(9),
            prior_width: f64_at(10),
            component: i32_at(11),
            family: i32_at(12),
            free: (address + places[13] as u64) as *const u8,
            templates: f64_at(14),
            ..self.raw
        }
    }
}
