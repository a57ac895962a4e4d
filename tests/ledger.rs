//! Promise: a ledger gives back what was committed, whatever was cut off half-way, and says what it is not.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xrfit::maps::{Extent, Ledger, Piece, Progress, ledger_of, progress};

const EXTENT: Extent = Extent { pixels: 101, columns: 3, sums: [5, 5, 7] };

/// The results of some pixels and their sums, as bytes: all numbers follow from the pixel.
struct Tile {
    pixels: Range<usize>,
    values: Vec<u8>,
    steps: Vec<u8>,
    status: Vec<u8>,
    sums: [Vec<u8>; 3],
}

fn tile(pixels: Range<usize>) -> Tile {
    let values = pixels.clone().flat_map(|p| [p as f32, f32::NAN, -0.5 * p as f32]);
    let sum = |n: usize| {
        let one = |c: usize| pixels.clone().map(|p| (p * (c + 1)) as i64).sum::<i64>();
        (0..n).flat_map(|c| one(c).to_le_bytes()).collect()
    };
    Tile {
        values: values.flat_map(f32::to_le_bytes).collect(),
        steps: pixels.clone().flat_map(|p| (p as u32 + 9).to_le_bytes()).collect(),
        status: pixels.clone().map(|p| p as u8 % 4).collect(),
        sums: EXTENT.sums.map(sum),
        pixels,
    }
}

fn record(ledger: &mut Ledger, run: u8, pixels: Range<usize>) {
    let t = tile(pixels);
    let piece = Piece { pixels: &t.pixels, values: &t.values, steps: &t.steps, status: &t.status };
    let [a, b, c] = &t.sums;
    ledger.record(run, piece, [a, b, c]).expect("a ledger that can be written");
}

/// The ledger has these pixels and their sums, and no others.
fn assert_holds(path: &Path, pixels: &[(usize, usize)]) {
    let pixels: Vec<Range<usize>> = pixels.iter().map(|(first, end)| *first..*end).collect();
    let ledger = Ledger::open(path).expect("a ledger opens");
    let is_done = |p: usize| pixels.iter().any(|range| range.contains(&p));
    for (p, run) in ledger.done().iter().enumerate() {
        assert_eq!(*run > 0, is_done(p), "pixel {p}");
    }
    let mut sums = EXTENT.sums.map(|n| vec![0; n]);
    for range in &pixels {
        let expected = tile(range.clone());
        let [values, steps, status] = ledger.results(range).expect("results");
        assert_eq!((values, steps, status), (expected.values, expected.steps, expected.status));
        for (sum, more) in sums.iter_mut().zip(&expected.sums) {
            for (sum, more) in sum.iter_mut().zip(more.chunks(8)) {
                *sum += i64::from_le_bytes(more.try_into().expect("8 bytes"));
            }
        }
    }
    assert_eq!(*ledger.sums(), sums, "sums of {pixels:?}");
}

#[test]
fn what_was_committed_comes_back_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = ledger_of(&folder.path().join("out.h5"));
    assert_eq!(progress(&path).expect("no ledger"), None);
    let mut ledger = Ledger::create(&path, EXTENT, 2, "who", b"what").expect("a ledger");
    let run = ledger.begin_run("cpu").expect("a run");
    record(&mut ledger, run, 3..20);
    ledger.commit().expect("a commit");
    record(&mut ledger, run, 40..41);
    drop(ledger);
    assert_holds(&path, &[(3, 20)]);
    let mut ledger = Ledger::open(&path).expect("a ledger opens");
    assert_eq!((ledger.identity.as_str(), &*ledger.settled), ("who", &b"what"[..]));
    let run = ledger.begin_run("cuda").expect("a run");
    record(&mut ledger, run, 40..41);
    record(&mut ledger, run, 90..101);
    ledger.commit().expect("a commit");
    assert_holds(&path, &[(3, 20), (40, 41), (90, 101)]);
    assert_eq!(ledger.runs().expect("runs"), ["cpu", "cuda"]);
    assert_eq!([ledger.done()[3], ledger.done()[40], ledger.done()[41]], [1, 2, 0]);
    let Progress { done, pixels } = progress(&path).expect("a ledger").expect("a ledger");
    assert_eq!((done, pixels), (29, 101));
}

#[test]
fn a_commit_that_was_cut_off_leaves_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.h5.ledger");
    let mut ledger = Ledger::create(&path, EXTENT, 1, "who", b"what").expect("a ledger");
    let before = std::fs::read(&path).expect("a ledger");
    let run = ledger.begin_run("cpu").expect("a run");
    record(&mut ledger, run, 0..7);
    ledger.commit().expect("a commit");
    let first = std::fs::read(&path).expect("a ledger");
    record(&mut ledger, run, 7..30);
    ledger.commit().expect("a commit");
    let second = std::fs::read(&path).expect("a ledger");
    // the bytes that a commit writes last, cut off after each of them
    for (then, now, holds) in [(&before, &first, &[][..]), (&first, &second, &[(0, 7)][..])] {
        let slot = hdf5_slot(&path, if holds.is_empty() { "done_1" } else { "done_0" });
        for end in slot.clone().step_by(23) {
            let mut torn = now.clone();
            torn[end..slot.end].copy_from_slice(&then[end..slot.end]);
            let cut = folder.path().join("torn");
            std::fs::write(&cut, torn).expect("a file");
            assert_holds(&cut, holds);
        }
    }
    assert_holds(&path, &[(0, 7), (7, 30)]);
}

/// Where a slot lies in the file.
fn hdf5_slot(path: &Path, name: &str) -> Range<usize> {
    let file = hdf5::File::open(path).expect("an HDF5 file");
    let data = file.dataset(name).expect("a slot");
    let first = data.offset().expect("a place") as usize;
    first..first + data.size()
}

#[test]
fn what_is_no_ledger_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.h5.ledger");
    std::fs::write(&path, "not HDF5").expect("a file");
    let why = Ledger::open(&path).expect_err("no ledger").to_string();
    assert!(why.contains("out.h5.ledger") && why.contains("--overwrite"), "{why}");
    Ledger::create(&path, EXTENT, 1, "who", b"what").expect("a ledger in its place");
    // a version of another program
    let bytes = std::fs::read(&path).expect("a ledger");
    let file = hdf5::File::open_rw(&path).expect("an HDF5 file");
    file.attr("version").expect("a version").write_scalar(&9u32).expect("an attribute");
    file.close().expect("it closes");
    let why = Ledger::open(&path).expect_err("another version").to_string();
    assert!(why.contains("version is 9"), "{why}");
    // cut off at its end, as a full disk would
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).open(&path).expect("a file");
    file.write_all_at(&bytes[..bytes.len() / 2], 0).expect("half of it");
    assert!(Ledger::open(&path).is_err(), "half a ledger opens");
}
