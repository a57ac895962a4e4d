//! Promise: `newton` ends where the objective is smallest with no amplitude below 0, whichever objective; its
//! uncertainties are those of the Fisher information; priors act as a measurement would; every way to end has its
//! status; and f32 and the GPU's kernels agree with f64 on the CPU.
//!
//! Witnesses: central differences of the model for the columns; the adjoint's gradient for the conditions of the
//! optimum; expectation maximisation, which knows neither derivatives nor matrices, for the amplitudes.

#[path = "common/differences.rs"]
mod differences;
#[path = "common/emulator.rs"]
mod emulator;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use emulator::{Spectra, Way};
use ndarray::{Array1, Array2};
use random::Case;
use rayon::prelude::*;
use xrfit::engine::{Batch, Choice, Fits, Precision, Starts, open};
use xrfit::kernels::{self, Status, known_parameter};
use xrfit::problem::{Background, Objective, Optimizer, Prior, Weights};

/// What `--free default` frees.
const DEFAULT: [&str; 4] = ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_FANOPRIME"];

const OBJECTIVES: [(Objective, Weights); 4] = [
    (Objective::Poisson, Weights::None),
    (Objective::Mse, Weights::None),
    (Objective::Chi2, Weights::XrfMaps),
    (Objective::Chi2, Weights::Expected),
];

/// A case that Newton fits from its own variables, with these shapes free.
fn newton(case: Case, free: &[&str]) -> Case {
    let mut case = case;
    for (v, info) in case.problem.parameters.iter_mut().zip(kernels::parameters()) {
        (v.free, v.lower, v.upper) = (free.contains(&info.name), info.lower, info.upper);
        v.lower = v.lower.min(v.start);
        v.upper = v.upper.max(v.start);
    }
    for v in &mut case.problem.amplitudes {
        (v.free, v.lower, v.upper) = (true, -11.0, 20.0);
    }
    case.problem.objective = Objective::Poisson;
    case.problem.optimizer = Optimizer::Newton;
    case.problem.background = Background::Given;
    (case.problem.steps, case.problem.limits) = (50, true);
    case
}

/// Counts scattered as Poisson's are around the model, `share` of it; the first component is not there.
fn counted(mut case: Case, share: f64) -> Case {
    let first = kernels::parameters().len();
    let mut truth = case.variables.clone();
    for v in &mut truth[first..] {
        *v += share.log10();
    }
    truth[first] = -9.0;
    let model = case.evaluate_at(Precision::F64, &truth).total;
    case.background.iter_mut().for_each(|b| *b *= share);
    case.counts.fill(0.0);
    for (c, m) in model.iter().enumerate() {
        let mean = m + case.background[c];
        // by a rule instead of by chance
        let scatter = 1.4 * (c as f64 * c as f64 * 0.7).sin();
        case.counts[case.problem.first + c] = (mean + mean.sqrt() * scatter).round().max(0.0);
    }
    case.variables = truth;
    case
}

fn row(values: &[f64]) -> Array2<f64> {
    Array2::from_shape_vec((1, values.len()), values.to_vec()).expect("one row")
}

/// The fit of a case from `start`.
fn fit_from(case: &Case, precision: Precision, start: &[f64]) -> Fits {
    let (counts, background) =
        (row(&case.counts).mapv(|y| y as f32), row(&case.background).mapv(|b| b as f32));
    let start = row(start);
    let batch = Batch {
        counts: counts.view(),
        background: Some(background.view()),
        starts: Starts::Each(start.view()),
    };
    open(Choice::Cpu, precision).expect("it opens").fit(&case.problem, batch).expect("it fits")
}

/// From a little beside the case's own variables.
fn fit(case: &Case, precision: Precision) -> Fits {
    let mut start = case.variables.clone();
    start[known_parameter("ENERGY_OFFSET")] += 0.004;
    start[known_parameter("FWHM_OFFSET")] *= 1.03;
    fit_from(case, precision, &start)
}

