//! The golden cases: inputs and outputs of other implementations of the model, as problems of ours.

#[path = "fixed.rs"]
mod fixed;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use npyz::npz::NpzArchive;
use npyz::{DType, Deserialize, NpyFile};
use xrfit::kernels;
use xrfit::problem::{
    Background, EscapeShift, Family, Line, Objective, Optimizer, Problem, SnipOrder, Tail, Weights,
};

use fixed::fixed;

/// One `.npz` archive.
pub struct Npz(NpzArchive<std::io::BufReader<std::fs::File>>, PathBuf);

impl Npz {
    pub fn open(path: &Path) -> Self {
        Self(
            NpzArchive::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            path.into(),
        )
    }

    pub fn has(&mut self, name: &str) -> bool {
        self.0.array_names().any(|n| n == name)
    }

    pub fn get<T: Deserialize>(&mut self, name: &str) -> Vec<T> {
        let array = self.0.by_name(name).unwrap_or_else(|e| panic!("{}: {e}", self.1.display()));
        let array: NpyFile<_> = array.unwrap_or_else(|| panic!("{}: no {name}", self.1.display()));
        let what = match array.dtype() {
            DType::Plain(t) => t.to_string(),
            other => other.descr(),
        };
        array.into_vec().unwrap_or_else(|e| panic!("{} {name} ({what}): {e}", self.1.display()))
    }

    pub fn floats(&mut self, name: &str) -> Vec<f64> {
        self.get(name)
    }

    pub fn strings(&mut self, name: &str) -> Vec<String> {
        self.get(name)
    }

    /// Numbers by the names of another array.
    pub fn by_name(&mut self, names: &str, numbers: &str) -> HashMap<String, f64> {
        self.strings(names).into_iter().zip(self.floats(numbers)).collect()
    }
}

/// One row of the golden line tables.
#[derive(npyz::Deserialize, Clone, Debug)]
#[expect(dead_code, reason = "a structured array is read with all its columns")]
pub struct GoldenLine {
    pub elem: String,
    pub slot: i32,
    pub ptype: String,
    pub energy: f64,
    pub ratio: f64,
    pub mu: f64,
    pub width_multi: f64,
    pub r#type: i32,
    pub pileup: i32,
    pub thr: f64,
}

/// What a golden case holds.
pub struct Case {
    pub name: String,
    /// Whether tails are switched on; they always are but in MapsTorch 0.0.1.
    pub use_tail: bool,
    pub problem: Problem,
    pub variables: Vec<f64>,
    pub observed: Vec<f64>,
    pub background: Vec<f64>,
    pub model: Vec<f64>,
    /// Golden spectrum of each of our components, without escape.
    pub components: HashMap<String, Vec<f64>>,
    /// Golden derivative of the sum of squares by variable name, when the case has it.
    pub gradient: HashMap<String, f64>,
}

/// The cases of one set (`phys`, `r002`, `git`), empty where the data are absent.
pub fn cases(set: &str) -> Vec<Case> {
    let Some(folder) = crate::common::shared("data/golden") else { return Vec::new() };
    let lines: Vec<GoldenLine> = Npz::open(&folder.join(format!("{set}_lines.npz"))).get("lines");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder can be listed")
        .map(|f| f.expect("and its entries read").path())
        .filter(|p| {
            p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{set}_")))
        })
        .collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "npz"));
    files.sort();
    files.iter().filter_map(|f| case(f, &lines)).collect()
}

/// What a problem is made of: channels `[first, last]`, parameters and log10 amplitudes by name.
pub struct Inputs {
    pub channels: usize,
    pub range: Vec<i64>,
    pub elements: Vec<String>,
    pub parameters: HashMap<String, f64>,
    pub amplitudes: HashMap<String, f64>,
}

impl Inputs {
    fn value(&self, name: &str, default: f64) -> f64 {
        match name {
            "GE_ESCAPE" => 0.0,
            _ => self.parameters.get(name).copied().unwrap_or(default),
        }
    }

