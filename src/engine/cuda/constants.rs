//! What a run knows before its kernels are compiled: `kernels/abi.h` takes it as constants.

use crate::engine::Starts;
use crate::engine::laid_out::LaidOut;
use crate::kernels;
use crate::problem::{Problem, Tail};

/// The kernels' near memory is a multiprocessor's shared memory.
pub const NEAR_SHARED: &str = "XRF_NEAR_SHARED";

/// Macros that make kernels for this problem alone, where all spectra start at its first-pass values or, with their own
/// starts, anywhere.
pub fn of_run(problem: &Problem, starts: &Starts) -> Vec<String> {
    let raw = LaidOut::new(problem).raw;
    let any = |word: &str| {
        matches!(starts, Starts::Each(_))
            || kernels::parameters().iter().zip(&problem.parameters).any(|(info, variable)| {
                (variable.free || variable.start != 0.0) && info.name.contains(word)
            })
    };
    let values = [
        ("n_channels", raw.n_channels),
        ("first", raw.first),
        ("count", raw.count),
        ("n_components", raw.n_components),
        ("n_templates", raw.n_templates),
        ("elastic", raw.elastic),
        ("compton", raw.compton),
        ("n_lines", raw.n_lines),
        ("tail", raw.tail),
        ("escape_shift", raw.escape_shift),
        ("snip_order", raw.snip_order),
        ("background", raw.background),
        ("objective", raw.objective),
        ("optimizer", raw.optimizer),
        ("start_amplitudes", raw.start_amplitudes),
        ("clip_net_counts", raw.clip_net_counts),
        ("weights", raw.weights),
        ("shaped", i32::from(any("_STEP") || problem.tail != Tail::None && any("_TAIL"))),
        ("escape", i32::from(any("_ESCAPE"))),
        ("curved", i32::from(any("ENERGY_QUADRATIC"))),
    ];
    let fixed = values.iter().map(|(name, value)| format!("XRF_RUN_{name}={value}"));
    std::iter::once("XRF_SPECIALISED".into()).chain(fixed).collect()
}
