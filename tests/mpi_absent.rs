//! A build without MPI runs alone, and refuses to run as one of several processes that would each
//! map the whole scan.

#![cfg(not(feature = "mpi"))]

use std::process::{Command, Stdio};

use xrfit::cluster::{self, VARIABLES, refuse};

/// Says that this process is the one that joins.
const JOINS: &str = "XRFIT_TEST_JOINS";

#[test]
#[ignore = "the process that the other tests start"]
fn joins() {
    if std::env::var_os(JOINS).is_none() {
        println!("skipped: the other tests start this one");
        return;
    }
    let cluster = cluster::join().unwrap_or_else(|error| refuse(&error));
    println!("\nplace: {} of {}", cluster.rank(), cluster.size());
}

/// Exit code, output and messages of a process that joins with these variables.
fn joined_with(variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env(JOINS, "1").envs(variables.iter().copied()).stdin(Stdio::null());
    command.args(["--exact", "joins", "--ignored", "--nocapture"]);
    let output = command.output().expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn one_process_runs_alone() {
    for variables in [&[][..], &[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]] {
        let (code, out, err) = joined_with(variables);
        assert_eq!(code, Some(0), "exit code with {variables:?}: {err}");
        assert!(out.contains("place: 0 of 1"), "with {variables:?}: {out}");
    }
}

#[test]
fn several_processes_are_refused_with_one_message() {
    for (rank, messages) in [("0", 1), ("2", 0)] {
        let (code, _, err) =
            joined_with(&[("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_RANK", rank)]);
        assert_eq!(code, Some(1), "exit code of process {rank}: {err}");
        let said = err.matches("xrfit: mpirun started several processes").count();
        assert_eq!(said, messages, "messages of process {rank}: {err}");
    }
}
