//! Promise: `xrfit regions` adds the spectra of each region exactly and fits the sums as `map` fits pixels: whatever the
//! threads, the ranks, the tiles and the form in which the regions are given; its file opens on a spectrum; and
//! regions that cannot be are refused in words that say what to do.

#[path = "common/program.rs"]
mod program;
#[path = "common/python.rs"]
mod python;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use hdf5::types::VarLenUnicode;
use ndarray::{Array1, Array2, Array3, Axis, s};
use npyz::WriterBuilder;
use program::{FIT, XRFIT, map_by, simulate, succeed};
use tempfile::TempDir;

const SIZE: [usize; 2] = [31, 29];
/// Pixel 751 of every simulated scan has a saturated channel.
const SATURATED: [usize; 2] = [751 / 29, 751 % 29];

/// One scan for all tests.
fn scan() -> &'static Path {
    static SCAN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SCAN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let scan = simulate(folder.path(), SIZE);
        (folder, scan)
    });
    path
}

fn regions(scan: &Path, out: &Path, more: &[&str]) -> Command {
    regions_by("nnls", scan, out, more)
}

fn regions_by(optimizer: &str, scan: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(XRFIT);
    command.arg("regions").arg(scan).arg("-o").arg(out).args(FIT);
    command.args(["--optimizer", optimizer]).args(more);
    command
}

fn read<T: hdf5::H5Type, D: ndarray::Dimension>(file: &Path, name: &str) -> ndarray::Array<T, D> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let data = file.dataset(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    data.read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn spectrum(file: &Path, region: &str) -> Array1<f64> {
    read(file, &format!("regions/{region}/spectrum"))
}

/// The counts of a rectangle, added here.
fn added(rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Array1<f64> {
    let counts: Array3<u16> = read(scan(), "MAPS_RAW/data_a");
    let part = counts.slice(s![.., rows, cols]).mapv(f64::from);
    part.sum_axis(Axis(2)).sum_axis(Axis(1))
}

fn write_npy<T: npyz::Serialize + npyz::AutoSerialize + Copy>(
    path: &Path,
    mask: &Array2<T>,
    order: npyz::Order,
) {
    let file = BufWriter::new(File::create(path).expect("a file"));
    let shape = [mask.nrows() as u64, mask.ncols() as u64];
    let options = npyz::WriteOptions::new().default_dtype().order(order).shape(&shape);
    let mut writer = options.writer(file).begin_nd().expect("a header");
    match order {
        npyz::Order::C => writer.extend(mask.iter().copied()),
        npyz::Order::Fortran => writer.extend(mask.t().iter().copied()),
    }
    .expect("numbers");
    writer.finish().expect("an array");
}

fn write_png(path: &Path, mask: &Array2<u8>) {
    let file = BufWriter::new(File::create(path).expect("a file"));
    let mut encoder = png::Encoder::new(file, mask.ncols() as u32, mask.nrows() as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(mask.as_slice().expect("rows in order")).expect("a picture");
}

/// 1 in rows 2 to 4 and columns 3 to 8, 2 in column 20, 0 elsewhere.
fn two_regions() -> Array2<u8> {
    Array2::from_shape_fn((SIZE[0], SIZE[1]), |(row, col)| match (row, col) {
        (2..=4, 3..=8) => 1,
        (_, 20) => 2,
        _ => 0,
    })
}

#[test]
fn a_region_of_one_pixel_is_that_pixel_as_the_map_fits_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (maps, out) = (folder.path().join("maps.h5"), folder.path().join("out.h5"));
    for optimizer in ["nnls", "adam"] {
        // a pooled background is the scan's for a pixel, and a region's own
        let own = ["--background", "snip", "--overwrite"];
        succeed(map_by(optimizer, scan(), &maps).args(own));
        let pixel = [&["--rows", "7:8", "--cols", "11:12"][..], &own].concat();
        succeed(&mut regions_by(optimizer, scan(), &out, &pixel));
        assert_eq!(spectrum(&out, "region1"), added(7..8, 11..12), "counts of the pixel");
        let group = if optimizer == "nnls" { "NNLS" } else { "Fitted" };
        let group = format!("MAPS/XRF_Analyzed/{group}/xrfit");
        let of_map: Array3<f32> = read(&maps, &format!("{group}/Counts"));
        let of_region: Array2<f64> = read(&out, "fits/amplitudes");
        let of_region = of_region.row(0).mapv(|a| a as f32);
        assert_eq!(of_region, of_map.slice(s![.., 7, 11]), "amplitudes by {optimizer}");
        let of_map: Array2<f32> = read(&maps, &format!("{group}/R_Squared"));
        let of_region: Array1<f64> = read(&out, "fits/r_squared");
        assert_eq!(of_region[0] as f32, of_map[[7, 11]], "R² by {optimizer}");
    }
}

#[test]
fn sums_are_exact_and_add_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.h5");
    let spans = ["--rows", "0:6", "--cols", ":", "--rows", "6:9", "--cols", "0:29"];
    let both =
        ["--rows", ":9", "--cols", "0:", "--name", "upper", "--name", "lower", "--name", "both"];
    succeed(&mut regions(scan(), &out, &[&spans[..], &both].concat()));
    let [upper, lower, both] = ["upper", "lower", "both"].map(|name| spectrum(&out, name));
    assert_eq!(upper, added(0..6, 0..29));
    assert_eq!(&upper + &lower, both, "a region is the sum of its two parts");
    let pixels: Array1<u64> = read(&out, "fits/pixels");
    assert_eq!(pixels.to_vec(), [6 * 29, 3 * 29, 9 * 29]);
}

#[test]
fn a_saturated_pixel_is_left_out_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.h5");
    let [row, col] = SATURATED;
    let rows = format!("{row}:{}", row + 1);
    succeed(&mut regions(scan(), &out, &["--rows", &rows, "--cols", ":"]));
    let all = added(row..row + 1, 0..29);
    let sound = &all - &added(row..row + 1, col..col + 1);
    assert_eq!(spectrum(&out, "region1"), sound, "the sum without the saturated pixel");
    let [pixels, left_out]: [Array1<u64>; 2] =
        ["pixels", "left_out"].map(|name| read(&out, &format!("fits/{name}")));
    assert_eq!((pixels[0], left_out[0]), (28, 1));
    let alone = [format!("{row}:{}", row + 1), format!("{col}:{}", col + 1)];
    let said = succeed(&mut regions(
        scan(),
        &out,
        &["--overwrite", "--rows", &alone[0], "--cols", &alone[1]],
    ));
    let table = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(table.contains("no fit"), "a region without a sound pixel has no fit:\n{table}");
    let amplitudes: Array2<f64> = read(&out, "fits/amplitudes");
    assert!(amplitudes.iter().all(|a| a.is_nan()), "{amplitudes}");
}

