//! Promise: a map that was cut off at any moment is gone on with by any number of ranks and ends as if nothing had
//! happened, bit for bit; what is on disk in between can always be opened; and a run that would mix numbers is refused.

#[path = "common/interrupted.rs"]
mod interrupted;
#[path = "common/python.rs"]
mod python;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use interrupted::program::succeed;
use interrupted::whole::{assert_same, whole};
use interrupted::{Case, LIMIT, SOON, has_mpi, refused, signal, stopped};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fits that are most of a run's time.
const SLOW: [&str; 2] = ["--optimizer", "adam"];

/// Kills a run at one random moment of so long after another; how often it was killed before it was complete.
fn kill_until_complete(
    case: &Case,
    ranks: &[usize],
    (moments, rng): (Duration, &mut ChaCha8Rng),
    snapshots: &mut usize,
) -> usize {
    let ledger = case.path("cut.h5.ledger");
    for killed in 0.. {
        let n = ranks[rng.random_range(0..ranks.len())];
        let tile = ["5", "19", "61"][rng.random_range(0..3)];
        let options = [&SLOW[..], &["--resume", "--tile-pixels", tile]].concat();
        let mut run = case.start(&mut case.map(n, "cut.h5", &options));
        let moment = Instant::now() + moments.mul_f64(rng.random());
        while Instant::now() < moment && run.child.try_wait().expect("a child").is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        // mpirun ends the others when it is told that one has died
        let mut victims = run.ranks();
        while victims.is_empty() && run.child.try_wait().expect("a child").is_none() {
            victims = run.ranks();
        }
        if let Some(rank) = victims.get(rng.random_range(0..victims.len().max(1))) {
            let _ = Command::new("kill").args(["-KILL", &rank.to_string()]).output();
        }
        let status = run.ended(LIMIT);
        for (file, name) in [(&ledger, "ledger"), (&case.path("cut.h5"), "map")] {
            if file.exists() {
                let copy = case.path(&format!("{name}-{snapshots}.h5"));
                fs::copy(file, copy).expect("a copy");
            }
        }
        *snapshots += 1;
        if status.success() {
            return killed;
        }
    }
    unreachable!("it ends some time")
}

#[test]
fn a_map_that_is_killed_at_random_moments_ends_as_if_it_had_not_been() {
    let mpi = has_mpi();
    let case = Case::new([17, 23]);
    succeed(&mut case.map(1, "whole.h5", &SLOW));
    let expected = whole(&case.path("whole.h5"));
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut snapshots = 0;
    for (ranks, wanted) in [(&[1][..], 50), (&[4, 2, 3][..], 50)] {
        if ranks[0] > 1 && !mpi {
            continue;
        }
        let start = Instant::now();
        succeed(&mut case.map(ranks[0], "cut.h5", &SLOW));
        let moments = start.elapsed();
        fs::remove_file(case.path("cut.h5")).expect("a map to remove");
        let (mut kills, mut maps) = (0, 0);
        while kills < wanted {
            kills += kill_until_complete(&case, ranks, (moments, &mut rng), &mut snapshots);
            maps += 1;
            let what = format!("map {maps} of {ranks:?} ranks");
            assert_same(&case.path("cut.h5"), &expected, &what);
            assert!(!case.path("cut.h5.ledger").exists(), "{what}: a ledger of a complete map");
            fs::remove_file(case.path("cut.h5")).expect("a map to remove");
        }
        println!("{ranks:?} ranks: {kills} kills in {maps} maps");
    }
    let program = "import h5py, glob, sys\n\
                   files = glob.glob(sys.argv[1] + '/ledger-*.h5') + glob.glob(sys.argv[1] + '/map-*.h5')\n\
                   for f in files:\n    with h5py.File(f) as h: h.visititems(lambda n, d: d[()] if isinstance(d, h5py.Dataset) else None)\n\
                   print(len(files))";
    let Some(python) = python::python("import h5py") else { return };
    let opened = succeed(Command::new(python).args(["-c", program]).arg(case.folder.path()));
    println!("h5py opened {} files", String::from_utf8_lossy(&opened.stdout).trim());
}