fn single(values: &mut [f64]) {
    values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
}

/// The inverse of a symmetric matrix, by elimination.
fn inverse(matrix: &Array2<f64>) -> Array2<f64> {
    let n = matrix.nrows();
    let scale: Vec<f64> = (0..n).map(|i| matrix[[i, i]].sqrt()).collect();
    let mut a = Array2::from_shape_fn((n, 2 * n), |(i, j)| match j {
        j if j < n => matrix[[i, j]] / scale[i] / scale[j],
        j => f64::from(u8::from(j - n == i)),
    });
    for k in 0..n {
        let pivot = a.row(k).mapv(|x| x / a[[k, k]]);
        for i in 0..n {
            let factor = a[[i, k]];
            let reduced = &a.row(i) - &(&pivot * factor);
            a.row_mut(i).assign(if i == k { &pivot } else { &reduced });
        }
    }
    Array2::from_shape_fn((n, n), |(i, j)| a[[i, n + j]] / scale[i] / scale[j])
}

/// Expected counts with the floor that likelihoods have, over the window.
fn expected(case: &Case, total: &Array1<f64>) -> Vec<f64> {
    let window = &case.counts[case.problem.first..][..case.problem.count];
    let floor = 1e-4 * window.iter().sum::<f64>() / case.problem.count as f64;
    total.iter().zip(&case.background).map(|(m, b)| m + b + floor).collect()
}

/// Columns of the model's derivatives by linear amplitudes and, if there is one, a shape.
fn columns(case: &Case, shape: Option<usize>) -> Option<Vec<Vec<f64>>> {
    let first = kernels::parameters().len();
    let mut all = Vec::new();
    for k in 0..case.problem.components.len() {
        let per_amplitude = 10f64.powf(-case.variables[first + k]) / std::f64::consts::LN_10;
        let column = differences::of_model(case, first + k)?;
        all.push(column.iter().map(|d| d * per_amplitude).collect());
    }
    if let Some(shape) = shape {
        all.push(differences::of_model(case, shape)?);
    }
    Some(all)
}

/// Fisher information of the columns and gradient of half the deviance.
fn fisher(case: &Case, columns: &[Vec<f64>]) -> (Array2<f64>, Vec<f64>) {
    let m = expected(case, &case.evaluate(Precision::F64).total);
    let y = &case.counts[case.problem.first..];
    let n = columns.len();
    let information = Array2::from_shape_fn((n, n), |(i, j)| {
        (0..m.len()).map(|c| columns[i][c] * columns[j][c] / m[c]).sum()
    });
    let slope = |column: &Vec<f64>| (0..m.len()).map(|c| column[c] * (1.0 - y[c] / m[c])).sum();
    (information, columns.iter().map(slope).collect())
}

#[test]
fn uncertainties_and_signed_amplitudes_are_those_of_differences_of_the_model_by_every_parameter() {
    let cases: Vec<Case> = random::cases()
        .into_iter()
        .map(|case| {
            let mut case = newton(case, &[]);
            case.problem.steps = 0;
            single(&mut case.background);
            single(&mut case.counts);
            case
        })
        .collect();
    let tried: Vec<usize> = cases.par_iter().map(every_shape).collect();
    println!("{} columns", tried.iter().sum::<usize>());
}