/// Every number of a file but the time that its making took.
fn numbers(file: &Path) -> Vec<(String, Vec<u64>)> {
    fn walk(group: &hdf5::Group, found: &mut Vec<(String, Vec<u64>)>) {
        for data in group.datasets().expect("datasets") {
            if let Ok(values) = data.read_raw::<f64>() {
                found.push((data.name(), values.iter().map(|v| v.to_bits()).collect()));
            }
        }
        for group in group.groups().expect("groups") {
            walk(&group, found);
        }
    }
    let mut found = Vec::new();
    walk(&hdf5::File::open(file).expect("the output opens"), &mut found);
    found.retain(|(name, _)| !name.ends_with("seconds"));
    assert!(found.len() > 10, "{} datasets of numbers", found.len());
    found
}

#[test]
fn threads_ranks_and_tiles_change_no_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mask = folder.path().join("mask.npy");
    write_npy(&mask, &two_regions(), npyz::Order::C);
    let mask = mask.to_str().expect("a name");
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        succeed(regions_by("adam", scan(), &out, more).args(["--mask", mask]));
        numbers(&out)
    };
    let one = run("one.h5", &["--threads", "1"]);
    assert!(one == run("four.h5", &["--threads", "4"]), "1 and 4 threads");
    assert!(one == run("tiles.h5", &["--threads", "2", "--tile-pixels", "13"]), "other tiles");
    let mpi = cfg!(feature = "mpi") && Command::new("mpirun").arg("--version").output().is_ok();
    if mpi {
        let out = folder.path().join("ranks.h5");
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "-n", "3", XRFIT, "regions"]).arg(scan()).arg("-o");
        command.arg(&out).args(FIT).args(["--optimizer", "adam", "--mask", mask]);
        succeed(command.args(["--threads", "1", "--tile-pixels", "50"]));
        assert!(one == numbers(&out), "1 and 3 ranks");
    }
}

