//! Promise: a run that cannot end well says why in one line that names the file and the cause, ends with an exit
//! code that is not 0, on one rank and on several, and leaves no file behind, neither final nor partial. Pixels
//! without a fit are no such failure.

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::{Array3, s};
use program::{FIT, XRFIT, map, simulate, succeed};

/// Numbers of ranks that are tried: 1 is a run without mpirun.
fn ranks() -> Vec<usize> {
    let version = Command::new("mpirun").arg("--version").stdin(Stdio::null()).output();
    let is_open_mpi = |said: &[u8]| String::from_utf8_lossy(said).contains("Open MPI");
    if cfg!(feature = "mpi") && version.is_ok_and(|said| is_open_mpi(&said.stdout)) {
        return vec![1, 3];
    }
    println!("skipped several ranks: there is no `mpirun` of Open MPI");
    vec![1]
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder is listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

/// A command on so many ranks; a job that takes longer than a minute is ended.
fn on_ranks(ranks: usize, command: &Command) -> Command {
    let mut job = Command::new("timeout");
    job.arg("60");
    if ranks > 1 {
        job.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        job.args(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    }
    job.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    job
}

/// The command fails with one message that has these words, and changes no file of the folder.
fn expect_refusal(folder: &Path, command: &Command, words: &[&str]) {
    for ranks in ranks() {
        let before = files(folder);
        let ended = on_ranks(ranks, command).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "exit code on {ranks} ranks; it said {said}");
        let messages: Vec<&str> = said.lines().filter(|line| line.starts_with("xrfit: ")).collect();
        assert_eq!(messages.len(), 1, "messages on {ranks} ranks; it said {said}");
        for word in words {
            assert!(messages[0].contains(word), "no {word:?} on {ranks} ranks in: {}", messages[0]);
        }
        assert!(!said.contains("panicked"), "a panic on {ranks} ranks: {said}");
        assert_eq!(files(folder), before, "files after the failure on {ranks} ranks");
    }
}

#[test]
fn output_that_cannot_be_written_is_refused_before_the_fit() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let scan = simulate(folder, [3, 5]);
    let refuse = |out: &Path, words: &[&str]| {
        let name = out.to_str().expect("a name");
        expect_refusal(folder, &map(&scan, out), &[&[name], words].concat());
    };
    refuse(&folder.join("absent/maps.h5"), &["cannot be created", "No such file"]);
    refuse(&scan.join("maps.h5"), &["cannot be created", "Not a directory"]);
    // not even root may write there, whatever the system gives as the reason
    refuse(Path::new("/sys/maps.h5"), &["cannot be created", "permissions"]);
    std::fs::create_dir(folder.join("results")).expect("a folder");
    refuse(&folder.join("results"), &["is a folder"]);
    let kept = folder.join("kept.h5");
    std::fs::write(&kept, "somebody's").expect("a file");
    refuse(&kept, &["exists", "--overwrite"]);
    assert_eq!(std::fs::read(&kept).expect("a file"), b"somebody's", "what the file holds");
}

#[test]
fn the_scan_is_not_replaced_by_its_maps() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let scan = simulate(folder, [3, 5]);
    let before = std::fs::read(&scan).expect("a scan");
    let detour = folder.join("../").join(folder.file_name().expect("a name")).join("scan.h5");
    for out in [scan.clone(), detour] {
        let mut command = map(&scan, &out);
        expect_refusal(folder, command.arg("--overwrite"), &["scan.h5", "is the scan itself"]);
    }
    assert!(std::fs::read(&scan).expect("a scan") == before, "the scan was changed");
}

#[test]
fn a_calibration_replaces_neither_the_scan_nor_its_other_output() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let scan = simulate(folder, [3, 5]);
    let before = std::fs::read(&scan).expect("a scan");
    let kept = folder.join("kept.toml");
    std::fs::write(&kept, "somebody's").expect("a file");
    let refuse = |outputs: &[(&str, &Path)], words: &[&str]| {
        let mut command = Command::new(XRFIT);
        command.arg("calibrate").arg(&scan).args(FIT).args(["--threads", "1"]);
        for (name, path) in outputs {
            command.arg(name).arg(path);
        }
        expect_refusal(folder, &command, words);
    };
    let (fit, overwrite) = (folder.join("fit"), ("--starts=1", Path::new("--overwrite")));
    refuse(&[("-o", &scan), overwrite], &["scan.h5", "is the scan itself"]);
    refuse(&[("-o", &fit), ("--override-out", &scan), overwrite], &["is the scan itself"]);
    refuse(&[("-o", &fit), ("--override-out", &fit)], &["different names"]);
    refuse(&[("-o", &kept)], &["kept.toml", "exists", "--overwrite"]);
    refuse(&[("-o", &folder.join("absent/fit.toml"))], &["cannot be created", "No such file"]);
    assert!(std::fs::read(&scan).expect("a scan") == before, "the scan was changed");
    assert_eq!(std::fs::read(&kept).expect("a file"), b"somebody's", "what the file holds");
}

