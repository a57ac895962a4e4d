//! Promise: the CUDA engine's kernels give what the CPU engine gives. kernels/fit.cu runs on tests/emulator, with
//! real barriers and shuffles, one warp or one block of four warps per spectrum, threads from first to last and
//! from last to first: spectra, gradients, backgrounds, fits and status codes, over random problems of every
//! family of lines and every choice of shape. In f64 to 1e-9 and in f32 to 1e-5 of the largest value, the R² of
//! logarithms to 1e-4. Kernels compiled for one run give bit for bit what those for all runs give.
//!
//! An entry of the gradient is compared by the largest entry, and by the sum of the absolute values of its terms, which is
//! the scale that rounding errors have; in f32 to 1e-4 of that, as far as the CPU engine's own f32 gradient is from that
//! in f64 (Compton's tail length, whose terms cancel most). Fits in f64 free every shape in use, those in f32 the four
//! that a fit frees by default; emulated_adam.rs frees all in f32.

#[path = "common/differences.rs"]
mod differences;
#[path = "common/emulator.rs"]
mod emulator;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use emulator::{Spectra, Way};
use ndarray::Array2;
use random::Case;
#[cfg(feature = "cuda")]
use xrfit::engine::cuda::constants;
use xrfit::engine::{Batch, Choice, Precision, Starts, open};
#[cfg(feature = "cuda")]
use xrfit::problem::Tail;
use xrfit::problem::{Background, Problem, SnipOrder};

/// Allowed errors of a precision: of values, and of gradients.
fn allowed(precision: Precision) -> (f64, f64) {
    if precision == Precision::F64 { (1e-9, 1e-9) } else { (1e-5, 1e-4) }
}

/// An exact sum counts in 2^-20; so much may two engines differ in the rounding of a channel's spectra.
const SUM_ROUNDING: f64 = 4.0 / 1_048_576.0;

const WARP: Way = Way { team: "warp_f32", memory: "shared", order: "forward", blocks: 1 };
const WAYS: [Way; 5] = [
    WARP,
    Way { order: "reverse", memory: "global", ..WARP },
    Way { team: "block_f32", order: "reverse", ..WARP },
    Way { team: "warp_f64", order: "reverse", ..WARP },
    Way { team: "block_f64", ..WARP },
];

/// A case's own spectrum.
fn one<'a>(case: &'a Case, problem: &'a Problem) -> Spectra<'a> {
    let row = |v: &[f64]| Array2::from_shape_vec((1, v.len()), v.to_vec()).expect("one row");
    Spectra {
        problem,
        counts: row(&case.counts),
        background: row(&case.background),
        starts: row(&case.variables),
    }
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a, x| if x.is_nan() { f64::NAN } else { a.max(x.abs()) })
}

/// What is compared: the case, how it was run, and which quantity.
struct Compared<'a>(&'a Case, Way, &'a str);

impl Compared<'_> {
    /// Within the allowed part of the largest expected value.
    fn with(self, actual: &[f64], expected: &[f64]) {
        let scale = largest(expected.iter().copied());
        let allowed = allowed(self.1.precision()).0;
        self.by(actual, expected, &vec![scale; expected.len()], allowed);
    }

    /// As `with`, and the rounding of exact sums.
    fn with_sum(self, actual: &[f64], expected: &[f64]) {
        let allowed = allowed(self.1.precision()).0;
        let scale = largest(expected.iter().copied()) + SUM_ROUNDING / allowed;
        self.by(actual, expected, &vec![scale; expected.len()], allowed);
    }

    /// Within `allowed` times each value's own scale.
    fn by(self, actual: &[f64], expected: &[f64], scales: &[f64], allowed: f64) {
        let Compared(case, way, what) = self;
        for (i, ((a, e), s)) in actual.iter().zip(expected).zip(scales).enumerate() {
            let off = ((a - e) / s.max(1e-300)).abs();
            assert!(
                off <= allowed,
                "{}, {way:?}: {what}, value {i}, is {a:e}, the CPU's {e:e}: off by {off:.2e} of {s:.2e}, allowed {allowed:.0e}",
                case.name
            );
        }
    }
}

