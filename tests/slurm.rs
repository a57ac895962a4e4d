//! Promise: the scripts of jobs/ do under a real Slurm what they say. A job that is signalled before its limit goes back
//! to the queue, goes on and writes the maps of an uninterrupted run; a job that gets nowhere stops; every rank of
//! several nodes has a device of its own.
//!
//! The Slurm is the test's own; see common/slurm.rs.

#![cfg(feature = "mpi")]

#[path = "common/mapped.rs"]
mod mapped;
#[path = "common/slurm.rs"]
mod slurm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use mapped::program::{XRFIT, succeed};
use mapped::standin::{Log, equip};
use mapped::{Case, maps, same};
use slurm::{Nodes, Slurm};

/// Puts a program of this name into the folder `bin` beside the jobs.
fn program(slurm: &Slurm, name: &str, text: &str) -> String {
    let folder = slurm.work().join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/bash\n{text}\n")).expect("a program");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn a_job_that_gets_nowhere_stops() {
    let Some(slurm) = Slurm::start(Nodes::One) else { return };
    let path = program(&slurm, "xrfit", "[ \"$1\" = --version ] || exit 75");
    let mut sbatch = slurm.sbatch(&["--ntasks-per-node=2"], "cpu.sbatch", &["scan.h5"]);
    let job = slurm.submitted(sbatch.env("PATH", path).env("XRFIT_RESTARTS", "1"));
    slurm.wait_for_words(&job, "back in the queue, restart 1 of at most 1");
    slurm.restart_now(&job);
    slurm.wait_for(&job, "FAILED");
    let log = slurm.log(&job);
    assert!(log.contains("not done after 1 restarts (XRFIT_RESTARTS allows 1"), "{log}");
    assert_eq!(slurm.about(&job, "ExitCode"), "1:0", "the job's exit code, after {log}");
}

#[test]
fn ranks_that_did_not_start_are_no_success() {
    let Some(slurm) = Slurm::start(Nodes::One) else { return };
    program(&slurm, "xrfit", "echo xrfit ran");
    // as srun does where a node cannot start its ranks
    let path = program(&slurm, "srun", "[ \"$1\" != --mpi=list ] || echo pmix");
    let mut sbatch = slurm.sbatch(&["--ntasks-per-node=2"], "cpu.sbatch", &["scan.h5"]);
    let job = slurm.submitted(sbatch.env("PATH", path).env("XRFIT_RESTARTS", "0"));
    slurm.wait_for(&job, "FAILED");
    let log = slurm.log(&job);
    assert!(log.contains("srun started no rank"), "{log}");
    let left = fs::read_dir(slurm.work()).expect("the folder").map(|f| f.expect("a file").path());
    let left: Vec<_> = left.filter(|f| f.to_string_lossy().contains("unstarted")).collect();
    assert!(left.is_empty(), "what the job leaves: {left:?}");
}

/// A case whose fits take seconds on a few ranks: many steps for each pixel, and all of them.
fn slow_case() -> Case {
    let case = Case::of([31, 33], 1024);
    let mut text = fs::read_to_string(case.path("fit.toml")).expect("a configuration");
    for (is, slow) in [
        ("optimizer = \"newton\"", "optimizer = \"adam\""),
        ("iterations = 500", "iterations = 1000"),
        ("tolerance = 0.00001", "tolerance = 0"),
    ] {
        assert_eq!(text.matches(is).count(), 1, "`{is}` in {text}");
        text = text.replace(is, slow);
    }
    fs::write(case.path("slow.toml"), text).expect("a configuration");
    case
}

