//! Promise: each module knows only what it may know, and files stay short enough to read.
//!
//! The `crate::` paths in `src/` are held against a table; comments do not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules it may know beside itself. Every module may know `error` and `constants`.
const MAY_KNOW: [(&str, &[&str]); 27] = [
    ("error", &[]),
    ("constants", &[]),
    ("output", &[]),
    ("signals", &[]),
    ("spelling", &[]),
    ("tile", &[]),
    ("regions", &[]),
    ("kernels", &[]),
    ("cluster", &[]),
    // simulated scans are written, too
    ("scan", &["output"]),
    // the place and spelling of things that people type
    ("lines", &["problem", "spelling"]),
    ("problem", &["kernels"]),
    ("engine", &["kernels", "problem"]),
    ("config", &["kernels", "lines", "problem", "spelling"]),
    // what a map file repeats of its scan: axes, metadata, scalers, times
    ("maps", &["output", "scan"]),
    ("background", &["engine", "problem"]),
    ("calibrate", &["engine", "kernels", "problem"]),
    ("fit", &["engine", "kernels", "problem"]),
    ("priors", &["engine", "kernels", "problem"]),
    ("score", &["engine", "kernels", "problem"]),
    // where fits of tiles become maps of a scan
    ("assemble", &["engine", "fit", "kernels", "maps", "problem", "scan"]),
    // the choices that people type
    ("cli", &["config", "engine", "maps", "problem", "regions"]),
    ("report", &[]),
    ("simulate", &["cli", "config", "engine", "kernels", "problem", "scan"]),
    (
        "run",
        &[
            "assemble",
            "background",
            "calibrate",
            "cli",
            "cluster",
            "config",
            "engine",
            "fit",
            "kernels",
            "maps",
            "output",
            "priors",
            "problem",
            "regions",
            "report",
            "scan",
            "score",
            "signals",
            "simulate",
            "tile",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Lines of code that a file of formulas or of program may have.
const LONGEST: usize = 300;

fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source tree can be listed") {
            let path = entry.expect("and its entries read").path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                folders.push(path);
            } else if extensions.contains(&extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source in {folder}");
    found
}

/// Lines of a file that are neither empty nor comment.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source file can be read");
    let lines = text.lines().map(str::trim);
    lines.filter(|l| !l.is_empty() && !l.starts_with("//")).map(str::to_string).collect()
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside = path.strip_prefix(source).expect("a file of src/");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// Top-level modules that a line of code names as `crate::NAME`, or one in braces after `crate::`.
fn known(line: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    line.match_indices("crate::")
        .map(|(at, found)| &line[at + found.len()..])
        .map(|rest| {
            assert!(
                !rest.starts_with('{'),
                "one `use crate::` per module can be read by this test: {line}"
            );
            name(rest)
        })
        .collect()
}

#[test]
fn each_module_knows_only_what_it_may() {
    let mut modules = BTreeSet::new();
    for path in files("src", &["rs"]) {
        let module = module(&path);
        let (_, may) = MAY_KNOW
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("the table does not say what {module} may know"));
        for name in code(&path).iter().flat_map(|line| known(line)) {
            assert!(
                name == module
                    || ["error", "constants"].contains(&name.as_str())
                    || may.contains(&name.as_str()),
                "{} names crate::{name}; {module} may know {may:?}",
                path.display()
            );
        }
        modules.insert(module);
    }
    for (name, _) in MAY_KNOW {
        assert!(modules.contains(name), "the table speaks of {name}, which is not in src/");
    }
}

#[test]
fn files_are_short() {
    for path in
        files("src", &["rs"]).into_iter().chain(files("kernels", &["cuh", "cu", "cpp", "h"]))
    {
        let n = code(&path).len();
        assert!(n <= LONGEST, "{} has {n} lines of code, allowed {LONGEST}", path.display());
    }
}