#[test]
fn a_signal_ends_a_run_soon_and_nothing_is_lost() {
    let case = Case::new([101, 103]);
    let expected = case.uninterrupted();
    let ledger = case.path("cut.h5.ledger");
    for name in ["USR1", "TERM", "INT"] {
        let mut run = case.start(&mut case.map(1, "cut.h5", &["--resume"]));
        run.wait_for_pixels(&ledger, 50);
        let asked = Instant::now();
        signal(run.child.id(), name);
        let status = run.ended(SOON);
        assert_eq!(status.code(), Some(75), "SIG{name}: {}", run.said());
        assert!(asked.elapsed() < SOON, "SIG{name}: {:?}", asked.elapsed());
        assert!(run.said().contains("go on with"), "SIG{name}: {}", run.said());
        fs::remove_file(&ledger).expect("a ledger");
    }
    if !has_mpi() {
        return;
    }
    let mut run = case.start(&mut case.map(3, "cut.h5", &["--resume"]));
    run.wait_for_pixels(&ledger, 50);
    let last = *run.ranks().last().expect("ranks");
    signal(last, "USR1");
    let status = run.ended(SOON);
    assert_eq!(status.code(), Some(75), "SIGUSR1 to one rank: {}", run.said());
    let done = xrfit::maps::progress(&ledger).expect("a ledger").expect("a ledger").done;
    assert!(done >= 50, "{done} pixels are kept");
    succeed(&mut case.map(2, "cut.h5", &["--resume", "--tile-pixels", "61"]));
    assert_same(&case.path("cut.h5"), &expected, "after a signal to one of three ranks");
}

#[test]
fn a_run_that_would_mix_numbers_is_refused_and_says_why() {
    let case = Case::new([71, 73]);
    stopped(&case, &[]);
    let said = refused(&case, &[]);
    assert!(said.contains("--resume") && said.contains("--overwrite"), "{said}");
    let said = refused(&case, &["--resume", "--free", "four"]);
    assert!(said.contains("configuration") && said.contains("free"), "{said}");
    let said = refused(&case, &["--resume", "--precision", "f64"]);
    assert!(
        said.contains("engine") && said.contains("f64") && said.contains("--other-engine"),
        "{said}"
    );
    let scan = fs::read(case.path("scan.h5")).expect("a scan");
    let mut changed = scan.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(case.path("scan.h5"), &changed).expect("a scan");
    let said = refused(&case, &["--resume"]);
    assert!(said.contains("scan.h5 has changed"), "{said}");
    // the same contents at another time are the same scan
    fs::write(case.path("scan.h5"), &scan).expect("a scan");
    succeed(&mut case.map(1, "cut.h5", &["--resume"]));
    assert_same(&case.path("cut.h5"), &case.uninterrupted(), "a scan that was written again");
    let again = succeed(&mut case.map(1, "cut.h5", &["--resume"]));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("complete already"), "{said}");
}

#[test]
fn pixels_of_another_precision_are_told_apart() {
    let case = Case::new([71, 73]);
    stopped(&case, &["--precision", "f64"]);
    succeed(&mut case.map(1, "cut.h5", &["--resume", "--other-engine"]));
    let file = hdf5::File::open(case.path("cut.h5")).expect("a map file");
    let run = file.dataset("MAPS/XRF_Analyzed/Fitted/xrfit/Run").expect("the runs of pixels");
    let of_pixel = run.read_raw::<u8>().expect("numbers");
    assert!([1, 2].iter().all(|n| of_pixel.contains(n)), "runs {:?}", of_pixel);
    let words = |n: u8| {
        let words = run.attr(&format!("run_{n}")).expect("words");
        words.read_scalar::<hdf5::types::VarLenUnicode>().expect("words").to_string()
    };
    assert!(words(1).contains("f64") && words(2).contains("f32"), "{}, {}", words(1), words(2));
    // each pixel as a run of its own precision has it
    for (n, precision) in [(1, "f64"), (2, "f32")] {
        let name = format!("{precision}.h5");
        succeed(&mut case.map(1, &name, &["--precision", precision]));
        let objective = |name: &str| {
            let file = hdf5::File::open(case.path(name)).expect("a map file");
            let data = file.dataset("MAPS/XRF_Analyzed/Fitted/xrfit/Objective").expect("a map");
            data.read_raw::<f32>().expect("numbers")
        };
        let (mixed, own) = (objective("cut.h5"), objective(&name));
        let off =
            (0..own.len()).filter(|&p| of_pixel[p] == n && mixed[p].to_bits() != own[p].to_bits());
        assert_eq!(off.count(), 0, "pixels of run {n}");
    }
}