/// Frees each shape of a case by itself; returns how many there were.
fn every_shape(case: &Case) -> usize {
    let k = case.problem.components.len();
    let mut tried = 0;
    for (shape, info) in kernels::parameters().iter().enumerate() {
        let Some(columns) = columns(case, Some(shape)) else { continue };
        // a shape that nothing in the case has
        if columns[k].iter().all(|d| *d == 0.0) {
            continue;
        }
        tried += 1;
        let free = |case: &Case| {
            let copy = Case {
                name: case.name,
                problem: case.problem.clone(),
                variables: case.variables.clone(),
                counts: case.counts.clone(),
                background: case.background.clone(),
            };
            let mut copy = newton(copy, &[info.name]);
            copy.problem.steps = 0;
            copy
        };
        let freed = free(case);
        let (information, gradient) = fisher(case, &columns);
        let covariance = inverse(&information);
        for (precision, allowed) in [(Precision::F64, 1e-6), (Precision::F32, 2e-3)] {
            let fits = fit_from(&freed, precision, &case.variables);
            assert_eq!(fits.status[0], Status::StepLimit, "{}: no step was to be taken", case.name);
            for i in 0..=k {
                let sigma = covariance[[i, i]].sqrt();
                let ours = if i < k {
                    fits.amplitude_sigma[[0, i]]
                } else {
                    fits.parameter_sigma[[0, shape]]
                };
                let error = (ours / sigma - 1.0).abs();
                assert!(
                    error < allowed,
                    "{} with {} in {precision:?}: sigma {i} is {ours:e}, of differences {sigma:e}: off by \
                     {error:.1e}, allowed {allowed:.0e}",
                    case.name,
                    info.name
                );
                if i == k || precision == Precision::F32 {
                    continue;
                }
                let step: f64 = -(0..=k).map(|j| covariance[[i, j]] * gradient[j]).sum::<f64>();
                let there = fits.amplitudes[[0, i]] + step;
                let apart = (fits.signed_amplitudes[[0, i]] - there).abs() / (sigma + step.abs());
                assert!(
                    apart < allowed,
                    "{} with {}: signed amplitude {i} is {}, of differences {there}: {apart:.1e} apart, allowed \
                     {allowed:.0e}",
                    case.name,
                    info.name,
                    fits.signed_amplitudes[[0, i]]
                );
            }
        }
    }
    tried
}

/// Cases whose lines lie apart well enough for four free shapes. Escape moves by whole channels, so objectives with it
/// have jumps, which conditions of an optimum know nothing of.
fn fitted_cases() -> Vec<Case> {
    let without = |mut case: Case| {
        for name in ["SI_ESCAPE", "GE_ESCAPE"] {
            case.problem.parameters[known_parameter(name)].start = 0.0;
            case.variables[known_parameter(name)] = 0.0;
        }
        case
    };
    counted_cases(without)
}

fn counted_cases(change: fn(Case) -> Case) -> Vec<Case> {
    let cases = random::cases().into_iter().enumerate();
    cases
        .filter(|(i, _)| [0, 2, 5, 6, 9].contains(i))
        .map(|(_, case)| {
            let mut case = newton(counted(change(case), 0.02), &DEFAULT);
            single(&mut case.background);
            case
        })
        .collect()
}

/// The variables of a fit as an evaluation takes them.
fn variables(fits: &Fits) -> Vec<f64> {
    let amplitudes =
        fits.amplitudes.row(0).iter().map(|a| a.max(1e-11).log10()).collect::<Vec<_>>();
    fits.parameters.row(0).iter().copied().chain(amplitudes).collect()
}

