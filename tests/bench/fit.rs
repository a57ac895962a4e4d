//! What a pixel costs on one core: `cargo bench --bench fit`.
//!
//! E15 and scatter, 1052 channels, twelve free shapes (`--free paper`), f32, all 500 steps of Adam; and SNIP.
//! Each figure is the median of several batches on one thread; the last column relates it to a bare loop of
//! f32 exponentials timed between the batches, which a loaded or a slower machine stretches alike.
//! `cargo bench --bench fit -- 'no tails'` runs the rows of that name alone.

mod case;

use case::{E15, median, seconds, set, spectra};
use ndarray::Axis;
use xrfit::engine::{Batch, Choice, Precision, open};
use xrfit::kernels::Simd;
use xrfit::problem::{Problem, Tail};

/// First channel and channels.
const WINDOW: (usize, usize) = (105, 1052);
const BATCHES: usize = 7;
const SPECTRA: usize = 8;
/// Of the yardstick.
const EXPONENTIALS: usize = 10_000_000;

/// The case with a change that makes the variant.
fn problem(change: impl FnOnce(&mut Problem)) -> Problem {
    let mut problem = case::problem(&E15, WINDOW, 0.00952);
    change(&mut problem);
    problem
}

/// Median seconds of `work`, and of the exponentials run beside it.
fn timed(simd: Simd, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let yardstick = || {
        std::hint::black_box(simd.exponentials(EXPONENTIALS));
    };
    let both: Vec<(f64, f64)> =
        (0..BATCHES).map(|_| (seconds(&mut work), seconds(yardstick))).collect();
    (median(both.iter().map(|b| b.0).collect()), median(both.iter().map(|b| b.1).collect()))
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("one thread starts");
    let engine = open(Choice::Cpu, Precision::F32).expect("the CPU engine opens");
    let simd = Simd::choose().expect("a set of instructions is chosen");
    println!("{}; one thread, {}", cpu(), engine.describe());
    println!("{:<34} {:>10} {:>8} {:>22}", "per spectrum", "", "bar", "exponentials each");
    let row = |name: &str, bar: &str, unit: f64, (time, yardstick): (f64, f64), n: usize| {
        let each = time / n as f64;
        let exponentials = each / yardstick * EXPONENTIALS as f64;
        println!("{name:<34} {:>10.3} {bar:>8} {exponentials:>22.0}", each / unit);
    };
    let asked = std::env::args().nth(1).filter(|a| !a.starts_with('-')).unwrap_or_default();
    for (name, bar, problem) in [
        ("Adam 500, no tails [ms]", "3", problem(|p| p.tail = Tail::None)),
        ("Adam 500, tails [ms]", "15", problem(|_| ())),
        ("Adam 500, tails and step [ms]", "18", problem(|p| set(p, "F_STEP_OFFSET", 1e-4))),
    ]
    .into_iter()
    .filter(|row| row.0.contains(&asked))
    {
        let counts = spectra(&*engine, &problem, SPECTRA);
        let mut steps = 0;
        let times = timed(simd, || {
            let fits = engine.fit(&problem, Batch::of(counts.view())).expect("the engine fits");
            steps = fits.steps.iter().copied().min().unwrap_or(0);
        });
        assert_eq!(steps, 500, "every step is taken");
        row(name, bar, 1e-3, times, SPECTRA);
    }
    if !"SNIP".contains(&asked) {
        return;
    }
    let problem = problem(|_| ());
    let counts = spectra(&*engine, &problem, SPECTRA);
    let many = ndarray::concatenate(Axis(0), &vec![counts.view(); 64]).expect("rows of one length");
    let times = timed(simd, || {
        std::hint::black_box(engine.snip(&problem, many.view()).expect("the engine fits"));
    });
    row("SNIP [us]", "25", 1e-6, times, many.nrows());
}

/// The processor's name, where the system tells.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|l| l.trim_start_matches([' ', '\t', ':']));
    name.unwrap_or("unknown processor").to_string()
}
