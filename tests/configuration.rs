//! What a user says, in whatever place, becomes one configuration with nothing left open; the
//! stronger source wins, and what cannot be is refused in words.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::shared;
use xrfit::config::{self, Choices, Compat, Detector, Free, PAPER, Resolved, Settings, Sources};
use xrfit::error::Result;
use xrfit::kernels;
use xrfit::lines::{LWeights, LineGate, MRatios, MuFraction, PileupGate};
use xrfit::problem::{EscapeShift, Optimizer, Precision, SnipOrder, Weights};

/// A folder with a configuration and an override file; either text may be empty for none.
struct Case {
    folder: tempfile::TempDir,
    config: Option<PathBuf>,
    override_file: Option<PathBuf>,
}

fn case(config: &str, override_file: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (!text.is_empty()).then_some(path)
    };
    let (config, override_file) = (write("fit.toml", config), write("override.txt", override_file));
    Case { folder, config, override_file }
}

impl Case {
    fn resolve(&self, choices: &Choices) -> Result<Resolved> {
        Settings::resolve(&Sources {
            config: self.config.as_deref(),
            override_file: self.override_file.as_deref(),
            choices,
            scan_incident_kev: None,
        })
    }

    fn settings(&self) -> Settings {
        self.resolve(&Choices::default()).unwrap().settings
    }

    fn message(&self, choices: &Choices) -> String {
        self.resolve(choices).unwrap_err().to_string()
    }
}

fn elements(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|n| n.to_string()).collect())
}

fn names(settings: &Settings) -> Vec<String> {
    settings.components.iter().map(|c| c.name()).collect()
}

fn free(settings: &Settings) -> Vec<&'static str> {
    let rows = kernels::parameters().iter().zip(&settings.parameters);
    rows.filter(|(_, v)| v.free).map(|(p, _)| p.name).collect()
}

fn bounds(settings: &Settings, name: &str) -> (f64, f64, f64) {
    let v = settings.parameters[kernels::parameter_index(name).unwrap()];
    (v.start, v.lower, v.upper)
}

const BASIC: &str = "elements = [\"Si\", \"Fe\"]\nincident_kev = 10.0\n";
const OVERRIDE: &str = "ELEMENTS_TO_FIT: Ca, Fe\nCOHERENT_SCT_ENERGY: 10.0\nFWHM_OFFSET: 0.1\n";

#[test]
fn two_choices_are_enough() {
    let choices = Choices {
        elements: elements(&["Fe", "Si", "Pb_M", "Ca", "La_L", "Si_Ca", "S"]),
        incident_kev: Some(10.0),
        ..Choices::default()
    };
    let settings = case("", "").resolve(&choices).unwrap().settings;
    assert_eq!(names(&settings), ["Si", "S", "Ca", "Fe", "La_L", "Pb_M", "Si_Ca"]);
    assert_eq!(settings.fit.window_kev, [1.0, 11.0], "fit window");
    assert!(!settings.calibration_given, "a first pass is needed");
    assert_eq!(settings.detector, Detector::Each);
    let problem = settings.problem(2000).unwrap();
    assert_eq!(problem.components.len(), 9);
    assert_eq!(
        problem.elastic.map(|i| problem.components[i].as_str()),
        Some("COHERENT_SCT_AMPLITUDE")
    );
    assert_eq!(problem.compton.map(|i| problem.components[i].as_str()), Some("COMPTON_AMPLITUDE"));
    assert!(problem.lines.iter().all(|l| l.component < 7), "scatter has no lines");
    for amplitude in &problem.amplitudes {
        let numbers = (amplitude.start, amplitude.lower, amplitude.upper, amplitude.rate);
        assert_eq!(numbers, (0.0, -11.0, 20.0, 1e-2), "amplitude");
        assert!(amplitude.free, "amplitudes are free");
    }
}

