//! A second implementation of the MAPS model, written from the formulas alone: plain f64, every line at every
//! channel, nothing truncated.
#![allow(dead_code, reason = "each test uses its part")]

use std::f64::consts::{PI, SQRT_2};

use libm::erfc;
use xrfit::kernels;
use xrfit::problem::{EscapeShift, Family, Problem, Tail};

/// Si and Ge K-alpha, the photons that escape \[keV\].
const ESCAPES: [(&str, f64); 2] = [("SI_ESCAPE", 1.73998), ("GE_ESCAPE", 9.886)];

/// Counts over the fit window.
pub struct Spectrum {
    /// Without escape, `[components][window]`.
    pub components: Vec<Vec<f64>>,
    /// All components and their escape, `[window]`.
    pub total: Vec<f64>,
}

/// Full-energy peak at `d` keV from a line of width `sigma` \[1/keV\].
pub fn gaussian(d: f64, sigma: f64) -> f64 {
    (-0.5 * (d / sigma).powi(2)).exp() / (sigma * (2.0 * PI).sqrt())
}

/// Step below a line at `energy` keV \[1/keV\].
pub fn step(d: f64, sigma: f64, energy: f64) -> f64 {
    erfc(d / (SQRT_2 * sigma)) / (2.0 * energy)
}

/// Low-energy tail of length `gamma` peak widths \[1/keV\]; MAPS drops the exponential above the line.
pub fn tail(d: f64, sigma: f64, gamma: f64, shape: Tail) -> f64 {
    let decay = match shape {
        Tail::None => return 0.0,
        Tail::Maps => d.min(0.0),
        Tail::Hypermet => d,
    };
    // both exponents in one: either alone can leave the range of f64
    let exponent = decay / (gamma * sigma) + 0.5 / (gamma * gamma);
    let smeared = erfc(d / (SQRT_2 * sigma) + 1.0 / (SQRT_2 * gamma));
    if smeared == 0.0 { 0.0 } else { exponent.exp() * smeared / (2.0 * gamma * sigma) }
}

struct Model<'a> {
    problem: &'a Problem,
    variables: &'a [f64],
    /// Offset, slope and curvature of the channel energies.
    axis: [f64; 3],
}

fn value_of(variables: &[f64], name: &str) -> f64 {
    variables[kernels::parameter_index(name).expect("a parameter of the model")]
}

impl<'a> Model<'a> {
    fn new(problem: &'a Problem, variables: &'a [f64]) -> Self {
        let axis = ["ENERGY_OFFSET", "ENERGY_SLOPE", "ENERGY_QUADRATIC"];
        Self { problem, variables, axis: axis.map(|name| value_of(variables, name)) }
    }

    fn value(&self, name: &str) -> f64 {
        value_of(self.variables, name)
    }

    fn amplitude(&self, component: usize) -> f64 {
        10f64.powf(self.variables[kernels::parameters().len() + component])
    }

    /// Energy of a recorded channel \[keV\].
    fn energy(&self, channel: f64) -> f64 {
        let [offset, slope, curvature] = self.axis;
        offset + slope * channel + curvature * channel * channel
    }

    fn sigma(&self, energy: f64) -> f64 {
        let noise = self.value("FWHM_OFFSET") / 2.3548;
        let square =
            noise * noise + self.problem.pair_energy_ev * energy * self.value("FWHM_FANOPRIME");
        self.value("FWHM_SCALE") * square.sqrt()
    }

    fn per_channel(&self, density: impl Fn(f64) -> f64) -> Vec<f64> {
        let gain = self.value("ENERGY_SLOPE");
        let first = self.problem.first;
        (first..first + self.problem.count).map(|c| gain * density(self.energy(c as f64))).collect()
    }

    fn line(&self, line: &xrfit::problem::Line) -> Vec<f64> {
        let (e, mu) = (line.energy, line.mu);
        let sigma = self.sigma(e);
        let gamma =
            (self.value("GAMMA_OFFSET") + self.value("GAMMA_LINEAR") * e).abs() * line.width;
        let tailed = |offset: &str, linear: &str| match self.problem.tail {
            Tail::None => 0.0,
            _ => (self.value(offset) + self.value(linear) * mu).abs(),
        };
        let f_tail = match line.family {
            Family::Alpha => tailed("F_TAIL_OFFSET", "F_TAIL_LINEAR"),
            Family::Beta => tailed("KB_F_TAIL_OFFSET", "KB_F_TAIL_LINEAR"),
            Family::M => 0.0,
        };
        let f_step = (mu * (self.value("F_STEP_OFFSET") + self.value("F_STEP_LINEAR") * e)).abs();
        let norm = if line.family == Family::M { 1.0 } else { 1.0 + f_tail + f_step };
        let area = self.amplitude(line.component) * line.ratio / norm;
        self.per_channel(|at| {
            let d = at - e;
            area * (gaussian(d, sigma)
                + f_step * step(d, sigma, e)
                + f_tail * tail(d, sigma, gamma, self.problem.tail))
        })
    }

