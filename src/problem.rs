//! What a fit needs to know: lines, parameters, objective and optimiser, resolved. The only input of
//! an engine besides the spectra; no element names, files or ranks matter to it.

use ndarray::{Array1, Array2};

use crate::kernels;

/// Which tail fraction belongs to a line, and whether it is normalised; MAPS' line types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Family {
    /// K-alpha and all L lines: F_TAIL_*.
    Alpha = 0,
    /// K-beta lines: KB_F_TAIL_*.
    Beta = 1,
    /// M lines: no tail, not normalised by the step.
    M = 2,
}

/// One emission line as the kernels see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Index of its component.
    pub component: usize,
    /// Energy \[keV\].
    pub energy: f64,
    /// Intensity over the component's first line \[1\].
    pub ratio: f64,
    /// `mu_fraction` of the step and linear tail terms \[cm²/g\].
    pub mu: f64,
    /// Multiplier of the tail length \[1\].
    pub width: f64,
    /// The line exists for incident energies above this \[keV\]; -1: always.
    pub edge: f64,
    /// Line type.
    pub family: Family,
}

/// What was known of a variable before the fit: a Gaussian, in the variable's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Its centre.
    pub center: f64,
    /// Its standard deviation, above 0.
    pub width: f64,
}

/// One fitted variable: start, bounds, whether it moves, and Adam's learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variable {
    /// First-pass value; log10 counts for an amplitude.
    pub start: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Fitted?
    pub free: bool,
    /// Learning rate per step.
    pub rate: f64,
    /// What is known of it already; of shape parameters.
    pub prior: Option<Prior>,
}

impl Variable {
    /// Starts at a value, around which its prior is; its bounds make room for it.
    pub fn move_to(&mut self, value: f64) {
        self.start = value;
        (self.lower, self.upper) = (self.lower.min(value), self.upper.max(value));
        self.prior = self.prior.map(|prior| Prior { center: value, ..prior });
    }
}

/// Shape of the low-energy tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Tail {
    /// No tails, whatever the fractions say.
    None = 0,
    /// MAPS: above the line the exponential is dropped.
    Maps = 1,
    /// The textbook form (van Espen).
    Hypermet = 2,
}

/// Which channel spacing turns the escape energy into channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum EscapeShift {
    /// The spacing at each channel.
    Local = 0,
    /// The spacing of the first two channels (XRF-Maps).
    First = 1,
    /// The mean spacing (MapsTorch).
    Mean = 2,
}

/// Order in which SNIP updates channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(i32)]
pub enum SnipOrder {
    /// All at once.
    Simultaneous = 0,
    /// Ascending and in place (XRF-Maps).
    InPlace = 1,
}

/// What is added to the model before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(i32)]
pub enum Background {
    /// Nothing.
    None = 0,
    /// SNIP of the spectrum itself, at the first-pass calibration, frozen during the fit.
    Snip = 1,
    /// A background given with the spectra.
    Given = 2,
    /// The problem's templates, whose amplitudes are fitted: the background of the scan's sum, found with its lines.
    Pooled = 3,
    /// The same with SNIP of the scan's sum.
    SnipSum = 4,
}

impl Background {
    /// Is it made of templates?
    pub const fn has_templates(self) -> bool {
        matches!(self, Background::Pooled | Background::SnipSum)
    }
}

/// Scalar type of the channel loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Lines to 1e-7 of their peak: 1e-5 of the spectrum's maximum, twice as fast.
    F32,
    /// The reference: lines to 1e-16 of their peak.
    F64,
}

impl Precision {
    /// `f32` or `f64`.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        }
    }
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Objective {
    /// Mean over the window's channels of (model + background - counts)².
    Mse = 0,
    /// Mean over the channels of the Poisson deviance.
    Poisson = 1,
    /// As the mean squared error, each channel with its weight.
    Chi2 = 2,
}

/// Weights of the channels in [`Objective::Chi2`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(i32)]
pub enum Weights {
    /// All alike.
    None = 0,
    /// 1 / (1 + counts), smoothed over five channels, over the spectrum's largest (XRF-Maps).
    XrfMaps = 1,
    /// 1 / (model + background), of the model where a step starts; Adam renews them every 50 steps.
    Expected = 2,
}

/// What minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Optimizer {
    /// Adam on shape parameters and log10 amplitudes (Kingma & Ba 2015).
    Adam = 0,
    /// Amplitudes alone, by non-negative linear least squares with the shapes as they start.
    Nnls = 1,
    /// Newton's method on shape parameters and amplitudes that are not below 0.
    Newton = 2,
}