    fn amplitude(&self, component: &str) -> f64 {
        *self.amplitudes.get(component).expect("every component has an amplitude")
    }

    /// The problem, everything fixed.
    pub fn problem(&self, lines: &[GoldenLine]) -> Problem {
        let mut components = self.elements.clone();
        components.extend(["COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE"].map(String::from));
        Problem {
            channels: self.channels,
            first: self.range[0] as usize,
            count: (self.range[1] - self.range[0] + 1) as usize,
            elastic: Some(self.elements.len()),
            compton: Some(self.elements.len() + 1),
            lines: lines.iter().filter_map(|l| l.of(&self.elements)).collect(),
            parameters: kernels::parameters()
                .iter()
                .map(|p| fixed(self.value(p.name, p.value)))
                .collect(),
            amplitudes: components.iter().map(|c| fixed(self.amplitude(c))).collect(),
            components,
            templates: ndarray::Array2::zeros((0, 0)),
            pair_energy_ev: self.value("FWHM_FANO_COEFF", 2.96),
            tail: Tail::Maps,
            escape_shift: EscapeShift::Local,
            background: Background::None,
            snip_order: SnipOrder::Simultaneous,
            snip_width: self.value("SNIP_WIDTH", 0.5),
            objective: Objective::Mse,
            weights: Weights::None,
            optimizer: Optimizer::Adam,
            steps: 0,
            tolerance: 0.0,
            solve_start: false,
            clip_net_counts: false,
            limits: false,
            saturation: None,
        }
    }
}

impl GoldenLine {
    fn of(&self, elements: &[String]) -> Option<Line> {
        Some(Line {
            component: elements.iter().position(|e| *e == self.elem)?,
            energy: self.energy,
            ratio: self.ratio,
            mu: self.mu,
            width: self.width_multi,
            edge: self.thr,
            family: match self.r#type {
                2 => Family::Beta,
                7 => Family::M,
                _ => Family::Alpha,
            },
        })
    }
}

fn case(path: &Path, lines: &[GoldenLine]) -> Option<Case> {
    let mut file = Npz::open(path);
    if !file.has("energy_range") || !file.has("elem_names") {
        return None;
    }
    let observed = file.floats("obs");
    let mut inputs = Inputs {
        channels: observed.len(),
        range: file.get("energy_range"),
        elements: file.strings("elem_names"),
        parameters: file.by_name("param_names", "param_values"),
        amplitudes: file.by_name("amp_names", "amp_values"),
    };
    let escape = if file.has("escape_factor") { file.floats("escape_factor")[0] } else { 0.0 };
    inputs.parameters.insert("SI_ESCAPE".into(), escape);
    let problem = inputs.problem(lines);
    let variables = problem.parameters.iter().chain(&problem.amplitudes).map(|v| v.start).collect();
    let n = problem.count;
    let element_spectra = file.floats("elem_spec");
    let mut spectra: HashMap<String, Vec<f64>> = inputs
        .elements
        .iter()
        .cloned()
        .zip(element_spectra.chunks(n).map(<[f64]>::to_vec))
        .collect();
    spectra.insert("COHERENT_SCT_AMPLITUDE".into(), file.floats("elastic"));
    spectra.insert("COMPTON_AMPLITUDE".into(), file.floats("compton"));
    let mut gradient = HashMap::new();
    if file.has("gradp_bkg") {
        gradient.extend(file.by_name("param_names", "gradp_bkg"));
        gradient.extend(file.by_name("amp_names", "grada_bkg"));
    }
    Some(Case {
        name: path.file_stem()?.to_string_lossy().into_owned(),
        use_tail: !file.has("use_tail") || file.get::<bool>("use_tail")[0],
        variables,
        observed,
        background: file.floats("bkg"),
        model: file.floats("model"),
        components: spectra,
        gradient,
        problem,
    })
}
