//! What the pixels of a scan have in common before any is fitted: the background of their sum, how their shapes scatter,
//! and where their amplitudes start. Rank 0 finds it, all ranks have it.

use std::ops::Range;

use ndarray::{Array1, Array2};

use super::calibrate::{Found, widened};
use super::{Chosen, problem, sum};
use crate::background::{self, Pooled};
use crate::cli::WorkArgs;
use crate::cluster::Cluster;
use crate::config::{Priors, Settings};
use crate::engine::{self, Choice, Engine, Precision};
use crate::error::Result;
use crate::fit;
use crate::kernels;
use crate::priors::{self, Scatter};
use crate::problem::{Background, Optimizer, Problem, Variable};
use crate::scan::{ScanReader, spectra_of};

/// Pixels that tell how shapes scatter, in stretches of neighbours, as files keep them together.
const SAMPLED: usize = 1024;
const STRETCHES: usize = 32;
/// A deviance of the sum per channel above which it is not the model's scatter alone.
const RIGHT: f64 = 1.1;

/// The settings of pixels, their problem, and what is known of the sum.
pub(super) struct Common {
    pub settings: Settings,
    pub problem: Problem,
    /// Poisson deviance of the sum's fit over its channels less the free variables; NaN without such a fit.
    pub deviance: f64,
}

/// Finds it for a detector; and as bytes for [`Common::of`], nothing where the settings say all.
pub(super) fn common(
    scan: &mut dyn ScanReader,
    which: Chosen,
    found: &Found,
    work: &WorkArgs,
    cluster: &mut dyn Cluster,
) -> Result<(Common, Vec<u8>)> {
    let (settings, info) = (found.settings.clone(), scan.info().clone());
    let problem = cluster.agree(problem(&settings, &info, which))?;
    let plain = Common::of(settings, problem, &[]);
    if !plain.problem.background.has_templates() && !plain.scatters() {
        return Ok((plain, Vec::new()));
    }
    let spectrum = match &found.spectrum {
        Some(spectrum) => spectrum.clone(),
        None => sum::spectrum(scan, which, work, cluster)?,
    };
    let mut of_rank_0 = Ok(Vec::new());
    if cluster.rank() == 0 {
        let spectrum = widened(&spectrum, &plain.problem);
        let sample = if plain.scatters() {
            sample(scan, which, &plain.problem)
        } else {
            Ok(Array2::zeros((0, 0)))
        };
        of_rank_0 = sample.and_then(|sample| {
            Look { which, spectrum, sample, pixels: info.pixels() }.found(&plain)
        });
    }
    let bytes = cluster.agree(of_rank_0)?;
    let bytes = cluster.broadcast(bytes);
    Ok((Common::of(plain.settings, plain.problem, &bytes), bytes))
}

/// What rank 0 looks at.
struct Look {
    which: Chosen,
    /// Sum of all pixels, `[channels]`.
    spectrum: Array1<f64>,
    /// Some pixels, `[n, channels]`.
    sample: Array2<f32>,
    pixels: usize,
}

impl Look {
    /// Background, scatter and starts, as bytes.
    fn found(&self, plain: &Common) -> Result<Vec<u8>> {
        let engine = engine::open(Choice::Cpu, Precision::F64)?;
        let mut problem = plain.problem.clone();
        let mut deviance = f64::NAN;
        if problem.background.has_templates() {
            let pooled = self.background(&*engine, &problem, &plain.settings);
            deviance = pooled.deviance;
            let values = pooled.parameters.iter();
            problem.parameters.iter_mut().zip(values).for_each(|(v, &value)| v.move_to(value));
            problem.templates = self.templates(&problem, &pooled);
        }
        let scatter = if plain.scatters() {
            let fast = engine::open(Choice::Cpu, Precision::F32)?;
            priors::of_sample(&*fast, &problem, self.sample.view())?
        } else {
            Vec::new()
        };
        for one in &scatter {
            self.say(one);
            let variable = &mut problem.parameters[one.parameter];
            (variable.start, variable.prior) = (one.mean, Some(one.prior()));
        }
        if problem.background == Background::Pooled && deviance.is_finite() {
            let mut by = vec![0.0; problem.parameters.len()];
            scatter.iter().for_each(|one| by[one.parameter] = one.deviation);
            let spectrum = self.spectrum.view();
            match background::of_mixture(&*engine, &problem, &by, spectrum, self.pixels) {
                Ok(refined) => {
                    deviance = refined.deviance;
                    problem.templates = self.templates(&problem, &refined);
                }
                Err(why) => log::warn!("{}as its peaks scatter, {why}", self.which.prefix()),
            }
            self.tell(deviance);
        }
        let spectrum = self.spectrum.view();
        if problem.solve_start
            && problem.optimizer == Optimizer::Newton
            && let Err(why) =
                background::start_from_mean(&*engine, &mut problem, spectrum, self.pixels)
        {
            log::debug!(
                "{}amplitudes are weighed as if they had 1 count each: {why}",
                self.which.prefix()
            );
        }
        Ok(to_bytes(&problem, deviance))
    }

