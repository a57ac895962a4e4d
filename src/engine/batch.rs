//! What an engine takes and gives: batches of spectra, and their fits.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::kernels::Status;
use crate::problem::{Background, Optimizer, Problem};

/// Where each spectrum starts.
#[derive(Clone, Copy, Debug)]
pub enum Starts<'a> {
    /// All at the problem's first-pass values.
    FirstPass,
    /// Each at its own, `[n, variables]`: shape parameters, then log10 amplitudes. Not with
    /// [`Optimizer::Nnls`](crate::problem::Optimizer::Nnls), whose components are made once, at the problem's own shapes.
    Each(ArrayView2<'a, f64>),
}

/// A batch of spectra.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[n, channels]` \[counts\].
    pub counts: ArrayView2<'a, f32>,
    /// `[n, window]` \[counts\], where the problem says that the background is given.
    pub background: Option<ArrayView2<'a, f32>>,
    /// Where they start.
    pub starts: Starts<'a>,
}

/// One spectrum `[channels]` \[counts\] as those of a batch, `[1, channels]`.
pub fn single(counts: ArrayView1<f64>) -> Array2<f32> {
    counts.mapv(|y| y as f32).insert_axis(Axis(0))
}

impl<'a> Batch<'a> {
    /// Spectra that start at the first-pass values and find their own background.
    pub fn of(counts: ArrayView2<'a, f32>) -> Self {
        Self { counts, background: None, starts: Starts::FirstPass }
    }

    /// Some of its spectra.
    pub fn part(&self, spectra: Range<usize>) -> Self {
        let rows = s![spectra, ..];
        Self {
            counts: self.counts.slice_move(rows),
            background: self.background.map(|b| b.slice_move(rows)),
            starts: match self.starts {
                Starts::FirstPass => Starts::FirstPass,
                Starts::Each(starts) => Starts::Each(starts.slice_move(rows)),
            },
        }
    }

    /// Kernels trust these; a batch that breaks them is our mistake.
    pub(super) fn check(&self, problem: &Problem) {
        self.check_counts(problem);
        let n = self.counts.nrows();
        if let Some(b) = self.background {
            assert_eq!(b.dim(), (n, problem.count), "one background per spectrum, over the window");
        }
        if let Starts::Each(s) = self.starts {
            assert_ne!(
                problem.optimizer,
                Optimizer::Nnls,
                "linear fits start at the problem's shapes"
            );
            assert_eq!(s.dim(), (n, problem.variable_count()), "one start per spectrum");
        }
        assert_eq!(
            problem.background.has_templates(),
            problem.templates.nrows() > 0,
            "a background of templates has them"
        );
        assert_eq!(
            problem.background == Background::Given,
            self.background.is_some(),
            "a background is given where the problem wants one"
        );
    }

    pub(super) fn check_counts(&self, problem: &Problem) {
        check(problem);
        assert_eq!(self.counts.ncols(), problem.channels, "spectra have the problem's channels");
    }
}

fn check(p: &Problem) {
    assert!(p.count > 0 && p.first + p.count <= p.channels, "the fit window lies in the spectrum");
    assert_eq!(
        p.parameters.len(),
        crate::kernels::parameters().len(),
        "every shape parameter has a value"
    );
    assert_eq!(p.amplitudes.len(), p.components.len(), "every component has an amplitude");
    assert!(
        p.templates.nrows() == 0 || p.background.has_templates(),
        "templates make a background"
    );
    assert!(
        p.templates.nrows() == 0 || p.templates.ncols() == p.count,
        "templates span the window"
    );
    assert!(p.lines.iter().all(|l| l.component < p.components.len()), "lines belong to components");
    assert!(
        p.elastic.into_iter().chain(p.compton).all(|i| i < p.components.len()),
        "scatter is a component"
    );
}

pub(super) fn check_case(
    problem: &Problem,
    variables: &[f64],
    counts: ArrayView1<f64>,
    background: ArrayView1<f64>,
) {
    check(problem);
    assert_eq!(variables.len(), problem.variable_count(), "one value per variable");
    assert_eq!(
        (counts.len(), background.len()),
        (problem.channels, problem.count),
        "counts by channel, background by window"
    );
}

/// Counts summed exactly, so that the order of spectra does not matter: fixed point with 20 binary places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactSum(pub Vec<i64>);

impl ExactSum {
    const SCALE: f64 = 1_048_576.0;

    /// `n` zeros.
    pub fn zeros(n: usize) -> Self {
        Self(vec![0; n])
    }

    /// Adds counts, channel by channel.
    pub fn add(&mut self, counts: impl IntoIterator<Item = f64>) {
        for (sum, y) in self.0.iter_mut().zip(counts) {
            let units = y * Self::SCALE;
            // of f32 as `round` does, which is a call where the processor need not have SSE 4.1
            *sum = sum.saturating_add((units + 0.5_f64.copysign(units)) as i64);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (sum, y) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*y);
        }
    }

    /// The sums \[counts\].
    pub fn counts(&self) -> Array1<f64> {
        self.0.iter().map(|&s| s as f64 / Self::SCALE).collect()
    }
}

