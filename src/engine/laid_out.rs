//! A [`Problem`] in the layout of the C ABI.

use crate::kernels::abi::RawProblem;
use crate::problem::{Line, Problem};

/// A [`Problem`] laid out for the kernels: the pointers of `raw` lead into the vectors beside it, which
/// never change.
pub(crate) struct LaidOut {
    pub raw: RawProblem,
    _lines: [Vec<f64>; 5],
    _indices: [Vec<i32>; 2],
    _variables: [Vec<f64>; 4],
    _free: Vec<u8>,
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
        let all = || p.parameters.iter().chain(&p.amplitudes);
        let variables = [
            all().map(|v| v.start).collect::<Vec<_>>(),
            all().map(|v| v.lower).collect(),
            all().map(|v| v.upper).collect(),
            all().map(|v| v.rate).collect(),
        ];
        let free: Vec<u8> = all().map(|v| u8::from(v.free)).collect();
        let index = |i: Option<usize>| i.map_or(-1, |i| i as i32);
        let raw = RawProblem {
            n_channels: p.channels as i32,
            first: p.first as i32,
            count: p.count as i32,
            n_components: p.components.len() as i32,
            elastic: index(p.elastic),
            compton: index(p.compton),
            n_lines: p.lines.len() as i32,
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
            saturation: p.saturation.unwrap_or(f32::INFINITY),
        };
        Self { raw, _lines: lines, _indices: indices, _variables: variables, _free: free }
    }
}
