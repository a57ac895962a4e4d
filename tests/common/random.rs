//! Seeded random problems of every family of lines and every choice of shape.
//!
//! Fractions, edges and lengths stay away from their gates: what a problem switches on is well away from 0.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "fixed.rs"]
mod fixed;

use ndarray::ArrayView1;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xrfit::engine::{Choice, Evaluation, Precision, open};
use xrfit::kernels;
use xrfit::problem::{
    Background, EscapeShift, Family, Line, Objective, Optimizer, Problem, SnipOrder, Tail, Weights,
};

use crate::oracle;
use fixed::fixed;

/// A kind of component.
#[derive(Clone, Copy)]
pub enum Group {
    K,
    L,
    M,
    PileUp,
}

/// What a random problem is made of.
#[derive(Clone, Copy)]
struct Recipe {
    name: &'static str,
    groups: &'static [Group],
    /// Channels as recorded, first channel of the fit window and their number.
    channels: (usize, usize, usize),
    slope: f64,
    /// Energy that the quadratic term adds over the spectrum, over the spectrum's whole energy.
    curvature: f64,
    tail: Tail,
    shift: EscapeShift,
    switches: Switches,
}

/// Which terms have a fraction above 0, and how long tails are \[peak widths\].
#[derive(Clone, Copy)]
struct Switches {
    elastic: bool,
    compton: bool,
    step: bool,
    si: bool,
    ge: bool,
    gamma: (f64, f64),
}

const ALL: Switches =
    Switches { elastic: true, compton: true, step: true, si: true, ge: true, gamma: (1.2, 2.5) };
const BARE: Switches =
    Switches { elastic: false, compton: false, step: false, si: false, ge: false, ..ALL };

const EVERYTHING: Recipe = Recipe {
    name: "everything, MAPS tails, 1021 channels",
    groups: &[Group::K, Group::L, Group::M, Group::PileUp, Group::K, Group::K],
    channels: (1021, 37, 941),
    slope: 0.02,
    curvature: 0.02,
    tail: Tail::Maps,
    shift: EscapeShift::Local,
    switches: ALL,
};

const RECIPES: [Recipe; 12] = [
    EVERYTHING,
    Recipe { name: "everything, Hypermet tails", tail: Tail::Hypermet, ..EVERYTHING },
    Recipe { name: "everything, no tails", tail: Tail::None, ..EVERYTHING },
    Recipe { name: "escape by the first spacing", shift: EscapeShift::First, ..EVERYTHING },
    Recipe { name: "escape by the mean spacing", shift: EscapeShift::Mean, ..EVERYTHING },
    Recipe {
        name: "K lines alone, 509 channels",
        groups: &[Group::K, Group::K, Group::K],
        channels: (509, 0, 509),
        switches: BARE,
        curvature: 0.0,
        ..EVERYTHING
    },
    Recipe {
        name: "L lines and elastic, a negative curvature",
        groups: &[Group::L, Group::L],
        switches: Switches { elastic: true, ..BARE },
        curvature: -0.03,
        ..EVERYTHING
    },
    Recipe {
        name: "M lines with a step, 509 channels",
        groups: &[Group::M, Group::M],
        channels: (509, 11, 480),
        switches: Switches { step: true, ..BARE },
        ..EVERYTHING
    },
    Recipe {
        name: "pile-ups and Compton",
        groups: &[Group::PileUp, Group::PileUp],
        switches: Switches { compton: true, ..BARE },
        ..EVERYTHING
    },
    Recipe {
        name: "silicon detector, 2048 fine channels, a window in the middle",
        channels: (2048, 105, 1052),
        slope: 0.0098,
        curvature: 0.003,
        switches: Switches { ge: false, ..ALL },
        ..EVERYTHING
    },
    Recipe {
        name: "steep tails",
        switches: Switches { gamma: (0.12, 0.3), ..ALL },
        tail: Tail::Hypermet,
        ..EVERYTHING
    },
    Recipe {
        name: "long tails",
        switches: Switches { gamma: (8.0, 10.0), ..ALL },
        tail: Tail::Hypermet,
        ..EVERYTHING
    },
];

