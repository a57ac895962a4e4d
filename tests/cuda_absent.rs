//! Promise: a build without CUDA says so where CUDA is asked for, and otherwise fits on the CPU.

#![cfg(not(feature = "cuda"))]

use std::process::Command;

use xrfit::engine::{Choice, Precision, choose};

const ABSENT: &str = "this xrfit was built without CUDA (cargo feature `cuda`)";

#[test]
fn cuda_is_an_error_and_auto_the_cpu_with_a_note() {
    let error = choose(Choice::Cuda, Precision::F32, 0).err().map(|error| error.to_string());
    assert_eq!(error, Some(format!("{ABSENT}; use --engine cpu or leave --engine out")));
    let opened = choose(Choice::Auto, Precision::F32, 0).expect("the CPU engine");
    assert!(opened.engine.describe().starts_with("cpu, "), "{}", opened.engine.describe());
    assert_eq!(opened.note, Some(format!("fitting on the CPU: {ABSENT}")));
}

#[test]
fn devices_are_listed_all_the_same() {
    let ended = Command::new(env!("CARGO_BIN_EXE_xrfit")).arg("devices").output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains(&format!("CUDA   none: {ABSENT}")), "{said}");
}