    fn elastic(&self, component: usize) -> Vec<f64> {
        let energy = self.value("COHERENT_SCT_ENERGY");
        let sigma = self.sigma(energy);
        self.per_channel(|at| self.amplitude(component) * gaussian(at - energy, sigma))
    }

    fn compton_energy(&self) -> f64 {
        let incident = self.value("COHERENT_SCT_ENERGY");
        let angle = self.value("COMPTON_ANGLE").to_radians();
        incident / (1.0 + incident / 511.0 * (1.0 - angle.cos()))
    }

    fn compton(&self, component: usize) -> Vec<f64> {
        let energy = self.compton_energy();
        let sigma = self.sigma(energy);
        let shape = self.problem.tail;
        let tailed = |name: &str| if shape == Tail::None { 0.0 } else { self.value(name) };
        let f_step = self.value("COMPTON_F_STEP");
        let (low, high) = (tailed("COMPTON_F_TAIL"), tailed("COMPTON_HI_F_TAIL"));
        let area = self.amplitude(component) / (1.0 + f_step + low + high);
        let (low_gamma, high_gamma) = (self.value("COMPTON_GAMMA"), self.value("COMPTON_HI_GAMMA"));
        let wide = sigma * self.value("COMPTON_FWHM_CORR");
        self.per_channel(|at| {
            let d = at - energy;
            area * (gaussian(d, wide)
                + f_step * step(d, sigma, energy)
                + low * tail(d, sigma, low_gamma, shape)
                + high * tail(-d, sigma, high_gamma, shape))
        })
    }

    /// Channels between a photon of channel `c` of the window and its escape.
    fn escape_shift(&self, c: usize, escape: f64) -> usize {
        let (first, n) = (self.problem.first as f64, self.problem.count as f64);
        let spacing = match self.problem.escape_shift {
            EscapeShift::Local => {
                let at = first + c as f64;
                0.5 * (self.energy(at + 1.0) - self.energy(at - 1.0))
            }
            EscapeShift::First => self.energy(first + 1.0) - self.energy(first),
            EscapeShift::Mean => (self.energy(first + n - 1.0) - self.energy(first)) / (n - 1.0),
        };
        (escape / spacing).round() as usize
    }
}

/// Where the model is not smooth: the whole channels by which escape moves photons, and between which channels
/// the peaks lie. Between two sets of variables with the same pieces it is smooth.
pub fn pieces(problem: &Problem, variables: &[f64]) -> Vec<usize> {
    let model = Model::new(problem, variables);
    let window = problem.first..problem.first + problem.count;
    let used = ESCAPES.iter().filter(|(name, _)| model.value(name) != 0.0);
    let shifts = used.flat_map(|&(_, energy)| {
        (0..problem.count).map(|c| model.escape_shift(c, energy)).collect::<Vec<_>>()
    });
    let peaks = problem.lines.iter().map(|line| line.energy).chain([model.compton_energy()]);
    let below = |peak: f64| window.clone().filter(|&c| model.energy(c as f64) < peak).count();
    shifts.chain(peaks.map(below)).collect()
}

/// The model at `variables`: shape parameters, then log10 amplitudes.
pub fn spectrum(problem: &Problem, variables: &[f64]) -> Spectrum {
    let model = Model::new(problem, variables);
    let mut components = vec![vec![0.0; problem.count]; problem.components.len()];
    let mut add = |component: usize, counts: Vec<f64>| {
        components[component].iter_mut().zip(counts).for_each(|(sum, y)| *sum += y);
    };
    let incident = model.value("COHERENT_SCT_ENERGY");
    for line in problem.lines.iter().filter(|line| line.edge < incident) {
        add(line.component, model.line(line));
    }
    if let Some(k) = problem.elastic {
        add(k, model.elastic(k));
    }
    if let Some(k) = problem.compton {
        add(k, model.compton(k));
    }
    let sum: Vec<f64> =
        (0..problem.count).map(|c| components.iter().map(|k| k[c]).sum::<f64>()).collect();
    let mut total = sum.clone();
    for (name, energy) in ESCAPES {
        for (c, counts) in total.iter_mut().enumerate() {
            let parent = c + model.escape_shift(c, energy);
            *counts += model.value(name) * sum.get(parent).copied().unwrap_or(0.0);
        }
    }
    Spectrum { components, total }
}
