//! Promise: what the READMEs say is true of this program: the table of defaults is the code's, every command line
//! parses, every option and every file that they name exists.
//!
//! `XRFIT_WRITE_README=1 cargo test --release --test readme` writes the table of defaults into README.md.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use xrfit::cli::Cli;
use xrfit::config;

const READMES: [&str; 2] = ["README.md", "jobs/README.md"];
const BEGIN: &str = "<!-- defaults:begin -->\n";
const END: &str = "<!-- defaults:end -->";

/// Options of the programs that start xrfit, as the READMEs mention them by themselves.
const OF_LAUNCHERS: [&str; 6] = [
    "--mpi",
    "--cpus-per-task",
    "--ntasks-per-node",
    "--gpus-per-node",
    "--mem-per-cpu",
    "--array",
];
/// Where a build or an installation puts things.
const MADE: [&str; 4] = ["target/", "bin/", "share/", "lib/"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The lines of fenced blocks, without their `#` comments, and what is in backticks elsewhere.
fn code(file: &str) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut spans, mut fenced) = (Vec::new(), Vec::new(), false);
    let text = read(file);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(line.split("  #").next().unwrap_or_default().trim_end().to_string());
        } else {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_string));
        }
    }
    (lines, spans)
}

/// The words of a command from `xrfit` on, if it calls xrfit; by itself or through a job script.
fn call(command: &str) -> Option<Vec<String>> {
    let mut words: Vec<&str> = command.split_whitespace().collect();
    if words.first() == Some(&"sbatch") {
        let script = words.iter().position(|w| w.ends_with(".sbatch"))?;
        let of_xrfit = words.split_off(script + 1);
        let end = (words[script] == "jobs/scaling.sbatch").then_some(["-o", "maps.h5"]);
        let begin = if words[script] == "jobs/campaign.sbatch" {
            &["xrfit", "campaign", "run"][..]
        } else {
            &["xrfit", "map"]
        };
        words = [begin, &of_xrfit, end.as_ref().map_or(&[], |end| end)].concat();
        words.retain(|word| *word != "...");
    }
    let program = words.iter().position(|w| *w == "xrfit")?;
    let words: Vec<String> = words[program..].iter().map(|word| (*word).to_string()).collect();
    (words.len() > 1).then_some(words)
}

/// The long help of a command and of those below it.
fn help(command: &mut clap::Command) -> String {
    let own = command.render_long_help().to_string();
    command.get_subcommands_mut().fold(own, |text, below| text + &help(below))
}

/// The long help of every subcommand.
fn helps() -> Vec<(String, String)> {
    let mut cli = Cli::command();
    cli.get_subcommands_mut().map(|c| (c.get_name().to_string(), help(c))).collect()
}

/// Whether a help lists an option, and not only one that begins alike.
fn lists(help: &str, option: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == option)
}

fn check_call(file: &str, words: &[String], whole: bool) {
    let shown = words.join(" ");
    if let Err(error) = Cli::try_parse_from(words) {
        let partly = !whole && error.kind() == ErrorKind::MissingRequiredArgument;
        assert!(
            partly || error.kind() == ErrorKind::DisplayHelp,
            "{file} shows `{shown}`, which does not parse: {error}"
        );
    }
    let helps = helps();
    let help = helps.iter().find(|(name, _)| *name == words[1]);
    for option in words.iter().filter(|w| w.starts_with("--") && *w != "--help") {
        let (name, help) = help.unwrap_or_else(|| panic!("{file} shows `{shown}`"));
        assert!(
            lists(help, option),
            "{file} shows `{shown}`; `xrfit {name} --help` has no {option}"
        );
    }
}

#[test]
fn the_table_of_defaults_is_the_codes() {
    let text = read(READMES[0]);
    let begin = text.find(BEGIN).expect("README.md marks where the defaults begin") + BEGIN.len();
    let end = text.find(END).expect("README.md marks where the defaults end");
    let written = format!("{}{}{}", &text[..begin], config::reference(), &text[end..]);
    if std::env::var_os("XRFIT_WRITE_README").is_some() {
        fs::write(root().join(READMES[0]), &written).expect("README.md can be written");
    } else if let Some((is, should)) =
        text.lines().zip(written.lines()).find(|(is, should)| is != should)
    {
        panic!(
            "README.md does not have the code's defaults: it says\n{is}\nwhere the code has\n{should}\n\
             `XRFIT_WRITE_README=1 cargo test --release --test readme` writes them"
        );
    }
}

#[test]
fn every_command_line_of_the_readmes_parses() {
    let mut found = 0;
    for file in READMES {
        let (lines, spans) = code(file);
        for (command, whole) in
            lines.iter().map(|l| (l, true)).chain(spans.iter().map(|s| (s, false)))
        {
            if let Some(words) = call(command) {
                check_call(file, &words, whole);
                found += 1;
            }
        }
    }
    assert!(found >= 10, "{found} command lines found; at least 10 are there");
}

#[test]
fn every_option_that_the_readmes_mention_exists() {
    let helps = helps();
    for file in READMES {
        for span in code(file).1.iter().filter(|s| s.starts_with("--")) {
            let option = span.split([' ', '=']).next().unwrap_or_default();
            let known = helps.iter().any(|(_, help)| lists(help, option));
            assert!(
                known || OF_LAUNCHERS.contains(&option),
                "{file} mentions `{span}`; no subcommand has {option}"
            );
        }
    }
}

/// Whether a span is a path inside the repository.
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    span.contains('/')
        && !span.starts_with('/')
        && span.chars().all(plain)
        && !MADE.iter().any(|made| span.starts_with(made))
}

#[test]
fn every_file_that_the_readmes_name_exists() {
    for file in READMES.into_iter().chain(["kernels/README.md"]) {
        let (lines, spans) = code(file);
        for path in spans.iter().filter(|s| is_path(s)) {
            assert!(root().join(path).exists(), "{file} names `{path}`, which is not there");
        }
        // the tree: folders in the first column, their folders below them
        let mut above = Path::new("");
        for line in &lines {
            let Some((folder, _)) =
                line.trim_start().split_once(' ').filter(|(f, _)| f.ends_with('/'))
            else {
                continue;
            };
            above = if line.starts_with(' ') { above } else { Path::new("") };
            let path = root().join(above).join(folder);
            assert!(
                path.is_dir(),
                "{file} shows the folder {above:?} {folder}, which is not there"
            );
            above = if line.starts_with(' ') { above } else { Path::new(folder) };
        }
    }
}