#[test]
fn a_signalled_job_goes_back_to_the_queue_and_completes() {
    let Some(slurm) = Slurm::start(Nodes::One) else { return };
    let case = slow_case();
    let [scan, config] = ["scan.h5", "slow.toml"].map(|name| case.path(name));
    let [scan, config] = [&scan, &config].map(|p| p.to_str().expect("UTF-8"));
    let mut uninterrupted = slurm.command(XRFIT);
    uninterrupted.args(["map", scan, "--config", config, "--threads", "2", "-o"]);
    succeed(uninterrupted.arg(case.path("uninterrupted.h5")));
    let expected = maps(&case.path("uninterrupted.h5"));

    for launcher in ["srun", "mpirun"] {
        let [out, ledger] = ["h5", "h5.ledger"].map(|end| case.path(&format!("{launcher}.{end}")));
        let of_job = [scan, "--config", config, "--tile-pixels", "16", "-o"];
        let mut sbatch = slurm.sbatch(&["--ntasks-per-node=3"], "cpu.sbatch", &of_job);
        let job = slurm.submitted(sbatch.arg(&out).env("XRFIT_LAUNCHER", launcher));
        slurm.wait_for_words(&job, " of 1,023 pixels (");
        slurm.ask("scancel", &["--batch", "--signal=USR1", &job]);
        slurm.wait_for_words(&job, "back in the queue, restart 1 of at most 50");
        let log = slurm.log(&job);
        assert!(ledger.exists() && !out.exists(), "only the ledger is there, of {launcher}: {log}");
        slurm.restart_now(&job);
        slurm.wait_for(&job, "COMPLETED");
        let log = slurm.log(&job);
        assert!(out.exists() && !ledger.exists(), "only the maps are there, of {launcher}: {log}");
        same(&maps(&out), &expected, launcher);
    }
}

#[test]
fn each_rank_of_two_nodes_has_a_device_of_its_own() {
    let Some(slurm) = Slurm::start(Nodes::TwoWithDevices) else { return };
    let case = Case::new();
    let Some((expected, ..)) = case.on_device("one.h5", &[], &[]) else { return };
    // a rank says on which node it is before it becomes xrfit
    let places = slurm.work().join("places");
    let text = format!("echo $SLURMD_NODENAME $$ >>{}\nexec {XRFIT} \"$@\"", places.display());
    let path = program(&slurm, "xrfit", &text);
    let [scan, config, out] = ["scan.h5", "fit.toml", "nodes.h5"].map(|name| case.path(name));
    let [scan, config, out] = [&scan, &config, &out].map(|p| p.to_str().expect("UTF-8"));
    // as `Case::map` has it
    let fit = ["--config", config, "--iterations", "7", "--tile-pixels", "35"];
    let of_job = [&[scan][..], &fit, &["--engine", "cuda", "-o", out]].concat();
    let options = ["--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1"];
    let mut sbatch = slurm.sbatch(&options, "nodes.sbatch", &of_job);
    let log = Log::new();
    if !equip(&mut sbatch, &log) {
        return;
    }
    // the nodes are one machine: by way of its memory the ranks of one would talk to those of the other
    let by_network = [
        ("OMPI_MCA_pml", "ob1"),
        ("OMPI_MCA_btl", "self,tcp"),
        ("OMPI_MCA_btl_tcp_if_include", "lo"),
        ("OMPI_MCA_oob_tcp_if_include", "lo"),
    ];
    sbatch.envs(by_network).env("XRFIT_LAUNCHER", "mpirun").env("PATH", path);
    let job = slurm.submitted(sbatch.env("XRF_STANDIN_DEVICES", "2"));
    slurm.wait_for(&job, "COMPLETED");

    let places = fs::read_to_string(places).expect("the places of the ranks");
    let nodes: BTreeMap<u32, &str> = places
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(node, process)| (process.parse().expect("a process"), node))
        .collect();
    let taken: BTreeSet<(u32, &str, usize)> =
        log.of("context").iter().map(|e| (e.process, nodes[&e.process], e.device)).collect();
    let devices: BTreeSet<_> = taken.iter().map(|&(_, node, device)| (node, device)).collect();
    assert_eq!(taken.len(), 4, "ranks with a device: {taken:?}; {}", slurm.log(&job));
    let each = [("n1", 0), ("n1", 1), ("n2", 0), ("n2", 1)];
    assert_eq!(devices, each.into(), "nodes and devices: {taken:?}");
    same(&maps(&case.path("nodes.h5")), &expected, "two nodes");
}

