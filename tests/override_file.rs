//! A MAPS override file is read as XRF-Maps reads it, and one that is written is read back exactly.

mod common;

use std::fs;

use common::shared;
use xrfit::config::override_file::{self, Given, parse};
use xrfit::config::{Choices, Settings, Sources, write_override};
use xrfit::constants::Crystal;

fn value(text: &str, name: &str) -> Given {
    parse(text.as_bytes()).parameters.get(name).copied().unwrap_or_default()
}

#[test]
fn keys_must_match_exactly_and_indented_lines_are_comments() {
    assert_eq!(value("FWHM_OFFSET: 0.1", "FWHM_OFFSET").value, Some(0.1));
    for text in [" FWHM_OFFSET: 0.1", "\tFWHM_OFFSET: 0.1", "FWHM_OFFSET : 0.1", "Fwhm_OFFSET: 0.1"]
    {
        assert_eq!(value(text, "FWHM_OFFSET").value, None, "{text:?}");
    }
    assert_eq!(value("FWHM_OFFSET: 0.1: 0.2\r\n", "FWHM_OFFSET").value, Some(0.1), "second colon");
    assert_eq!(value("FWHM_OFFSET: 0.1\nFWHM_OFFSET: 0.2", "FWHM_OFFSET").value, Some(0.2), "last");
}

#[test]
fn every_numeric_key_takes_bounds_a_tag_and_its_old_alias() {
    let text = "CAL_SLOPE_[E_LINEAR]: 0.01\nCAL_SLOPE_[E_LINEAR]_MIN: 0.009\n\
                CAL_SLOPE_[E_LINEAR]_MAX: 1.1e-002\nCAL_SLOPE_[E_LINEAR]_FITTING: fixed\n\
                CAL_SLOPE_[E_LINEAR]_STEPSIZE: 1\ncompton_f_step: 0.2\nSTEP_LINEAR: 0.3\n";
    let slope =
        Given { value: Some(0.01), lower: Some(0.009), upper: Some(0.011), free: Some(false) };
    assert_eq!(value(text, "ENERGY_SLOPE"), slope);
    assert_eq!(value(text, "COMPTON_F_STEP").value, Some(0.2));
    assert_eq!(value(text, "F_STEP_LINEAR").value, Some(0.3));
    for (tag, free) in [("fit", true), ("limit_lo", true), ("LIMIT_HI", true), ("fixed", false)] {
        let text = format!("GAMMA_OFFSET_FITTING: {tag}");
        assert_eq!(value(&text, "GAMMA_OFFSET").free, Some(free), "{tag}");
    }
}

#[test]
fn factors_multiply_and_families_reach_their_sub_shells() {
    let file = parse(
        b"BRANCHING_FAMILY_ADJUSTMENT_L: I_L, 2., 3., 5.\n\
          BRANCHING_RATIO_ADJUSTMENT_L: I_L, 1,1,1,1,1,1,1,1,1,1,1,10\n\
          BRANCHING_RATIO_ADJUSTMENT_K: Si, 1., 1., 2.9, 1.\n\
          BRANCHING_RATIO_ADJUSTMENT_K: Si, 1., 1., 2., 1.\nWIDTH_MULTIPLIER: Si, 1.5\n",
    );
    let iodine = file.adjustments["I_L"].factors;
    assert_eq!(iodine, [5., 5., 3., 5., 2., 2., 3., 2., 2., 2., 5., 30.], "factors of I_L");
    assert_eq!(file.adjustments["Si"].factors[2], 5.8, "Kb1 of Si");
    assert_eq!(file.adjustments["Si"].width, 1.5, "width of Si");
}

#[test]
fn bad_numbers_are_named_with_their_line_and_skipped() {
    let file = parse(
        b"FWHM_OFFSET: 0.1\nFWHM_OFFSET: abc\nGAMMA_OFFSET: nan\nGAMMA_OFFSET_FITTING: maybe\n\
          BRANCHING_RATIO_ADJUSTMENT_K: Si, 1., x, 1., 1.\nDETECTOR_MATERIAL: 7\nWIDTH_MULTIPLIER: Fe\n",
    );
    assert_eq!(file.parameters["FWHM_OFFSET"].value, Some(0.1), "the readable one stays");
    let lines: Vec<&str> = file.warnings.iter().map(|w| w.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["line 2", "line 3", "line 4", "line 5", "line 6", "line 7"]);
    assert!(file.adjustments.is_empty(), "{:?}", file.adjustments);
}

#[test]
fn factors_that_overflow_are_dropped_and_a_width_of_zero_too() {
    let line = "BRANCHING_RATIO_ADJUSTMENT_K: Si, 1., 1., 1e200, 1.\n";
    let file = parse(format!("{line}{line}WIDTH_MULTIPLIER: Fe, 0\n").as_bytes());
    assert!(file.adjustments.is_empty(), "{:?}", file.adjustments);
    assert_eq!(file.warnings.len(), 2, "{:?}", file.warnings);
}

