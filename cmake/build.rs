//! Compiles `kernels/host.cpp`, once per instruction set, and records the commit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    let levels: &[(&str, &[&str])] = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => &[
            ("v2", &["-march=x86-64-v2"]),
            ("v3", &["-march=x86-64-v3"]),
            ("v4", &["-march=x86-64-v4", "-mprefer-vector-width=512"]),
        ],
        _ => &[("v2", &[])],
    };
    for (level, flags) in levels {
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .file("kernels/host.cpp")
            .define("XRF_LEVEL", *level)
            .opt_level(3)
            .flag("-fopenmp-simd")
            .flag("-fno-math-errno")
            .flag("-fno-trapping-math")
            .flag("-fno-signed-zeros")
            .flag("-ffp-contract=fast")
            // partial redundancy elimination turns selects into branches, and branches end vectorisation
            .flag_if_supported("-fno-tree-pre")
            .flag("-fno-exceptions")
            .flag("-fno-rtti")
            .warnings(true)
            .flag("-Wno-unused-parameter")
            .flag_if_supported("-Wno-unknown-pragmas");
        for flag in *flags {
            build.flag(flag);
        }
        build.compile(&format!("xrf_kernels_{level}"));
        println!("cargo::rustc-cfg=xrf_{level}");
    }
    for level in ["v2", "v3", "v4"] {
        println!("cargo::rustc-check-cfg=cfg(xrf_{level})");
    }
    println!("cargo::rustc-env=XRFIT_COMMIT={}", commit());
}

fn commit() -> String {
    // not the index, which every `git status` may write; and a file that is not there, as in a second work tree, would
    // mean to build anew each time
    for file in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|f| Path::new(f).exists()) {
        println!("cargo::rerun-if-changed={file}");
    }
    Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .ok()
        .filter(|o| o.status.success())
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .map_or_else(|| "unknown".into(), |s| s.trim().to_owned())
}