/// The resolved fit of one detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Channels of a spectrum as recorded.
    pub channels: usize,
    /// Fit window: first channel.
    pub first: usize,
    /// Fit window: number of channels.
    pub count: usize,
    /// Component names, in output order, scatter included.
    pub components: Vec<String>,
    /// Index of the elastic peak among the components.
    pub elastic: Option<usize>,
    /// Index of the Compton peak among the components.
    pub compton: Option<usize>,
    /// Emission lines.
    pub lines: Vec<Line>,
    /// Shape parameters in the kernels' order.
    pub parameters: Vec<Variable>,
    /// log10 amplitudes \[log10 counts\], one per component.
    pub amplitudes: Vec<Variable>,
    /// Parts of the background that no parameter shapes, `[templates, count]` \[counts\]: each has an amplitude that is
    /// not below 0. Where there are any, the background is [`Background::Pooled`] or [`Background::SnipSum`].
    pub templates: Array2<f64>,
    /// Energy per electron-hole pair \[eV\].
    pub pair_energy_ev: f64,
    /// Tail shape.
    pub tail: Tail,
    /// Escape shift.
    pub escape_shift: EscapeShift,
    /// Background.
    pub background: Background,
    /// SNIP order.
    pub snip_order: SnipOrder,
    /// SNIP width factor (MAPS' SNIP_WIDTH) \[1\].
    pub snip_width: f64,
    /// What is minimised.
    pub objective: Objective,
    /// Weights of the channels, where that is [`Objective::Chi2`].
    pub weights: Weights,
    /// What minimises.
    pub optimizer: Optimizer,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Relative decrease of the objective over 50 steps below which Adam stops; 0: never.
    pub tolerance: f64,
    /// Start amplitudes from a non-negative linear solve rather than from the starts.
    pub solve_start: bool,
    /// Counts below the background count as zero in linear solves (XRF-Maps' NNLS).
    pub clip_net_counts: bool,
    /// Upper and detection limits are found too, where the objective knows how counts scatter.
    pub limits: bool,
    /// A channel at this count is saturated.
    pub saturation: Option<f32>,
}

/// log10 amplitude of a template: it starts as it is.
const OF_TEMPLATE: Variable =
    Variable { start: 0.0, lower: -12.0, upper: 12.0, free: true, rate: 1e-2, prior: None };

impl Problem {
    /// The same without any background.
    #[must_use]
    pub fn without_background(&self) -> Self {
        Self {
            background: Background::None,
            templates: Array2::zeros((0, self.count)),
            ..self.clone()
        }
    }

    /// Values of the shape parameters at the start, in the kernels' order.
    pub fn shapes(&self) -> Vec<f64> {
        self.parameters.iter().map(|v| v.start).collect()
    }

    /// Value of a shape parameter at the start, by its MAPS name.
    ///
    /// # Panics
    ///
    /// When the model has no such parameter.
    pub fn start(&self, name: &str) -> f64 {
        self.parameters[kernels::known_parameter(name)].start
    }

    /// Energy of each recorded channel at the start's calibration, `[channels]` \[keV\].
    pub fn energies(&self) -> Array1<f64> {
        let [offset, slope, quadratic] = self.calibration();
        (0..self.channels).map(|c| c as f64).map(|c| offset + c * (slope + c * quadratic)).collect()
    }

    /// The start's offset \[keV\], slope \[keV/channel\] and quadratic term \[keV/channel²\].
    pub fn calibration(&self) -> [f64; 3] {
        ["ENERGY_OFFSET", "ENERGY_SLOPE", "ENERGY_QUADRATIC"].map(|name| self.start(name))
    }

    /// All variables: shape parameters, then log10 amplitudes of components and of templates.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        let shaped = self.parameters.iter().chain(&self.amplitudes).copied();
        shaped.chain(std::iter::repeat_n(OF_TEMPLATE, self.templates.nrows()))
    }

    /// Components that have limits.
    pub fn limited(&self) -> usize {
        if self.limits { self.components.len() } else { 0 }
    }

    /// Number of variables.
    pub fn variable_count(&self) -> usize {
        self.parameters.len() + self.components.len() + self.templates.nrows()
    }

    /// First-pass values of all variables.
    pub fn start_values(&self) -> impl Iterator<Item = f64> {
        self.variables().map(|v| v.start)
    }

    /// Unit of the objective's value.
    pub const fn objective_unit(&self) -> &'static str {
        match (self.objective, self.weights) {
            (Objective::Poisson, _) | (Objective::Chi2, Weights::Expected) => "1",
            _ => "counts^2",
        }
    }

    /// Is this component elastic or Compton scatter?
    pub fn is_scatter(&self, component: usize) -> bool {
        [self.elastic, self.compton].contains(&Some(component))
    }

    /// Indices of the free shape parameters.
    pub fn free_parameters(&self) -> Vec<usize> {
        (0..self.parameters.len()).filter(|&i| self.parameters[i].free).collect()
    }
}
