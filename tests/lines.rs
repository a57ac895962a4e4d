//! Emission lines are those of the tools whose line library is read, and right without one.
//!
//! The golden tables are MapsTorch's (0.0.2: `r002`, 0.0.1: `git`), exported beside the library they
//! were made from.

mod common;
#[expect(dead_code, reason = "only the line tables are read here")]
#[path = "common/golden.rs"]
mod golden;

use std::collections::BTreeMap;

use common::shared;
use golden::{GoldenLine, Npz};
use xrfit::constants::Crystal;
use xrfit::lines::{
    Adjustment, Conditions, LWeights, LineGate, LineLibrary, MRatios, MuFraction, PileupGate,
    Switches,
};
use xrfit::problem::{Family, Line};

const RIGHT: Switches = Switches {
    mu_fraction: MuFraction::Detector,
    l_weights: LWeights::Vacancies,
    m_ratios: MRatios::LineData,
    line_gate: LineGate::Own,
    pileup_gate: PileupGate::Components,
};

const XRF_MAPS: Switches = Switches {
    mu_fraction: MuFraction::Element,
    l_weights: LWeights::Yields,
    m_ratios: MRatios::Equal,
    line_gate: LineGate::XrfMaps,
    pileup_gate: PileupGate::Sum,
};

const MAPSTORCH: Switches = Switches {
    l_weights: LWeights::Yields,
    m_ratios: MRatios::Ma1Only,
    line_gate: LineGate::Mapstorch,
    ..RIGHT
};

/// Rows of a golden table by component, without lines of ratio 0.
fn golden_lines(name: &str) -> Option<BTreeMap<String, Vec<GoldenLine>>> {
    let path = shared(&format!("data/golden/{name}"))?;
    let mut table: BTreeMap<String, Vec<GoldenLine>> = BTreeMap::new();
    for row in Npz::open(&path).get::<GoldenLine>("lines") {
        if row.ratio != 0.0 {
            table.entry(row.elem.clone()).or_default().push(row);
        }
    }
    Some(table)
}

fn maps_library() -> Option<LineLibrary> {
    let csv = shared("data/aps_2ide/xrf_library.csv")?;
    Some(LineLibrary::maps(&csv, None).unwrap())
}

fn lines(library: &LineLibrary, name: &str, incident_kev: f64, switches: Switches) -> Vec<Line> {
    let adjustments = BTreeMap::new();
    let conditions =
        Conditions { incident_kev, crystal: Crystal::Si, switches, adjustments: &adjustments };
    library.lines(&library.component(name).unwrap(), &conditions, 3)
}

fn by_energy(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by(|a, b| a.energy.total_cmp(&b.energy));
    lines
}

fn assert_close(what: &str, actual: f64, expected: f64, tolerance: f64) {
    let error = (actual / expected - 1.0).abs();
    assert!(error <= tolerance, "{what}: {actual}, expected {expected}, off by {error:.1e}");
}

/// `mu` is compared below 30 keV, where the attenuation table ends: above it MapsTorch draws a line
/// through the table's first and last point, XRF-Maps reads an uninitialised number.
fn assert_table(golden_name: &str, switches: Switches, gated: bool) {
    let (Some(table), Some(library)) = (golden_lines(golden_name), maps_library()) else { return };
    assert!(table.len() > 85, "{} components", table.len());
    for (name, mut expected) in table {
        expected.sort_by(|a, b| a.energy.total_cmp(&b.energy));
        let actual = by_energy(lines(&library, &name, 100.0, switches));
        assert_eq!(actual.len(), expected.len(), "number of lines of {name}");
        for (a, e) in actual.iter().zip(&expected) {
            let what = format!("{name} at {} keV", e.energy);
            assert_eq!(a.component, 3, "{what}: component");
            assert_close(&format!("{what}: energy"), a.energy, e.energy, 1e-9);
            assert_close(&format!("{what}: ratio"), a.ratio, e.ratio, 1e-9);
            if e.energy < 30.0 {
                assert_close(&format!("{what}: mu"), a.mu, e.mu, 1e-9);
            }
            assert_eq!(a.width, e.width_multi, "{what}: width");
            if gated {
                assert_close(&format!("{what}: edge"), a.edge, e.thr, 1e-9);
            }
            let family = match e.r#type {
                7 => Family::M,
                2 => Family::Beta,
                _ => Family::Alpha,
            };
            assert_eq!(a.family, family, "{what}: family");
        }
    }
}

