//! Promise: `xrfit score` says how good maps are: bias, scatter, pulls and false zeros of known errors are found as they
//! are; its Cramér-Rao bound is that of the hand-derived adjoint and is reached by an efficient estimator; and
//! threads change no bit of it.

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ndarray::{Array1, Array2, Array3, ArrayView1, s};
use program::{XRFIT, map_by, succeed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use serde_json::Value;
use tempfile::TempDir;
use xrfit::config::{Choices, Free, Settings, Sources};
use xrfit::engine::{self, Choice, Engine, Precision};
use xrfit::kernels::known_parameter;
use xrfit::problem::{Background, Objective, Problem};
use xrfit::score::Bound;

const GROUP: &str = "MAPS/XRF_Analyzed/NNLS/xrfit";
/// Counts of a pixel in each of the two bands of rows.
const LEVELS: [f64; 2] = [500.0, 5000.0];
const SIZE: [usize; 2] = [8, 12];

/// A simulated scan of two levels and its maps.
struct Bench {
    folder: TempDir,
    scan: PathBuf,
    maps: PathBuf,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (scan, maps) = (folder.path().join("scan.h5"), folder.path().join("maps.h5"));
        let mut command = Command::new(XRFIT);
        command.args(["simulate", "--flat", "--counts", "500,5000", "--seed", "4"]);
        succeed(command.args(["--rows", "8", "--cols", "12", "-o"]).arg(&scan));
        succeed(&mut map_by("nnls", &scan, &maps));
        Bench { folder, scan, maps }
    })
}

/// A copy of the maps whose numbers a test may change.
fn copied(name: &str) -> PathBuf {
    let copy = bench().folder.path().join(name);
    std::fs::copy(&bench().maps, &copy).expect("a copy");
    copy
}

