//! Where NVRTC may be: named by the user, known to the loader, in a CUDA toolkit, or among a Python's packages.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Names by which the loader may know it, the newest first.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// Libraries to try, in order. A bare name is the loader's to find; `XRFIT_NVRTC` alone counts where it is set.
pub(super) fn places() -> Vec<PathBuf> {
    if let Some(named) = variable("XRFIT_NVRTC") {
        return if named.is_dir() { libraries(&named) } else { vec![named] };
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).chain(installed());
    let pythons = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable);
    let folders =
        toolkits.map(|root| root.join("lib64")).chain(pythons.flat_map(|root| packages(&root)));
    let names = NAMES.into_iter().map(PathBuf::from);
    names.chain(folders.flat_map(|folder| libraries(&folder))).collect()
}

/// Opens what NVRTC opens by a name that only the loader would find, so that it is there already.
pub(super) fn open_builtins(nvrtc: &Path) {
    let Some(folder) = nvrtc.parent().filter(|folder| folder.is_dir()) else { return };
    for path in entries(folder, "libnvrtc-builtins.so") {
        // SAFETY: loading it runs its initialisers, which need nothing of us.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            // never unloaded
            Ok(library) => std::mem::forget(library),
            Err(e) => log::debug!("{}: {e}", path.display()),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Toolkits in their usual place; a plain `cuda` is the site's choice and comes first.
fn installed() -> Vec<PathBuf> {
    let mut found = entries(Path::new("/usr/local"), "cuda");
    found.sort_by_key(|path| path.file_name().is_none_or(|name| name != "cuda"));
    found
}

/// Folders of the libraries that NVIDIA's Python packages bring, and of conda's.
fn packages(root: &Path) -> Vec<PathBuf> {
    let pythons = entries(&root.join("lib"), "python3");
    let nvidia = pythons.into_iter().map(|python| python.join("site-packages/nvidia"));
    let inside =
        nvidia.flat_map(|nvidia| ["cu13/lib", "cuda_nvrtc/lib"].map(|part| nvidia.join(part)));
    inside.chain([root.join("lib")]).collect()
}

/// NVRTC's library in a folder, under one name for each file.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(folder, "libnvrtc.so") {
        if let Ok(file) = fs::canonicalize(path)
            && !files.contains(&file)
        {
            files.push(file);
        }
    }
    files
}

/// Entries of a folder that begin with `name`, from the highest version to the lowest.
fn entries(folder: &Path, name: &str) -> Vec<PathBuf> {
    let begins = |path: &PathBuf| {
        path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(name))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(begins).collect();
    found.sort_by_key(|path| Reverse(version(path)));
    found
}

/// The numbers in a file's name.
fn version(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}
