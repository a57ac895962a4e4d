//! Promise: a simulated scan becomes the same map file, bit for bit but for its provenance, on any number of ranks
//! and threads; its bad pixels are NaN with a status in every map; existing output is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hdf5::types::{FixedAscii, FloatSize, TypeDescriptor, VarLenUnicode};

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

/// Every dataset below a group but the provenance, as bits.
fn contents(group: &hdf5::Group, path: &str, found: &mut BTreeMap<String, Vec<u64>>) {
    for name in group.member_names().expect("a group lists its members") {
        let inner_path = format!("{path}/{name}");
        if name == "Provenance" {
            continue;
        } else if let Ok(inner) = group.group(&name) {
            contents(&inner, &inner_path, found);
        } else {
            let data = group.dataset(&name).unwrap_or_else(|e| panic!("{inner_path}: {e}"));
            let bits = bits(&data).unwrap_or_else(|e| panic!("{inner_path}: {e}"));
            found.insert(inner_path, bits);
        }
    }
}

fn bits(data: &hdf5::Dataset) -> hdf5::Result<Vec<u64>> {
    Ok(match data.dtype()?.to_descriptor()? {
        TypeDescriptor::Float(FloatSize::U4) => {
            data.read_raw::<f32>()?.into_iter().map(|v| v.to_bits().into()).collect()
        }
        TypeDescriptor::Float(_) => data.read_raw::<f64>()?.into_iter().map(f64::to_bits).collect(),
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            data.read_raw::<i64>()?.into_iter().map(|v| v as u64).collect()
        }
        _ => {
            let texts = data.read_raw::<FixedAscii<256>>()?;
            texts
                .iter()
                .flat_map(|text| text.as_bytes().iter().copied().chain([0]))
                .map(u64::from)
                .collect()
        }
    })
}

/// What a map file holds, and who made it.
fn read(path: &Path) -> (BTreeMap<String, Vec<u64>>, String) {
    let file = hdf5::File::open(path).expect("a map file opens");
    let mut found = BTreeMap::new();
    contents(&file, "", &mut found);
    let analysis = file.group("MAPS/XRF_Analyzed").and_then(|g| g.member_names()).expect("maps");
    let workers =
        file.dataset(&format!("MAPS/XRF_Analyzed/{}/xrfit/Provenance/cluster", analysis[0]));
    let workers: VarLenUnicode = workers.and_then(|d| d.read_scalar()).expect("a provenance");
    (found, workers.to_string())
}

#[test]
fn any_number_of_ranks_and_threads_writes_the_same_maps() {
    compare_ranks_and_threads(("37", "41"), &FIT);
}

#[test]
fn any_number_of_ranks_and_threads_writes_the_same_maps_of_a_nonlinear_fit() {
    compare_ranks_and_threads(("7", "5"), &NONLINEAR);
}

fn compare_ranks_and_threads((rows, cols): (&str, &str), fit: &[&str]) {
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
        read(&out)
    };
    let (alone, by) = map(&[], "1", "alone.h5");
    assert!(alone.len() > 40, "{} datasets, expected a whole map file", alone.len());
    assert!(by.starts_with("1 rank, 1 thread, "), "provenance of one thread: {by}");
    let expect_same = |(other, by): (BTreeMap<String, Vec<u64>>, String), workers: &str| {
        assert!(by.starts_with(workers), "provenance of {workers}: {by}");
        let names = |all: &BTreeMap<String, Vec<u64>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&alone), names(&other), "datasets of 1 thread and of {workers}");
        let differing: Vec<&String> = alone.keys().filter(|&k| alone[k] != other[k]).collect();
        assert!(differing.is_empty(), "1 thread and {workers} differ in {differing:?}");
    };
    expect_same(map(&[], "4", "threads.h5"), "1 rank, 4 threads, ");
    if !cfg!(feature = "mpi") || Command::new("mpirun").arg("--version").output().is_err() {
        println!("skipped: no mpirun, so several ranks were not compared");
        return;
    }
    for n in ["2", "3", "7"] {
        let launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", n];
        let found = map(&launcher, "1", &format!("ranks{n}.h5"));
        expect_same(found, &format!("{n} ranks, 1 thread on the first, "));
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
    assert_eq!(status, made, "status of each pixel");
    for (name, planes) in [
        ("Counts", 6),
        ("Objective", 1),
        ("R_Squared", 1),
        ("R_Squared_Log", 1),
        ("Reduced_Deviance", 1),
    ] {
        let map = file.dataset(&format!("MAPS/XRF_Analyzed/NNLS/xrfit/{name}")).unwrap();
        let values: Vec<f32> = map.read_raw().unwrap();
        assert_eq!(values.len(), planes * status.len(), "{name}: elements and scatter by pixel");
        for (i, value) in values.iter().enumerate() {
            let (plane, pixel) = (i / status.len(), i % status.len());
            let code = status[pixel];
            assert_eq!(value.is_nan(), code > 1, "{name} {plane}, pixel {pixel}, status {code}");
        }
    }
    drop((file, truth));
    let again = map();
    assert_eq!(again.status.code(), Some(1), "exit code when the output exists");
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(message.contains("maps.h5") && message.contains("--overwrite"), "{message}");
}