#[test]
fn keys_without_effect_are_named_once_and_only_when_they_ask_for_something() {
    let file = parse(
        b"VERSION: 5.0\nGE_DEAD_LAYER: 0.0\nAIRPATH: 1000.\nAIRPATH: 500.\nLINEAR_ESCAPE_FACTOR: 0.0\n\
          F_TAIL_QUADRATIC: 0.1\nSRCURRENT:S:SRcurrentAI\nthickness of the chip, in um: 350\nUS_IC:\n",
    );
    assert_eq!(file.without_effect, ["AIRPATH", "F_TAIL_QUADRATIC", "SRCURRENT"]);
}

#[test]
fn the_files_of_three_beamlines_are_read() {
    let folder = "data/aps_2ide/override_examples";
    for (name, offset, slope, elements, pileups) in [
        ("2ide", -0.0041840752, 0.0095216077, 15, 0),
        ("8bmb", 0.028137284, 0.0115, 16, 0),
        ("9idb", -0.025876192, 0.012749693, 16, 3),
    ] {
        let Some(path) = shared(&format!("{folder}/{name}-maps_fit_parameters_override.txt"))
        else {
            return;
        };
        let file = override_file::read(&path).unwrap();
        let given = |name: &str| file.parameters[name].value.unwrap();
        assert_eq!(given("ENERGY_OFFSET"), offset, "{name}: offset");
        assert_eq!(given("ENERGY_SLOPE"), slope, "{name}: slope");
        assert_eq!(file.elements.len(), elements, "{name}: {:?}", file.elements);
        assert_eq!(file.pileups.len(), pileups, "{name}: {:?}", file.pileups);
        assert_eq!(file.detector, Some(Crystal::Si), "{name}: detector");
        assert_eq!(file.snip_width, Some(0.5), "{name}: SNIP width");
        assert_eq!(file.adjustments["Si"].factors[2], 2.9, "{name}: Kb1 of Si");
        assert!(file.warnings.is_empty(), "{name}: {:?}", file.warnings);
        assert!(file.without_effect.contains(&"SRCURRENT".to_string()), "{name}");
    }
}

#[test]
fn a_file_that_sets_no_parameter_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "  FWHM_OFFSET: 0.1\nhello: world\n").unwrap();
    let message = override_file::read(&path).unwrap_err().to_string();
    assert!(message.contains("notes.txt") && message.contains("no fit parameter"), "{message}");
    let missing = override_file::read(&folder.path().join("absent")).unwrap_err().to_string();
    assert!(missing.contains("absent"), "{missing}");
}

#[test]
fn the_detectors_own_file_comes_before_the_common_one_and_the_scans_folder_before_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let scans = folder.path().join("mda");
    fs::create_dir(&scans).unwrap();
    let scan = scans.join("scan_0007.mda");
    let find = |detector| override_file::find(&scan, detector);
    assert_eq!(find(Some(1)), None, "nothing there");

    let parent = folder.path().canonicalize().unwrap().join(override_file::FILE_NAME);
    fs::write(&parent, "").unwrap();
    assert_eq!(find(Some(1)), Some(parent), "the parent's");
    let common = scans.join(override_file::FILE_NAME);
    fs::write(&common, "").unwrap();
    assert_eq!(find(Some(1)), Some(common.clone()), "the scan's folder's");
    let own = scans.join(format!("{}1", override_file::FILE_NAME));
    fs::write(&own, "").unwrap();
    assert_eq!(find(Some(1)), Some(own), "the detector's");
    assert_eq!(find(Some(0)), Some(common.clone()), "another detector's");
    assert_eq!(find(None), Some(common), "all detectors'");
}

#[test]
fn a_written_file_gives_the_same_settings_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fit.toml");
    fs::write(
        &config,
        "elements = [\"Si\", \"Fe\", \"La_L\", \"Pb_M\", \"Si_Ca\"]\nincident_kev = 10.1\n\
         [parameters.ENERGY_SLOPE]\nvalue = 0.009521607712345678\n\
         [parameters.FWHM_FANOPRIME]\nvalue = 1.8e-4\nfree = false\n\
         [parameters.SI_ESCAPE]\nvalue = 0.01\nfree = true\n\
         [parameters.F_TAIL_LINEAR]\nvalue = 1.6940659e-21\n\
         [branching.Si]\nlines = [1.0, 1.0, 2.9, 1.0]\nwidth = 1.3\n\
         [branching.La_L]\nfamilies = [0.5, 1.0, 1.0]\n[branching.Pb_M]\nlines = [1, 0, 0.6, 0]\n",
    )
    .unwrap();
    let choices = Choices::default();
    let resolve = |config, override_file| {
        let sources = Sources { config, override_file, choices: &choices, scan_incident_kev: None };
        Settings::resolve(&sources).unwrap()
    };
    let settings = resolve(Some(config.as_path()), None).settings;
    let text = write_override(&settings);
    let written = folder.path().join(override_file::FILE_NAME);
    fs::write(&written, &text).unwrap();
    let read = resolve(None, Some(written.as_path()));
    assert_eq!(read.notes, Vec::<String>::new(), "notes");
    assert_eq!(read.settings, settings, "{text}");
}
