//! Promise: an image of the kernels that this xrfit cannot use (of another version, no image, no file) gives no numbers:
//! `--engine cuda` ends with what is wrong and what to do, `--engine auto` says so and fits on the CPU.

#![cfg(feature = "cuda")]

#[path = "common/mapped.rs"]
mod mapped;

use std::fs;

use mapped::standin::{Log, equip};
use mapped::{COLS, Case, ROWS, engines_of, maps, same};

/// PTX for the stand-in driver, whose kernels say that this word of XrfLayout is another one.
fn image_with_another(word: &str) -> String {
    format!("// another {word}\n.version 8.0\n.target sm_90\n")
}

/// `xrfit map` with an image of this content: its exit code, and what it said. `None` without a stand-in driver.
fn map_with(
    case: &Case,
    (name, engine): (&str, &str),
    content: Option<&str>,
) -> Option<(Option<i32>, String)> {
    let image = case.path("kernels.ptx");
    let mut command = case.map(name, &["--engine", engine]);
    if !equip(&mut command, &Log::new()) {
        return None;
    }
    let _ = fs::remove_file(&image);
    if let Some(content) = content {
        fs::write(&image, content).expect("an image");
    }
    let ended = command.env("XRFIT_KERNELS", &image).output().expect("the program starts");
    Some((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
}

#[test]
fn an_image_of_another_version_is_refused_with_what_to_do() {
    let case = Case::new();
    for word in ["problem_bytes", "tile_bytes", "parameters"] {
        let image = image_with_another(word);
        let Some((code, said)) = map_with(&case, ("other.h5", "cuda"), Some(&image)) else {
            return;
        };
        assert_eq!(code, Some(1), "exit code with another {word}; it said {said}");
        for part in
            ["kernels.ptx belong to another version", "make the image anew", "XRFIT_KERNELS"]
        {
            assert!(said.contains(part), "no `{part}` about another {word} in {said}");
        }
        assert!(!case.path("other.h5").exists(), "a map file of kernels with another {word}");
    }
    // the same image with nothing else in it is taken
    let (code, said) = map_with(&case, ("own.h5", "cuda"), Some(&image_with_another("nothing")))
        .expect("as before");
    assert_eq!(code, Some(0), "exit code with this version's kernels; it said {said}");
}

#[test]
fn what_is_no_image_is_refused_with_what_to_do() {
    let case = Case::new();
    let Some((code, said)) = map_with(&case, ("none.h5", "cuda"), Some("no image\n")) else {
        return;
    };
    assert_eq!(code, Some(1), "exit code of a file that is no image; it said {said}");
    assert!(said.contains("does not take the kernels") && said.contains("kernels.ptx"), "{said}");
    let (code, said) = map_with(&case, ("none.h5", "cuda"), None).expect("as before");
    assert_eq!(code, Some(1), "exit code without the file; it said {said}");
    assert!(said.contains("name another file in XRFIT_KERNELS, or unset it"), "{said}");
    assert!(!case.path("none.h5").exists(), "a map file without kernels");
}

#[test]
fn auto_fits_on_the_cpu_when_the_image_is_of_another_version() {
    let case = Case::new();
    let image = image_with_another("tile_bytes");
    let Some((code, said)) = map_with(&case, ("auto.h5", "auto"), Some(&image)) else { return };
    assert_eq!(code, Some(0), "exit code; it said {said}");
    let told = said.lines().filter(|line| line.contains("another version")).count();
    assert_eq!(told, 1, "lines about the image in {said}");
    assert!(said.contains("the CPU takes over"), "{said}");
    assert_eq!(engines_of(&case.path("auto.h5")).1, ROWS * COLS, "spectra that the CPU took over");
    same(&maps(&case.path("auto.h5")), &case.on_cpu("cpu.h5", &[]), "auto with another's image");
}
