//! Promise: the defaults that the README's table and `--help` state are those that a configuration without
//! them resolves to.

use std::collections::BTreeMap;
use std::process::Command;

use xrfit::config::{self, Choices, Settings, Sources};

/// The configuration of a user who gives elements and an energy alone, by dotted key.
fn resolved() -> BTreeMap<String, toml::Value> {
    let choices = Choices {
        elements: Some(vec!["Fe".into()]),
        incident_kev: Some(10.0),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    let text = Settings::resolve(&sources).unwrap().settings.to_toml();
    let table: toml::Table = text.parse().unwrap();
    let mut values = BTreeMap::new();
    for (section, value) in table {
        match value {
            toml::Value::Table(keys) => {
                values.extend(keys.into_iter().map(|(key, v)| (format!("{section}.{key}"), v)));
            }
            value => drop(values.insert(section, value)),
        }
    }
    values
}

/// The stated default without its unit and its exceptions under `compat`.
fn plain(stated: &str) -> &str {
    stated.split(';').next().unwrap().trim().trim_matches('`')
}

fn same(value: &toml::Value, stated: &str) -> bool {
    match value {
        toml::Value::String(word) => word == stated,
        toml::Value::Integer(n) => stated.parse() == Ok(*n),
        toml::Value::Float(x) => stated.parse() == Ok(*x),
        toml::Value::Boolean(b) => stated.parse() == Ok(*b),
        _ => false,
    }
}

/// Defaults that are no single value; each is tested where it is computed.
const COMPUTED: [&str; 7] = [
    "elements",
    "incident_kev",
    "model.pair_energy_ev",
    "fit.free",
    "fit.first_pass",
    "fit.first_pass_free",
    "fit.max_kev",
];

#[test]
fn the_table_states_what_a_configuration_resolves_to() {
    let values = resolved();
    let mut compared = 0;
    for row in config::reference().lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (key, stated) = (cells[1].trim_matches('`'), plain(cells[2]));
        let Some(value) = values.get(key).filter(|_| !COMPUTED.contains(&key)) else { continue };
        assert!(same(value, stated), "{key}: the table states {stated}, it resolves to {value}");
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} keys have a default to compare");
}

#[test]
fn help_states_what_a_configuration_resolves_to() {
    let help = Command::new(env!("CARGO_BIN_EXE_xrfit")).args(["map", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let values = resolved();
    for (option, key) in [
        ("--detector", "scan.detector"),
        ("--objective", "fit.objective"),
        ("--optimizer", "fit.optimizer"),
        ("--iterations", "fit.iterations"),
        ("--background", "fit.background"),
        ("--precision", "fit.precision"),
    ] {
        let of_option = help.split(option).nth(1).unwrap_or_else(|| panic!("no {option}: {help}"));
        let stated = of_option.split("[default: ").nth(1).and_then(|s| s.split(']').next());
        let stated = stated.unwrap_or_else(|| panic!("{option} states no default"));
        assert!(same(&values[key], stated), "{option} states {stated}, it is {}", values[key]);
    }
}
