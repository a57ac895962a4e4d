//! Promise: with the CUDA engine any number of ranks and devices writes the maps of one, and the map file says which
//! device each rank had and what the CPU took over on any of them. Here the devices are stand-ins that run the kernels
//! on the CPU.

#![cfg(all(feature = "cuda", feature = "mpi"))]

#[path = "common/mapped.rs"]
mod mapped;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output, Stdio};

use mapped::program::XRFIT;
use mapped::standin::{Log, equip};
use mapped::{COLS, Case, Maps, ROWS, engines_of, maps, same};

/// Runs the program on ranks with stand-in devices: for each part of the ranks their number and their variables.
/// `None` (and a line that says so) where that cannot be done.
fn on_ranks(parts: &[(&str, &[&str])], program: &Command, log: &Log) -> Option<Output> {
    let mut job = Command::new("mpirun");
    job.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    job.args(["--oversubscribe", "--bind-to", "none"]);
    for (i, (ranks, variables)) in parts.iter().enumerate() {
        job.args((i > 0).then_some(":")).args(["-n", ranks, "env"]).args(*variables);
        job.arg(program.get_program()).args(program.get_args());
    }
    if !equip(&mut job, log) {
        return None;
    }
    let Ok(ended) = job.stdin(Stdio::null()).output() else {
        println!("skipped: no mpirun, so several ranks were not tried");
        return None;
    };
    assert!(ended.status.success(), "{job:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Some(ended)
}

#[test]
fn each_rank_of_a_machine_takes_a_device_of_its_own() {
    let case = Case::new();
    let Some((expected, ..)) = case.on_device("one.h5", &[], &[]) else { return };
    let program = case.map("ranks.h5", &["--engine", "cuda"]);
    let log = Log::new();
    if on_ranks(&[("4", &["XRF_STANDIN_DEVICES=3"])], &program, &log).is_none() {
        return;
    }
    let by_process: BTreeMap<u32, usize> =
        log.of("context").iter().map(|e| (e.process, e.device)).collect();
    let mut devices: Vec<usize> = by_process.values().copied().collect();
    devices.sort_unstable();
    assert_eq!(devices, [0, 0, 1, 2], "devices of four ranks, of three: {:?}", log.events());
    same(&maps(&case.path("ranks.h5")), &expected, "four ranks");
}

/// The ranks of each device, from the words of a map file: `cuda:0, ... on ranks 0-2, 4; cpu, ... on rank 3`.
fn ranks_by_device(engines: &str) -> BTreeMap<&str, BTreeSet<usize>> {
    let number = |text: &str| text.parse::<usize>().expect("the number of a rank");
    let mut found: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
    for engine in engines.split("; ") {
        let (device, _) = engine.split_once(',').expect("a device, and more about it");
        let (_, ranks) = engine.rsplit_once(" on rank").expect("and its ranks");
        for run in ranks.trim_start_matches(['s', ' ']).split(", ") {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            found.entry(device).or_default().extend(number(first)..=number(last));
        }
    }
    found
}

#[test]
fn the_map_file_says_which_device_each_rank_had() {
    let case = Case::new();
    // the last rank has no device: `auto` takes its CPU
    let parts = [
        ("2", &["XRF_STANDIN_DEVICES=1"][..]),
        ("3", &["XRF_STANDIN_DEVICES=2"]),
        ("1", &["XRF_STANDIN_DEVICES=0"]),
    ];
    let program = case.map("mixed.h5", &["--engine", "auto"]);
    if on_ranks(&parts, &program, &Log::new()).is_none() {
        return;
    }
    let (engines, taken_over) = engines_of(&case.path("mixed.h5"));
    let expected = [("cpu", vec![5]), ("cuda:0", vec![0, 1, 2, 4]), ("cuda:1", vec![3])];
    let expected = expected.map(|(device, ranks)| (device, ranks.into_iter().collect()));
    assert_eq!(ranks_by_device(&engines), expected.into(), "ranks by device of: {engines}");
    assert_eq!(taken_over, 0, "spectra that the CPU took over without a failure");
}

/// Pixels whose counts are, bit for bit, those of the first maps alone; and those where both are the same.
fn pixels_of_the_first(found: &Maps, first: &Maps, second: &Maps) -> (usize, usize) {
    let of_pixel = |maps: &Maps, pixel: usize| -> Vec<u64> {
        let counts = &maps["Counts_Per_Sec"];
        let shape = counts.shape();
        let counts = counts.view().into_shape_with_order((shape[0], shape[1] * shape[2]));
        counts.expect("maps").column(pixel).iter().map(|v| v.to_bits()).collect()
    };
    let (mut alone, mut both) = (0, 0);
    for pixel in 0..ROWS * COLS {
        let [found, first, second] = [found, first, second].map(|maps| of_pixel(maps, pixel));
        assert!(found == first || found == second, "pixel {pixel} is of neither engine");
        alone += usize::from(found != second);
        both += usize::from(first == second);
    }
    (alone, both)
}

#[test]
fn what_the_device_of_one_rank_cannot_fit_is_counted_in_the_map_file() {
    let case = Case::new();
    let options = ["--tile-pixels", "3", "--engine", "cuda"];
    let Some((device, ..)) = case.on_device("device.h5", &options[..2], &[]) else { return };
    let cpu = case.on_cpu("cpu.h5", &options[..2]);
    let parts = [("1", &[][..]), ("1", &["XRF_STANDIN_FAIL_LAUNCH=all"]), ("1", &[])];
    let Some(ended) = on_ranks(&parts, &case.map("failing.h5", &options), &Log::new()) else {
        return;
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    let (engines, taken_over) = engines_of(&case.path("failing.h5"));
    assert!(engines.starts_with("cuda:0, ") && !engines.contains("rank"), "{engines}");
    let (on_cpu, either) = pixels_of_the_first(&maps(&case.path("failing.h5")), &cpu, &device);
    assert!(on_cpu > 0, "rank 1 had no share, so nothing was tested: {said}");
    assert!(
        (on_cpu..=on_cpu + either).contains(&taken_over),
        "the file says that the CPU took over {taken_over} spectra; {on_cpu} are the CPU's, {either} may be"
    );
    let line =
        format!("the CPU fitted {taken_over} spectra that the CUDA device of rank 1 failed on");
    assert!(said.contains(&line), "no line `{line}` in {said}");
}

#[test]
fn devices_are_listed_with_what_each_rank_takes() {
    let mut program = Command::new(XRFIT);
    program.arg("devices");
    let parts = [("3", &["XRF_STANDIN_DEVICES=2"][..])];
    let Some(ended) = on_ranks(&parts, &program, &Log::new()) else { return };
    let said = String::from_utf8_lossy(&ended.stdout);
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