#[test]
fn a_mask_says_the_same_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let both = two_regions();
    let first = both.mapv(|v| v == 1);
    write_npy(&at("u8.npy"), &both, npyz::Order::C);
    write_npy(&at("i64.npy"), &both.mapv(i64::from), npyz::Order::Fortran);
    write_npy(&at("bool.npy"), &first, npyz::Order::C);
    write_png(&at("two.png"), &both);
    write_png(&at("painted.png"), &first.mapv(|inside| if inside { 255 } else { 0 }));
    let file = hdf5::File::create(at("masks.h5")).expect("a file");
    let group = file.create_group("masks").expect("a group");
    group.new_dataset_builder().with_data(&both.mapv(i32::from)).create("both").expect("a mask");
    group.new_dataset_builder().with_data(&first).create("first").expect("a mask");
    drop((group, file));
    let out = at("out.h5");
    for (mask, n) in [
        ("u8.npy", 2),
        ("i64.npy", 2),
        ("two.png", 2),
        ("masks.h5:/masks/both", 2),
        ("bool.npy", 1),
        ("painted.png", 1),
        ("masks.h5:/masks/first", 1),
    ] {
        let mask = at(mask);
        succeed(&mut regions(scan(), &out, &["--overwrite", "--mask", mask.to_str().unwrap()]));
        let what = mask.display();
        assert_eq!(spectrum(&out, "region1"), added(2..5, 3..9), "{what}");
        let map: Array2<u32> = read(&out, "map");
        if n == 2 {
            assert_eq!(spectrum(&out, "region2"), added(0..31, 20..21), "{what}");
            assert_eq!(map, both.mapv(u32::from), "{what}");
        } else {
            assert_eq!(map, first.mapv(u32::from), "{what}");
        }
        assert_eq!(map.iter().max(), Some(&n), "{what}");
    }
}

#[test]
fn a_viewer_is_led_to_a_spectrum_with_its_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.h5");
    succeed(&mut regions(scan(), &out, &["--rows", "3:20", "--cols", "5:25", "--name", "grain"]));
    let file = hdf5::File::open(&out).expect("the output opens");
    let label = |place: &hdf5::Location, name: &str| -> String {
        place.attr(name).and_then(|a| a.read_scalar::<VarLenUnicode>()).expect(name).to_string()
    };
    let mut group = file.as_group().expect("a group");
    for class in ["NXroot", "NXentry"] {
        assert_eq!(label(&group, "NX_class"), class);
        group = group.group(&label(&group, "default")).expect("the default is there");
    }
    assert_eq!(label(&group, "NX_class"), "NXdata");
    assert_eq!(group.name(), "/regions/grain");
    let signal = group.dataset(&label(&group, "signal")).expect("a signal");
    assert_eq!(signal.shape(), group.dataset("energy").expect("an axis").shape());
    assert_eq!(label(&signal, "units"), "counts");
    let beside = group.attr("auxiliary_signals").and_then(|a| a.read_raw::<VarLenUnicode>());
    let beside: Vec<String> = beside.expect("more signals").iter().map(|n| n.to_string()).collect();
    assert_eq!(beside, ["fit", "background"]);
    // the fit is the background and the components: nothing escapes by default
    let of = |name: &str| -> Array1<f64> { read(&out, &format!("regions/grain/{name}")) };
    let (fit, background) = (of("fit"), of("background"));
    let components = group.group("components").expect("components").member_names().expect("names");
    assert_eq!(components.len(), 6, "{components:?}");
    let sum =
        components.iter().fold(background.clone(), |sum, c| sum + of(&format!("components/{c}")));
    let inside: Vec<usize> = (0..fit.len()).filter(|&c| fit[c].is_finite()).collect();
    assert!(inside.len() > 900, "{} channels of the fit window", inside.len());
    let off = inside.iter().map(|&c| (sum[c] - fit[c]).abs()).fold(0.0, f64::max);
    let most = inside.iter().map(|&c| fit[c]).fold(0.0, f64::max);
    assert!(off < 1e-6 * most, "components and fit: {off:.1e} apart, allowed {:.1e}", 1e-6 * most);
    // and what it says of its quality is what the spectra say
    let counts = of("spectrum");
    let mean = inside.iter().map(|&c| counts[c]).sum::<f64>() / inside.len() as f64;
    let total: f64 = inside.iter().map(|&c| (counts[c] - mean).powi(2)).sum();
    let missed: f64 = inside.iter().map(|&c| (counts[c] - fit[c]).powi(2)).sum();
    let r_squared: Array1<f64> = read(&out, "fits/r_squared");
    let expected = 1.0 - missed / total;
    assert!((r_squared[0] - expected).abs() < 1e-5, "R² {} of {expected}", r_squared[0]);
    if let Some(python) = python::python("import h5py, silx.io") {
        let look = "import sys, h5py; from silx.io import nxdata; d = nxdata.get_default(h5py.File(sys.argv[1])); \
                    assert d.is_valid and d.is_curve; print(d.signal_name, *d.auxiliary_signals_names)";
        let said = succeed(Command::new(python).args(["-c", look]).arg(&out));
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).trim(),
            "spectrum (counts) fit background"
        );
    }
    let configuration = file.dataset("Provenance/configuration").expect("how it was made");
    assert!(configuration.read_scalar::<VarLenUnicode>().is_ok_and(|text| text.contains("Ca")));
}