#[test]
fn the_end_has_the_conditions_of_the_optimum_whichever_objective() {
    for case in fitted_cases() {
        for (objective, weights) in OBJECTIVES {
            let mut case = Case {
                problem: case.problem.clone(),
                variables: case.variables.clone(),
                counts: case.counts.clone(),
                background: case.background.clone(),
                name: case.name,
            };
            (case.problem.objective, case.problem.weights) = (objective, weights);
            let fits = fit(&case, Precision::F64);
            let what = format!("{}, {objective:?}, {weights:?}", case.name);
            assert_eq!(fits.status[0], Status::Converged, "{what} after {} steps", fits.steps[0]);
            let gradient = case.evaluate_at(Precision::F64, &variables(&fits)).gradient;
            let start = variables(&fits);
            let objective_at = |i: usize, by: f64| {
                let mut moved = start.clone();
                moved[i] += by;
                case.evaluate_at(Precision::F64, &moved).objective
            };
            for (i, info) in kernels::parameters().iter().enumerate() {
                let v = &case.problem.parameters[i];
                if !v.free {
                    continue;
                }
                // what a hundredth of a standard deviation would gain, in units of what it costs at the minimum
                let by = 0.01 * fits.parameter_sigma[[0, i]];
                let bend = objective_at(i, by) + objective_at(i, -by) - 2.0 * objective_at(i, 0.0);
                let off = gradient[i].abs() * by / bend;
                let held = (start[i] <= v.lower && gradient[i] > 0.0)
                    || (start[i] >= v.upper && gradient[i] < 0.0);
                assert!(
                    held || off < 0.05,
                    "{what}: {} is off by {off:.1e} of 0.01 sigma",
                    info.name
                );
            }
            let first = kernels::parameters().len();
            for (k, &a) in fits.amplitudes.row(0).iter().enumerate() {
                assert!(a >= 0.0, "{what}: amplitude {k} is {a}");
                let by_amplitude = gradient[first + k] / (a.max(1e-11) * std::f64::consts::LN_10);
                let step = by_amplitude * fits.amplitude_sigma[[0, k]];
                let scale = case.evaluate_at(Precision::F64, &start).objective;
                if a == 0.0 {
                    assert!(step >= -1e-9 * scale, "{what}: amplitude {k} should leave 0");
                } else {
                    assert!(
                        step.abs() < 1e-6 * scale,
                        "{what}: a sigma of amplitude {k} = {a} changes the objective by {step:.1e} of {scale:.1e}"
                    );
                }
            }
        }
    }
}

#[test]
fn amplitudes_are_those_of_expectation_maximisation() {
    for case in fitted_cases() {
        let case = newton(case, &[]);
        let fits = fit_from(&case, Precision::F64, &case.variables);
        assert_eq!(fits.status[0], Status::Converged, "{}", case.name);
        let shapes = Case { variables: vec_with(&case, 0.0), ..copy(&case) };
        let columns = columns(&shapes, None).expect("every amplitude has a column");
        let nothing = expected(&case, &Array1::zeros(case.problem.count));
        let y = &case.counts[case.problem.first..][..case.problem.count];
        let mut amplitudes = vec![1000.0; columns.len()];
        let mut model = Vec::new();
        for _ in 0..20_000 {
            model = nothing.clone();
            for (a, column) in amplitudes.iter().zip(&columns) {
                model.iter_mut().zip(column).for_each(|(m, c)| *m += a * c);
            }
            for (a, column) in amplitudes.iter_mut().zip(&columns) {
                let seen: f64 = (0..y.len()).map(|c| column[c] * y[c] / model[c]).sum();
                *a *= seen / column.iter().sum::<f64>();
            }
        }
        let deviance = |m: f64, y: f64| m - y + if y > 0.0 { y * (y / m).ln() } else { 0.0 };
        let lowest =
            2.0 * (0..y.len()).map(|c| deviance(model[c], y[c])).sum::<f64>() / y.len() as f64;
        assert!(
            fits.objective[0] <= lowest * (1.0 + 1e-9),
            "{}: {} of Newton, {lowest} of expectation maximisation",
            case.name,
            fits.objective[0]
        );
        for (k, a) in amplitudes.iter().enumerate() {
            let apart = (fits.amplitudes[[0, k]] - a).abs() / fits.amplitude_sigma[[0, k]];
            assert!(apart < 0.02, "{}: amplitude {k} is {apart:.1e} sigma from {a}", case.name);
        }
    }
}

fn copy(case: &Case) -> Case {
    Case {
        name: case.name,
        problem: case.problem.clone(),
        variables: case.variables.clone(),
        counts: case.counts.clone(),
        background: case.background.clone(),
    }
}

/// The case's variables with all amplitudes 10^value.
fn vec_with(case: &Case, value: f64) -> Vec<f64> {
    let shapes = kernels::parameters().len();
    let all = case.variables.iter().enumerate();
    all.map(|(i, &v)| if i < shapes { v } else { value }).collect()
}

