//! Scores as a table for the terminal, as CSV and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::report;
use crate::score::{Line, Score};

/// A file format, by the name's ending.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Csv,
    Json,
}

impl Format {
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            _ => Err(Error::file(
                path,
                "scores are written to FILE.csv or FILE.json; name one of these",
            )),
        }
    }
}

/// What the program says.
#[derive(Serialize)]
pub(super) struct Scored {
    /// xrfit's version.
    pub version: &'static str,
    /// The map file.
    pub maps: PathBuf,
    /// The scan.
    pub truth: PathBuf,
    /// Shape parameters that the bound does not know, and the standard deviations of their priors.
    pub free: BTreeMap<String, Option<f64>>,
    /// Pixels with a truth and a fit.
    pub pixels: usize,
    /// Those of them whose fit met its own criterion.
    pub converged: usize,
    /// Pixels with a truth and no fit.
    pub lost: usize,
    /// Level by level, component by component.
    pub scores: Vec<Score>,
}

const COLUMNS: [&str; 13] = [
    "level_counts",
    "component",
    "line",
    "pixels",
    "truth_counts",
    "bound_counts",
    "bias_percent",
    "bias_sigma",
    "rmse_counts",
    "rmse_over_bound",
    "pull_mean",
    "pull_width",
    "false_zeros_percent",
];

impl Scored {
    /// The contents of a file.
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::Csv => self.csv(),
            Format::Json => {
                serde_json::to_string_pretty(self).expect("scores are plain values") + "\n"
            }
        }
    }

    fn csv(&self) -> String {
        let mut text = COLUMNS.join(",") + "\n";
        let number = |x: f64| if x.is_finite() { x.to_string() } else { String::new() };
        let perhaps = |x: Option<f64>| x.map_or(String::new(), number);
        for s in &self.scores {
            let fields = [
                perhaps(s.level_counts),
                s.component.clone(),
                s.line.name().into(),
                s.pixels.to_string(),
                number(s.truth_counts),
                number(s.bound_counts),
                number(s.bias_percent),
                number(s.bias_sigma),
                number(s.rmse_counts),
                number(s.rmse_over_bound),
                perhaps(s.pull_mean),
                perhaps(s.pull_width),
                number(s.false_zeros_percent),
            ];
            text.push_str(&(fields.join(",") + "\n"));
        }
        text
    }

    /// How many pixels there are, and what the bound takes for unknown.
    fn heading(&self) -> String {
        let [pixels, converged, lost] = [self.pixels, self.converged, self.lost].map(report::count);
        let free = self.free.iter().map(|(name, prior)| match prior {
            Some(sigma) => format!(", {name} (prior {sigma})"),
            None => format!(", {name}"),
        });
        let free: String = free.collect();
        format!(
            "{pixels} pixels, {converged} of them converged; {lost} more without a fit\n\
             unknown to the bound: amplitudes, strength of the background{free}\n"
        )
    }

    /// The table, and under each level what its strong lines have in common.
    pub fn table(&self) -> String {
        let mut text = self.heading();
        for level in self.scores.chunk_by(|a, b| a.level_counts == b.level_counts) {
            let pixels = level[0].pixels;
            let of =
                level[0].level_counts.map_or(String::new(), |counts| format!("{counts} counts, "));
            // of a standard deviation of n numbers
            let error = 100.0 / (2.0 * pixels as f64).sqrt();
            let pixels = report::count(pixels);
            writeln!(text, "\n{of}{pixels} pixels, which tell a ratio to {error:.1} %")
                .expect("text grows");
            text.push_str(&table_of(level));
            text.push_str(&summary(level));
        }
        text
    }
}

fn table_of(level: &[Score]) -> String {
    let heading =
        ["counts", "bound", "bias %", "bias/bnd", "RMSE", "RMSE/bnd", "pulls", "width", "zeros %"];
    let mut text = format!("{:<24}{:<8}", "", "line");
    for word in heading {
        write!(text, "{word:>10}").expect("text grows");
    }
    text.push('\n');
    for s in level {
        write!(text, "{:<24}{:<8}", s.component, s.line.name()).expect("text grows");
        let pulls = [s.pull_mean, s.pull_width].map(|p| p.unwrap_or(f64::NAN));
        for (value, decimals) in [
            (s.truth_counts, 1),
            (s.bound_counts, 2),
            (s.bias_percent, 2),
            (s.bias_sigma, 3),
            (s.rmse_counts, 2),
            (s.rmse_over_bound, 3),
            (pulls[0], 3),
            (pulls[1], 3),
            (s.false_zeros_percent, 1),
        ] {
            write!(text, "{:>10}", figure(value, decimals)).expect("text grows");
        }
        text.push('\n');
    }
    text
}

fn figure(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "-".into() }
}

/// Mean and worst of the strong lines.
fn summary(level: &[Score]) -> String {
    let strong: Vec<&Score> = level.iter().filter(|s| s.line == Line::Strong).collect();
    if strong.is_empty() {
        return "no strong lines\n".into();
    }
    let all = |f: &dyn Fn(&Score) -> f64| -> Vec<f64> { strong.iter().map(|s| f(s)).collect() };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let percent = all(&|s| s.bias_percent.abs());
    let sigma = all(&|s| s.bias_sigma.abs());
    let over = all(&|s| s.rmse_over_bound);
    let mut text = format!(
        "{} strong lines: |bias| {:.2} % (worst {:.2} %, {:.3} of the bound), RMSE/bound {:.3} (worst {:.3})",
        strong.len(),
        mean(&percent),
        most(&percent),
        most(&sigma),
        mean(&over),
        most(&over)
    );
    if let Some(widths) = strong.iter().map(|s| s.pull_width).collect::<Option<Vec<f64>>>() {
        let least = widths.iter().copied().fold(f64::INFINITY, f64::min);
        write!(text, ", pulls {:.3} wide ({least:.3} to {:.3})", mean(&widths), most(&widths))
            .expect("text grows");
    }
    text + "\n"
}