/// Fits of a batch, in its order; NaN where a spectrum could not be fitted.
#[derive(Clone, Debug)]
pub struct Fits {
    /// Shape parameters in the kernels' order, `[n, parameters]`.
    pub parameters: Array2<f64>,
    /// Net counts in each component's first line, `[n, components]` \[counts\].
    pub amplitudes: Array2<f64>,
    /// Standard deviations of the free shape parameters, `[n, parameters]`; NaN of the others.
    pub parameter_sigma: Array2<f64>,
    /// Standard deviations of the amplitudes, `[n, components]` \[counts\]; NaN after [`Optimizer::Nnls`].
    ///
    /// [`Optimizer::Nnls`]: crate::problem::Optimizer::Nnls
    pub amplitude_sigma: Array2<f64>,
    /// Amplitudes that may be below 0, `[n, components]` \[counts\]: without bias, to be averaged; NaN as above.
    pub signed_amplitudes: Array2<f64>,
    /// What 95 % of each amplitude's likelihood lies below, and the amplitudes that would be found, `[n, components]` each
    /// \[counts\]; without columns where the problem asks for no limits.
    pub limits: [Array2<f64>; 2],
    /// Amplitudes of the templates, `[n, templates]`.
    pub template_amplitudes: Array2<f64>,
    /// Objective at the end, `[n]`.
    pub objective: Array1<f64>,
    /// R² of the counts in the window, `[n]`.
    pub r_squared: Array1<f64>,
    /// R² of log10(counts + 1), `[n]`.
    pub r_squared_log: Array1<f64>,
    /// Poisson deviance over the window's channels less the free variables, `[n]`.
    pub deviance: Array1<f64>,
    /// Counts of the background in the window, `[n]`.
    pub background_counts: Array1<f64>,
    /// Steps taken, `[n]`.
    pub steps: Array1<u32>,
    /// How each ended, `[n]`.
    pub status: Vec<Status>,
    /// Sum of the fitted spectra, background included, over the window.
    pub fitted: ExactSum,
    /// Sum of the backgrounds over the window.
    pub background: ExactSum,
}

impl Fits {
    /// Room for the fits of `n` spectra; nothing is fitted yet.
    pub fn unfitted(problem: &Problem, n: usize) -> Self {
        let (p, k) = (problem.parameters.len(), problem.components.len());
        let nan = || Array1::from_elem(n, f64::NAN);
        Self {
            parameters: Array2::from_elem((n, p), f64::NAN),
            amplitudes: Array2::from_elem((n, k), f64::NAN),
            parameter_sigma: Array2::from_elem((n, p), f64::NAN),
            amplitude_sigma: Array2::from_elem((n, k), f64::NAN),
            signed_amplitudes: Array2::from_elem((n, k), f64::NAN),
            limits: [(); 2].map(|()| Array2::from_elem((n, problem.limited()), f64::NAN)),
            template_amplitudes: Array2::from_elem((n, problem.templates.nrows()), f64::NAN),
            objective: nan(),
            r_squared: nan(),
            r_squared_log: nan(),
            deviance: nan(),
            background_counts: nan(),
            steps: Array1::zeros(n),
            status: vec![Status::Empty; n],
            fitted: ExactSum::zeros(problem.count),
            background: ExactSum::zeros(problem.count),
        }
    }

    /// Puts the fits of some of the spectra, from number `first` on, in their place.
    pub fn put(&mut self, first: usize, part: &Self) {
        let rows = first..first + part.status.len();
        self.parameters.slice_mut(s![rows.clone(), ..]).assign(&part.parameters);
        self.amplitudes.slice_mut(s![rows.clone(), ..]).assign(&part.amplitudes);
        self.parameter_sigma.slice_mut(s![rows.clone(), ..]).assign(&part.parameter_sigma);
        self.amplitude_sigma.slice_mut(s![rows.clone(), ..]).assign(&part.amplitude_sigma);
        self.signed_amplitudes.slice_mut(s![rows.clone(), ..]).assign(&part.signed_amplitudes);
        for (limits, part) in self.limits.iter_mut().zip(&part.limits) {
            limits.slice_mut(s![rows.clone(), ..]).assign(part);
        }
        self.template_amplitudes.slice_mut(s![rows.clone(), ..]).assign(&part.template_amplitudes);
        self.objective.slice_mut(s![rows.clone()]).assign(&part.objective);
        self.r_squared.slice_mut(s![rows.clone()]).assign(&part.r_squared);
        self.r_squared_log.slice_mut(s![rows.clone()]).assign(&part.r_squared_log);
        self.deviance.slice_mut(s![rows.clone()]).assign(&part.deviance);
        self.background_counts.slice_mut(s![rows.clone()]).assign(&part.background_counts);
        self.steps.slice_mut(s![rows.clone()]).assign(&part.steps);
        self.status[rows].copy_from_slice(&part.status);
        self.fitted.merge(&part.fitted);
        self.background.merge(&part.background);
    }
}

/// The model at given variables.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// All components with escape, `[window]` \[counts\].
    pub total: Array1<f64>,
    /// Each component without escape, `[components, window]` \[counts\].
    pub components: Array2<f64>,
    /// Objective against the given counts and background.
    pub objective: f64,
    /// Its derivative by shape parameter and log10 amplitude, `[variables]`.
    pub gradient: Array1<f64>,
}