/// A problem, the point where it is looked at, and what it is compared with.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub problem: Problem,
    /// Shape parameters, then log10 amplitudes.
    pub variables: Vec<f64>,
    /// `[channels]`
    pub counts: Vec<f64>,
    /// `[window]`
    pub background: Vec<f64>,
}

impl Case {
    /// The engine's model, objective and gradient at `variables`.
    pub fn evaluate_at(&self, precision: Precision, variables: &[f64]) -> Evaluation {
        let engine = open(Choice::Cpu, precision).expect("the CPU engine opens");
        let counts = ArrayView1::from(&self.counts);
        let background = ArrayView1::from(&self.background);
        let evaluation = engine.evaluate(&self.problem, variables, counts, background);
        evaluation.expect("the CPU engine evaluates")
    }

    pub fn evaluate(&self, precision: Precision) -> Evaluation {
        self.evaluate_at(precision, &self.variables)
    }

    /// Names of the variables.
    pub fn names(&self) -> Vec<String> {
        let parameters = kernels::parameters().iter().map(|p| p.name.to_string());
        parameters.chain(self.problem.components.iter().cloned()).collect()
    }
}

/// Every recipe, drawn once.
pub fn cases() -> Vec<Case> {
    RECIPES.iter().zip(1..).map(|(recipe, seed)| draw(recipe, seed)).collect()
}

fn draw(recipe: &Recipe, seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (channels, first, count) = recipe.channels;
    let top = recipe.slope * (first + count) as f64;
    let incident = top * rng.random_range(0.78..0.88);
    let values = shapes(recipe, incident, &mut rng);
    let mut components = Vec::new();
    let mut lines = Vec::new();
    for (k, &group) in recipe.groups.iter().enumerate() {
        let low = (recipe.slope * first as f64 + 0.6).max(1.2);
        let energy = low
            + (0.8 * incident - low) * (k as f64 + rng.random_range(0.2..0.8))
                / recipe.groups.len() as f64;
        components.push(format!("component {k}"));
        lines.extend(lines_of(group, k, energy, incident, &mut rng));
    }
    let mut scatter = |on: bool, name: &str| {
        on.then(|| {
            components.push(name.to_string());
            components.len() - 1
        })
    };
    let elastic = scatter(recipe.switches.elastic, "elastic");
    let compton = scatter(recipe.switches.compton, "Compton");
    let amplitudes: Vec<f64> = components.iter().map(|_| rng.random_range(3.0..5.0)).collect();
    let problem = Problem {
        channels,
        first,
        count,
        elastic,
        compton,
        lines,
        parameters: values.iter().map(|&v| fixed(v)).collect(),
        amplitudes: amplitudes.iter().map(|&v| fixed(v)).collect(),
        components,
        templates: ndarray::Array2::zeros((0, 0)),
        pair_energy_ev: rng.random_range(2.9..3.7),
        tail: recipe.tail,
        escape_shift: recipe.shift,
        background: Background::Given,
        snip_order: SnipOrder::Simultaneous,
        snip_width: 0.5,
        objective: Objective::Mse,
        weights: Weights::None,
        optimizer: Optimizer::Adam,
        steps: 0,
        tolerance: 0.0,
        solve_start: false,
        clip_net_counts: false,
        limits: false,
        saturation: None,
    };
    compared(recipe.name, problem, &mut rng)
}

/// Counts that the model misses everywhere, by a fifth on average, and a background.
fn compared(name: &'static str, problem: Problem, rng: &mut ChaCha8Rng) -> Case {
    let variables: Vec<f64> =
        problem.parameters.iter().chain(&problem.amplitudes).map(|v| v.start).collect();
    let model = oracle::spectrum(&problem, &variables).total;
    let background: Vec<f64> =
        (0..problem.count).map(|c| 30.0 + 20.0 * (c as f64 / 97.0).cos()).collect();
    let mut counts = vec![7.0; problem.channels];
    for (c, y) in counts[problem.first..][..problem.count].iter_mut().enumerate() {
        *y = (model[c] + background[c]) * rng.random_range(0.6..1.0) + rng.random_range(0.0..9.0);
    }
    Case { name, problem, variables, counts, background }
}