#[test]
fn spectra_and_gradients_are_those_of_the_cpu_engine() {
    for case in random::cases() {
        let scales: Vec<f64> =
            (0..case.variables.len()).map(|i| differences::central(&case, i).scale).collect();
        for way in WAYS {
            let expected = case.evaluate(way.precision());
            let mut numbers = one(&case, &case.problem).run("evaluate", way);
            let (n, k) = (case.problem.count, case.problem.components.len());
            let is = |what| Compared(&case, way, what);
            is("the spectrum").with(&numbers.take(n), &expected.total.to_vec());
            let components: Vec<f64> = expected.components.iter().copied().collect();
            is("a component").with(&numbers.take(n * k), &components);
            let (gradient, wanted) = (numbers.take(scales.len()), expected.gradient.to_vec());
            is("the gradient").by(&gradient, &wanted, &scales, allowed(way.precision()).1);
            is("the gradient").with(&gradient, &wanted);
            is("the objective").with(&numbers.take(1), &[expected.objective]);
        }
    }
}

/// Four spectra of a case: two that differ, one that is empty, one with a count that is no number.
fn spectra_of<'a>(case: &Case, problem: &'a Problem) -> Spectra<'a> {
    let names = case.names();
    let counts = Array2::from_shape_fn((4, problem.channels), |(i, c)| match i {
        0 => case.counts[c].round(),
        1 => (0.3 * case.counts[c]).round(),
        2 => 0.0,
        _ if c == problem.first + 17 => f64::NAN,
        _ => 5.0,
    });
    let background = Array2::from_shape_fn((4, problem.count), |(_, c)| case.background[c]);
    // off the shapes of the start's amplitudes, where their derivatives would be nothing but rounding errors
    let starts =
        Array2::from_shape_fn((4, case.variables.len()), |(_, j)| match names[j].as_str() {
            "ENERGY_OFFSET" => case.variables[j] + 0.004,
            "FWHM_OFFSET" => 1.05 * case.variables[j],
            _ => case.variables[j],
        });
    Spectra { problem, counts, background, starts }
}

/// What `--free default` frees.
const DEFAULT: [&str; 4] = ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_FANOPRIME"];

/// The case's problem, to be fitted: `free` or all shapes that are in use, and amplitudes, move for 60 steps.
fn to_fit(case: &Case, number: usize, free: Option<&[&str]>) -> Problem {
    let mut problem = case.problem.clone();
    for (v, info) in problem.parameters.iter_mut().zip(xrfit::kernels::parameters()) {
        (v.free, v.rate) =
            (v.start != 0.0 && free.is_none_or(|f| f.contains(&info.name)), 0.1 * info.rate);
        (v.lower, v.upper) = (0.5 * v.start.min(0.0) - 1e-3, 2.0 * v.start.abs() + 1e-3);
    }
    for v in &mut problem.amplitudes {
        (v.free, v.rate, v.lower, v.upper) = (true, 0.02, -3.0, 12.0);
    }
    problem.background = [Background::Snip, Background::Given, Background::None][number % 3];
    problem.snip_order = [SnipOrder::Simultaneous, SnipOrder::InPlace][number % 2];
    problem.solve_start = number % 4 != 3;
    problem.steps = 60;
    problem
}