#[test]
fn pictures_that_cannot_be_written_are_refused_before_the_fit() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let scan = simulate(folder, [3, 5]);
    for (pictures, cause) in [(scan.clone(), "exists"), (scan.join("pictures"), "Not a directory")]
    {
        let mut command = map(&scan, &folder.join("maps.h5"));
        let words = [pictures.to_str().expect("a name"), "pictures cannot be written", cause];
        expect_refusal(folder, command.arg("--png").arg(&pictures), &words);
    }
}

#[test]
fn elements_that_are_not_or_cannot_be_excited_are_named() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let scan = simulate(folder, [3, 5]);
    for (elements, words) in [
        ("Si,Xx,Fe", ["`Xx`", "no element"]),
        ("Si,Zr,Fe", ["`Zr`", "a beam of 10 keV excites none of its lines"]),
        ("Si,Fe_Q", ["`Fe_Q`", ""]),
        ("", ["names no component", "write Fe"]),
    ] {
        let mut command = Command::new(XRFIT);
        command.arg("map").arg(&scan).arg("-o").arg(folder.join("maps.h5"));
        command.args(["--incident-kev", "10", "--elements", elements]);
        expect_refusal(folder, &command, &words);
    }
}

/// A copy of a simulated scan in chunks of one row, and the configuration that fits it without a first pass.
fn in_rows(folder: &Path, change: impl Fn(&mut Array3<u16>)) -> [PathBuf; 2] {
    let simulated = simulate(folder, [9, 11]);
    let fit = folder.join("fit.toml");
    let mut calibrate = Command::new(XRFIT);
    calibrate.arg("calibrate").arg(&simulated).arg("-o").arg(&fit).args(FIT);
    succeed(&mut calibrate);
    let file = hdf5::File::open(&simulated).expect("a scan opens");
    let mut counts: Array3<u16> =
        file.dataset("MAPS_RAW/data_a").expect("spectra").read().expect("counts");
    change(&mut counts);
    let scan = folder.join("rows.h5");
    let file = hdf5::File::create(&scan).expect("a file");
    let chunk = [counts.shape()[0], 1, counts.shape()[2]];
    let builder = file.new_dataset_builder().chunk(chunk).deflate(6);
    builder.with_data(&counts).create("MAPS_RAW/data_a").expect("written");
    [scan, fit]
}

fn map_as_configured([scan, fit]: &[PathBuf; 2], out: &Path) -> Command {
    let mut command = Command::new(XRFIT);
    command.arg("map").arg(scan).arg("-o").arg(out).arg("--config").arg(fit);
    command.args(["--threads", "1", "--tile-pixels", "7", "--optimizer", "nnls"]);
    command
}

#[test]
fn damaged_spectra_half_way_end_the_run_and_leave_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let input = in_rows(folder, |_| {});
    let mut bytes = std::fs::read(&input[0]).expect("a scan");
    // most of the file is the rows, in their order
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&input[0], &bytes).expect("a damaged scan");
    let command = map_as_configured(&input, &folder.join("maps.h5"));
    expect_refusal(folder, &command, &["rows.h5", "/MAPS_RAW/data_a cannot be read"]);
    let file = hdf5::File::open(&input[0]).expect("only its spectra are damaged");
    let data = file.dataset("MAPS_RAW/data_a").expect("spectra");
    for (row, is_whole) in [(0, true), (4, false), (8, true)] {
        let read = data.read_slice::<u16, _, ndarray::Ix2>(s![.., row, ..]);
        assert_eq!(read.is_ok(), is_whole, "row {row} of the damaged scan");
    }
    drop((file, data));

    bytes.truncate(middle);
    std::fs::write(&input[0], bytes).expect("a truncated scan");
    expect_refusal(folder, &command, &["rows.h5", "truncated"]);
}

#[test]
fn a_scan_without_a_single_fit_is_written_as_nan_with_the_reason() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let input = in_rows(folder, |counts| counts.slice_mut(s![.., .., ..]).fill(0));
    let out = folder.join("maps.h5");
    for ranks in ranks() {
        let mut command = map_as_configured(&input, &out);
        command.arg("--overwrite").arg("--png").arg(folder.join("pictures"));
        let ended = succeed(&mut on_ranks(ranks, &command));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("99 pixels without a fit"), "it said {said}");
        let file = hdf5::File::open(&out).expect("a map file opens");
        let read = |name: &str| -> Vec<f32> {
            let data = file.dataset(&format!("MAPS/XRF_Analyzed/NNLS/{name}")).expect("maps");
            data.read_raw().expect("numbers")
        };
        let amplitudes = read("xrfit/Counts");
        assert!(
            amplitudes.iter().all(|a| a.is_nan()),
            "amplitudes on {ranks} ranks: {amplitudes:?}"
        );
        assert!(read("xrfit/Total_Counts").iter().all(|&n| n == 0.0), "counts of empty pixels");
        assert!(read("xrfit/Status").iter().all(|&code| code > 1.0), "status of empty pixels");
    }
}
