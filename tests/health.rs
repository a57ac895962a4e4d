//! Promise: whatever goes wrong around a map, the run ends with the exit code and the words for it, and what was fitted
//! is kept: a full disk, a scan that vanishes or is damaged, a rank that hangs or is killed, a job that is
//! suspended, a clock that jumps.

#[path = "common/interrupted.rs"]
mod interrupted;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use interrupted::program::{XRFIT, succeed};
use interrupted::whole::assert_same;
use interrupted::{Case, LIMIT, SOON, has_mpi, refused, signal, stopped};
use xrfit::maps::progress;

/// What a run says whose files may not grow beyond so many blocks of 512 bytes.
fn refused_on_disk_of(case: &Case, blocks: usize) -> String {
    let program = case.map(1, "cut.h5", &["--resume"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    shell.arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
    let ended = shell.output().expect("sh");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_full_disk_keeps_what_fits_and_the_run_goes_on_when_there_is_room() {
    let case = Case::new([71, 73]);
    let expected = case.uninterrupted();
    let said = refused_on_disk_of(&case, 200);
    assert!(said.contains("cannot be written") || said.contains("cannot be created"), "{said}");
    assert!(!case.path("cut.h5").exists(), "a map on a full disk");
    succeed(&mut case.map(1, "cut.h5", &["--resume"]));
    assert_same(&case.path("cut.h5"), &expected, "after a full disk");
}

#[test]
fn a_disk_that_fills_up_meanwhile_loses_nothing_that_was_done() {
    let case = Case::new([71, 73]);
    let expected = case.uninterrupted();
    stopped(&case, &[]);
    let before = progress(&case.path("cut.h5.ledger")).expect("it opens");
    let said = refused_on_disk_of(&case, 8);
    assert!(said.contains("cut.h5.ledger: cannot be written"), "{said}");
    let after = progress(&case.path("cut.h5.ledger")).expect("it opens");
    assert_eq!(after, before, "pixels that are done");
    succeed(&mut case.map(1, "cut.h5", &["--resume"]));
    assert_same(&case.path("cut.h5"), &expected, "after a disk that filled up");
}

#[test]
fn a_scan_that_vanished_is_named_and_its_map_goes_on_when_it_is_back() {
    let case = Case::new([71, 73]);
    stopped(&case, &[]);
    fs::rename(case.path("scan.h5"), case.path("elsewhere.h5")).expect("a scan");
    let said = refused(&case, &["--resume"]);
    assert!(said.contains("scan.h5"), "{said}");
    fs::rename(case.path("elsewhere.h5"), case.path("scan.h5")).expect("a scan");
    succeed(&mut case.map(1, "cut.h5", &["--resume"]));
    assert_same(&case.path("cut.h5"), &case.uninterrupted(), "a scan that came back");
}

#[test]
fn a_chunk_that_cannot_be_read_ends_the_run_and_names_the_scan() {
    let case = Case::new([71, 73]);
    let file = hdf5::File::open(case.path("scan.h5")).expect("a scan");
    let spectra = file.dataset("MAPS_RAW/data_a").expect("spectra");
    let last = spectra.num_chunks().expect("chunks") - 1;
    let chunk = spectra.chunk_info(last).expect("a chunk");
    file.close().expect("it closes");
    let mut bytes = fs::read(case.path("scan.h5")).expect("a scan");
    let place = chunk.addr as usize;
    bytes[place..place + chunk.size as usize].fill(0xa5);
    fs::write(case.path("scan.h5"), bytes).expect("a scan");
    let said = refused(&case, &["--resume"]);
    assert!(said.contains("scan.h5"), "{said}");
    assert!(!case.path("cut.h5").exists(), "a map of a damaged scan");
}

#[test]
fn a_rank_that_hangs_is_named_and_one_that_is_killed_ends_the_job() {
    if !has_mpi() {
        return;
    }
    let case = Case::new([101, 103]);
    let expected = case.uninterrupted();
    for (name, output, options) in
        [("STOP", "hung.h5", &["--rank-timeout", "2"][..]), ("KILL", "killed.h5", &[])]
    {
        let mut run = case.start(&mut case.map(3, output, options));
        run.wait_for_pixels(&case.path(&format!("{output}.ledger")), 50);
        let began = Instant::now();
        signal(*run.ranks().last().expect("ranks"), name);
        let status = run.ended(LIMIT);
        let said = run.said();
        assert!(!status.success(), "SIG{name}: {said}");
        assert!(began.elapsed() < 2 * SOON, "SIG{name}: {:?}", began.elapsed());
        if name == "STOP" {
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(
                said.contains("xrfit: rank ") && said.contains("has not answered for"),
                "{said}"
            );
        }
        succeed(&mut case.map(2, output, &["--resume"]));
        assert_same(&case.path(output), &expected, &format!("after SIG{name} to a rank"));
    }
}

#[test]
fn a_job_that_is_suspended_for_longer_than_a_rank_may_be_silent_goes_on() {
    if !has_mpi() {
        return;
    }
    let case = Case::new([101, 103]);
    let expected = case.uninterrupted();
    let mut run = case.start(&mut case.map(3, "cut.h5", &["--rank-timeout", "4"]));
    run.wait_for_pixels(&case.path("cut.h5.ledger"), 50);
    let ranks = run.ranks();
    assert_eq!(ranks.len(), 3, "ranks");
    for name in ["STOP", "CONT"] {
        ranks.iter().for_each(|&rank| signal(rank, name));
        thread::sleep(Duration::from_secs(6));
    }
    assert!(run.ended(LIMIT).success(), "{}", run.said());
    assert_same(&case.path("cut.h5"), &expected, "after a pause");
}

/// A library that makes the wall clock jump by a year, to and fro, at every look.
const JUMPING: &str = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
    int clock_gettime(clockid_t id, struct timespec *t) {\n\
        static int (*real)(clockid_t, struct timespec *); static int odd;\n\
        if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
        int r = real(id, t);\n\
        if (id == CLOCK_REALTIME) t->tv_sec += (odd ^= 1) ? 31557600 : -31557600;\n\
        return r; }\n";

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let case = Case::new([43, 47]);
    let expected = case.uninterrupted();
    let (source, library) = (case.path("jump.c"), case.path("jump.so"));
    fs::write(&source, JUMPING).expect("a source");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: no C compiler, so no clock that jumps");
        return;
    }
    succeed(case.map(1, "cut.h5", &["--rank-timeout", "30"]).env("LD_PRELOAD", &library));
    assert_same(&case.path("cut.h5"), &expected, "under a clock that jumps");
}

#[test]
fn a_wrong_command_line_has_its_own_exit_code() {
    let ended =
        Command::new(XRFIT).args(["map", "--no-such-thing"]).output().expect("the program starts");
    assert_eq!(ended.status.code(), Some(2));
    let help = succeed(Command::new(XRFIT).arg("--help"));
    assert!(
        String::from_utf8_lossy(&help.stdout).contains("75 stopped by a signal"),
        "exit codes in --help"
    );
}