#[test]
fn the_incident_energy_comes_from_the_command_line_the_configuration_the_override_file_the_scan() {
    let energy = |config: &str, override_file: &str, typed, scan| {
        let case = case(config, override_file);
        let choices =
            Choices { incident_kev: typed, elements: elements(&["Si"]), ..Choices::default() };
        let sources = Sources {
            config: case.config.as_deref(),
            override_file: case.override_file.as_deref(),
            choices: &choices,
            scan_incident_kev: scan,
        };
        Settings::resolve(&sources).map(|r| (r.settings.incident_kev, r.settings))
    };
    let config = "incident_kev = 11.0\n[parameters.COHERENT_SCT_ENERGY]\nvalue = 11.02\n";
    let (kev, settings) = energy(config, OVERRIDE, Some(12.0), Some(13.0)).unwrap();
    assert_eq!((kev, settings.value("COHERENT_SCT_ENERGY")), (12.0, 12.0), "command line");
    let (kev, settings) = energy(config, OVERRIDE, None, Some(13.0)).unwrap();
    assert_eq!((kev, settings.value("COHERENT_SCT_ENERGY")), (11.0, 11.02), "configuration");
    let (kev, _) = energy("", OVERRIDE, None, Some(13.0)).unwrap();
    assert_eq!(kev, 10.0, "override file");
    let (kev, settings) = energy("", "FWHM_OFFSET: 0.1", None, Some(13.0)).unwrap();
    assert_eq!((kev, settings.value("COHERENT_SCT_ENERGY")), (13.0, 13.0), "scan");
    let message = energy("", "", None, None).unwrap_err().to_string();
    assert!(message.contains("--incident-kev 10"), "{message}");
    let message = energy("", "", Some(10_000.0), None).unwrap_err().to_string();
    assert!(message.contains("is it in eV"), "{message}");
}

#[test]
fn the_elastic_peak_may_move_six_per_cent_unless_bounds_hold_it() {
    let settings = case("elements = [\"Si\"]\nincident_kev = 20.0\n", "").settings();
    assert_eq!(bounds(&settings, "COHERENT_SCT_ENERGY"), (20.0, 18.8, 21.2));
    let file = format!("{OVERRIDE}COHERENT_SCT_ENERGY_MIN: 9.7\nCOHERENT_SCT_ENERGY_MAX: 10.3\n");
    let case = case("", &file);
    assert_eq!(bounds(&case.settings(), "COHERENT_SCT_ENERGY"), (10.0, 9.7, 10.3));
    let choices = Choices { incident_kev: Some(20.0), ..Choices::default() };
    let settings = case.resolve(&choices).unwrap().settings;
    assert_eq!(bounds(&settings, "COHERENT_SCT_ENERGY"), (20.0, 18.8, 21.2), "of another energy");
}

#[test]
fn free_sets_are_none_default_four_paper_or_a_list() {
    let basic = case(BASIC, "");
    let set = |free_set: Free| {
        let choices = Choices { free: Some(free_set), ..Choices::default() };
        free(&basic.resolve(&choices).unwrap().settings)
    };
    assert_eq!(set(Free::None), Vec::<&str>::new());
    let drifting = ["ENERGY_OFFSET", "FWHM_SCALE"];
    assert_eq!(set(Free::Default), drifting);
    assert_eq!(free(&basic.settings()), drifting, "without a choice");
    let four = ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_FANOPRIME"];
    assert_eq!(set(Free::Four), four);
    let mut paper = set(Free::Paper);
    let mut expected = PAPER.to_vec();
    paper.sort_unstable();
    expected.sort_unstable();
    assert_eq!(paper, expected);
    assert_eq!(set("SI_ESCAPE,ENERGY_SLOPE".parse().unwrap()), ["ENERGY_SLOPE", "SI_ESCAPE"]);
    let message = "ENERGY_SLOP".parse::<Free>().unwrap_err();
    assert!(message.contains("did you mean ENERGY_SLOPE"), "{message}");
}

#[test]
fn fitting_tags_change_the_default_set_only() {
    let file = format!(
        "{OVERRIDE}CAL_OFFSET_[E_OFFSET]_FITTING: fixed\nCOMPTON_ANGLE_FITTING: limit_lo_hi\nSI_ESCAPE_ENABLE: 1\n"
    );
    let case = case("", &file);
    let expected = ["FWHM_SCALE", "COMPTON_ANGLE", "SI_ESCAPE"];
    assert_eq!(free(&case.settings()), expected);
    let choices = Choices { free: Some(Free::None), ..Choices::default() };
    assert_eq!(free(&case.resolve(&choices).unwrap().settings), Vec::<&str>::new());
}