#[test]
fn each_detector_has_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = folder.path().join("scan.h5");
    let mut command = Command::new(XRFIT);
    command.args(["simulate", "--rows", "8", "--cols", "9", "--detectors", "2", "-o"]);
    succeed(command.arg(&scan));
    let out = folder.path().join("out.h5");
    let said = succeed(&mut regions(&scan, &out, &["--rows", "0:8", "--cols", "2:5"]));
    for (i, letter) in ['a', 'b'].into_iter().enumerate() {
        let counts: Array3<u16> = read(&scan, &format!("MAPS_RAW/data_{letter}"));
        let part = counts.slice(s![.., .., 2..5]).mapv(f64::from);
        let expected = part.sum_axis(Axis(2)).sum_axis(Axis(1));
        let own = folder.path().join(format!("out.h5{i}"));
        assert_eq!(spectrum(&own, "region1"), expected, "detector {i}");
        let table = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(table.contains(&format!("detector {i}")), "{table}");
    }
}

#[test]
fn regions_that_cannot_be_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let good = two_regions();
    let with = |value: i64| {
        let mut mask = good.mapv(i64::from);
        mask[[30, 28]] = value;
        mask
    };
    write_npy(&at("small.npy"), &good.slice(s![1.., ..]).to_owned(), npyz::Order::C);
    write_npy(&at("transposed.npy"), &good.t().to_owned(), npyz::Order::C);
    write_npy(&at("gap.npy"), &with(4), npyz::Order::C);
    write_npy(&at("negative.npy"), &with(-1), npyz::Order::C);
    write_npy(&at("zeros.npy"), &Array2::<u8>::zeros(good.dim()), npyz::Order::C);
    write_npy(&at("floats.npy"), &good.mapv(f64::from), npyz::Order::C);
    write_npy(&at("good.npy"), &good, npyz::Order::C);
    std::fs::write(at("mask.txt"), "0 1\n").expect("a file");
    hdf5::File::create(at("empty.h5")).expect("a file");
    for (arguments, named) in [
        (vec!["--mask", "small.npy"], "30 rows and 29 columns, the scan 31 and 29"),
        (vec!["--mask", "transposed.npy"], "transposed"),
        (vec!["--mask", "gap.npy"], "region 3 of 4"),
        (vec!["--mask", "negative.npy"], "-1 at row 30, column 28"),
        (vec!["--mask", "zeros.npy"], "has no pixel"),
        (vec!["--mask", "floats.npy"], "whole numbers"),
        (vec!["--mask", "mask.txt"], "FILE.npy"),
        (vec!["--mask", "absent.npy"], "absent.npy"),
        (vec!["--mask", "empty.h5:/mask"], "there is no /mask"),
        (vec!["--mask", "good.npy", "--name", "one"], "1 names for 2 regions"),
        (vec!["--mask", "good.npy", "--name", "a", "--name", "a"], "named `a`"),
        (vec!["--mask", "good.npy", "--name", "a/b", "--name", "c"], "`a/b`"),
        (vec!["--mask", "good.npy", "--rows", "0:1", "--cols", "0:1"], "cannot be used with"),
        (vec!["--rows", "0:1"], "--cols"),
        (vec!["--rows", "0:1", "--cols", "0:1", "--cols", "2:3"], "1 --rows and 2 --cols"),
        (vec!["--rows", "0:32", "--cols", ":"], "outside the scan, which has 31 rows"),
        (vec!["--rows", "5:5", "--cols", ":"], "holds no rows"),
        (vec!["--rows", "5", "--cols", ":"], "a:b"),
        (vec!["--rows", "-1:4", "--cols", ":"], "--rows"),
        (vec![], "--mask"),
    ] {
        let mut command = regions(scan(), &at("out.h5"), &arguments);
        let output = command.current_dir(folder.path()).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted: {arguments:?}");
        assert!(said.contains(named), "{arguments:?}: the message does not say `{named}`: {said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(!at("out.h5").exists(), "{arguments:?} left a file");
    }
    let mut command = regions(scan(), &at("good.npy"), &["--mask", "good.npy", "--overwrite"]);
    let output = command.current_dir(folder.path()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is the mask itself"), "{said}");
}
