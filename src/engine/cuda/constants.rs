//! What a run knows before its kernels are compiled: `kernels/abi.h` takes it as constants.

use crate::engine::Starts;
use crate::kernels;
use crate::problem::{Problem, Tail};

/// The kernels' near memory is a multiprocessor's shared memory.
pub const NEAR_SHARED: &str = "XRF_NEAR_SHARED";

/// Macros that make kernels for this problem alone, where all spectra start at its first-pass values or, with their own
/// starts, anywhere.
pub fn of_run(problem: &Problem, starts: &Starts) -> Vec<String> {
    let index = |i: Option<usize>| i.map_or(-1, |i| i as i64);
    let any = |word: &str| {
        matches!(starts, Starts::Each(_))
            || kernels::parameters().iter().zip(&problem.parameters).any(|(info, variable)| {
                (variable.free || variable.start != 0.0) && info.name.contains(word)
            })
    };
    let values = [
        ("n_channels", problem.channels as i64),
        ("first", problem.first as i64),
        ("count", problem.count as i64),
        ("n_components", problem.components.len() as i64),
        ("elastic", index(problem.elastic)),
        ("compton", index(problem.compton)),
        ("n_lines", problem.lines.len() as i64),
        ("tail", problem.tail as i64),
        ("escape_shift", problem.escape_shift as i64),
        ("snip_order", problem.snip_order as i64),
        ("background", problem.background as i64),
        ("objective", problem.objective as i64),
        ("optimizer", problem.optimizer as i64),
        ("start_amplitudes", i64::from(problem.solve_start)),
        ("clip_net_counts", i64::from(problem.clip_net_counts)),
        ("weights", problem.weights as i64),
        ("shaped", i64::from(any("_STEP") || problem.tail != Tail::None && any("_TAIL"))),
        ("escape", i64::from(any("_ESCAPE"))),
        ("curved", i64::from(any("ENERGY_QUADRATIC"))),
    ];
    let fixed = values.iter().map(|(name, value)| format!("XRF_RUN_{name}={value}"));
    std::iter::once("XRF_SPECIALISED".into()).chain(fixed).collect()
}
