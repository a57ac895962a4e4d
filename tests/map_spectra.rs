//! Promise: a map file holds the spectra as the user says: a link to the scan's, a copy with every count, or
//! none; the summed spectrum of the sound pixels always. A family of detectors ends with the sum of all of it.

mod common;
#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::shared;
use ndarray::{Array1, Array3, Axis};
use program::{XRFIT, map, simulate, succeed};

const SPECTRA: [&str; 2] = ["MAPS/Spectra/mca_arr", "MAPS/mca_arr"];

fn counts(file: &Path, dataset: &str) -> Array3<f32> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    file.dataset(dataset).expect("spectra").read().expect("counts")
}

fn summed(file: &Path) -> Array1<f32> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    file.dataset("MAPS/int_spec").expect("a summed spectrum").read().expect("counts")
}

fn expect_spectra(out: &Path, expected: &Array3<f32>) {
    for dataset in SPECTRA {
        let found = counts(out, dataset);
        assert_eq!(found.shape(), expected.shape(), "shape of {dataset}");
        let wrong = found.iter().zip(expected).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "wrong counts in {dataset}");
    }
    assert_eq!(summed(out), sum_of_sound(expected), "summed spectrum");
}

/// The sum of the pixels without a saturated channel: one of those would drown all others.
fn sum_of_sound(spectra: &Array3<f32>) -> Array1<f32> {
    let mut sum = Array1::zeros(spectra.dim().0);
    for spectrum in spectra.lanes(Axis(0)) {
        if spectrum.iter().all(|&count| count < f32::from(u16::MAX)) {
            sum += &spectrum;
        }
    }
    sum
}

fn has_spectra(out: &Path) -> [bool; 2] {
    let file = hdf5::File::open(out).expect("a map file opens");
    SPECTRA.map(|dataset| file.link_exists(dataset))
}

fn is_link(out: &Path) -> bool {
    let file = hdf5::File::open(out).expect("a map file opens");
    let group = file.group("MAPS/Spectra").expect("a group");
    let mut found = None;
    let look = |name: &str, link: hdf5::LinkInfo| {
        if name == "mca_arr" {
            found = Some(link.link_type == hdf5::LinkType::External);
        }
        Ok(())
    };
    group.iter_visit_default(look).expect("links are listed");
    found.expect("spectra")
}

#[test]
fn a_link_leads_to_the_counts_of_the_scan_also_after_both_have_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [5, 7]);
    let expected = counts(&scan, "MAPS_RAW/data_a");
    for policy in [&["--spectra", "link"][..], &[]] {
        let here = folder.path().join(format!("here{}", policy.len()));
        std::fs::create_dir(&here).expect("a folder");
        std::fs::copy(&scan, here.join("scan.h5")).expect("a copy");
        succeed(map(&here.join("scan.h5"), &here.join("maps.h5")).args(policy));
        let there = folder.path().join(format!("there{}", policy.len()));
        std::fs::rename(here, &there).expect("a folder moves");
        assert!(is_link(&there.join("maps.h5")), "spectra with {policy:?}");
        expect_spectra(&there.join("maps.h5"), &expected);
    }
}

#[test]
fn a_link_between_bare_names_holds_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().join("here");
    std::fs::create_dir(&here).expect("a folder");
    let scan = simulate(&here, [5, 7]);
    let expected = counts(&scan, "MAPS_RAW/data_a");
    succeed(map(Path::new("scan.h5"), Path::new("maps.h5")).current_dir(&here));
    let there = folder.path().join("there");
    std::fs::rename(here, &there).expect("a folder moves");
    assert!(is_link(&there.join("maps.h5")), "spectra without a word");
    expect_spectra(&there.join("maps.h5"), &expected);
}

