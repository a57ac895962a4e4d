//! Promise: the CUDA engine gives the CPU engine's maps, on any number of ranks and devices, and also when a device is
//! short of memory, fails at a launch or is lost. Here the devices are stand-ins that run the kernels on the CPU.

#![cfg(feature = "cuda")]

#[path = "common/program.rs"]
mod program;
#[path = "common/standin.rs"]
mod standin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::{ArrayD, ArrayViewD};
use program::{XRFIT, succeed};
use standin::{Log, equip};
use tempfile::TempDir;

/// Odd on purpose: no tile, piece, warp or rank divides it.
const ROWS: usize = 9;
const COLS: usize = 11;

/// A scan, and the configuration of its fits.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let case = Self { folder };
        let [rows, cols] = [ROWS, COLS].map(|n| n.to_string());
        let simulate = ["simulate", "--channels", "1300", "--counts", "4000", "--rows", &rows];
        succeed(Command::new(XRFIT).args(simulate).args(["--cols", &cols, "-o"]).arg(case.scan()));
        let calibrate = ["--elements", "Si,Ca,Fe,Zn", "--incident-kev", "10", "--threads", "1"];
        let mut command = Command::new(XRFIT);
        command
            .arg("calibrate")
            .arg(case.scan())
            .args(calibrate)
            .arg("-o")
            .arg(case.path("fit.toml"));
        succeed(&mut command);
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn scan(&self) -> PathBuf {
        self.path("scan.h5")
    }

    /// `xrfit map` of the scan into a file of this name.
    fn map(&self, name: &str, options: &[&str]) -> Command {
        let mut command = Command::new(XRFIT);
        command.arg("map").arg(self.scan()).arg("--config").arg(self.path("fit.toml"));
        command.args(["--iterations", "7", "--threads", "1", "--tile-pixels", "35"]).args(options);
        command.arg("-o").arg(self.path(name));
        command
    }

    /// Maps on a stand-in device under these conditions; what it said, and what the device did. `None` without one.
    fn on_device(
        &self,
        name: &str,
        options: &[&str],
        conditions: &[(&str, &str)],
    ) -> Option<(Maps, String, Log)> {
        let log = Log::new();
        let mut command = self.map(name, options);
        if !equip(&mut command, &log) {
            return None;
        }
        let ended = succeed(command.args(["--engine", "cuda"]).envs(conditions.iter().copied()));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        Some((maps(&self.path(name)), said, log))
    }

    fn on_cpu(&self, name: &str, options: &[&str]) -> Maps {
        succeed(self.map(name, options).args(["--engine", "cpu"]));
        maps(&self.path(name))
    }
}

/// What the map file says about who fitted.
fn engine_of(file: &Path) -> String {
    let file = hdf5::File::open(file).expect("a map file opens");
    let engine = file.dataset("MAPS/XRF_Analyzed/Fitted/xrfit/Provenance/engine");
    let engine = engine.and_then(|d| d.read_scalar::<hdf5::types::VarLenUnicode>());
    engine.expect("the engine").to_string()
}

type Maps = BTreeMap<String, ArrayD<f64>>;

/// Everything numeric of the analysis.
fn maps(file: &Path) -> Maps {
    let file = hdf5::File::open(file).expect("a map file opens");
    let all = file.group("MAPS/XRF_Analyzed").expect("analyses").groups().expect("groups");
    let analysis = &all[0];
    let numbers = |name: &String| {
        let read = analysis.dataset(name).ok()?.read_dyn::<f64>().ok()?;
        Some((name.clone(), read))
    };
    let found: Maps = analysis.member_names().expect("names").iter().filter_map(numbers).collect();
    assert!(found.contains_key("Counts_Per_Sec"), "maps among {:?}", found.keys());
    found
}

/// Largest difference, over the largest value.
fn difference(a: ArrayViewD<f64>, b: ArrayViewD<f64>) -> f64 {
    let scale = b.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut largest: f64 = 0.0;
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.is_nan(), b.is_nan(), "NaN in one engine alone: {a}, {b}");
        if a.is_finite() && scale > 0.0 {
            largest = largest.max((a - b).abs() / scale);
        }
    }
    largest
}

fn compare(found: &Maps, expected: &Maps, allowed: f64, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(found.shape(), expected.shape(), "{what}: {name}");
        let off = difference(found.view(), expected.view());
        assert!(
            off <= allowed,
            "{what}: {name} differs by {off:.1e} of its largest value, allowed {allowed:.1e}"
        );
    }
}

/// Bit for bit.
fn same(found: &Maps, expected: &Maps, what: &str) {
    compare(found, expected, 0.0, what);
}

#[test]
fn the_maps_are_those_of_the_cpu() {
    let case = Case::new();
    for options in [&["--precision", "f64"][..], &["--precision", "f64", "--optimizer", "nnls"]] {
        let Some((found, ..)) = case.on_device("device.h5", options, &[]) else { return };
        // maps are single precision
        compare(&found, &case.on_cpu("cpu.h5", options), 1e-6, &format!("{options:?}"));
        std::fs::remove_file(case.path("device.h5")).expect("removed");
        std::fs::remove_file(case.path("cpu.h5")).expect("removed");
    }
    let options = ["--optimizer", "nnls"];
    let Some((found, ..)) = case.on_device("device.h5", &options, &[]) else { return };
    compare(&found, &case.on_cpu("cpu.h5", &options), 1e-4, "NNLS in f32");
}

