//! Promise: the GPU's kernels compile for every card without a warning, without spilled registers (f64 too) and
//! within a stated number of them; the loops over channels of an f32 kernel do no f64 arithmetic; images come from a
//! cache that heals itself; and what is missing is said.
//!
//! It needs NVIDIA's run-time compiler but no GPU: `jobs/setup.sh tests` puts the compiler's Python package into
//! `.venv`. Each compilation is a process of its own, two at a time.

#[path = "bench/case.rs"]
mod case;
#[path = "common/ptx.rs"]
mod ptx;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use xrfit::engine::cuda::compile::{Kind, Team, Wanted, compile, image, nvrtc};
use xrfit::engine::cuda::constants;
use xrfit::engine::{Precision, Starts};
use xrfit::problem::Tail;

/// Tells the child what to do: `report` or `image`, kind, capability, driver, and defines.
const TASK: &str = "XRFIT_TEST_COMPILE";
/// Where the child leaves the PTX of a report.
const PTX: &str = "XRFIT_TEST_PTX";

const CARDS: [i32; 4] = [70, 80, 90, 100];
const KINDS: [Kind; 4] = [
    Kind { team: Team::Warp, precision: Precision::F32 },
    Kind { team: Team::Block, precision: Precision::F32 },
    Kind { team: Team::Warp, precision: Precision::F64 },
    Kind { team: Team::Block, precision: Precision::F64 },
];

/// Registers that a thread may use on any card, in f32 and in f64. 128 let 16 warps live on a multiprocessor, 168
/// twelve, 255 eight of them.
const BUDGET: [(&str, u32, u32); 7] = [
    ("xrf_layout", 32, 32),
    ("xrf_prepare", 112, 120),
    ("xrf_background", 108, 108),
    ("xrf_evaluate", 128, 144),
    ("xrf_fit", 128, 160),
    ("xrf_newton", 168, 184),
    ("xrf_errors", 128, 152),
];

/// The same of a run without tails: as many warps as its shared memory allows on sm_90.
const BUDGET_OF_A_RUN: [(&str, u32, u32); 1] = [("xrf_fit", 104, 160)];

/// Kind, card, and macros of a run.
type Variant = (Kind, i32, Vec<String>);

/// The folder of the compiler that the tests install, or a line that says why there is none.
fn compiler() -> Option<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/lib");
    let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let found = pythons
        .map(|python| python.path().join("site-packages/nvidia/cuda_nvrtc/lib"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: no NVRTC in .venv (pip install nvidia-cuda-nvrtc-cu12==12.9.86)");
    }
    found
}

/// Runs `compiles_as_told` with a task and an environment in which nothing else names a compiler.
fn child(task: &str, variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    for name in ["XRFIT_KERNELS", "XRFIT_NVRTC", "CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"] {
        command.env_remove(name);
    }
    command.env(TASK, task).envs(variables.iter().copied()).stdin(Stdio::null());
    command.args(["--exact", "compiles_as_told", "--ignored", "--nocapture"]);
    command.output().expect("a process starts")
}

/// The rest of the child's line that begins with `word`.
fn said(output: &Output, word: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("the child says no {word}: {text}{output:?}")).trim().into()
}

#[test]
#[ignore = "the other tests start it"]
fn compiles_as_told() {
    let task = std::env::var(TASK).expect("the parent names a task");
    let mut words = task.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (what, kind) = (next(), next());
    let mut number = || next().parse::<i32>().unwrap_or_default();
    let (capability, driver) = (number(), number());
    let kind = KINDS.into_iter().find(|k| k.suffix() == kind).unwrap_or(KINDS[0]);
    let defines: Vec<String> = words.filter(|w| !w.is_empty()).map(String::from).collect();
    let capability = (capability / 10, capability % 10);
    let wanted = Wanted { kind, capability, driver, defines: &defines };
    match what {
        "version" => match nvrtc() {
            Ok(version) => println!("\nversion {version}"),
            Err(e) => println!("\nerror {e}"),
        },
        "report" => {
            let further = ["--ptxas-options=-v", "--generate-line-info"];
            let compiled = compile(&wanted, &further).unwrap_or_else(|e| panic!("{e}"));
            let path = std::env::var_os(PTX).expect("the parent names a file");
            std::fs::write(path, compiled.ptx).expect("PTX can be written");
            println!("\n{}", compiled.log);
        }
        _ => match image(&wanted) {
            Ok(image) => {
                println!("\norigin {}", image.origin);
                println!("bytes {} {:x}", image.bytes.len(), Sha256::digest(&image.bytes));
            }
            Err(e) => println!("\nerror {}", e.to_string().replace('\n', " | ")),
        },
    }
}

