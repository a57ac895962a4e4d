//! Promise: `--png` draws each map with its pixels enlarged by a whole number, from dark to light as the numbers
//! grow, transparent where there is none; and an overview of all of them.

#[path = "common/program.rs"]
mod program;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ndarray::{Array2, Array3, s};
use program::{map, simulate, succeed};
use xrfit::maps::viridis;

/// Red, green, blue and opacity, `[row, col]`.
fn decode(path: &Path) -> Array2<[u8; 4]> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().expect("a picture");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("pixels");
    assert_eq!(info.color_type, png::ColorType::Rgba, "{}", path.display());
    let pixels = bytes.as_chunks().0.to_vec();
    Array2::from_shape_vec((info.height as usize, info.width as usize), pixels).expect("all pixels")
}

/// Brightness as the eye sees it, of linear red, green and blue (Rec. 709).
fn brightness(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|c| (f64::from(c) / 255.0).powf(2.2));
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[test]
fn colours_grow_brighter_in_equal_steps() {
    let lightness: Vec<f64> =
        (0..=256).map(|i| brightness(viridis(i as f32 / 256.0)).cbrt()).collect();
    for (i, pair) in lightness.windows(2).enumerate() {
        assert!(pair[1] > pair[0] - 0.002, "lightness at step {i}: {} to {}", pair[0], pair[1]);
    }
    let steps: Vec<f64> = (0..8).map(|i| lightness[32 * (i + 1)] - lightness[32 * i]).collect();
    let mean = (lightness[256] - lightness[0]) / 8.0;
    for (i, step) in steps.iter().enumerate() {
        assert!(
            (step / mean - 1.0).abs() < 0.5,
            "step {i} of lightness is {step}, the mean {mean}"
        );
    }
    assert_eq!(viridis(-1.0), viridis(0.0), "below the scale");
    assert_eq!(viridis(2.0), viridis(1.0), "above the scale");
}

#[test]
fn each_map_is_drawn_pixel_by_pixel() {
    const ROWS: usize = 37;
    const COLS: usize = 41;
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [ROWS, COLS]);
    let (out, pictures) = (folder.path().join("maps.h5"), folder.path().join("a/pictures"));
    succeed(map(&scan, &out).arg("--png").arg(&pictures));
    let file = hdf5::File::open(&out).expect("a map file opens");
    let stack = file.dataset("MAPS/XRF_Analyzed/NNLS/Counts_Per_Sec").expect("maps");
    let stack: Array3<f32> = stack.read().expect("numbers");
    let mut missing = 0;
    for (k, name) in ["Si", "Ca", "Fe", "Zn"].into_iter().enumerate() {
        let picture = decode(&pictures.join(format!("{name}.png")));
        let side = picture.nrows() / ROWS;
        assert_eq!(picture.dim(), (ROWS * side, COLS * side), "height and width of {name}");
        assert!(side > 4, "a small map is enlarged, here by {side}");
        let mut drawn = Vec::new();
        for ((row, col), &value) in stack.slice(s![k, .., ..]).indexed_iter() {
            let square =
                picture.slice(s![row * side..(row + 1) * side, col * side..(col + 1) * side]);
            let [red, green, blue, opacity] = square[[0, 0]];
            assert!(
                square.iter().all(|&p| p == square[[0, 0]]),
                "{name} {row}, {col} is one square"
            );
            assert_eq!(
                opacity == 0,
                value.is_nan(),
                "{name} {row}, {col}: {value} is {opacity} opaque"
            );
            missing += usize::from(value.is_nan());
            if value.is_finite() {
                drawn.push((value, [red, green, blue]));
            }
        }
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in drawn.windows(2) {
            let (dark, light) = (brightness(pair[0].1), brightness(pair[1].1));
            assert!(light >= dark - 0.002, "{name}: {} is darker than {}", pair[1].0, pair[0].0);
        }
        let of_end =
            |colour| drawn.iter().filter(|(_, c)| *c == colour).count() * 100 / drawn.len();
        assert_eq!(drawn[0].1, viridis(0.0), "{name}: colour of the lowest");
        assert_eq!(drawn[drawn.len() - 1].1, viridis(1.0), "{name}: colour of the highest");
        assert!(
            of_end(viridis(1.0)) <= 2,
            "{name}: {} % have the last colour",
            of_end(viridis(1.0))
        );
    }
    assert!(missing > 0, "the scan has pixels without a fit");
}

#[test]
fn the_overview_shows_all_maps_and_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [5, 7]);
    let (out, pictures) = (folder.path().join("maps.h5"), folder.path().join("pictures"));
    succeed(map(&scan, &out).arg("--png").arg(&pictures));
    let overview = decode(&pictures.join("overview.png"));
    // six components: three across, two down
    let (height, width) = overview.dim();
    for (i, j) in (0..2).flat_map(|i| (0..3).map(move |j| (i, j))) {
        let cell = overview
            .slice(s![i * height / 2..(i + 1) * height / 2, j * width / 3..(j + 1) * width / 3]);
        let has = |colour: [u8; 3]| cell.iter().any(|p| p[..3] == colour);
        assert!(has(viridis(0.0)) && has(viridis(1.0)), "a map and its scale in cell {i}, {j}");
        assert!(has([0, 0, 0]), "letters in cell {i}, {j}");
    }
    assert!(overview.iter().all(|p| p[3] == 255), "the overview is opaque");
}

#[test]
fn pictures_are_kept_unless_the_user_gives_them_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = simulate(folder.path(), [3, 5]);
    let pictures = folder.path().join("pictures");
    let draw = |out: &str| {
        let mut command = map(&scan, &folder.path().join(out));
        command.arg("--png").arg(&pictures);
        command
    };
    succeed(&mut draw("first.h5"));
    let again = draw("second.h5").output().expect("it runs");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1), "exit code; it said {said}");
    assert!(said.contains("overview.png") && said.contains("--overwrite"), "{said}");
    assert!(!folder.path().join("second.h5").exists(), "nothing is written");
    succeed(draw("second.h5").arg("--overwrite"));
}