#[test]
fn a_corrupt_scan_fails_alone_in_an_array() {
    let Some(slurm) = Slurm::start(Nodes::One) else { return };
    let raw = slurm.work().join("raw");
    fs::create_dir(&raw).expect("a folder");
    for i in 0..6 {
        let [number, scan] = [i.to_string(), format!("raw/{i}.h5")];
        let simulate = ["simulate", "--channels", "1300", "--rows", "9", "--cols", "11"];
        let mut command = slurm.command(XRFIT);
        succeed(command.args(simulate).args(["--seed", &number, "-o", &scan]));
    }
    let whole = fs::read(raw.join("3.h5")).expect("a scan");
    fs::write(raw.join("3.h5"), &whole[..whole.len() / 2]).expect("half a scan");
    let manifest = "output = \"maps\"\n[[group]]\nscans = [\"raw/*.h5\"]\n\
                    elements = [\"Si\", \"Ca\", \"Fe\", \"Zn\"]\nincident_kev = 10.0\n\
                    options = [\"--threads\", \"1\"]\n";
    fs::write(slurm.work().join("campaign.toml"), manifest).expect("a manifest");
    let xrfit = |step| slurm.ask(XRFIT, &["campaign", step, "campaign.toml"]);
    let planned = xrfit("plan");
    assert!(planned.contains("entries 0 to 5"), "{planned}");

    let options = ["--array=0-5", "--ntasks-per-node=2"];
    let job = slurm.submit(&options, "campaign.sbatch", &["campaign.toml"]);
    for i in 0..6 {
        let state = if i == 3 { "FAILED" } else { "COMPLETED" };
        slurm.wait_for(&format!("{job}_{i}"), state);
    }
    let status = xrfit("status");
    let counts = "6 scans: 5 done, 0 running, 0 interrupted, 1 failed, 0 waiting";
    assert!(status.starts_with(counts), "{status}");
    let reason = status.lines().find_map(|line| line.trim().strip_prefix("3 raw/3.h5: failed: "));
    assert!(reason.is_some_and(|reason| reason.contains("3.h5")), "its reason: {status}");
    let made = fs::read_dir(slurm.work().join("maps")).expect("the maps");
    let names = made.map(|file| file.expect("a file").file_name());
    let made: BTreeSet<_> = names.filter_map(|name| name.into_string().ok()).collect();
    let done: BTreeSet<_> = [0, 1, 2, 4, 5].map(|i| format!("{i}.h5")).into();
    let found: BTreeSet<_> = made.into_iter().filter(|name| name.ends_with("h5")).collect();
    assert!(found.is_superset(&done) && !found.contains("3.h5"), "map files: {found:?}");
}

#[test]
fn a_scaling_study_has_a_line_for_each_number_of_ranks() {
    let Some(slurm) = Slurm::start(Nodes::One) else { return };
    let case = Case::new();
    let [scan, config] = ["scan.h5", "fit.toml"].map(|name| case.path(name));
    let [scan, config] = [&scan, &config].map(|p| p.to_str().expect("UTF-8"));
    let of_job = [scan, "--config", config, "--tile-pixels", "9"];
    let job = slurm.submit(&["--ntasks-per-node=3"], "scaling.sbatch", &of_job);
    slurm.wait_for(&job, "COMPLETED");
    let folder = slurm.work().join(format!("xrfit-scaling-{job}"));
    let table = fs::read_to_string(folder.join("table.txt")).expect("a table");
    let number = |word: &str| word.parse::<f64>().expect("a number");
    let lines: Vec<Vec<f64>> =
        table.lines().skip(1).map(|line| line.split_whitespace().map(number).collect()).collect();
    let ranks: Vec<f64> = lines.iter().map(|line| line[0]).collect();
    assert_eq!(ranks, [1.0, 2.0, 3.0], "numbers of ranks of {table}");
    for line in &lines {
        let [ranks, speed, speed_up, efficiency] = line[..] else { panic!("columns of {table}") };
        assert!((speed_up - speed / lines[0][1]).abs() <= 0.01, "speed-up of {ranks} in {table}");
        let expected = 100.0 * speed / lines[0][1] / ranks;
        assert!((efficiency - expected).abs() <= 0.1, "efficiency of {ranks} in {table}");
    }
    let left = fs::read_dir(&folder).expect("a folder").map(|f| f.expect("a file").file_name());
    let maps = left.filter(|name| name.to_string_lossy().contains(".h5")).count();
    assert_eq!(maps, 0, "map files that are left in {}", folder.display());
}