/// Compiles one variant for one card and holds what the compiler says against the promises.
fn check(folder: &Path, compiler: &Path, (kind, card, defines): &Variant) -> Vec<String> {
    let for_one_run = if defines.is_empty() { "" } else { ", one run" };
    let name = format!("{} for sm_{card}{for_one_run}", kind.suffix());
    let file = folder.join(&name);
    let task = format!("report {} {card} 0 {}", kind.suffix(), defines.join(" "));
    let output = child(&task, &[("XRFIT_NVRTC", compiler), (PTX, &file)]);
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return vec![format!("{name}: {log}{}", String::from_utf8_lossy(&output.stderr))];
    }
    // NVRTC 12.9 warns of the age of sm_70
    let warnings = log.lines().filter(|l| l.contains("warning") && !l.contains("deprecated"));
    let mut faults: Vec<String> = warnings.map(|l| format!("{name}: {l}")).collect();
    let found = ptx::resources(&log);
    for function in &found {
        if function.spilled > 0 {
            let bytes = function.spilled;
            faults.push(format!("{name}: {} spills {bytes} bytes, allowed 0", function.name));
        }
    }
    let mut used = Vec::new();
    let budget = if defines.is_empty() { &BUDGET[..] } else { &BUDGET_OF_A_RUN[..] };
    for &(kernel, single, double) in budget {
        let allowed = if kind.precision == Precision::F32 { single } else { double };
        let entry = format!("{kernel}_{}", kind.suffix());
        let registers = found.iter().find(|f| f.name == entry).and_then(|f| f.registers);
        match registers {
            Some(n) if n <= allowed => used.push(format!("{kernel} {n}")),
            n => faults.push(format!("{name}: {kernel} uses {n:?} registers, allowed {allowed}")),
        }
    }
    println!("{name}: registers {}", used.join(", "));
    let text = std::fs::read_to_string(&file).expect("the child has written PTX");
    let doubles = ptx::doubles(&text);
    if kind.precision == Precision::F32 {
        faults.extend(doubles.into_iter().map(|fault| format!("{name}: {fault}")));
    } else if !doubles.iter().any(|fault| fault.contains("add_terms computes in f64")) {
        faults.push(format!("{name}: the f64 of add_terms is not seen"));
    }
    faults
}

#[test]
fn every_kernel_compiles_for_every_card_without_warnings_spills_or_f64_in_f32_loops() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let variants = CARDS.iter().flat_map(|&card| KINDS.map(|kind| (kind, card, Vec::new())));
    let mut waiting: Vec<Variant> = variants.collect();
    let mut problem = case::problem(&case::E15, (0, 1052), 0.01);
    problem.tail = Tail::None;
    let of_run = constants::of_run(&problem, &Starts::FirstPass);
    assert!(of_run.contains(&"XRF_RUN_shaped=0".to_string()), "{of_run:?}");
    let macros = [&of_run[..], &[constants::NEAR_SHARED.to_string()]].concat();
    waiting.push((KINDS[0], 90, macros));
    let (waiting, faults) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no thread panics").pop();
                    let Some(variant) = next else { break };
                    let found = check(folder.path(), &compiler, &variant);
                    faults.lock().expect("no thread panics").extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no thread panics");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Files of a cache folder.
fn kept(cache: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(cache).expect("a folder").map(|e| e.expect("an entry").path()).collect()
}

#[test]
fn the_cache_serves_several_processes_and_makes_damaged_entries_anew() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    // a card that this compiler does not know: the PTX of an older one, which takes a third of the time
    let ask = || {
        child("image warp_f32 130 12090", &[("XRFIT_NVRTC", &compiler), ("XRFIT_CACHE", &cache)])
    };
    let both =
        std::thread::scope(|scope| [scope.spawn(ask), scope.spawn(ask)].map(|one| one.join()));
    let [first, second] = both.map(|one| one.expect("a child runs"));
    let bytes = said(&first, "bytes ");
    assert_eq!(bytes, said(&second, "bytes "), "images of two processes at once");
    assert_eq!(said(&first, "origin "), "NVRTC 12.9, PTX of sm_121");
    assert_eq!(kept(&cache).len(), 1, "files in the cache: {:?}", kept(&cache));

    let third = ask();
    assert_eq!(said(&third, "origin "), "NVRTC 12.9, PTX of sm_121, cached");
    assert_eq!(bytes, said(&third, "bytes "), "cached image");

    let entry = kept(&cache).remove(0);
    let whole = std::fs::read(&entry).expect("the entry can be read");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (what, damaged) in [
        ("cut short", &whole[..whole.len() - 7]),
        ("of another content", &flipped[..]),
        ("empty", &[]),
    ] {
        std::fs::write(&entry, damaged).expect("the entry can be damaged");
        let again = ask();
        assert_eq!(said(&again, "origin "), "NVRTC 12.9, PTX of sm_121", "an entry {what}");
        assert_eq!(bytes, said(&again, "bytes "), "an entry {what}");
        let remade = std::fs::read(&entry).expect("the entry is there again");
        assert!(remade == whole, "an entry {what} was made anew otherwise than at first");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let Some(compiler) = compiler() else { return };
    let cache = Path::new("/dev/null/cache");
    let output =
        child("image warp_f32 130 12090", &[("XRFIT_NVRTC", &compiler), ("XRFIT_CACHE", cache)]);
    assert_eq!(said(&output, "origin "), "NVRTC 12.9, PTX of sm_121");
}

