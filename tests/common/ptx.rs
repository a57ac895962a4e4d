//! Reads what NVRTC makes: what ptxas says of registers; and PTX with line information: which function each
//! instruction comes from, and in which loop it stands.

use std::collections::{BTreeMap, BTreeSet};

/// Functions of f32 kernels that may compute in f64, and how often they run. Nothing else may.
const MAY_USE_F64: [(&str, &[&str]); 6] = [
    (
        "once per step and line or peak: positions are differences of large numbers",
        &[
            "add_columns_of",
            "add_priors",
            "axis_columns",
            "axis_of",
            "channel_energy",
            "compton_of",
            "direction",
            "axis_gradient",
            "columns",
            "find_terms",
            "gather_sums",
            "line_terms",
            "magnitude",
            "peak_width",
            "peaks_of",
            "positive",
            "pull_axis",
            "pull_compton",
            "pull_elastic",
            "pull_fractions",
            "pull_gamma",
            "pull_lines",
            "pull_peak",
            "put_lines",
            "put_peak",
            "put_scatter",
            "scalars_of",
            "scatter_parts",
            "scatter_terms",
            "spectrum",
            "spectrum_adjoint",
            "terms_of",
            "turn",
            "width_growth",
            "window_of",
        ],
    ),
    (
        "once per step and variable",
        &[
            "adam_begin",
            "adam_step",
            "begin_newton",
            "better_state",
            "butterfly",
            "exponential",
            "factor_chosen",
            "four_products",
            "gain_by_factor",
            "half_at",
            "half_objective",
            "learn",
            "linear_amplitudes",
            "normal_equations",
            "normal_matrix",
            "over_warps",
            "prior_square",
            "prior_stiffness",
            "product",
            "products",
            "promise_of",
            "pull_priors",
            "remember",
            "run_adam",
            "run_newton",
            "solve_again",
            "solve_box",
            "solve_free",
            "solve_lower",
            "solve_upper",
            "take_last_step",
            "take_step",
        ],
    ),
    (
        "once per step, after or before the loops over channels",
        &["half_deviances", "half_squares", "is_finite", "log_likelihood", "objective", "sum_of"],
    ),
    ("once per step and eight channels: the sums of the weights below", &["sum_weights_below"]),
    (
        "once per step and channel where there is escape",
        &["escape_shift", "find_escape", "pull_escape"],
    ),
    (
        "once per spectrum or problem",
        &[
            "add_exactly",
            "all_variables",
            "choose",
            "clamped",
            "errors_of_fit",
            "errors_tile",
            "evaluate_spectrum",
            "evaluate_tile",
            "find_errors",
            "find_gram",
            "find_limits",
            "find_spread",
            "fit_spectrum",
            "fit_tile",
            "in_use",
            "inverse_at",
            "invert_factor",
            "load_counts",
            "logarithm",
            "meet_spectrum",
            "mix_templates",
            "nearest",
            "null_sigma",
            "prepare",
            "prior_scale",
            "profile_of",
            "pull_templates",
            "r_squared",
            "reduced_deviance",
            "snip_distances",
            "snip_high",
            "snip_low",
            "snip_width_at",
            "solve_amplitudes",
            "unit_components",
            "upper_of",
            "weigh_start",
            "xrf_errors",
            "xrf_evaluate",
            "xrf_fit",
            "xrf_newton",
            "xrf_prepare",
        ],
    ),
];

/// Functions of a loop over peaks: what such a loop computes in f32 decides where a peak's window lies, or is rounded from
/// f64 once. A loop in which f32 stands in other functions is one over channels.
const OF_PEAKS: [&str; 10] = [
    "clamped",
    "exponential",
    "near_reach",
    "pull_peak",
    "put_lines",
    "put_peak",
    "put_scatter",
    "spectrum",
    "spectrum_adjoint",
    "window_of",
];

/// Where the kernels break the rule that loops over channels compute in f32 alone.
pub fn doubles(text: &str) -> Vec<String> {
    let program = Program::read(text);
    let mut faults = BTreeSet::new();
    let single = program.code.iter().filter(|i| i.width == Some(Width::Single)).count();
    if single < 300 {
        faults.insert(format!("PTX with {single} f32 instructions was not understood"));
    }
    for instruction in program.code.iter().filter(|i| i.width == Some(Width::Double)) {
        let function = program.function(instruction);
        if !MAY_USE_F64.iter().any(|(_, names)| names.contains(&function)) {
            faults.insert(format!("{function} computes in f64: {}", instruction.text));
        }
    }
    for (from, to) in program.innermost_loops() {
        let body = &program.code[from..to];
        let mut singles = body.iter().filter(|i| i.width == Some(Width::Single));
        if singles.all(|i| OF_PEAKS.contains(&program.function(i))) {
            continue;
        }
        for instruction in body.iter().filter(|i| i.width == Some(Width::Double)) {
            let function = program.function(instruction);
            faults.insert(format!(
                "a loop of {function} computes in f32 and f64: {}",
                instruction.text
            ));
        }
    }
    faults.into_iter().collect()
}

/// What ptxas says of one kernel or of a function that it calls.
#[derive(Debug)]
pub struct Resources {
    /// Its name, mangled.
    pub name: String,
    /// Registers of a thread; of kernels only.
    pub registers: Option<u32>,
    /// Bytes stored and loaded again for want of registers.
    pub spilled: u32,
}