#[test]
fn the_library_with_mapstorchs_switches_gives_mapstorchs_line_table() {
    assert_table("r002_lines.npz", MAPSTORCH, true);
}

#[test]
fn the_library_with_xrf_maps_switches_gives_the_line_table_of_the_first_mapstorch() {
    assert_table("git_lines.npz", XRF_MAPS, false);
}

#[test]
fn xrf_maps_gives_iron_half_of_silicons_attenuation_and_lead_four_equal_m_lines() {
    let Some(library) = maps_library() else { return };
    let iron = lines(&library, "Fe", 10.0, XRF_MAPS);
    assert_close("mu of Fe Ka1", iron[0].mu, 59.05, 1e-3);
    let right = lines(&library, "Fe", 10.0, RIGHT);
    assert_close("mu of Fe Ka1 in silicon", right[0].mu, 117.4, 1e-3);

    let lead = lines(&library, "Pb_M", 10.0, XRF_MAPS);
    let ratios: Vec<f64> = lead.iter().map(|l| l.ratio).collect();
    assert_eq!(ratios, [1.0; 4], "ratios of Pb M");
    assert!(lead.iter().all(|l| l.edge == 3.851), "edges of Pb M: {lead:?}");
}

#[test]
fn xrf_maps_gates_l_lines_by_their_place_in_the_list() {
    let Some(library) = maps_library() else { return };
    // xenon has no Lg2, so its Lg3 and Lg4 stand one place early and Ll, Ln take their sub-shells
    let xenon = lines(&library, "Xe_L", 20.0, XRF_MAPS);
    let edges: Vec<f64> = xenon.iter().map(|l| l.edge).collect();
    let (l1, l2, l3) = (5.453, 5.107, 4.786);
    assert_eq!(edges, [l3, l3, l2, l3, l1, l1, l2, l1, l1, l1, l3], "edges of Xe L");
    let own = lines(&library, "Xe_L", 20.0, RIGHT);
    let edges: Vec<f64> = own.iter().map(|l| l.edge).collect();
    assert_eq!(edges, [l3, l3, l2, l3, l1, l1, l2, l1, l1, l3, l2], "own edges of Xe L");
}

#[test]
fn xrf_maps_gates_pile_up_by_its_sum_energy() {
    let Some(library) = maps_library() else { return };
    for line in lines(&library, "Si_Cl", 10.0, XRF_MAPS) {
        assert_close("edge of Si_Cl", line.edge, 1.74 + 2.622, 1e-12);
    }
}

#[test]
fn l_lines_are_weighted_by_the_vacancies_the_beam_makes() {
    let Some(library) = maps_library() else { return };
    let yields = lines(&library, "La_L", 10.0, MAPSTORCH);
    let weighted = lines(&library, "La_L", 10.0, RIGHT);
    let factor = |i: usize| weighted[i].ratio / yields[i].ratio;
    // from the library's jump factors 1.1506, 1.4, 2.868 and f12 = 0.19, f13 = 0.29, f23 = 0.153
    let n1 = 1.0 - 1.0 / 1.1506;
    let n2 = (1.0 - 1.0 / 1.4) / 1.1506 + 0.19 * n1;
    let n3 = (1.0 - 1.0 / 2.868) / (1.1506 * 1.4) + 0.29 * n1 + 0.153 * n2;
    assert_eq!(factor(0), 1.0, "La1");
    assert_eq!(factor(3), 1.0, "Lb2, of L3 as La1");
    assert_close("Lb1, of L2", factor(2), n2 / n3, 1e-4);
    assert_close("Lb3, of L1", factor(4), n1 / n3, 1e-4);
}

#[test]
fn a_beam_below_an_edge_makes_no_vacancies_there() {
    let library = LineLibrary::builtin();
    // between the L2 and L1 edges of lanthanum
    let lanthanum = lines(&library, "La_L", 6.0, RIGHT);
    assert!(lanthanum.iter().all(|l| l.edge < 6.0), "{lanthanum:?}");
    let n2 = 1.0 - 1.0 / 1.4;
    let n3 = (1.0 - 1.0 / 2.868) / 1.4 + 0.153 * n2;
    let per_vacancy = 0.103 * 0.850117 / (0.104 * 0.73221);
    let lb1 = lanthanum.iter().find(|l| l.edge == 5.891).unwrap();
    assert_close("Lb1 of La", lb1.ratio, per_vacancy * n2 / n3, 1e-6);
}