#[test]
fn a_parameters_own_free_key_wins_over_the_set_but_not_over_the_command_line() {
    let config = format!("{BASIC}[fit]\nfree = \"none\"\n[parameters.GAMMA_OFFSET]\nfree = true\n");
    let case = case(&config, "");
    assert_eq!(free(&case.settings()), ["GAMMA_OFFSET"]);
    let choices = Choices { free: Some(Free::None), ..Choices::default() };
    assert_eq!(free(&case.resolve(&choices).unwrap().settings), Vec::<&str>::new());
}

#[test]
fn the_configuration_wins_over_the_override_file_key_by_key() {
    let config =
        "[parameters.FWHM_OFFSET]\nvalue = 0.2\n[snip]\nwidth = 0.75\n[fit]\nmax_kev = 9.0\n";
    let file = format!("{OVERRIDE}SNIP_WIDTH: 0.5\nMAX_ENERGY_TO_FIT: 12\nMIN_ENERGY_TO_FIT: 2\n");
    let settings = case(config, &file).settings();
    assert_eq!(settings.value("FWHM_OFFSET"), 0.2);
    assert_eq!(settings.snip.width, 0.75);
    assert_eq!(settings.fit.window_kev, [2.0, 9.0]);
    assert_eq!(names(&settings), ["Ca", "Fe"], "elements of the override file");
}

#[test]
fn compat_sets_every_switch_and_an_explicit_key_wins() {
    let right = case(BASIC, "").settings();
    let switches = right.model.switches;
    assert_eq!(switches.mu_fraction, MuFraction::Detector);
    assert_eq!(switches.l_weights, LWeights::Vacancies);
    assert_eq!(
        (right.model.escape_shift, right.snip.order),
        (EscapeShift::Local, SnipOrder::Simultaneous)
    );
    assert_eq!(right.value("F_TAIL_LINEAR"), 0.0, "F_TAIL_LINEAR");

    let mapstorch = case(&format!("compat = \"mapstorch\"\n{BASIC}"), "").settings();
    let switches = mapstorch.model.switches;
    assert_eq!((switches.m_ratios, switches.line_gate), (MRatios::Ma1Only, LineGate::Mapstorch));
    assert_eq!(mapstorch.model.escape_shift, EscapeShift::Mean);

    let Some(library) = shared("data/aps_2ide/xrf_library.csv") else { return };
    let choices = Choices {
        compat: Some(Compat::XrfMaps),
        line_library: Some(library),
        ..Choices::default()
    };
    let case = case(&format!("{BASIC}[model]\nescape_shift = \"local\"\n"), "");
    let settings = case.resolve(&choices).unwrap().settings;
    let switches = settings.model.switches;
    assert_eq!((switches.mu_fraction, switches.l_weights), (MuFraction::Element, LWeights::Yields));
    assert_eq!((switches.m_ratios, switches.line_gate), (MRatios::Equal, LineGate::XrfMaps));
    assert_eq!(switches.pileup_gate, PileupGate::Sum);
    assert_eq!(settings.model.escape_shift, EscapeShift::Local, "the explicit key");
    assert_eq!(settings.snip.order, SnipOrder::InPlace);
    assert_eq!(settings.problem(2000).unwrap().channels, 2048, "padded channels");
    assert!(settings.problem(2000).unwrap().clip_net_counts, "net counts clipped");
}

#[test]
fn compat_xrf_maps_without_its_line_library_is_refused() {
    let message = case(&format!("compat = \"xrf-maps\"\n{BASIC}"), "").message(&Choices::default());
    assert!(message.contains("--line-library xrf_library.csv"), "{message}");
}

#[test]
fn the_pair_energy_is_the_crystals_unless_given() {
    for (config, expected) in [
        ("", 3.58),
        ("[model]\ncrystal = \"Ge\"\n", 2.96),
        ("[model]\npair_energy_ev = 3.66\n", 3.66),
    ] {
        let settings = case(&format!("{BASIC}{config}"), "").settings();
        assert_eq!(settings.model.pair_energy_ev, expected, "{config}");
    }
    let germanium =
        case(&format!("compat = \"mapstorch\"\n{BASIC}[model]\ncrystal = \"Ge\"\n"), "");
    assert_eq!(germanium.settings().model.pair_energy_ev, 3.58, "mapstorch");
}

