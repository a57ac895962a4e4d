//! The fits of regions as a table on the terminal: a column for each region, a row for each component.

use std::fmt::Write;

use crate::kernels::Status;
use crate::maps::RegionFile;
use crate::report;

/// Regions beside each other; more go below.
const COLUMNS: usize = 6;
/// Widths of the first column and of the others; a longer name makes its column wider.
const WIDTH: [usize; 2] = [24, 12];

/// The table of one detector.
pub(super) fn of(file: &RegionFile, detector: Option<usize>) -> String {
    let mut text = detector.map_or(String::new(), |i| format!("detector {i}\n"));
    let all: Vec<usize> = (0..file.names.len()).collect();
    for some in all.chunks(COLUMNS) {
        block(&mut text, file, some);
        text.push('\n');
    }
    text
}

fn block(text: &mut String, file: &RegionFile, regions: &[usize]) {
    let mut line = |name: &str, cell: &dyn Fn(usize) -> String| {
        write!(text, "{name:<first$}", first = WIDTH[0]).expect("text grows");
        for &region in regions {
            let width = WIDTH[1].max(file.names[region].chars().count());
            write!(text, "  {:>width$}", cell(region)).expect("text grows");
        }
        text.push('\n');
    };
    let whole = |n: f64| report::count(n.round() as usize);
    line("region", &|r| file.names[r].clone());
    line("pixels", &|r| whole(file.pixels[r] as f64));
    if regions.iter().any(|&r| file.left_out[r] > 0) {
        line("pixels left out", &|r| whole(file.left_out[r] as f64));
    }
    line("counts", &|r| whole(file.spectra.row(r).sum()));
    line("R²", &|r| format!("{:.4}", file.r_squared[r]));
    line("status", &|r| match Status::from_code(file.status[r].into()) {
        Status::Converged => "converged".into(),
        Status::StepLimit => "all steps".into(),
        _ => "no fit".into(),
    });
    for (k, name) in file.components.iter().enumerate() {
        line(name, &|r| figure(file.amplitudes[[r, k]]));
    }
}

/// Counts: whole where there are many.
fn figure(counts: f64) -> String {
    match counts {
        n if n.is_nan() => "-".into(),
        n if n < 99.95 => format!("{n:.1}"),
        n => report::count(n.round() as usize),
    }
}
