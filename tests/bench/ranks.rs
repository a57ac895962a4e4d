//! What ranks are worth on one machine: `cargo bench --bench ranks`.
//!
//! N = min(4, cores) ranks of one thread under `mpirun` against one rank of one thread without it, the same simulated
//! scan (fifteen elements and scatter, `--free paper`, Adam), five times in turns; the figures are
//! medians of ratios of times. The shapes come from one `xrfit calibrate` before: a first pass is one spectrum's fit,
//! which ranks cannot share, and its time is printed beside.
//!
//! The bar is for the time from the command to its end, launcher and maps included. `fitting` is the part with
//! progress lines. `alike` is what the machine itself gives: N programs without `mpirun` at once, each with the whole
//! scan; where other work or the cores' clock keep that below N, ranks cannot reach it either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use xrfit::kernels::Simd;

const XRFIT: &str = env!("CARGO_BIN_EXE_xrfit");
const ELEMENTS: &str = "Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn";
const ROWS: usize = 40;
/// Of the N ranks' speed, how much the time of one rank must be worth.
const BAR: f64 = 0.87;
const TURNS: usize = 5;
/// How long one rank is to take \[s\].
const AIM: f64 = 10.0;

/// Seconds from the command to its end, and pixels per second while fitting.
#[derive(Clone, Copy)]
struct Run {
    seconds: f64,
    rate: f64,
}

fn finished(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{said}", output.status);
    said
}

fn succeed(command: &mut Command) -> String {
    finished(&command.stdin(Stdio::null()).output().expect("the program starts"))
}

/// The speed in the progress' last line, `4,000 pixels in 12 s, 333 pixels/s`.
fn rate(said: &str) -> f64 {
    let last = said.lines().rfind(|l| l.ends_with(" pixels/s") && l.contains(" pixels in "));
    let speed = last.and_then(|l| l.strip_suffix(" pixels/s")).and_then(|l| l.rsplit(' ').next());
    speed.and_then(|n| n.replace(',', "").parse().ok()).expect("a closing line of the progress")
}

struct Bench {
    folder: tempfile::TempDir,
    ranks: usize,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn simulate(&self, name: &str, cols: usize) -> PathBuf {
        let scan = self.path(name);
        let mut command = Command::new(XRFIT);
        command.args(["simulate", "--counts", "20000", "--seed", "3", "--rows"]);
        command.args([&ROWS.to_string(), "--cols", &cols.to_string(), "-o"]);
        succeed(command.arg(&scan));
        scan
    }

    fn calibrate(&self, scan: &Path) {
        let mut command = Command::new(XRFIT);
        command.arg("calibrate").arg(scan).arg("-o").arg(self.path("fit.toml"));
        command.args(["--elements", ELEMENTS, "--incident-kev", "10", "--free", "paper"]);
        succeed(command.args(["--threads", "1"]));
    }

    /// `xrfit map` with the words before it.
    fn map(&self, launcher: &[&str], scan: &Path, out: &str) -> Command {
        let words = [launcher, &[XRFIT, "map"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(scan).arg("-o").arg(self.path(out));
        command.arg("--config").arg(self.path("fit.toml"));
        command.args(["--free", "paper", "--threads", "1", "--overwrite"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn timed(mut command: Command) -> Run {
        let began = Instant::now();
        let said = succeed(&mut command);
        Run { seconds: began.elapsed().as_secs_f64(), rate: rate(&said) }
    }

    fn alone(&self, scan: &Path) -> Run {
        Self::timed(self.map(&[], scan, "alone.h5"))
    }

    fn on_ranks(&self, scan: &Path) -> Run {
        let n = self.ranks.to_string();
        let mut command = self.map(&["mpirun", "--bind-to", "none", "-n", &n], scan, "ranks.h5");
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        Self::timed(command)
    }

    /// Seconds until the last of N programs that know nothing of each other has ended.
    fn side_by_side(&self, scan: &Path) -> f64 {
        let began = Instant::now();
        let programs: Vec<_> = (0..self.ranks)
            .map(|i| self.map(&[], scan, &format!("alike{i}.h5")).spawn())
            .map(|started| started.expect("the program starts"))
            .collect();
        for program in programs {
            finished(&program.wait_with_output().expect("a child ends"));
        }
        began.elapsed().as_secs_f64()
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor's name, and its cores; two threads of one core count once.
fn cpu() -> (String, usize) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |block: &str, name: &str| {
        let line = block.lines().find(|line| line.starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_string())
    };
    let cores: BTreeSet<_> = info
        .split("\n\n")
        .filter_map(|block| Some((value(block, "physical id")?, value(block, "core id")?)))
        .collect();
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let name = value(&info, "model name").unwrap_or_else(|| "unknown processor".to_string());
    (name, if cores.is_empty() { allowed } else { allowed.min(cores.len()) })
}

fn main() {
    let (name, cores) = cpu();
    let ranks = cores.min(4);
    let simd = Simd::choose().expect("a set of instructions is chosen").level();
    println!("{name}, {cores} cores, {simd}; {ranks} ranks of one thread against one");
    let launcher = Command::new("mpirun").arg("--version").output().is_ok();
    if !cfg!(feature = "mpi") || !launcher || ranks < 2 {
        println!("skipped: ranks need MPI, its `mpirun` and two cores");
        return;
    }
    let bench = Bench { folder: tempfile::tempdir().expect("a temporary folder"), ranks };
    let small = bench.simulate("small.h5", 5);
    let began = Instant::now();
    bench.calibrate(&small);
    println!("first pass: {:.2} s, on one rank always", began.elapsed().as_secs_f64());
    let cols = (AIM * bench.alone(&small).rate / ROWS as f64).ceil() as usize;
    let scan = bench.simulate("scan.h5", cols);
    println!(
        "{ROWS} x {cols} pixels\n{:>8} {:>8} {:>8} {:>8}",
        "one [s]", "ratio", "fitting", "alike"
    );
    let turns: Vec<[f64; 4]> = (0..TURNS)
        .map(|_| {
            let (one, many) = (bench.alone(&scan), bench.on_ranks(&scan));
            let alike = ranks as f64 * one.seconds / bench.side_by_side(&scan);
            let turn = [one.seconds, one.seconds / many.seconds, many.rate / one.rate, alike];
            println!("{:>8.2} {:>8.3} {:>8.3} {:>8.3}", turn[0], turn[1], turn[2], turn[3]);
            turn
        })
        .collect();
    let [whole, fitting, alike] = [1, 2, 3].map(|i| median(turns.iter().map(|turn| turn[i])));
    println!(
        "median of {TURNS}: ratio {whole:.3}, bar {:.2}; fitting {fitting:.3}; alike {alike:.3}",
        BAR * ranks as f64
    );
}