#[test]
fn another_macro_another_variant_and_another_driver_are_other_entries() {
    let Some(compiler) = compiler() else { return };
    let cache = tempfile::tempdir().expect("a folder");
    let tasks = [
        "image warp_f32 130 12090",
        "image warp_f32 130 12090 XRF_N_LINES=40",
        "image block_f32 130 12090",
        "image warp_f32 130 13000",
    ];
    let mut origins = BTreeSet::new();
    for task in tasks {
        let output = child(task, &[("XRFIT_NVRTC", &compiler), ("XRFIT_CACHE", cache.path())]);
        origins.insert(said(&output, "origin "));
    }
    assert_eq!(kept(cache.path()).len(), tasks.len(), "entries of {tasks:?}");
    assert_eq!(origins.len(), 1, "none may come from the cache: {origins:?}");
}

#[test]
fn a_python_environment_is_searched_without_help_of_the_loader() {
    if compiler().is_none() {
        return;
    }
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv");
    let version = said(&child("version", &[("VIRTUAL_ENV", &python)]), "version ");
    assert!(version.starts_with("NVRTC 1"), "{version}");
}

#[test]
fn a_refusal_carries_what_the_compiler_says() {
    let Some(compiler) = compiler() else { return };
    let output = child("image warp_f32 90 12090 N_SUMS=5", &[("XRFIT_NVRTC", &compiler)]);
    let error = said(&output, "error ");
    for part in ["NVRTC 12.9 refused the kernels", "-DN_SUMS=5", "peaks.cuh(", "error:"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn a_driver_older_than_the_compiler_is_told() {
    let Some(compiler) = compiler() else { return };
    for (task, part) in [
        ("image warp_f32 90 11080", "makes code that a driver for CUDA 11.8 does not load"),
        ("image warp_f32 130 12020", "a driver for CUDA 12.2 does not translate its PTX"),
        ("image warp_f32 35 12090", "has no code for devices as old as compute capability 3.5"),
    ] {
        let error = said(&child(task, &[("XRFIT_NVRTC", &compiler)]), "error ");
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn without_a_compiler_the_error_says_what_to_do() {
    let empty = tempfile::tempdir().expect("a folder");
    let (nvrtc, cache) = (("XRFIT_NVRTC", empty.path()), ("XRFIT_CACHE", empty.path()));
    let error = said(&child("image warp_f32 90 12090", &[nvrtc, cache]), "error ");
    for part in ["no NVRTC was found", "pip install nvidia-cuda-nvrtc-cu12", "XRFIT_KERNELS"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
    let error = said(&child("version", &[nvrtc]), "error ");
    assert!(error.contains("no NVRTC was found"), "{error}");
}

#[test]
fn an_image_made_ahead_of_time_is_taken_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (binary, text) = (folder.path().join("fit.cubin"), folder.path().join("fit.ptx"));
    std::fs::write(&binary, b"\x7fELF and so on").expect("a file is written");
    std::fs::write(&text, ".version 8.0").expect("a file is written");
    for (path, length) in [(&binary, 14), (&text, ".version 8.0\0".len())] {
        let output = child("image warp_f32 90 12090", &[("XRFIT_KERNELS", path)]);
        assert_eq!(said(&output, "origin "), path.display().to_string());
        assert!(said(&output, "bytes ").starts_with(&format!("{length} ")), "{output:?}");
    }
    let absent = folder.path().join("absent");
    let error = said(&child("image warp_f32 90 12090", &[("XRFIT_KERNELS", &absent)]), "error ");
    assert!(error.contains("name another file in XRFIT_KERNELS"), "{error}");
}