fn read<T: hdf5::H5Type, D: ndarray::Dimension>(file: &Path, name: &str) -> ndarray::Array<T, D> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let data = file.dataset(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    data.read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(file: &Path, name: &str) -> Vec<String> {
    let file = hdf5::File::open(file).expect("an HDF5 file opens");
    let data = file.dataset(name).expect(name);
    match data.read_raw::<hdf5::types::VarLenUnicode>() {
        Ok(names) => names.iter().map(|n| n.to_string()).collect(),
        Err(_) => {
            let names = data.read_raw::<hdf5::types::FixedAscii<256>>().expect("names");
            names.iter().map(|n| n.to_string()).collect()
        }
    }
}

fn score(maps: &Path, more: &[&str]) -> (Value, String) {
    let out = maps.with_extension("json");
    let mut command = Command::new(XRFIT);
    command.arg("score").arg(maps).arg("--truth").arg(&bench().scan).arg("-o").arg(&out);
    let said = succeed(command.arg("--overwrite").args(more));
    let text = std::fs::read_to_string(&out).expect("a file");
    let table = String::from_utf8(said.stdout).expect("text");
    (serde_json::from_str(&text).expect("JSON"), table)
}

/// A number of a component at a level.
fn number(scores: &Value, level: f64, component: &str, what: &str) -> f64 {
    let all = scores["scores"].as_array().expect("scores");
    let own = all.iter().find(|s| s["level_counts"] == level && s["component"] == component);
    let own = own.unwrap_or_else(|| panic!("no {component} at {level} counts in {scores}"));
    own[what].as_f64().unwrap_or_else(|| panic!("{component} {what}: {}", own[what]))
}

#[track_caller]
fn expect(what: &str, actual: f64, expected: f64, allowed: f64) {
    let off = (actual - expected).abs();
    assert!(
        off <= allowed,
        "{what} is {actual}, expected {expected}: {off:.1e} off, allowed {allowed:.1e}"
    );
}

/// Amplitudes that are wrong in known ways: Si a tenth too large; Ca 5 too large and 5 too small by turns; Fe right but
/// for a quarter of zeros.
fn wrong(truth: &Array3<f32>, of: &[usize]) -> Array3<f32> {
    let mut counts = Array3::zeros((of.len(), SIZE[0], SIZE[1]));
    for ((k, row, col), value) in counts.indexed_iter_mut() {
        let right: f32 = truth[[of[k], row, col]];
        *value = match k {
            0 => right * 1.1,
            1 => right + if col % 2 == 0 { 5.0 } else { -5.0 },
            2 if col % 4 == 0 => 0.0,
            _ => right,
        };
    }
    counts
}

#[test]
fn known_errors_are_found_as_they_are() {
    let maps = copied("known.h5");
    let truth: Array3<f32> = read(&bench().scan, "truth/amplitudes");
    let (all, own) = (names(&bench().scan, "truth/names"), names(&maps, &format!("{GROUP}/Names")));
    assert_eq!(own[..3], ["Si", "Ca", "Fe"]);
    let of: Vec<usize> =
        own.iter().map(|name| all.iter().position(|n| n == name).expect("a component")).collect();
    let file = hdf5::File::open_rw(&maps).expect("the maps open");
    let data = file.dataset(&format!("{GROUP}/Counts")).expect("amplitudes");
    data.write(&wrong(&truth, &of)).expect("other amplitudes");
    let uncertainties = Array3::from_elem((own.len(), SIZE[0], SIZE[1]), 4.0f32);
    let group = file.group(GROUP).expect("a group");
    group.new_dataset_builder().with_data(&uncertainties).create("Counts_Sigma").expect("written");
    drop((data, group, file));
    let (scores, table) = score(&maps, &[]);
    assert_eq!(scores["pixels"], SIZE[0] * SIZE[1], "pixels");
    assert_eq!(
        scores["free"].as_object().expect("names").len(),
        0,
        "shapes that a linear fit moves"
    );
    for (level, row) in LEVELS.into_iter().zip([0, 7]) {
        let found = |component, what| number(&scores, level, component, what);
        let silicon = f64::from(truth[[of[0], row, 0]]);
        expect("truth of Si", found("Si", "truth_counts"), silicon, 1e-4 * silicon);
        expect("bias of Si", found("Si", "bias_percent"), 10.0, 1e-3);
        expect("RMSE of Si", found("Si", "rmse_counts"), 0.1 * silicon, 1e-4 * silicon);
        expect("pulls of Si", found("Si", "pull_mean"), 0.1 * silicon / 4.0, 1e-4 * silicon);
        expect("bias of Ca", found("Ca", "bias_percent"), 0.0, 1e-3);
        expect("RMSE of Ca", found("Ca", "rmse_counts"), 5.0, 1e-3);
        let bound = found("Ca", "bound_counts");
        let over = found("Ca", "rmse_over_bound");
        expect("RMSE of Ca over its bound", over, 5.0 / bound, 0.01 * 5.0 / bound);
        // the standard deviation of n numbers that are 5/4 and -5/4 in turn
        let n = found("Ca", "pixels");
        let width = 1.25 * (n / (n - 1.0)).sqrt();
        expect("pull width of Ca", found("Ca", "pull_width"), width, 1e-3);
        expect("false zeros of Fe", found("Fe", "false_zeros_percent"), 25.0, 1e-9);
        expect("false zeros of Ca", found("Ca", "false_zeros_percent"), 0.0, 1e-9);
        expect("bias of Zn", found("Zn", "bias_percent"), 0.0, 1e-3);
        assert!(table.contains(&format!("{level} counts, 48 pixels")), "{table}");
    }
    // twelve counts in the first line at 500 counts are few, and 120 at 5000 are not
    let line = |level: f64, component: &str| {
        let all = scores["scores"].as_array().expect("scores");
        let own = all.iter().find(|s| s["level_counts"] == level && s["component"] == component);
        own.expect("a score")["line"].as_str().expect("a word").to_string()
    };
    assert_eq!([line(500.0, "Zn"), line(5000.0, "Zn")], ["weak", "strong"]);
    assert!(table.contains("strong lines: |bias|"), "{table}");
}

#[test]
fn what_goes_to_a_file_is_the_same_as_csv_as_json_and_on_any_number_of_threads() {
    let maps = copied("formats.h5");
    let (scores, _) = score(&maps, &["--threads", "1"]);
    assert_eq!(scores, score(&maps, &["--threads", "4"]).0, "1 and 4 threads");
    let out = maps.with_extension("csv");
    let mut command = Command::new(XRFIT);
    command.arg("score").arg(&maps).arg("--truth").arg(&bench().scan).arg("-o").arg(&out);
    succeed(&mut command);
    let text = std::fs::read_to_string(&out).expect("a file");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heading = lines.next().expect("a heading");
    let all = scores["scores"].as_array().expect("scores");
    assert_eq!(lines.clone().count(), all.len(), "rows");
    for (line, score) in lines.zip(all) {
        for (column, field) in heading.iter().zip(line) {
            match &score[*column] {
                Value::Null => assert_eq!(field, "", "{column}"),
                Value::Number(n) => {
                    let number = n.as_f64().expect("a number");
                    let field: f64 =
                        field.parse().unwrap_or_else(|e| panic!("{column} {field}: {e}"));
                    // a reader of JSON may miss the last digit
                    expect(column, field, number, 1e-14 * number.abs());
                }
                word => assert_eq!(
                    word.as_str().map(|w| w.replace("other", "")).as_deref(),
                    Some(field)
                ),
            }
        }
    }
}

/// The fit of which bounds are known: five components, four free shapes, some escape where it is asked for.
fn problem() -> Problem {
    let choices = Choices {
        elements: Some(["Si", "Ca", "Fe"].map(String::from).to_vec()),
        incident_kev: Some(10.0),
        free: Some(Free::Four),
        objective: Some(Objective::Mse),
        background: Some(Background::None),
        ..Choices::default()
    };
    let sources =
        Sources { config: None, override_file: None, choices: &choices, scan_incident_kev: None };
    let settings = Settings::resolve(&sources).expect("these choices are complete").settings;
    let values = settings.shapes();
    settings.with_calibrated(&values).problem(1200).expect("a problem")
}

struct Truth {
    problem: Problem,
    shapes: Vec<f64>,
    amplitudes: Vec<f64>,
    background: Array1<f64>,
}

fn truth(escape: f64) -> Truth {
    let problem = problem();
    let mut shapes = problem.shapes();
    shapes[known_parameter("SI_ESCAPE")] = escape;
    shapes[known_parameter("ENERGY_OFFSET")] = 0.004;
    let background = (0..problem.count).map(|c| 0.4 * (-(c as f64) / 300.0).exp() + 0.02).collect();
    Truth { amplitudes: vec![150.0, 400.0, 90.0, 60.0, 200.0], problem, shapes, background }
}

impl Truth {
    fn variables(&self) -> Vec<f64> {
        let logs = self.amplitudes.iter().map(|a| a.log10());
        self.shapes.iter().copied().chain(logs).collect()
    }

    fn expected(&self, engine: &dyn Engine) -> Array1<f64> {
        let zero = Array1::zeros(self.problem.channels);
        let window = Array1::zeros(self.problem.count);
        let found = engine.evaluate(&self.problem, &self.variables(), zero.view(), window.view());
        found.expect("an evaluation").total + &self.background
    }

    /// Derivatives by the five amplitudes, the free shapes and the background's strength, `[variables, window]`, by
    /// the adjoint: the gradient of a mean square whose only residual is at one channel.
    fn derivatives(&self, engine: &dyn Engine) -> Array2<f64> {
        let (p, n) = (&self.problem, self.problem.count);
        let expected = self.expected(engine);
        let free = p.free_parameters();
        let k = p.components.len();
        let mut columns = Array2::zeros((k + free.len() + 1, n));
        for c in 0..n {
            let mut counts = Array1::zeros(p.channels);
            counts.slice_mut(s![p.first..p.first + n]).assign(&expected);
            counts[p.first + c] -= n as f64 / 2.0;
            let background = self.background.view();
            let found = engine.evaluate(p, &self.variables(), counts.view(), background);
            let gradient = found.expect("an evaluation").gradient;
            for (i, amplitude) in self.amplitudes.iter().enumerate() {
                let by_log = gradient[p.parameters.len() + i];
                columns[[i, c]] = by_log / (amplitude * std::f64::consts::LN_10);
            }
            for (i, &parameter) in free.iter().enumerate() {
                columns[[k + i, c]] = gradient[parameter];
            }
            columns[[k + free.len(), c]] = self.background[c];
        }
        columns
    }

    fn bound(&self, engine: &dyn Engine, priors: &[Option<f64>]) -> Array1<f64> {
        let fitted: Vec<usize> = (0..self.amplitudes.len()).collect();
        let free = self.problem.free_parameters();
        let bound = Bound { engine, problem: &self.problem, fitted: &fitted, free: &free, priors };
        bound.at(&self.shapes, &self.amplitudes, self.background.view()).expect("a bound")
    }
}

/// The inverse by Gauss-Jordan elimination, of a matrix whose rows and columns are scaled first.
fn inverse(matrix: &Array2<f64>) -> Array2<f64> {
    let n = matrix.nrows();
    let unit: Vec<f64> = (0..n).map(|i| matrix[[i, i]].sqrt()).collect();
    let mut work = Array2::from_shape_fn((n, 2 * n), |(i, j)| match j.checked_sub(n) {
        None => matrix[[i, j]] / (unit[i] * unit[j]),
        Some(j) => f64::from(u8::from(i == j)),
    });
    for pivot in 0..n {
        let row = work.row(pivot).mapv(|v| v / work[[pivot, pivot]]);
        work.row_mut(pivot).assign(&row);
        for other in (0..n).filter(|&i| i != pivot) {
            let factor = work[[other, pivot]];
            work.row_mut(other).scaled_add(-factor, &row);
        }
    }
    Array2::from_shape_fn((n, n), |(i, j)| work[[i, n + j]] / (unit[i] * unit[j]))
}

fn fisher(columns: &Array2<f64>, expected: ArrayView1<f64>) -> Array2<f64> {
    let weighted = columns / &expected;
    weighted.dot(&columns.t())
}

#[test]
fn the_bound_is_that_of_the_adjoint() {
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU");
    for (escape, sigma) in [(0.0, None), (0.02, None), (0.0, Some(0.003))] {
        let truth = truth(escape);
        let free = truth.problem.free_parameters();
        assert_eq!(free.len(), 4, "free shapes");
        let priors: Vec<Option<f64>> =
            free.iter().map(|&p| sigma.filter(|_| p == known_parameter("ENERGY_OFFSET"))).collect();
        let ours = truth.bound(&*engine, &priors);
        let mut matrix = fisher(&truth.derivatives(&*engine), truth.expected(&*engine).view());
        for (i, prior) in priors.iter().enumerate() {
            matrix[[5 + i, 5 + i]] += prior.map_or(0.0, |sigma: f64| sigma.powi(-2));
        }
        let expected = inverse(&matrix);
        for (i, name) in truth.problem.components.iter().enumerate() {
            let expected = expected[[i, i]].sqrt();
            let what = format!("{name}, escape {escape}, prior {sigma:?}");
            expect(&what, ours[i], expected, 1e-6 * expected);
        }
    }
}

#[test]
fn a_prior_lowers_the_bound_and_a_free_shape_raises_it() {
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU");
    let truth = truth(0.0);
    let free = truth.bound(&*engine, &[None; 4]);
    let narrow = truth.bound(&*engine, &[Some(1e-9); 4]);
    let all = truth.derivatives(&*engine);
    let mut fixed = truth;
    fixed.problem.parameters.iter_mut().for_each(|p| p.free = false);
    let fixed = fixed.bound(&*engine, &[]);
    for i in 0..free.len() {
        assert!(
            free[i] > fixed[i],
            "component {i}: {} with free shapes, {} without",
            free[i],
            fixed[i]
        );
        expect("a bound with shapes known beforehand", narrow[i], fixed[i], 1e-6 * fixed[i]);
    }
    // a lone component on nothing has the noise of all its counts
    let counts = all.row(1).sum();
    let alone = (400.0 / counts).sqrt();
    assert!(fixed[1] > alone, "Ca is known to {} counts, alone to {alone}", fixed[1]);
}

#[test]
fn an_efficient_estimator_reaches_the_bound() {
    let engine = engine::open(Choice::Cpu, Precision::F64).expect("the CPU");
    let truth = truth(0.0);
    let bound = truth.bound(&*engine, &[None; 4]);
    let expected = truth.expected(&*engine);
    let columns = truth.derivatives(&*engine);
    let weights = inverse(&fisher(&columns, expected.view())).dot(&(&columns / &expected));
    let n = 4000;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut squares = Array1::<f64>::zeros(bound.len());
    for _ in 0..n {
        let draw = |m: &f64| Poisson::new(*m).expect("a mean").sample(&mut rng) - m;
        let residual: Array1<f64> = expected.iter().map(draw).collect();
        let missed = weights.dot(&residual);
        squares += &missed.slice(s![..bound.len()]).mapv(|d| d * d);
    }
    // the standard error of a standard deviation of n numbers, four times
    let allowed = 4.0 / (2.0 * f64::from(n)).sqrt();
    for (name, (square, bound)) in truth.problem.components.iter().zip(squares.iter().zip(&bound)) {
        let ratio = (square / f64::from(n)).sqrt() / bound;
        expect(&format!("scatter of {name} over the bound"), ratio, 1.0, allowed);
    }
}

#[test]
fn the_detector_is_that_of_the_map_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scan, maps) = (folder.path().join("scan.h5"), folder.path().join("maps.h5"));
    let mut command = Command::new(XRFIT);
    command.args(["simulate", "--rows", "4", "--cols", "5", "--detectors", "2", "-o"]);
    succeed(command.arg(&scan));
    succeed(&mut map_by("nnls", &scan, &maps));
    let of = |name: &str, more: &[&str]| {
        let mut command = Command::new(XRFIT);
        command.arg("score").arg(folder.path().join(name)).arg("--truth").arg(&scan).args(more);
        command.output().expect("the program starts")
    };
    let table = |name: &str, more: &[&str]| {
        let output = of(name, more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(table("maps.h51", &[]), table("maps.h51", &["--detector", "1"]));
    assert_ne!(table("maps.h51", &[]), table("maps.h51", &["--detector", "0"]));
    let adam = folder.path().join("adam.h5");
    succeed(map_by("adam", &scan, &adam).args(["--detector", "0"]));
    let known = table("adam.h5", &["--detector", "0", "--prior", "ENERGY_OFFSET=0.003"]);
    assert!(known.contains("ENERGY_OFFSET (prior 0.003), FWHM_SCALE"), "{known}");
    let output = of("maps.h5", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("--detector"), "{said}");
}

#[test]
fn what_cannot_be_scored_is_refused_in_words() {
    let (scan, maps) = (&bench().scan, &bench().maps);
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other.h5");
    let mut command = Command::new(XRFIT);
    succeed(command.args(["simulate", "--rows", "3", "--cols", "4", "-o"]).arg(&other));
    let absent = folder.path().join("absent.h5");
    let nothing: &[&str] = &[];
    for (maps, truth, more, named) in [
        (scan, scan, nothing, "no map file"),
        (maps, maps, nothing, "has no /truth"),
        (maps, &other, nothing, "8 rows and 12 columns, the truth 3 and 4"),
        (&absent, scan, nothing, "absent.h5"),
        (maps, &absent, nothing, "absent.h5"),
        (maps, scan, &["-o", "out.txt"], "FILE.csv or FILE.json"),
        (maps, scan, &["--detector", "3"], "no truth of detector 3"),
        (maps, scan, &["--prior", "ENERGY_OFSET=1"], "ENERGY_OFFSET"),
        (maps, scan, &["--prior", "ENERGY_OFFSET=0"], "above 0"),
        (maps, scan, &["--prior", "ENERGY_OFFSET=0.003"], "did not move it"),
    ] {
        let mut command = Command::new(XRFIT);
        command.arg("score").arg(maps).arg("--truth").arg(truth).args(more);
        let output = command.current_dir(folder.path()).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted: {more:?}");
        assert!(said.contains(named), "the message does not say `{named}`: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
