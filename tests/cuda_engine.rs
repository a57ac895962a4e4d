//! Promise: the CUDA engine gives the CPU engine's maps, also when a device is short of memory, fails at a launch or is
//! lost. Here the devices are stand-ins that run the kernels on the CPU; `tests/cuda_ranks.rs` has several of them.

#![cfg(feature = "cuda")]

#[path = "common/mapped.rs"]
mod mapped;

use mapped::standin::{Log, equip};
use mapped::{COLS, Case, ROWS, compare, engines_of, maps, same};

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
    let whole = log.of("launch xrf_newton").len();
    // the device says how little there is
    let little = [("XRF_STANDIN_MEMORY", "1500000")];
    let (found, _, log) = case.on_device("little.h5", &[], &little).expect("as before");
    assert!(log.of("launch xrf_newton").len() > whole, "pieces of a full tile: {:?}", log.events());
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
        let (engine, taken_over) = engines_of(&case.path(&name));
        assert!(engine.starts_with("cuda:0, ") && !engine.contains("rank"), "{engine}");
        assert_eq!(taken_over, ROWS * COLS, "spectra that the CPU took over");
        same(&found, &expected, &format!("{failing:?}"));
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