#[test]
fn an_override_file_that_uses_mu_keeps_xrf_maps_definition_and_says_so() {
    let resolved = |line: &str, config: &str| {
        case(config, &format!("{OVERRIDE}{line}\n")).resolve(&Choices::default()).unwrap()
    };
    let plain = resolved("F_TAIL_LINEAR: 1.6940659e-21", "");
    assert_eq!(plain.settings.model.switches.mu_fraction, MuFraction::Detector, "a printed zero");
    assert_eq!(plain.notes, Vec::<String>::new());
    for line in
        ["F_TAIL_LINEAR: 0.001", "STEP_OFFSET: 1e-4", "KB_F_TAIL_LINEAR: 0.01", "STEP_LINEAR: 1"]
    {
        let used = resolved(line, "");
        assert_eq!(used.settings.model.switches.mu_fraction, MuFraction::Element, "{line}");
        assert!(used.notes[0].contains("as XRF-Maps defines it"), "{:?}", used.notes);
    }
    let explicit = resolved("F_TAIL_LINEAR: 0.001", "[model]\nmu_fraction = \"detector\"\n");
    assert_eq!(explicit.settings.model.switches.mu_fraction, MuFraction::Detector, "explicit key");
}

#[test]
fn the_fit_window_is_xrf_maps() {
    let Some(path) = shared("data/aps_2ide/maps_fit_parameters_override.txt") else { return };
    let optimised = path.with_file_name("maps_fit_parameters_override_optimised.txt");
    let choices = Choices::default();
    for (path, channels, first, last) in
        [(&path, 2000, 105, 1156), (&optimised, 2000, 105, 1147), (&path, 1001, 105, 1000)]
    {
        let sources = Sources {
            config: None,
            override_file: Some(path),
            choices: &choices,
            scan_incident_kev: None,
        };
        let resolved = Settings::resolve(&sources).unwrap();
        assert!(resolved.settings.calibration_given, "calibration of {}", path.display());
        assert_eq!(resolved.settings.components.len(), 15, "elements");
        let problem = resolved.settings.problem(channels).unwrap();
        let window = (problem.first, problem.first + problem.count - 1);
        assert_eq!(window, (first, last), "window of {channels} channels");
        let without_effect = resolved.notes.iter().filter(|n| n.contains("without effect")).count();
        assert_eq!(without_effect, 1, "{:?}", resolved.notes);
    }
}

#[test]
fn an_asked_component_that_cannot_show_is_refused_and_a_shared_one_left_out() {
    for (name, reason) in [
        ("Ge", "excites none of its lines"),
        ("Ti_L", "lies in the fit window"),
        ("Fee", "did you mean Fe"),
        ("Si_Si_Si", "a pile-up is a pair"),
        ("H", "no such lines"),
    ] {
        let choices = Choices { elements: elements(&["Fe", name]), ..Choices::default() };
        let message = case(BASIC, "").message(&choices);
        assert!(message.contains(reason) && message.contains(name), "{name}: {message}");

        let file = OVERRIDE.replace("Ca, Fe", &format!("Ca, {name}, Fe, Fe"));
        let resolved = case("", &file).resolve(&Choices::default()).unwrap();
        assert_eq!(names(&resolved.settings), ["Ca", "Fe"], "{name}");
        assert_eq!(resolved.notes.len(), 1, "{name}: {:?}", resolved.notes);
        assert!(resolved.notes[0].contains(reason), "{name}: {:?}", resolved.notes);
    }
    let message = case("incident_kev = 10.0\n", "").message(&Choices::default());
    assert!(message.contains("--elements"), "{message}");
}

#[test]
fn scatter_outside_the_window_is_no_component() {
    let config = format!("{BASIC}[fit]\nmax_kev = 8.0\n");
    let problem = case(&config, "").settings().problem(1023).unwrap();
    assert_eq!((problem.elastic, problem.compton), (None, None));
    assert_eq!(problem.components, ["Si", "Fe"]);
}

#[test]
fn nnls_fits_amplitudes_alone() {
    let choices = Choices { optimizer: Some(Optimizer::Nnls), ..Choices::default() };
    let settings = case(BASIC, "").resolve(&choices).unwrap().settings;
    assert_eq!(settings.problem(1023).unwrap().free_parameters(), Vec::<usize>::new());
}