/// All that ptxas says under its option `-v`.
pub fn resources(log: &str) -> Vec<Resources> {
    let mut found: Vec<Resources> = Vec::new();
    let before = |line: &str, word: &str| -> u32 {
        let head = line.split(word).next().unwrap_or_default();
        head.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            found.push(Resources { name: name.trim().into(), registers: None, spilled: 0 });
        } else if let Some(last) = found.last_mut() {
            if line.contains("bytes spill stores") {
                last.spilled =
                    before(line, " bytes spill stores") + before(line, " bytes spill loads");
            } else if line.contains(" registers") {
                last.registers = Some(before(line, " registers"));
            }
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Single,
    Double,
}

/// A line of PTX.
#[derive(Debug)]
struct Instruction<'a> {
    text: &'a str,
    /// Of its arithmetic; `None` where it does none.
    width: Option<Width>,
    /// Label of its function's name, or the name of the function or kernel it stands in.
    origin: &'a str,
}

#[derive(Debug)]
struct Program<'a> {
    code: Vec<Instruction<'a>>,
    labels: BTreeMap<&'a str, usize>,
    names: BTreeMap<&'a str, String>,
}

impl<'a> Program<'a> {
    fn read(text: &'a str) -> Self {
        let mut program = Self { code: Vec::new(), labels: BTreeMap::new(), names: names(text) };
        let (mut within, mut origin) = ("", "");
        for line in text.lines() {
            let trimmed = line.trim();
            if line.starts_with(".func") || line.starts_with(".visible .entry") {
                let head = line.trim_end_matches(['(', ')', ' ']);
                within = head.rsplit([' ', ')']).next().unwrap_or(head);
                origin = within;
            } else if let Some(place) = trimmed.strip_prefix(".loc") {
                let inlined = place.split_once("function_name ").map(|(_, name)| name);
                origin = inlined.and_then(|n| n.split([',', '+']).next()).unwrap_or(within);
            } else if let Some(label) = trimmed.strip_suffix(':') {
                program.labels.insert(label, program.code.len());
            }
            program.code.push(Instruction { text: trimmed, width: width(trimmed), origin });
        }
        program
    }

    /// Name without arguments of the function that an instruction was written in; of a kernel what it inlines first.
    fn function(&self, instruction: &Instruction<'a>) -> &str {
        let name = self.names.get(instruction.origin).map_or(instruction.origin, String::as_str);
        plain(name)
    }

    /// From a label to the jump back to it, without the loops that contain others.
    fn innermost_loops(&self) -> Vec<(usize, usize)> {
        let back = self.code.iter().enumerate().filter_map(|(at, instruction)| {
            let (_, target) = instruction.text.split_once("bra")?;
            let label = target.trim_end_matches(';').rsplit(['\t', ' ']).next()?;
            let to = *self.labels.get(label)?;
            (to <= at).then_some((to, at))
        });
        let all: BTreeSet<(usize, usize)> = back.collect();
        let contains = |a: &(usize, usize), b: &(usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
        all.iter().filter(|a| !all.iter().any(|b| contains(a, b))).copied().collect()
    }
}

/// The mangled names that line information speaks of, by their labels.
fn names(text: &str) -> BTreeMap<&str, String> {
    let mut names = BTreeMap::new();
    let mut label = None;
    for line in text.lines() {
        if let Some(named) = line.strip_suffix(':').filter(|l| l.starts_with("$L__info_string")) {
            label = Some(named);
        } else if let (Some(label), Some(bytes)) = (label, line.strip_prefix(".b8 ")) {
            let bytes = bytes.split(',').filter_map(|n| n.trim().parse::<u8>().ok());
            let name: &mut String = names.entry(label).or_default();
            name.extend(bytes.take_while(|&b| b != 0).map(char::from));
        }
    }
    names
}

/// `add_window` of `_Z10add_windowILb0E...`, `butterfly` of `_ZN4Warp9butterfly...`, `xrf_fit` of `xrf_fit_warp_f32`.
fn plain(mangled: &str) -> &str {
    let Some(mut rest) = mangled.strip_prefix("_Z") else {
        return ["_warp_f32", "_block_f32"]
            .iter()
            .find_map(|end| mangled.strip_suffix(end))
            .unwrap_or(mangled);
    };
    let nested = rest.starts_with('N');
    rest = rest.trim_start_matches(['N', 'K']);
    let mut name = rest;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(length) = rest[..digits].parse::<usize>() else { return name };
        (name, rest) = rest[digits..].split_at(length);
        if !nested {
            return name;
        }
    }
}

/// The width of an instruction's arithmetic. Choosing, comparing and moving are none; making an f64 is, but making an
/// f32 of one is not: constants are made so, and it is ptxas that takes that out of a loop.
fn width(line: &str) -> Option<Width> {
    let operation = if line.starts_with('@') {
        line.split_whitespace().nth(1)?
    } else {
        line.split_whitespace().next()?
    };
    let mut parts = operation.split('.');
    let verb = parts.next()?;
    let verbs = [
        "abs", "add", "cvt", "div", "ex2", "fma", "max", "min", "mul", "neg", "rcp", "rsqrt",
        "sqrt", "sub",
    ];
    if !verbs.contains(&verb) || operation.ends_with(".f32.f64") {
        return None;
    }
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"f64") {
        return Some(Width::Double);
    }
    (verb != "cvt" && parts.contains(&"f32")).then_some(Width::Single)
}
