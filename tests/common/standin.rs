//! A stand-in for the CUDA driver: programs that are given it see devices, on which xrfit's kernels run on the CPU.
//!
//! ```text
//! let log = standin::Log::new();
//! let mut command = Command::new(XRFIT);
//! if !standin::equip(&mut command, &log) {
//!     return;
//! }
//! command.env("XRF_STANDIN_DEVICES", "2");
//! ```
//!
//! What the environment says to it:
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `XRF_STANDIN_DEVICES` | number of devices; 0: `CUDA_ERROR_NO_DEVICE` | 1 |
//! | `XRF_STANDIN_MEMORY` | bytes of each | 512 MiB |
//! | `XRF_STANDIN_UNSEEN` | bytes of it that are not to be had, though the device says that they are free | 0 |
//! | `XRF_STANDIN_FAIL_LAUNCH` | `3`, `3,4` or `all`: these launches of xrf_fit_* of a process fail | none |
//! | `XRF_STANDIN_LOST` | after so many launches of xrf_fit_* every call fails | never |
//! | `XRF_STANDIN_LOG` | file that gets a line for every context, launch, refusal and fault | none |
//! | `CUDA_VISIBLE_DEVICES` | numbers of the devices that a process sees, as with cards | all |
//! | `EMULATED_THREADS` | threads of the machine that share a grid's blocks | all |
#![allow(dead_code, reason = "each test uses its part")]

#[path = "emulator.rs"]
pub mod emulator;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Variables under which a program finds the stand-in driver and an image for it; `None` (and a line that says so)
/// where it cannot be built.
fn environment() -> Option<Vec<(&'static str, OsString)>> {
    let folder = emulator::folder()?;
    let mut libraries = folder.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
        libraries.push(":");
        libraries.push(others);
    }
    let image = folder.join("stand-in.ptx").into_os_string();
    Some(vec![("LD_LIBRARY_PATH", libraries), ("XRFIT_KERNELS", image)])
}

/// Gives a program the stand-in driver and an image for it, with one device, no faults and this log; `false` (and a
/// line that says so) where it cannot be built.
pub fn equip(command: &mut Command, log: &Log) -> bool {
    let Some(variables) = environment() else { return false };
    for name in ["DEVICES", "MEMORY", "UNSEEN", "FAIL_LAUNCH", "LOST"] {
        command.env_remove(format!("XRF_STANDIN_{name}"));
    }
    command.env_remove("CUDA_VISIBLE_DEVICES").envs(variables).env("XRF_STANDIN_LOG", log.path());
    true
}

/// What the devices of one or more processes did.
pub struct Log {
    folder: tempfile::TempDir,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub process: u32,
    /// Of the machine, whatever the process sees.
    pub device: usize,
    /// `context`, `launch xrf_fit_warp_f32 grid 4 block 32 shared 9000`, `alloc of 99 bytes refused, ...`, `lost`
    pub what: String,
}

impl Log {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn events(&self) -> Vec<Event> {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().map(event).collect()
    }

    /// Events whose text begins so.
    pub fn of(&self, what: &str) -> Vec<Event> {
        self.events().into_iter().filter(|e| e.what.starts_with(what)).collect()
    }
}

fn event(line: &str) -> Event {
    let mut words = line.splitn(3, ' ');
    let mut next = || words.next().expect("process, device, event");
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let (process, device) = (number(next()), number(next()) as usize);
    Event { process, device, what: next().to_string() }
}

/// The variable that says to a test that another one started it with the stand-in driver.
const STARTED: &str = "XRFIT_TEST_STARTED";

/// Was this process started by [`succeeds`]? Says so where not.
pub fn is_started() -> bool {
    let started = std::env::var_os(STARTED).is_some();
    if !started {
        println!("skipped: the other tests start this one");
    }
    started
}

/// Starts this test program's own test `name`, which is ignored otherwise, with the stand-in driver and these
/// variables. It has to succeed; its log, and what it said. `None` where there is no stand-in driver.
pub fn succeeds(name: &str, variables: &[(&str, &str)]) -> Option<(Log, String)> {
    let log = Log::new();
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    if !equip(&mut command, &log) {
        return None;
    }
    command.env(STARTED, "1").envs(variables.iter().copied());
    let output = command.output().expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("running 1 test"), "{name} is a test of this program: {said}");
    assert!(output.status.success(), "{name} with {variables:?}:\n{said}");
    Some((log, said))
}

/// The code that a call of the driver ended with.
#[cfg(feature = "cuda")]
pub fn code<T>(result: Result<T, cudarc::driver::DriverError>) -> cudarc::driver::sys::CUresult {
    result.err().map_or(cudarc::driver::sys::CUresult::CUDA_SUCCESS, |error| error.0)
}