/// More counts than are in memory at once, so that several blocks are copied.
#[test]
fn a_copy_holds_every_count_and_is_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [67, 65]);
    let out = folder.path().join("maps.h5");
    succeed(map(&scan, &out).args(["--spectra", "copy"]));
    assert!(!is_link(&out), "a copy is no link");
    expect_spectra(&out, &counts(&scan, "MAPS_RAW/data_a"));
    let file = hdf5::File::open(&out).expect("a map file opens");
    let data = file.dataset(SPECTRA[0]).expect("spectra");
    let filters = format!("{:?}", data.filters());
    assert!(filters.contains("Shuffle") && filters.contains("Deflate(1)"), "filters: {filters}");
    let (stored, counted) = (data.storage_size(), 4 * data.size() as u64);
    assert!(stored < counted / 4, "{stored} bytes stored of {counted}");
}

#[test]
fn none_leaves_only_the_summed_spectrum() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [5, 7]);
    let out = folder.path().join("maps.h5");
    succeed(map(&scan, &out).args(["--spectra", "none"]));
    assert_eq!(has_spectra(&out), [false; 2], "spectra");
    let sum = sum_of_sound(&counts(&scan, "MAPS_RAW/data_a"));
    assert_eq!(summed(&out), sum, "summed spectrum");
}

/// A scan of two detectors, the second with the pixels of the first in reverse.
fn two_detectors(folder: &Path) -> (PathBuf, [Array3<f32>; 2]) {
    let first = counts(&simulate(folder, [5, 7]), "MAPS_RAW/data_a");
    let second = first.slice(ndarray::s![.., ..;-1, ..;-1]).to_owned();
    let path = folder.join("two.h5");
    let file = hdf5::File::create(&path).expect("a file");
    for (name, counts) in [("data_a", &first), ("data_b", &second)] {
        let counts = counts.mapv(|count| count as u16).as_standard_layout().into_owned();
        let builder = file.new_dataset_builder().with_data(&counts);
        builder.create(format!("MAPS_RAW/{name}").as_str()).expect("written");
    }
    (path, [first, second])
}

#[test]
fn a_family_ends_with_the_sum_of_its_detectors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scan, [first, second]) = two_detectors(folder.path());
    let out = folder.path().join("maps.h5");
    let pictures = folder.path().join("pictures");
    succeed(map(&scan, &out).args(["--spectra", "copy", "--png"]).arg(&pictures));
    expect_spectra(&folder.path().join("maps.h50"), &first);
    expect_spectra(&folder.path().join("maps.h51"), &second);
    expect_spectra(&out, &(&first + &second));
    let maps =
        |name: &str| counts(&folder.path().join(name), "MAPS/XRF_Analyzed/NNLS/xrfit/Counts");
    let (sum, parts) = (maps("maps.h5"), maps("maps.h50") + maps("maps.h51"));
    for (k, (a, b)) in sum.iter().zip(&parts).enumerate() {
        assert!(
            a == b || (a.is_nan() && b.is_nan()),
            "amplitude {k} of the sum: {a}, of the parts {b}"
        );
    }
    for folder in ["", "detector0", "detector1"] {
        let overview = pictures.join(folder).join("overview.png");
        assert!(overview.is_file(), "{}", overview.display());
    }
}

#[test]
fn without_a_word_a_small_scan_of_another_format_is_copied() {
    let Some(scan) = shared("data/aps_2ide/mda/2xfm_0010.mda") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("maps.h5");
    succeed(map(&scan, &out).args(["--detector", "0"]));
    let found = counts(&out, SPECTRA[0]);
    assert_eq!(found.sum(), 107_119.0, "counts of the copy");
    let mut again = Command::new(XRFIT);
    again.arg("inspect").arg(&out);
    let said = succeed(&mut again);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("analysed MAPS HDF5"), "the copy is a scan again: {said}");
}

#[test]
fn a_link_to_what_cannot_be_linked_is_refused_before_the_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scan, _) = two_detectors(folder.path());
    let out = folder.path().join("maps.h5");
    let mut command = map(&scan, &out);
    let output =
        command.args(["--spectra", "link", "--detector", "sum"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "exit code; it said {said}");
    assert!(said.contains("--spectra link") && said.contains("copy"), "{said}");
    assert!(!out.exists(), "no file is left");
}