#[test]
fn bounds_given_by_hand_are_kept_and_an_override_files_are_widened_with_a_note() {
    let config = format!("{BASIC}[parameters.GAMMA_OFFSET]\nvalue = 3.0\nmax = 2.5\n");
    let message = case(&config, "").message(&Choices::default());
    assert!(message.contains("fit.toml") && message.contains("GAMMA_OFFSET"), "{message}");

    let file = format!("{OVERRIDE}GAMMA_OFFSET: 3.0\nGAMMA_OFFSET_MAX: 2.5\n");
    let resolved = case("", &file).resolve(&Choices::default()).unwrap();
    assert_eq!(bounds(&resolved.settings, "GAMMA_OFFSET"), (3.0, 0.1, 3.0));
    assert!(resolved.notes[0].contains("GAMMA_OFFSET starts at 3"), "{:?}", resolved.notes);
}

#[test]
fn mistakes_in_a_configuration_are_named_with_file_line_and_column() {
    for (text, place, reason) in [
        (
            "elements = [\"Si\"]\nincident_kev = 10.0\nelments = [\"P\"]\n",
            "fit.toml:3:1",
            "unknown field `elments`",
        ),
        ("[fit]\noptimiser = \"adam\"\n", "fit.toml:2:1", "unknown field `optimiser`"),
        ("[fit]\n  optimizer = \"adm\"\n", "fit.toml:2:15", "unknown variant `adm`"),
        ("incident_kev = \"ten\"\n", "fit.toml:1:16", "invalid type"),
        ("[parameters.ENERGY_SLOP]\nvalue = 1\n", "fit.toml:1:13", "did you mean ENERGY_SLOPE"),
        ("[fit]\nfree = [\"GAMMA\"]\n", "fit.toml:2:8", "did you mean GAMMA_"),
        ("[fit]\nfree = 3\n", "fit.toml:2:8", "a list of parameter names"),
        ("[scan]\ndetector = -1\n", "fit.toml:2:12", "`sum` or `each`"),
        ("incident_kev = 10.0\nx = = 1\n", "fit.toml:2:5", ""),
    ] {
        let message = case(text, "").message(&Choices::default());
        assert!(message.contains(place), "{text:?}: {message}");
        assert!(message.contains(reason), "{text:?}: {message}");
    }
}

#[test]
fn impossible_numbers_are_refused() {
    for (text, reason) in [
        ("[fit]\nmin_kev = 5.0\nmax_kev = 4.0\n", "upper end"),
        ("[fit]\niterations = 0\n", "1 or more iterations"),
        ("[snip]\nwidth = nan\n", "SNIP width"),
        ("[scan]\npad_channels = 65537\n", "65536 channels"),
        ("[fit]\nfirst_pass = \"skip\"\n", "ENERGY_SLOPE"),
        ("[branching.Fe]\nlines = [1.0, 2.0]\n", "2 factors for 4 lines"),
        ("[branching.Fe]\nfamilies = [1.0, 2.0, 3.0]\n", "only L lines"),
        ("[branching.Fe]\nlines = [1.0, -2.0, 1.0, 1.0]\n", "0 or more"),
        ("[model]\npair_energy_ev = 0.0\n", "pair_energy_ev"),
        ("[parameters.ENERGY_SLOPE]\nvalue = -0.01\n", "above 0"),
        ("[parameters.GAMMA_OFFSET]\nvalue = inf\n", "GAMMA_OFFSET"),
        ("[parameters.GAMMA_OFFSET]\nmin = 2.0\nmax = 1.0\n", "min below max"),
    ] {
        let message = case(&format!("{BASIC}{text}"), "").message(&Choices::default());
        assert!(message.contains(reason), "{text:?}: {message}");
    }
}

#[test]
fn a_window_without_channels_is_refused() {
    let config = format!("{BASIC}[parameters.ENERGY_OFFSET]\nvalue = 50.0\n");
    let message = case(&config, "").settings().problem(2000).unwrap_err().to_string();
    assert!(message.contains("fit window"), "{message}");
}

