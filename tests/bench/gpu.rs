//! What a card does: `cargo bench --bench gpu`, or its executable carried to a machine with a card.
//!
//! First the card's fits against the CPU's, in f64; then pixels per second for all 500 steps of Adam in f32, copies to
//! and from the card included: the median of three runs. `-- check` does the first alone. Where there is no card it
//! says so and ends well; what a stand-in for the driver does is checked, not timed.

mod case;

use case::{E15, median, problem, seconds, set, spectra};
use ndarray::{Array2, Axis};
use xrfit::engine::{Batch, Choice, Engine, Precision, open};
use xrfit::problem::{Problem, Tail};

const K: [&str; 18] = [
    "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni",
    "Cu", "Zn",
];
const L: [&str; 30] = [
    "Zr_L", "Nb_L", "Mo_L", "Ru_L", "Rh_L", "Pd_L", "Ag_L", "Cd_L", "In_L", "Sn_L", "Sb_L", "Te_L",
    "I_L", "Cs_L", "Ba_L", "La_L", "Ce_L", "Pr_L", "Nd_L", "Sm_L", "Eu_L", "Gd_L", "Tb_L", "Dy_L",
    "Ho_L", "Er_L", "Tm_L", "Yb_L", "Lu_L", "Hf_L",
];
const M: [&str; 10] =
    ["Os_M", "Ir_M", "Pt_M", "Au_M", "Hg_M", "Tl_M", "Pb_M", "Bi_M", "Th_M", "U_M"];

/// Distinct spectra; a batch repeats them.
const DISTINCT: usize = 256;
/// Seconds that a timed run should take.
const RUN: f64 = 2.0;
/// Of the largest amplitude of a spectrum, in f64 after all steps.
const ALLOWED: f64 = 1e-4;

/// So many components, scatter included, spread over a window of so many channels.
fn spread(components: usize, channels: usize) -> Problem {
    let all: Vec<&str> = K.iter().chain(&L).chain(&M).copied().collect();
    problem(&all[..components - 2], (channels / 10, channels), 10.2 / channels as f64)
}

fn repeated(counts: &Array2<f32>, n: usize) -> Array2<f32> {
    let rows: Vec<usize> = (0..n).map(|i| i % counts.nrows()).collect();
    counts.select(Axis(0), &rows)
}

/// Largest difference of an amplitude over the spectrum's largest one.
fn check(cpu: &dyn Engine, card: &dyn Engine, problem: &Problem, steps: usize) -> f64 {
    let problem = Problem { steps, ..problem.clone() };
    let counts = spectra(cpu, &problem, 40);
    let [a, b] =
        [card, cpu].map(|e| e.fit(&problem, Batch::of(counts.view())).expect("it fits").amplitudes);
    let mut largest: f64 = 0.0;
    for (a, b) in a.rows().into_iter().zip(b.rows()) {
        let scale = b.iter().fold(0.0, |m: f64, y| m.max(*y));
        largest = a.iter().zip(b).fold(largest, |m, (a, b)| m.max((a - b).abs() / scale));
    }
    largest
}

fn pixels_per_second(cpu: &dyn Engine, card: &dyn Engine, problem: &Problem) -> f64 {
    let distinct = spectra(cpu, problem, DISTINCT);
    let time = |n: usize| {
        let counts = repeated(&distinct, n);
        let mut steps = 0;
        let time = seconds(|| {
            let fits = card.fit(problem, Batch::of(counts.view())).expect("it fits");
            steps = fits.steps.iter().copied().min().unwrap_or(0);
        });
        assert_eq!(steps as usize, problem.steps, "every step is taken");
        time
    };
    // the first fit compiles
    time(DISTINCT);
    let n = ((RUN / time(4096) * 4096.0) as usize).clamp(4096, 1 << 18);
    n as f64 / median((0..3).map(|_| time(n)).collect())
}

fn main() {
    let [cpu, card] = match [Choice::Cpu, Choice::Cuda].map(|c| open(c, Precision::F64)) {
        [Ok(cpu), Ok(card)] => [cpu, card],
        [_, Err(why)] | [Err(why), _] => return println!("nothing to time: {why}"),
    };
    println!("{}; against {}", card.describe(), cpu.describe());
    let timed = !card.describe().contains("no GPU");
    let steps = if timed { 500 } else { 3 };
    for (name, problem) in [("no tails", Tail::None), ("tails", Tail::Maps)].map(|(name, tail)| {
        let mut problem = spread(17, 1024);
        problem.tail = tail;
        set(&mut problem, "F_STEP_OFFSET", 1e-4);
        (name, problem)
    }) {
        let off = check(&*cpu, &*card, &problem, steps);
        println!("{name}: amplitudes after {steps} steps agree to {off:.1e}");
        assert!(off <= ALLOWED, "{name}: allowed {ALLOWED:.0e}");
    }
    if !timed || std::env::args().any(|word| word == "check") {
        return;
    }
    let card = open(Choice::Cuda, Precision::F32).expect("the same card");
    println!(
        "{:<12} {:>10} {:>16} {:>16}",
        "components", "channels", "no tails [/s]", "tails [/s]"
    );
    let row = |components: usize, channels: usize, problem: Problem| {
        let [none, maps] = [Tail::None, Tail::Maps]
            .map(|tail| pixels_per_second(&*cpu, &*card, &Problem { tail, ..problem.clone() }));
        println!("{components:<12} {channels:>10} {none:>16.0} {maps:>16.0}");
    };
    row(17, 1052, problem(&E15, (105, 1052), 0.00952));
    for components in [17, 30, 60] {
        for channels in [1024, 2048, 4096] {
            row(components, channels, spread(components, channels));
        }
    }
    println!("{}", card.describe());
}
