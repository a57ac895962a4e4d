//! What a card does: `cargo bench --bench gpu`, or its executable carried to a machine with a card.
//!
//! First the card's fits against the CPU's, in f64; then spectra per second for all 500 steps of Adam in f32, copies to
//! and from the card included: the median of three runs. Last, how much of the copying is hidden behind fits. Where
//! there is no card it says so and ends well; what a stand-in for the driver does is checked, not timed.
//!
//! | words | what it does instead, or beside |
//! | --- | --- |
//! | `check` | the first part alone |
//! | `count CASE` | fits case CASE of the table once, for a tool that counts instructions, and prints for how many steps |
//! | `instructions A,B,...` | with these warp instructions of a step of a spectrum, by case, the table has their share of what the card can issue |
//! | `export FOLDER` | writes the E15 case without tails as files for other programs |

mod case;
mod export;

use std::path::Path;

use case::{E15, median, problem, seconds, set, spectra};
use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use ndarray::{Array2, Axis};
use xrfit::engine::{Batch, Choice, Engine, Precision, open};
use xrfit::fit;
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

fn timed(counts: &Array2<f32>, card: &dyn Engine, problem: &Problem) -> f64 {
    let mut steps = 0;
    let time = seconds(|| {
        let fits = card.fit(problem, Batch::of(counts.view())).expect("it fits");
        steps = fits.steps.iter().copied().min().unwrap_or(0);
    });
    assert_eq!(steps as usize, problem.steps, "every step is taken");
    time
}

fn spectra_per_second(cpu: &dyn Engine, card: &dyn Engine, problem: &Problem) -> f64 {
    let distinct = spectra(cpu, problem, DISTINCT);
    let time = |n: usize| timed(&repeated(&distinct, n), card, problem);
    // the first fit compiles
    time(DISTINCT);
    let n = ((RUN / time(4096) * 4096.0) as usize).clamp(4096, 1 << 18);
    n as f64 / median((0..3).map(|_| time(n)).collect())
}

/// The cases of the table: components, channels, and the problem without tails and with them.
fn cases() -> Vec<(usize, usize, [Problem; 2])> {
    let with_tails =
        |problem: Problem| [Tail::None, Tail::Maps].map(|tail| Problem { tail, ..problem.clone() });
    let e15 = (17, 1052, with_tails(problem(&E15, (105, 1052), 0.00952)));
    let sizes = [17, 30, 60].into_iter().flat_map(|k| [1024, 2048, 4096].map(|n| (k, n)));
    let spread = sizes.map(|(k, n)| (k, n, with_tails(spread(k, n))));
    std::iter::once(e15).chain(spread).collect()
}

/// Instructions that all schedulers of the card can issue in a second, at its highest clock.
fn issue_slots() -> f64 {
    let card = CudaContext::new(0).expect("the card of the engine");
    let [multiprocessors, kilohertz] = [
        Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
    ]
    .map(|what| f64::from(card.attribute(what).expect("an attribute")));
    println!("issue slots: {multiprocessors} x 4 x {:.2} GHz", kilohertz / 1e6);
    multiprocessors * 4.0 * kilohertz * 1e3
}

/// Spectra per second of every case; with instructions, the share of the issue slots that they take.
fn table(cpu: &dyn Engine, card: &dyn Engine, instructions: &[f64]) {
    let slots = if instructions.is_empty() { f64::NAN } else { issue_slots() };
    let titles = ["no tails [/s]", "of issue", "tails [/s]", "of issue"];
    let [none, share, tails, again] = titles;
    println!(
        "{:<12} {:>10} {none:>16} {share:>9} {tails:>16} {again:>9}",
        "components", "channels"
    );
    let mut instructions = instructions.iter();
    for (components, channels, problems) in cases() {
        print!("{components:<12} {channels:>10}");
        for problem in problems {
            let speed = spectra_per_second(cpu, card, &problem);
            let share = instructions.next().map_or("-".into(), |of_step| {
                format!("{:.1} %", 100.0 * speed * problem.steps as f64 * of_step / slots)
            });
            print!(" {speed:>16.0} {share:>9}");
        }
        println!();
    }
}