#[test]
fn branching_factors_switch_the_weights_off_and_apply_to_every_line_but_the_first() {
    let library = LineLibrary::builtin();
    let factors = [2.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let adjustments = BTreeMap::from([("Pb_L".to_string(), Adjustment { factors, width: 1.5 })]);
    let conditions = Conditions {
        incident_kev: 20.0,
        crystal: Crystal::Si,
        switches: RIGHT,
        adjustments: &adjustments,
    };
    let adjusted = library.lines(&library.component("Pb_L").unwrap(), &conditions, 0);
    // MAPS gives L1, L2 and L3 one yield: shares of Elam's tables, 2 % from the library's ratios
    assert_eq!(adjusted[0].ratio, 1.0, "La1");
    assert_close("Lb1", adjusted[2].ratio, 0.5 * 1.133, 0.02);
    assert_close("Lb3", adjusted[4].ratio, 0.583, 0.02);
    assert!(adjusted.iter().all(|l| l.width == 1.5), "widths: {adjusted:?}");
}

#[test]
fn branching_factors_of_k_lines_are_relative_to_maps_whatever_the_library() {
    let Some(library) = maps_library() else { return };
    for (name, factor) in [("Si", 2.9), ("Ca", 1.7), ("Fe", 1.2), ("Zn", 0.9)] {
        let mut adjustment = Adjustment::default();
        adjustment.factors[2] = factor;
        let adjustments = BTreeMap::from([(name.to_string(), adjustment)]);
        let conditions = Conditions {
            incident_kev: 10.0,
            crystal: Crystal::Si,
            switches: RIGHT,
            adjustments: &adjustments,
        };
        let ratio = |library: &LineLibrary| {
            library.lines(&library.component(name).unwrap(), &conditions, 0)[2].ratio
        };
        let tuned = ratio(&library);
        assert_close(&format!("Kb1 of {name}"), ratio(&LineLibrary::builtin()), tuned, 5e-3);
    }
}

/// Without factors the built-in K-beta ratios are right by themselves: within 15 % of what the 2-ID-E
/// beamline's factors make of the library's.
#[test]
fn built_in_k_beta_ratios_need_no_factors() {
    for (name, tuned) in [("Ca", 0.1976), ("Cr", 0.2091), ("Fe", 0.2062), ("Cu", 0.1956)] {
        let ratio = lines(&LineLibrary::builtin(), name, 10.0, RIGHT)[2].ratio;
        assert_close(&format!("Kb1 of {name}"), ratio, tuned, 0.15);
    }
}

#[test]
fn m_ratios_come_from_the_data_and_a_library_without_them_takes_the_built_in_ones() {
    let built_in = lines(&LineLibrary::builtin(), "Pb_M", 10.0, RIGHT);
    let ratios: Vec<f64> = built_in.iter().map(|l| l.ratio).collect();
    assert_eq!(ratios[0], 1.0, "Ma1");
    for (what, actual, low, high) in [
        ("Ma2", ratios[1], 0.049, 0.051),
        ("Mb", ratios[2], 0.5, 0.7),
        ("Mg", ratios[3], 0.04, 0.1),
    ] {
        assert!(low < actual && actual < high, "{what}: {actual}, expected {low}..{high}");
    }
    let edges: Vec<f64> = built_in.iter().map(|l| l.edge).collect();
    assert_eq!(edges, [2.484, 2.484, 2.586, 3.066], "edges M5 M5 M4 M3 of Pb");
    let Some(library) = maps_library() else { return };
    let from_library = lines(&library, "Pb_M", 10.0, RIGHT);
    for (i, line) in from_library.iter().enumerate() {
        assert_close(&format!("M line {i} of the library"), line.ratio, ratios[i], 1e-2);
    }
}

/// K-beta differs because the library's is too low up to nickel: beamlines multiply it by 1.05 to 4.
#[test]
fn built_in_lines_agree_with_the_library() {
    let Some(library) = maps_library() else { return };
    let built_in = LineLibrary::builtin();
    let (mut shift, mut alpha, mut beta, mut mu) =
        ((0.0, String::new()), (0.0, String::new()), (0.0, String::new()), (0.0, String::new()));
    let note = |worst: &mut (f64, String), value: f64, what: String| {
        if value > worst.0 {
            *worst = (value, what);
        }
    };
    for name in library.components().iter().filter(|n| !n.contains('_')) {
        let z = library.atomic_number(name).unwrap();
        let ours = lines(&built_in, name, 120.0, RIGHT);
        let theirs = lines(&library, name, 120.0, RIGHT);
        if !(11..=40).contains(&z) {
            continue;
        }
        assert!(ours.len() >= theirs.len(), "{name}: {} lines of {}", ours.len(), theirs.len());
        for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            let at = format!("{name} line {i}: built in {a:?}, library {b:?}");
            note(&mut shift, 1000.0 * (a.energy - b.energy).abs(), at.clone());
            note(&mut mu, (a.mu / b.mu - 1.0).abs(), at.clone());
            let worst = if i < 2 { &mut alpha } else { &mut beta };
            // weaker lines do not matter
            if b.ratio > 0.01 {
                note(worst, (a.ratio / b.ratio - 1.0).abs(), at);
            }
        }
    }
    println!("worst K energy, Z = 11..40: {:.1} eV, {}", shift.0, shift.1);
    println!("worst K-alpha ratio: {:.1} %, {}", 100.0 * alpha.0, alpha.1);
    println!("worst K-beta ratio: {:.1} %, {}", 100.0 * beta.0, beta.1);
    println!("worst mu: {:.1} %, {}", 100.0 * mu.0, mu.1);
    assert!(shift.0 < 12.0, "energies of K lines differ by up to {} eV: {}", shift.0, shift.1);
    assert!(mu.0 < 0.05, "mu differs by up to {}: {}", mu.0, mu.1);
    assert!(beta.0 < 1.2, "K-beta ratios differ by up to {}: {}", beta.0, beta.1);
    assert!(alpha.0 < 0.02, "K-alpha ratios differ by up to {}: {}", alpha.0, alpha.1);
}