#[test]
fn a_device_short_of_memory_works_in_smaller_pieces() {
    let case = Case::new();
    let Some((plenty, said, log)) = case.on_device("plenty.h5", &[], &[]) else { return };
    assert!(!said.contains("short of memory"), "{said}");
    let whole = log.of("launch xrf_fit").len();
    // the device says how little there is
    let little = [("XRF_STANDIN_MEMORY", "1500000")];
    let (found, _, log) = case.on_device("little.h5", &[], &little).expect("as before");
    assert!(log.of("launch xrf_fit").len() > whole, "pieces of a full tile: {:?}", log.events());
    same(&found, &plenty, "with little memory");
    // it does not
    let taken = [("XRF_STANDIN_MEMORY", "8000000"), ("XRF_STANDIN_UNSEEN", "6500000")];
    let (found, said, log) = case.on_device("taken.h5", &[], &taken).expect("as before");
    assert!(!log.of("alloc of").is_empty(), "no memory was refused: {:?}", log.events());
    assert!(said.contains("short of memory"), "{said}");
    same(&found, &plenty, "with memory that others took");
}

#[test]
fn a_failed_launch_is_tried_again() {
    let case = Case::new();
    let Some((expected, ..)) = case.on_device("sound.h5", &[], &[]) else { return };
    let failing = [("XRF_STANDIN_FAIL_LAUNCH", "2")];
    let (found, said, _) = case.on_device("again.h5", &[], &failing).expect("as before");
    assert!(said.contains("tried once more") && !said.contains("the CPU takes"), "{said}");
    same(&found, &expected, "after a failed launch");
}

#[test]
fn what_the_device_cannot_fit_is_fitted_on_the_cpu() {
    let case = Case::new();
    let expected = case.on_cpu("cpu.h5", &[]);
    for (i, failing) in
        [("XRF_STANDIN_FAIL_LAUNCH", "all"), ("XRF_STANDIN_LOST", "0")].iter().enumerate()
    {
        let name = format!("fallen{i}.h5");
        let Some((found, said, _)) = case.on_device(&name, &[], &[*failing]) else { return };
        assert!(said.contains("the CPU takes them"), "{failing:?}: {said}");
        assert!(said.contains("the CPU fits the rest"), "{failing:?}: {said}");
        let engine = engine_of(&case.path(&name));
        assert!(engine.contains(&format!("{} spectra on the CPU", ROWS * COLS)), "{engine}");
        same(&found, &expected, &format!("{failing:?}"));
    }
}

#[test]
fn each_rank_of_a_machine_takes_a_device_of_its_own() {
    let case = Case::new();
    let Some((expected, ..)) = case.on_device("one.h5", &[], &[]) else { return };
    let alone = case.map("ranks.h5", &["--engine", "cuda"]);
    let mut job = Command::new("mpirun");
    job.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    job.args(["--oversubscribe", "--bind-to", "none", "-n", "4"])
        .arg(alone.get_program())
        .args(alone.get_args());
    let log = Log::new();
    if !cfg!(feature = "mpi") || !equip(&mut job, &log) {
        return;
    }
    let Ok(ended) = job.env("XRF_STANDIN_DEVICES", "3").stdin(Stdio::null()).output() else {
        println!("skipped: no mpirun, so several ranks were not tried");
        return;
    };
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let by_process: BTreeMap<u32, usize> =
        log.of("context").iter().map(|e| (e.process, e.device)).collect();
    let mut devices: Vec<usize> = by_process.values().copied().collect();
    devices.sort_unstable();
    assert_eq!(devices, [0, 0, 1, 2], "devices of four ranks, of three: {:?}", log.events());
    same(&maps(&case.path("ranks.h5")), &expected, "four ranks");
}

#[test]
fn devices_are_listed_with_what_each_rank_takes() {
    let mut job = Command::new("mpirun");
    job.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    job.args(["--oversubscribe", "--bind-to", "none", "-n", "3", XRFIT, "devices"]);
    if !cfg!(feature = "mpi") || !equip(&mut job, &Log::new()) {
        return;
    }
    let Ok(ended) = job.env("XRF_STANDIN_DEVICES", "2").stdin(Stdio::null()).output() else {
        println!("skipped: no mpirun, so the devices of several ranks were not listed");
        return;
    };
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    let line = |begin: &str| {
        let found = said.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no line {begin} in {said}"))
    };
    for begin in ["CPU ", "NVRTC ", "image ", "MPI    Open MPI", "HDF5   1."] {
        line(begin);
    }
    assert!(line("CUDA   cuda:0, stand-in device 0").ends_with("0.5 of 0.5 GiB free"), "{said}");
    line("CUDA   cuda:1, stand-in device 1");
    for (rank, device) in [(0, 0), (1, 1), (2, 0)] {
        let taken = line(&format!("rank {rank} "));
        assert!(taken.contains(&format!("cuda:{device}, ")), "{taken}");
    }
}

#[test]
fn without_a_device_auto_says_so_and_cuda_is_an_error() {
    let case = Case::new();
    let expected = case.on_cpu("cpu.h5", &[]);
    let none = [("XRF_STANDIN_DEVICES", "0")];
    let run = |name: &str, engine: &str| {
        let mut command = case.map(name, &["--engine", engine]);
        equip(&mut command, &Log::new()).then(|| command.envs(none).output().expect("it runs"))
    };
    let Some(auto) = run("auto.h5", "auto") else { return };
    let said = String::from_utf8_lossy(&auto.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("CUDA")).collect();
    assert_eq!(lines, ["fitting on the CPU: there is no CUDA device"]);
    same(&maps(&case.path("auto.h5")), &expected, "auto without a device");
    let asked = run("asked.h5", "cuda").expect("as before");
    let said = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(1), "exit code; it said {said}");
    assert!(said.contains("xrfit: there is no CUDA device; use --engine cpu"), "{said}");
    assert!(!case.path("asked.h5").exists(), "a map file of a run that failed");
}