/// Work of one spectrum in many: how long fits alone and everything else (copies, backgrounds, starts) would take one
/// after the other, and how long they do.
fn overlap(cpu: &dyn Engine, card: &dyn Engine, problem: &Problem) {
    let counts = repeated(&spectra(cpu, problem, DISTINCT), 1 << 17);
    let time = |steps: usize| {
        let problem = Problem { steps, ..problem.clone() };
        median((0..3).map(|_| timed(&counts, card, &problem)).collect())
    };
    let other = time(1);
    println!(
        "{:>6} {:>12} {:>12} {:>12} {:>20}",
        "steps", "fits [ms]", "other [ms]", "both [ms]", "hidden of the less"
    );
    for steps in [50, 500] {
        let both = time(steps);
        // twice the steps take the fits' time more, and nothing else
        let fits = time(2 * steps) - both;
        let hidden = (fits + other - both) / fits.min(other);
        let [fits, other, both] = [fits, other, both].map(|s| 1e3 * s);
        println!("{steps:>6} {fits:>12.1} {other:>12.1} {both:>12.1} {:>18.0} %", 100.0 * hidden);
    }
    let whole = counts.nrows() as f64 / time(problem.steps);
    let at_once = *card.useful_batches().end();
    let tiles = seconds(|| {
        for tile in counts.axis_chunks_iter(Axis(0), at_once) {
            let fits = fit::tile(card, problem, 0..tile.nrows(), tile).expect("it fits");
            std::hint::black_box(fits.to_bytes());
        }
    });
    let tiles = counts.nrows() as f64 / tiles;
    println!("in one batch {whole:.0} /s, in tiles as of a map {tiles:.0} /s");
}

/// Fits one case once, and prints how many steps of a spectrum that takes.
fn count(cpu: &dyn Engine, case: usize, (n, steps): (usize, usize)) {
    let all = cases();
    let problem = Problem { steps, ..all[case / 2].2[case % 2].clone() };
    let counts = repeated(&spectra(cpu, &problem, 8), n);
    let card = open(Choice::Cuda, Precision::F32).expect("the same card");
    timed(&counts, &*card, &problem);
    println!("case {case} of {}: steps {}", 2 * all.len(), n * steps);
}

/// Does the card fit as the CPU does?
fn checked(cpu: &dyn Engine, card: &dyn Engine, steps: usize) {
    for (name, tail) in [("no tails", Tail::None), ("tails", Tail::Maps)] {
        let mut problem = spread(17, 1024);
        problem.tail = tail;
        set(&mut problem, "F_STEP_OFFSET", 1e-4);
        let off = check(cpu, card, &problem, steps);
        println!("{name}: amplitudes after {steps} steps agree to {off:.1e}");
        assert!(off <= ALLOWED, "{name}: allowed {ALLOWED:.0e}");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |word: &str| {
        let at = words.iter().position(|w| w == word)?;
        Some(words.get(at + 1).unwrap_or_else(|| panic!("{word} needs another word")).as_str())
    };
    let cpu = open(Choice::Cpu, Precision::F64).expect("the CPU's engine");
    let e15 = || Problem { tail: Tail::None, ..problem(&E15, (105, 1052), 0.00952) };
    let card = open(Choice::Cuda, Precision::F64);
    let is_real = card.as_ref().is_ok_and(|card| !card.describe().contains("no GPU"));
    let single = || open(Choice::Cuda, Precision::F32).expect("the same card");
    if let Some(folder) = after("export") {
        let speed = is_real.then(|| spectra_per_second(&*cpu, &*single(), &e15()));
        let counts = spectra(&*cpu, &e15(), DISTINCT);
        return export::write(Path::new(folder), &*cpu, &e15(), &counts, speed);
    }
    let card = match card {
        Ok(card) => card,
        Err(why) => return println!("nothing to time: {why}"),
    };
    if let Some(case) = after("count") {
        let size = if is_real { (4096, 500) } else { (8, 3) };
        return count(&*cpu, case.parse().expect("the number of a case"), size);
    }
    println!("{}; against {}", card.describe(), cpu.describe());
    checked(&*cpu, &*card, if is_real { 500 } else { 3 });
    if !is_real || words.iter().any(|word| word == "check") {
        return;
    }
    let card = single();
    let instructions = after("instructions").unwrap_or_default().split(',');
    let instructions: Vec<f64> = instructions.filter_map(|n| n.parse().ok()).collect();
    table(&*cpu, &*card, &instructions);
    overlap(&*cpu, &*card, &e15());
    println!("{}", card.describe());
}