    /// The background of the sum; SNIP where its fit fails.
    fn background(&self, engine: &dyn Engine, problem: &Problem, settings: &Settings) -> Pooled {
        let snip = || {
            Pooled::snip(engine, &problem.without_background(), self.spectrum.view(), self.pixels)
                .expect("SNIP always ends")
        };
        if problem.background == Background::SnipSum || self.spectrum.sum() == 0.0 {
            return snip();
        }
        let mut of_sum = problem.clone();
        for (i, parameter) in of_sum.parameters.iter_mut().enumerate() {
            parameter.free = settings.first_pass_free.iter().any(|name| name.index() == i);
        }
        background::of_sum(engine, &of_sum, self.spectrum.view(), self.pixels).unwrap_or_else(
            |why| {
                log::warn!("{}{why}; SNIP of the sum takes its place", self.which.prefix());
                snip()
            },
        )
    }

    fn templates(&self, problem: &Problem, pooled: &Pooled) -> Array2<f64> {
        let window = problem.first..problem.first + problem.count;
        let mean = self.spectrum.slice(ndarray::s![window]).sum() / self.pixels.max(1) as f64;
        pooled.templates(mean)
    }

    fn say(&self, one: &Scatter) {
        let info = &kernels::parameters()[one.parameter];
        log::info!(
            "{}{} of pixels: {:.5} {}, scatter {:.5}, prior {:.5}",
            self.which.prefix(),
            info.name,
            one.mean,
            info.unit,
            one.deviation,
            one.prior().width
        );
    }

    fn tell(&self, deviance: f64) {
        let prefix = self.which.prefix();
        log::info!("{prefix}background of the sum: deviance {deviance:.2} per channel");
        if deviance > RIGHT {
            log::info!(
                "{prefix}(above {RIGHT} the model misses more of the sum than its counts scatter: a missing element, \
                 line ratios, peak shapes)"
            );
        }
    }
}

impl Common {
    /// Is the scatter of shapes sought?
    fn scatters(&self) -> bool {
        let unknown = |v: &Variable| v.free && v.prior.is_none();
        self.settings.fit.priors == Priors::Scan
            && self.problem.optimizer == Optimizer::Newton
            && self.problem.parameters.iter().any(unknown)
    }

    /// Settings and their problem with what [`common`] found.
    pub(super) fn of(settings: Settings, problem: Problem, bytes: &[u8]) -> Self {
        let plain = Self { settings, problem, deviance: f64::NAN };
        if bytes.is_empty() { plain } else { plain.with(bytes) }
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        let mut values = bytes.as_chunks().0.iter().map(|v| f64::from_le_bytes(*v));
        let mut next = || values.next().expect("as many values as were sent");
        self.deviance = next();
        let rows = next() as usize;
        let shape = (rows, self.problem.count);
        self.problem.templates = Array2::from_shape_simple_fn(shape, &mut next);
        let starts: Vec<f64> = self.problem.parameters.iter().map(|_| next()).collect();
        let widths: Vec<f64> = self.problem.parameters.iter().map(|_| next()).collect();
        self.problem.amplitudes.iter_mut().for_each(|variable| variable.start = next());
        let known = widths.into_iter().enumerate().filter(|(_, width)| *width > 0.0);
        self.settings = self.settings.with_calibrated(&starts).with_priors(known);
        for (variable, settled) in self.problem.parameters.iter_mut().zip(&self.settings.parameters)
        {
            *variable = Variable { free: variable.free, ..*settled };
        }
        self
    }
}

fn to_bytes(problem: &Problem, deviance: f64) -> Vec<u8> {
    let starts = problem.parameters.iter().map(|v| v.start);
    let widths = problem.parameters.iter().map(|v| v.prior.map_or(0.0, |prior| prior.width));
    [deviance, problem.templates.nrows() as f64]
        .into_iter()
        .chain(problem.templates.iter().copied())
        .chain(starts)
        .chain(widths)
        .chain(problem.amplitudes.iter().map(|v| v.start))
        .flat_map(f64::to_le_bytes)
        .collect()
}

/// Some sound pixels of the whole scan, `[n, channels]`.
fn sample(scan: &mut dyn ScanReader, which: Chosen, problem: &Problem) -> Result<Array2<f32>> {
    let pixels = scan.info().pixels();
    let each = SAMPLED / STRETCHES;
    let stretches: Vec<Range<usize>> = match pixels <= SAMPLED {
        true => std::iter::once(0..pixels).collect(),
        false => {
            let start = |i: usize| i * (pixels - each) / (STRETCHES - 1);
            (0..STRETCHES).map(|i| start(i)..start(i) + each).collect()
        }
    };
    let mut all = Array2::zeros((0, problem.channels));
    for stretch in stretches {
        let spectra = fit::padded(spectra_of(scan, which.detector, stretch)?, problem.channels);
        let rows = spectra.rows().into_iter();
        for row in rows.filter(|row| fit::is_sound(row.view(), problem.saturation)) {
            all.push_row(row).expect("rows of one width");
        }
    }
    Ok(all)
}
