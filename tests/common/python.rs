//! A Python for what other programs read.

use std::path::Path;
use std::process::Command;

/// A Python that can do `import`: the one that `XRFIT_PYTHON` names, that of `.venv`, or the system's;
/// `None`, and a line that says so, without one.
pub fn python(import: &str) -> Option<String> {
    let named = std::env::var("XRFIT_PYTHON").ok();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let tried = [named, own.to_str().map(String::from), Some("python3".into())];
    let found = tried.into_iter().flatten().find(|python| {
        let output = Command::new(python).args(["-c", import]).output();
        output.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: there is no Python (XRFIT_PYTHON, .venv) that can {import}");
    }
    found
}