/// Every branch of the settings at once: written, read back, equal.
#[test]
fn written_settings_read_back_equal() {
    let file = format!(
        "{OVERRIDE}CAL_SLOPE_[E_LINEAR]: 0.0095216077\nF_TAIL_LINEAR: 0.001\nWIDTH_MULTIPLIER: Fe, 1.5\n\
         BRANCHING_RATIO_ADJUSTMENT_K: Ca, 1., 1., 1.7, 1.\nBRANCHING_RATIO_ADJUSTMENT_K: Zn, 1., 1., 2, 1.\n"
    );
    let mut settings = vec![case("", &file).settings(), case(BASIC, "").settings()];
    let choices = Choices {
        elements: elements(&["Si", "La_L", "Si_Ca"]),
        detector: Some(Detector::Index(2)),
        precision: Some(Precision::F64),
        free: Some(Free::Paper),
        compat: Some(Compat::Mapstorch),
        line_library: shared("data/aps_2ide/xrf_library.csv"),
        ..Choices::default()
    };
    settings.push(case(BASIC, &file).resolve(&choices).unwrap().settings);
    let mut values = settings[0].shapes();
    values[0] = -0.004905000000000001;
    values[kernels::parameter_index("SI_ESCAPE").unwrap()] = 1.0 / 3.0;
    settings.push(settings[1].with_calibrated(&values));
    assert!(settings[3].calibration_given, "a calibration is given");
    for expected in settings {
        for text in [expected.to_toml(), config::check(&expected)] {
            let read = case(&text, "").resolve(&Choices::default()).unwrap();
            assert_eq!(read.settings, expected, "{text}");
            assert_eq!(read.notes, Vec::<String>::new(), "{text}");
        }
    }
}

#[test]
fn paths_in_a_configuration_are_relative_to_it() {
    let case = case(&format!("line_library = \"lib/lines.csv\"\n{BASIC}"), "");
    let message = case.message(&Choices::default());
    let expected = case.folder.path().join("lib/lines.csv");
    assert!(message.contains(&expected.display().to_string()), "{message}");
}

#[test]
fn the_reference_lists_every_key_and_every_parameter() {
    let reference = config::reference();
    let config =
        format!("{BASIC}[branching.Si]\nwidth = 1.5\n[parameters.GAMMA_OFFSET]\nfree = true\n");
    let text = case(&config, "").settings().to_toml();
    let mut section = String::new();
    for line in text.lines().filter(|l| !l.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']');
            section = match name.split_once('.') {
                Some(("parameters", _)) => "parameters.NAME.".into(),
                Some(("branching", _)) => "branching.COMPONENT.".into(),
                _ => format!("{name}."),
            };
        } else if let Some((key, _)) = line.split_once(" = ") {
            assert!(reference.contains(&format!("| `{section}{key}` |")), "{section}{key}");
        }
    }
    for parameter in kernels::parameters() {
        assert!(reference.contains(&format!("| `{}` |", parameter.name)), "{}", parameter.name);
    }
}

#[test]
fn a_missing_configuration_is_an_error_that_names_it() {
    let choices = Choices::default();
    let sources = Sources {
        config: Some(Path::new("nowhere/fit.toml")),
        override_file: None,
        choices: &choices,
        scan_incident_kev: None,
    };
    let message = Settings::resolve(&sources).unwrap_err().to_string();
    assert!(message.contains("nowhere/fit.toml"), "{message}");
}

#[test]
fn check_says_what_each_line_means() {
    let text = config::check(&case(BASIC, "").settings());
    for expected in [
        "incident_kev = 10.0  # incident photon energy [keV]",
        "[parameters.ENERGY_SLOPE]  # energy per channel [keV/channel]",
        "min_kev = 1.0  # lower end of the fit window [keV]",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
}

#[test]
fn a_prior_stands_around_the_value_and_follows_a_calibration() {
    let config = "elements = [\"Fe\"]\nincident_kev = 10\n[fit]\nobjective = \"chi2\"\n\
                  [parameters]\nENERGY_OFFSET = { value = 0.01, prior_width = 0.005 }\n";
    let settings = case(config, "").settings();
    let offset = kernels::known_parameter("ENERGY_OFFSET");
    let prior =
        |settings: &Settings| settings.parameters[offset].prior.map(|p| (p.center, p.width));
    assert_eq!(prior(&settings), Some((0.01, 0.005)));
    let mut values = settings.shapes();
    values[offset] = -0.02;
    assert_eq!(prior(&settings.with_calibrated(&values)), Some((-0.02, 0.005)));
    assert_eq!(prior(&settings.of_first_pass()), None, "the first pass finds the centre");
    assert_eq!(settings.fit.weights, Weights::Expected);
    let message = case(&config.replace("0.005", "-1"), "").message(&Choices::default());
    assert!(message.contains("ENERGY_OFFSET") && message.contains("prior_width"), "{message}");
}