/// Shape parameters in the kernels' order.
fn shapes(recipe: &Recipe, incident: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let s = recipe.switches;
    let on = |switch: bool, value: f64| if switch { value } else { 0.0 };
    let quadratic = recipe.curvature * recipe.slope / recipe.channels.0 as f64;
    let mut within = |low: f64, high: f64| rng.random_range(low..high);
    let mut value = |name: &str| match name {
        "ENERGY_OFFSET" => within(-0.03, 0.03),
        "ENERGY_SLOPE" => recipe.slope * within(0.98, 1.02),
        "ENERGY_QUADRATIC" => quadratic * within(0.8, 1.2),
        "FWHM_OFFSET" => within(0.09, 0.14),
        "FWHM_FANOPRIME" => within(1e-4, 3e-4),
        "FWHM_SCALE" => 0.96,
        "COHERENT_SCT_ENERGY" => incident,
        "COMPTON_ANGLE" => within(70.0, 120.0),
        "COMPTON_FWHM_CORR" => within(1.2, 2.0),
        "COMPTON_F_STEP" => on(s.step, within(0.01, 0.05)),
        "COMPTON_F_TAIL" => within(0.1, 0.3),
        "COMPTON_HI_F_TAIL" => within(0.02, 0.1),
        "COMPTON_GAMMA" | "COMPTON_HI_GAMMA" | "GAMMA_OFFSET" => within(s.gamma.0, s.gamma.1),
        "GAMMA_LINEAR" => within(0.005, 0.01) * s.gamma.0,
        "F_STEP_OFFSET" => on(s.step, within(1e-4, 4e-4)),
        "F_STEP_LINEAR" => on(s.step, within(1e-5, 4e-5)),
        "F_TAIL_OFFSET" | "KB_F_TAIL_OFFSET" => within(0.02, 0.08),
        "F_TAIL_LINEAR" | "KB_F_TAIL_LINEAR" => within(2e-4, 8e-4),
        "SI_ESCAPE" => on(s.si, within(0.01, 0.05)),
        "GE_ESCAPE" => on(s.ge, within(0.02, 0.1)),
        other => panic!("{other} is new: say here what it is like"),
    };
    kernels::parameters().iter().map(|p| value(p.name)).collect()
}

/// Lines as a group has them: energies over the first one, ratios and types.
fn lines_of(group: Group, k: usize, energy: f64, incident: f64, rng: &mut impl Rng) -> Vec<Line> {
    use Family::{Alpha, Beta, M};
    let rows: &[(f64, f64, Family)] = match group {
        Group::K => {
            &[(1.0, 1.0, Alpha), (0.997, 0.51, Alpha), (1.1, 0.15, Beta), (1.115, 0.02, Beta)]
        }
        Group::L => &[
            (1.0, 1.0, Alpha),
            (0.992, 0.11, Alpha),
            (1.15, 0.7, Alpha),
            (1.17, 0.2, Alpha),
            (1.14, 0.1, Alpha),
            (1.36, 0.09, Alpha),
            (0.87, 0.04, Alpha),
            (1.2, 0.3, Alpha),
        ],
        Group::M => &[(1.0, 1.0, M), (0.997, 0.9, M), (1.04, 0.6, M), (1.13, 0.08, M)],
        Group::PileUp => &[(1.0, 1.0, Alpha), (1.05, 0.15, Alpha), (1.1, 0.01, Beta)],
    };
    let width = rng.random_range(0.8..1.2);
    let last = rows.len() - 1;
    let mut line = |i: usize, &(factor, ratio, family): &(f64, f64, Family)| Line {
        component: k,
        energy: factor * energy,
        ratio: ratio * rng.random_range(0.8..1.2),
        mu: 60.0 * (6.4 / (factor * energy)).powf(2.7).min(4.0),
        width,
        // of L lines, the last one needs more than the beam has
        edge: match (group, i == last) {
            (Group::L, true) => 1.1 * incident,
            (Group::PileUp, _) => -1.0,
            _ => 0.95 * incident.min(factor * energy),
        },
        family,
    };
    rows.iter().enumerate().map(|(i, row)| line(i, row)).collect()
}