#[test]
fn every_known_component_has_finite_lines_under_every_switch() {
    let mut libraries = vec![LineLibrary::builtin()];
    libraries.extend(maps_library());
    for library in &libraries {
        let names = library.components();
        assert!(names.len() > 200, "{} components", names.len());
        for name in names.iter().map(String::as_str).chain(["Si_Si", "Ca_Fe", "Si_K"]) {
            for switches in [RIGHT, XRF_MAPS, MAPSTORCH] {
                for line in lines(library, name, 12.345, switches) {
                    let numbers = [line.energy, line.ratio, line.mu, line.edge];
                    assert!(numbers.iter().all(|x| x.is_finite()), "{name}: {line:?}");
                    assert!(
                        line.energy > 0.0 && line.ratio > 0.0 && line.mu > 0.0,
                        "{name}: {line:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_unknown_element_is_refused_with_near_names() {
    let library = LineLibrary::builtin();
    let message = |name: &str| library.component(name).unwrap_err().to_string();
    assert!(message("fe").contains("did you mean Fe"), "{}", message("fe"));
    assert!(message("Iron").contains("no element `Iron`"), "{}", message("Iron"));
    assert!(message("Si_Si_Si").contains("a pile-up is a pair"), "{}", message("Si_Si_Si"));
    assert!(message("Si_").contains("names no component"), "{}", message("Si_"));
}

#[test]
fn a_damaged_library_is_an_error_that_names_the_file() {
    let Some(csv) = shared("data/aps_2ide/xrf_library.csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("xrf_library.csv");
    std::fs::copy(&csv, &copy).unwrap();
    let missing = LineLibrary::maps(&copy, None).unwrap_err().to_string();
    assert!(missing.contains("henke.xdr"), "{missing}");

    let henke = std::fs::read(csv.with_file_name("henke.xdr")).unwrap();
    for length in [0, 3, 4, 1001, henke.len() - 1] {
        let short = folder.path().join("short.xdr");
        std::fs::write(&short, &henke[..length]).unwrap();
        let message = LineLibrary::maps(&copy, Some(&short)).unwrap_err().to_string();
        assert!(message.contains("short.xdr"), "{length} bytes: {message}");
    }

    let text = std::fs::read_to_string(&csv).unwrap();
    std::fs::write(&copy, text.replacen("1.7400", "1.74o0", 1).replacen("1.74,", "1.74o,", 1))
        .unwrap();
    let message = LineLibrary::maps(&copy, None).unwrap_err().to_string();
    assert!(message.contains("xrf_library.csv") && message.contains("line 18"), "{message}");
}