#[test]
fn fits_backgrounds_and_status_codes_are_those_of_the_cpu_engine() {
    for (number, case) in random::cases().iter().enumerate() {
        let way = Way { blocks: 1 + number % 3, ..WAYS[number % WAYS.len()] };
        let engine = open(Choice::Cpu, way.precision()).expect("the CPU engine opens");
        let problem =
            to_fit(case, number, (way.precision() == Precision::F32).then_some(&DEFAULT[..]));
        let spectra = spectra_of(case, &problem);
        let counts = spectra.counts.mapv(|y| y as f32);
        let given = spectra.background.mapv(|y| y as f32);
        let wanted = (problem.background == Background::Given).then(|| given.view());
        let starts = Starts::Each(spectra.starts.view());
        let batch = Batch { counts: counts.view(), background: wanted, starts };
        let expected = engine.fit(&problem, batch).expect("the CPU engine fits");
        let snip = engine
            .snip(&problem, counts.slice(ndarray::s![..3, ..]))
            .expect("it finds backgrounds");
        let is = |what| Compared(case, way, what);
        let mut numbers = spectra.run("fit", way);
        let (n, variables) = (problem.count, case.variables.len());
        let background = numbers.take(4 * n);
        is("SNIP").with(&background[..3 * n], snip.as_slice().expect("in order"));
        let values = numbers.take(4 * variables);
        // their errors, which tests/newton.rs compares
        numbers.take(4 * (variables + 3 * problem.components.len()));
        let [objective, r_squared, r_squared_log, deviance, _, steps, status] =
            [(); 7].map(|()| numbers.take(4));
        let codes: Vec<f64> = expected.status.iter().map(|&s| f64::from(s as u8)).collect();
        assert_eq!(status, codes, "{}, {way:?}: status", case.name);
        for i in 0..2 {
            is("objective").with(&objective[i..=i], &[expected.objective[i]]);
            is("R²").with(&r_squared[i..=i], &[expected.r_squared[i]]);
            // it sees the 1e-7 of a peak beyond its window, where those of the engines do not end alike
            let allowed = if way.precision() == Precision::F32 { 1e-4 } else { 1e-9 };
            let [found, wanted] = [r_squared_log[i], expected.r_squared_log[i]];
            is("log R²").by(&[found], &[wanted], &[wanted.abs().max(1.0)], allowed);
            // and so does the deviance, which was not minimised
            let allowed = if way.precision() == Precision::F32 { 1e-4 } else { 1e-8 };
            let [found, wanted] = [deviance[i], expected.deviance[i]];
            is("deviance").by(&[found], &[wanted], &[wanted], allowed);
            assert_eq!(steps[i], f64::from(expected.steps[i]), "{}, {way:?}: steps", case.name);
        }
        assert!(
            values[2 * variables..].iter().all(|v| v.is_nan()),
            "{}, {way:?}: bad spectra have no fit",
            case.name
        );
        let sums = [&expected.fitted, &expected.background].map(|s| s.counts().to_vec());
        is("sum of fitted spectra").with_sum(&numbers.take(n), &sums[0]);
        if problem.background != Background::None {
            is("sum of backgrounds").with_sum(&numbers.take(n), &sums[1]);
        }
    }
}

#[test]
fn a_spectrum_is_fitted_alike_wherever_it_stands() {
    let case = &random::cases()[0];
    let problem = to_fit(case, 0, None);
    let spectra = spectra_of(case, &problem);
    let bits = |way: Way| spectra.run("fit", way).0.map(f64::to_bits).collect::<Vec<_>>();
    let alone = bits(WARP);
    for way in [
        Way { blocks: 3, ..WARP },
        Way { order: "reverse", ..WARP },
        Way { memory: "global", blocks: 2, ..WARP },
    ] {
        assert!(bits(way) == alone, "{way:?}: results differ from {WARP:?}");
    }
}

#[test]
#[cfg(feature = "cuda")]
fn kernels_compiled_for_one_run_give_what_those_for_all_give() {
    let cases = random::cases();
    let plain = cases.iter().find(|case| case.name.starts_with("K lines alone"));
    let plain = plain.expect("K lines alone");
    for (case, tail) in [(&cases[0], Tail::Maps), (plain, Tail::None)] {
        let problem = Problem { tail, ..to_fit(case, 0, None) };
        let mut defines = constants::of_run(&problem, &Starts::FirstPass);
        defines.extend(
            ["XRF_KIND=warp_f32", "XRF_TEAM=Warp", "XRF_SCALAR=float"].map(ToString::to_string),
        );
        let Some(folder) = emulator::make(&defines) else { return };
        let spectra = spectra_of(case, &problem);
        let bits = |numbers: emulator::Numbers| numbers.0.map(f64::to_bits).collect::<Vec<_>>();
        assert!(
            bits(spectra.run_with(&folder, "fit", WARP)) == bits(spectra.run("fit", WARP)),
            "{}: fits differ with {}",
            case.name,
            defines.join(" ")
        );
    }
}
