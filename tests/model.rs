//! Promise: the spectrum is the MAPS model. Every component is what an independent, window-free evaluation of the
//! formulas gives, in f64 to 1e-13 of the component's maximum, so that no truncation is seen; the whole spectrum is
//! so in f64 to 1e-13 and in f32 to 1e-5 of its maximum. Tails are convolutions, and areas are conserved.

#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use ndarray::ArrayView1;
use random::Case;
use xrfit::engine::Precision;
use xrfit::kernels;
use xrfit::problem::Tail;

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

/// Worst difference over the largest expected value.
fn error(actual: ArrayView1<f64>, expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len(), "channels");
    let worst = actual.iter().zip(expected).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
    worst / largest(expected)
}

fn check_total(precision: Precision, allowed: f64) {
    for case in &random::cases() {
        let expected = oracle::spectrum(&case.problem, &case.variables).total;
        let error = error(case.evaluate(precision).total.view(), &expected);
        assert!(
            error <= allowed,
            "{}: the spectrum in {precision:?} is off by {error:.1e} of its maximum, allowed {allowed:e}",
            case.name
        );
    }
}

#[test]
fn the_spectrum_in_f64_is_that_of_the_formulas() {
    check_total(Precision::F64, 1e-13);
}

#[test]
fn the_spectrum_in_f32_is_that_of_the_formulas_to_single_precision() {
    check_total(Precision::F32, 1e-5);
}

#[test]
fn every_component_in_f64_is_that_of_the_formulas() {
    for case in &random::cases() {
        let expected = oracle::spectrum(&case.problem, &case.variables).components;
        let ours = case.evaluate(Precision::F64).components;
        for ((name, ours), expected) in
            case.problem.components.iter().zip(ours.rows()).zip(&expected)
        {
            let error = error(ours, expected);
            assert!(
                error <= 1e-13,
                "{}: {name} is off by {error:.1e} of its maximum, allowed 1e-13",
                case.name
            );
        }
    }
}

/// The case with this name and these shape parameters instead of its own.
fn changed(name: &str, tail: Tail, values: &[(&str, f64)]) -> Case {
    let mut case = random::cases()
        .into_iter()
        .find(|c| c.name.starts_with(name))
        .expect("a case of this name");
    case.problem.tail = tail;
    for &(name, value) in values {
        let index = kernels::parameter_index(name).expect("a parameter of the model");
        case.variables[index] = value;
    }
    case
}

/// Counts of a component's lines: amplitude times ratio, over the lines that the beam excites.
fn whole_area(case: &Case, component: usize) -> f64 {
    let incident = kernels::parameter_index("COHERENT_SCT_ENERGY").expect("the beam has an energy");
    let lines = case.problem.lines.iter();
    let ratios = lines
        .filter(|l| l.component == component && l.edge < case.variables[incident])
        .map(|l| l.ratio);
    10f64.powf(case.variables[kernels::parameters().len() + component]) * ratios.sum::<f64>()
}

const NO_TAIL: [(&str, f64); 4] = [
    ("F_TAIL_OFFSET", 0.0),
    ("F_TAIL_LINEAR", 0.0),
    ("KB_F_TAIL_OFFSET", 0.0),
    ("KB_F_TAIL_LINEAR", 0.0),
];

fn check_areas(case: &Case, what: &str) {
    let ours = case.evaluate(Precision::F64).components;
    for (k, spectrum) in ours.rows().into_iter().enumerate() {
        let (actual, expected) = (spectrum.sum(), whole_area(case, k));
        let error = (actual / expected - 1.0).abs();
        assert!(
            error < 1e-12,
            "{what}: component {k} holds {actual} counts, its lines {expected}: {error:.1e}, allowed 1e-12"
        );
    }
}

#[test]
fn a_line_without_tail_and_step_holds_amplitude_times_ratio_counts() {
    check_areas(&changed("K lines alone", Tail::Maps, &NO_TAIL), "fractions at 0");
    check_areas(&changed("K lines alone", Tail::None, &[]), "tails switched off");
}

#[test]
fn a_line_with_a_hypermet_tail_holds_as_many_counts() {
    let short = [("GAMMA_OFFSET", 0.8), ("GAMMA_LINEAR", 0.0)];
    check_areas(&changed("K lines alone", Tail::Hypermet, &short), "Hypermet tails");
}

/// Gaussian of width `sigma` folded with a one-sided exponential of length `gamma sigma` \[1/keV\], by the midpoint
/// rule.
fn folded(d: f64, sigma: f64, gamma: f64) -> f64 {
    let length = gamma * sigma;
    let n = 40_000;
    let h = 40.0 * length / f64::from(n);
    (0..n)
        .map(|i| (f64::from(i) + 0.5) * h)
        .map(|t| (-t / length).exp() / length * oracle::gaussian(d + t, sigma) * h)
        .sum()
}

#[test]
fn the_hypermet_tail_is_a_gaussian_folded_with_an_exponential() {
    let sigma = 0.06;
    for gamma in [0.4, 1.0, 3.0] {
        for place in [-9.0, -2.0, -0.3, 0.0, 0.7, 3.0] {
            let d = place * sigma;
            let (closed, folded) =
                (oracle::tail(d, sigma, gamma, Tail::Hypermet), folded(d, sigma, gamma));
            let error = (closed / folded - 1.0).abs();
            assert!(
                error < 1e-5,
                "tail of length {gamma} at {place} widths: {closed}, folded {folded}: {error:.1e}, allowed 1e-5"
            );
        }
    }
}

#[test]
fn lines_above_the_beam_are_absent() {
    let mut case = changed("K lines alone", Tail::Maps, &[]);
    for line in &mut case.problem.lines {
        line.edge = 1e3;
    }
    let counts = largest(&case.evaluate(Precision::F64).total.to_vec());
    assert_eq!(counts, 0.0, "counts of lines that the beam does not excite");
}
