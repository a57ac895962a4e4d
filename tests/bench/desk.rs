//! What rank 0 can take in: `cargo bench --bench desk`.
//!
//! Real results of 640,000 pixels (fifteen elements and scatter, four shapes with their uncertainties) come from 8 ranks,
//! which are threads here, as the tiles of a run. Rank 0 receives them, puts them into its maps, writes them to the ledger
//! and commits. What counts is the processor's time of its own threads: at 640,000 pixels a second, what 64 fast devices
//! make, it must stay below one second per second.
//!
//! From the cost of a pixel and of a message follows what more ranks would cost.

use std::fs;
use std::path::Path;
use std::time::Instant;

use ndarray::Array2;
use xrfit::assemble::Assembly;
use xrfit::cluster::{Cluster, channels, serve};
use xrfit::engine::{Choice, Precision, open};
use xrfit::fit::{self, Parts, TileFits};
use xrfit::maps::{Extent, Ledger, Piece};
use xrfit::problem::Problem;
use xrfit::scan::Times;
use xrfit::tile::Tiles;

mod case;

/// Pixels of the scan, and what must be taken in per second.
const PIXELS: usize = 640_000;
const COLS: usize = 800;
const RANKS: usize = 8;
/// Pixels between two commits: what comes in five seconds at that rate would be more.
const COMMITTED: usize = 320_000;
const FITTED: usize = 256;

/// Processor time of this thread so far \[s\].
fn own_time() -> f64 {
    let all = fs::read_to_string("/proc/thread-self/schedstat").expect("a system with schedstat");
    let nanoseconds = all.split_whitespace().next().expect("time on the processor");
    nanoseconds.parse::<f64>().expect("a number") * 1e-9
}

/// A tile of fits that were made, repeated as often as it takes.
fn tile(fitted: &TileFits, pixels: std::ops::Range<usize>) -> Vec<u8> {
    let n = fitted.status.len();
    let row = |i: usize| fitted.values.row(i % n);
    let values = Array2::from_shape_fn((pixels.len(), fitted.values.ncols()), |(i, j)| row(i)[j]);
    let of = |i: usize| i % n;
    TileFits {
        values,
        steps: (0..pixels.len()).map(|i| fitted.steps[of(i)]).collect(),
        status: (0..pixels.len()).map(|i| fitted.status[of(i)]).collect(),
        pixels,
        ..fitted.clone()
    }
    .to_bytes()
}

/// Rank 0's processor time for a scan in tiles of so many pixels: receiving alone, or keeping too \[s\].
fn taken_in(problem: &Problem, fitted: &TileFits, size: usize, ledger: Option<&Path>) -> f64 {
    let tiles = Tiles::new(PIXELS, size);
    let program = |cluster: &mut dyn Cluster| {
        let mut bytes = tile(fitted, tiles.get(0).expect("a tile"));
        let work = |ticket| {
            let pixels = tiles.get(ticket).expect("tickets are tiles");
            if pixels.len() != size {
                return Ok(tile(fitted, pixels));
            }
            bytes[..8].copy_from_slice(&(pixels.start as u64).to_le_bytes());
            bytes[8..16].copy_from_slice(&(pixels.end as u64).to_le_bytes());
            Ok(bytes.clone())
        };
        let shape = (PIXELS / COLS, COLS);
        let mut kept = ledger.filter(|_| cluster.rank() == 0).map(|path| {
            let extent = Extent {
                pixels: PIXELS,
                columns: fit::columns(problem),
                sums: fit::lengths_of_sums(problem),
            };
            let ledger = Ledger::create(path, extent, 1, "bench", b"bench").expect("a ledger");
            (ledger, Assembly::new(problem, shape, &Times::default()))
        });
        let mut since = 0;
        let before = own_time();
        let store = |_, bytes: Vec<u8>| {
            let Some((ledger, assembly)) = &mut kept else { return Ok(()) };
            let parts = Parts::of(&bytes, problem);
            assembly.add(&TileFits::of_parts(&parts, problem));
            let Parts { pixels, values, steps, status, sums } = &parts;
            ledger.record(1, Piece { pixels, values, steps, status }, *sums)?;
            since += pixels.len();
            if since >= COMMITTED {
                since = 0;
                ledger.commit()?;
            }
            Ok(())
        };
        serve::run(cluster, tiles.count(), work, store).expect("a run");
        own_time() - before
    };
    channels::run(RANKS, program).expect("ranks")[0]
}

fn main() {
    let problem = case::problem(&case::E15, (105, 1052), 0.00952);
    let engine = open(Choice::Cpu, Precision::F32).expect("an engine");
    let counts = case::spectra(&*engine, &problem, FITTED);
    let short = Problem { steps: 5, ..problem.without_background() };
    let fitted = fit::tile(&*engine, &short, 0..FITTED, counts.view()).expect("fits");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.h5.ledger");
    let bytes = 4 * fit::columns(&problem) + 5;
    println!(
        "{PIXELS} pixels of {bytes} bytes from {RANKS} ranks; processor time of rank 0's own threads"
    );
    println!(
        "{:>12} {:>12} {:>12} {:>14}",
        "tile pixels", "receive [s]", "keep [s]", "elapsed [s]"
    );
    let mut costs = Vec::new();
    for size in [512, 1024, 4096] {
        let median = |ledger: Option<&Path>| {
            let mut times = [(); 3].map(|()| taken_in(&problem, &fitted, size, ledger));
            times.sort_by(f64::total_cmp);
            times[1]
        };
        let receive = median(None);
        let start = Instant::now();
        let all = median(Some(&path));
        let elapsed = start.elapsed().as_secs_f64() / 3.0;
        println!("{size:>12} {receive:>12.3} {:>12.3} {elapsed:>14.2}", all - receive);
        costs.push((size, all));
    }
    let [(small, a), .., (large, b)] = costs[..] else { unreachable!("three sizes") };
    let messages = |size: usize| PIXELS.div_ceil(size) as f64;
    let per_message = ((a - b) / (messages(small) - messages(large))).max(0.0);
    let per_pixel = (b - per_message * messages(large)) / PIXELS as f64;
    println!("a pixel costs {:.0} ns, a message {:.1} us", 1e9 * per_pixel, 1e6 * per_message);
    println!("{:>8} {:>14} {:>24}", "ranks", "pixels/s", "of rank 0's one core [%]");
    for ranks in [16, 64, 256, 1024] {
        // a rank on CPU cores with uncertainties and limits, and a device
        for each in [1_000.0, 10_000.0] {
            let rate = each * f64::from(ranks);
            let cost = rate * per_pixel + rate / 4096.0 * per_message;
            println!("{ranks:>8} {rate:>14.0} {:>24.1}", 100.0 * cost);
        }
    }
}