#[test]
fn a_prior_acts_as_a_measurement_and_is_part_of_objective_and_gradient() {
    for (objective, weights) in OBJECTIVES {
        let mut case = newton(random::cases().remove(9), &["ENERGY_OFFSET"]);
        (case.problem.objective, case.problem.weights, case.problem.steps) =
            (objective, weights, 0);
        let offset = known_parameter("ENERGY_OFFSET");
        let sigma = |case: &Case| {
            fit_from(case, Precision::F64, &case.variables).parameter_sigma[[0, offset]]
        };
        let alone = sigma(&case);
        let without = case.evaluate(Precision::F64);
        let width = 2.0 * alone;
        let center = case.variables[offset] - 3.0 * width;
        case.problem.parameters[offset].prior = Some(Prior { center, width });
        let with = case.evaluate(Precision::F64);
        if objective == Objective::Poisson {
            let both = 1.0 / (alone.powi(-2) + width.powi(-2)).sqrt();
            let error = (sigma(&case) / both - 1.0).abs();
            assert!(error < 1e-9, "sigma with a prior is off by {error:.1e}");
            let added = (with.objective - without.objective) * case.problem.count as f64;
            assert!((added - 9.0).abs() < 1e-6, "three widths add {added} to the deviance, not 9");
        }
        let by = 0.01 * width;
        let at = |by: f64| {
            let mut moved = case.variables.clone();
            moved[offset] += by;
            let prior = |case: &Case| case.evaluate_at(Precision::F64, &moved).objective;
            let mut free = copy(&case);
            free.problem.parameters[offset].prior = None;
            prior(&case) - prior(&free)
        };
        let slope = (at(by) - at(-by)) / (2.0 * by);
        let ours = with.gradient[offset] - without.gradient[offset];
        assert!(
            (ours / slope - 1.0).abs() < 1e-4,
            "{objective:?}: {ours:e}, differences give {slope:e}"
        );
    }
    let mut held = fitted_cases().remove(0);
    let offset = known_parameter("ENERGY_OFFSET");
    let center = held.variables[offset] + 0.002;
    held.problem.parameters[offset].prior = Some(Prior { center, width: 1e-7 });
    let end = fit(&held, Precision::F64).parameters[[0, offset]];
    assert!((end - center).abs() < 1e-6, "a narrow prior at {center} lets the offset go to {end}");
}

#[test]
fn every_way_to_end_has_its_status() {
    let case = fitted_cases().remove(0);
    let mut short = copy(&case);
    short.problem.steps = 1;
    assert_eq!(fit(&short, Precision::F64).status[0], Status::StepLimit);
    assert_eq!(fit(&case, Precision::F64).status[0], Status::Converged);
    let mut twins = copy(&case);
    let last = twins.problem.components.len();
    let lines: Vec<_> = twins.problem.lines.iter().filter(|l| l.component == 1).cloned().collect();
    twins.problem.components.push("twin".into());
    twins.problem.amplitudes.push(twins.problem.amplitudes[1]);
    twins.problem.lines.extend(lines.into_iter().map(|mut line| {
        line.component = last;
        line
    }));
    twins.variables.push(twins.variables[kernels::parameters().len() + 1]);
    let fits = fit(&twins, Precision::F64);
    assert_eq!(fits.status[0], Status::Singular);
    assert!(fits.amplitude_sigma[[0, last]].is_nan(), "a twin's amplitude is not determined");
    let one = fit(&case, Precision::F64);
    let error = (fits.objective[0] / one.objective[0] - 1.0).abs();
    assert!(error < 1e-9, "twins fit as well as one: off by {error:.1e}");
    let mut empty = copy(&case);
    empty.counts.fill(0.0);
    assert_eq!(fit(&empty, Precision::F64).status[0], Status::Empty);
    let mut absent = copy(&case);
    absent.counts[absent.problem.first + 3] = f64::NAN;
    assert_eq!(fit(&absent, Precision::F64).status[0], Status::NotFinite);
}

