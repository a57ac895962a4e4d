//! Promise: a simulated scan becomes the same maps, bit for bit, on any number of ranks and threads, its bad
//! pixels are NaN with a status, and existing output is kept.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const XRFIT: &str = env!("CARGO_BIN_EXE_xrfit");
const FIT: [&str; 8] =
    ["--elements", "Si,Ca,Fe,Zn", "--incident-kev", "10", "--optimizer", "nnls", "--detector", "0"];
/// As above, with free shapes and few steps: how far it comes does not matter here.
const NONLINEAR: [&str; 10] = [
    "--elements",
    "Si,Ca,Fe,Zn",
    "--incident-kev",
    "10",
    "--optimizer",
    "adam",
    "--detector",
    "0",
    "--iterations",
    "30",
];

fn run(command: &mut Command) -> Output {
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn expect_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn simulate(folder: &Path, rows: &str, cols: &str) -> std::path::PathBuf {
    let scan = folder.join("scan.h5");
    let mut command = Command::new(XRFIT);
    command.args(["simulate", "--rows", rows, "--cols", cols]);
    command.args(["--counts", "2000", "--seed", "3", "-o"]);
    expect_success(&run(command.arg(&scan)));
    scan
}

/// Every map of a file, as bits.
fn maps(file: &Path, analysis: &str) -> Vec<u32> {
    let file = hdf5::File::open(file).expect("a map file opens");
    let data = file
        .dataset(&format!("MAPS/XRF_Analyzed/{analysis}/Counts_Per_Sec"))
        .expect("it holds maps");
    data.read_raw::<f32>().expect("they can be read").into_iter().map(f32::to_bits).collect()
}

#[test]
fn any_number_of_ranks_and_threads_writes_the_same_maps() {
    compare_ranks_and_threads(("37", "41"), &FIT, "NNLS");
}

#[test]
fn any_number_of_ranks_and_threads_writes_the_same_maps_of_a_nonlinear_fit() {
    compare_ranks_and_threads(("7", "5"), &NONLINEAR, "Fitted");
}

fn compare_ranks_and_threads((rows, cols): (&str, &str), fit: &[&str], analysis: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), rows, cols);
    let map = |launcher: &[&str], threads: &str, name: &str| {
        let out = folder.path().join(name);
        let mut command = match launcher {
            [] => Command::new(XRFIT),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(XRFIT);
                command
            }
        };
        command.arg("map").arg(&scan).arg("-o").arg(&out).args(fit).args(["--threads", threads]);
        expect_success(&run(&mut command));
        maps(&out, analysis)
    };
    let alone = map(&[], "1", "alone.h5");
    assert_eq!(alone, map(&[], "4", "threads.h5"), "maps of 1 and of 4 threads");
    if !cfg!(feature = "mpi") || Command::new("mpirun").arg("--version").output().is_err() {
        println!("skipped: no mpirun, so several ranks were not compared");
        return;
    }
    for n in ["2", "3", "7"] {
        let launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", n];
        assert_eq!(
            alone,
            map(&launcher, "1", &format!("ranks{n}.h5")),
            "maps of 1 and of {n} ranks"
        );
    }
}

#[test]
fn bad_pixels_are_nan_with_a_status_and_output_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), "37", "41");
    let out = folder.path().join("maps.h5");
    let map = || {
        let mut command = Command::new(XRFIT);
        run(command.arg("map").arg(&scan).arg("-o").arg(&out).args(FIT).args(["--threads", "2"]))
    };
    expect_success(&map());
    let file = hdf5::File::open(&out).expect("a map file opens");
    let truth = hdf5::File::open(&scan).expect("a scan opens");
    let status: Vec<u8> =
        file.dataset("MAPS/XRF_Analyzed/NNLS/xrfit/Status").unwrap().read_raw().unwrap();
    let made: Vec<u8> = truth.dataset("truth/status").unwrap().read_raw().unwrap();
    let counts: Vec<f32> =
        file.dataset("MAPS/XRF_Analyzed/NNLS/xrfit/Counts").unwrap().read_raw().unwrap();
    assert_eq!(status, made, "status of each pixel");
    for (pixel, &code) in status.iter().enumerate() {
        assert_eq!(counts[pixel].is_nan(), code > 1, "pixel {pixel} with status {code}");
    }
    drop((file, truth));
    let again = map();
    assert_eq!(again.status.code(), Some(1), "exit code when the output exists");
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(message.contains("maps.h5") && message.contains("--overwrite"), "{message}");
}