#[test]
fn newton_is_never_above_adam() {
    for case in fitted_cases() {
        for objective in [Objective::Poisson, Objective::Mse] {
            let mut case = copy(&case);
            case.problem.objective = objective;
            let newton = fit(&case, Precision::F64).objective[0];
            case.problem.optimizer = Optimizer::Adam;
            case.problem.steps = 500;
            for (v, info) in case.problem.parameters.iter_mut().zip(kernels::parameters()) {
                v.rate = info.rate;
            }
            case.problem.amplitudes.iter_mut().for_each(|v| v.rate = 1e-2);
            let adam = fit(&case, Precision::F64).objective[0];
            assert!(
                newton <= adam * (1.0 + 1e-6),
                "{}, {objective:?}: {newton} of Newton, {adam} of Adam",
                case.name
            );
        }
    }
}

#[test]
fn f32_ends_where_f64_does() {
    for case in fitted_cases().into_iter().chain(counted_cases(|case| case)) {
        let [exact, single] = [Precision::F64, Precision::F32].map(|p| fit(&case, p));
        assert_eq!(single.status[0], Status::Converged, "{}: {} steps", case.name, single.steps[0]);
        for k in 0..case.problem.components.len() {
            let sigma = exact.amplitude_sigma[[0, k]];
            let apart = (exact.amplitudes[[0, k]] - single.amplitudes[[0, k]]).abs() / sigma;
            assert!(apart < 0.02, "{}: amplitude {k} is {apart:.1e} sigma off in f32", case.name);
        }
    }
}

#[test]
fn the_gpus_kernels_end_where_the_cpu_does() {
    if emulator::folder().is_none() {
        return;
    }
    let ways = [("warp_f64", "forward"), ("block_f64", "reverse"), ("warp_f32", "reverse")];
    for (i, case) in counted_cases(|case| case).iter().enumerate() {
        let (team, order) = ways[i % 3];
        let way = Way { team, memory: "shared", order, blocks: 1 };
        let mut start = case.variables.clone();
        start[known_parameter("ENERGY_OFFSET")] += 0.004;
        let expected = fit_from(case, way.precision(), &start);
        let spectra = Spectra {
            problem: &case.problem,
            counts: row(&case.counts),
            background: row(&case.background),
            starts: row(&start),
        };
        let mut numbers = spectra.run("fit", way);
        let (p, k) = (kernels::parameters().len(), case.problem.components.len());
        numbers.take(case.problem.count);
        let variables = numbers.take(p + k);
        let sigma = numbers.take(p + k);
        let signed = numbers.take(k);
        let limits = numbers.take(2 * k);
        let objective = numbers.take(1)[0];
        let [_, _, _, _, _, status] = [(); 6].map(|()| numbers.take(1)[0]);
        assert_eq!(status, f64::from(expected.status[0] as u8), "{}, {way:?}: status", case.name);
        let exact = way.precision() == Precision::F64;
        let error = (objective / expected.objective[0] - 1.0).abs();
        let allowed = if exact { 1e-9 } else { 1e-5 };
        assert!(error < allowed, "{}, {way:?}: objective off by {error:.1e}", case.name);
        let allowed = if exact { 1e-4 } else { 0.02 };
        for i in 0..k {
            let by = expected.amplitude_sigma[[0, i]];
            let apart = [
                variables[p + i] - expected.amplitudes[[0, i]],
                signed[i] - expected.signed_amplitudes[[0, i]],
                sigma[p + i] - by,
                limits[i] - expected.limits[0][[0, i]],
                limits[k + i] - expected.limits[1][[0, i]],
            ];
            let apart = apart.map(|a| (a / by).abs());
            assert!(
                apart.iter().all(|a| *a < allowed),
                "{}, {way:?}: amplitude {i}, its signed one, its sigma and its limits are {apart:?} sigma off",
                case.name
            );
        }
    }
}
