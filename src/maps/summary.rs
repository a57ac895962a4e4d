//! Many map files as one table: a row for each.

use std::fmt::Write;

/// A component over all fitted pixels of a map file.
#[derive(Clone, Debug)]
pub struct Total {
    /// Its name.
    pub component: String,
    /// Sum of its counts, of those that may be below 0 where the file has them \[counts\].
    pub counts: f64,
    /// Root of the sum of the variances of the pixels that know theirs \[counts\]; NaN where none does.
    pub sigma: f64,
}

/// What a table says of one map file.
#[derive(Clone, Debug)]
pub struct MapSummary {
    /// Pixels by status code.
    pub by_status: Vec<usize>,
    /// Quartiles of R² over the pixels that have one; NaN without any.
    pub r_squared: [f64; 3],
    /// Every component.
    pub totals: Vec<Total>,
    /// The resolved configuration, TOML.
    pub configuration: String,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct SummaryRow {
    /// Group of the scan.
    pub group: String,
    /// The scan, as the campaign names it.
    pub scan: String,
    /// The detector's number, or `sum`.
    pub detector: String,
    /// The map file, in the output folder.
    pub file: String,
    /// What is in it.
    pub found: MapSummary,
}

/// The table.
#[derive(Clone, Debug)]
pub struct SummaryTable {
    /// Status codes from 0 on: a name of one word each, and what it means.
    pub statuses: Vec<(String, String)>,
    /// What made the table.
    pub program: String,
    /// When, ISO 8601, UTC.
    pub written: String,
    /// Its rows.
    pub rows: Vec<SummaryRow>,
}

/// Quartiles, between neighbours by linear interpolation; NaN of nothing. What is not finite is left out.
pub fn quartiles(values: impl IntoIterator<Item = f32>) -> [f64; 3] {
    let mut sorted: Vec<f32> = values.into_iter().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    [1.0, 2.0, 3.0].map(|q| {
        let place = q / 4.0 * sorted.len().saturating_sub(1) as f64;
        let (below, part) = (place.floor() as usize, place.fract());
        let Some(&low) = sorted.get(below) else { return f64::NAN };
        let high = sorted.get(below + 1).copied().unwrap_or(low);
        f64::from(low) + part * (f64::from(high) - f64::from(low))
    })
}

impl MapSummary {
    /// All pixels.
    pub fn pixels(&self) -> usize {
        self.by_status.iter().sum()
    }
}

impl SummaryRow {
    /// A component's total.
    pub fn total(&self, component: &str) -> Option<&Total> {
        self.found.totals.iter().find(|total| total.component == component)
    }
}

impl SummaryTable {
    /// Every component of any row, in the order in which they come.
    pub fn components(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for total in self.rows.iter().flat_map(|row| &row.found.totals) {
            if !names.contains(&&*total.component) {
                names.push(&*total.component);
            }
        }
        names
    }

    /// Pixels of a row with a status code.
    pub fn with_status(row: &SummaryRow, code: usize) -> usize {
        row.found.by_status.get(code).copied().unwrap_or(0)
    }

    /// As comma-separated values, with units in the head; a cell is empty where there is no number.
    pub fn to_csv(&self) -> String {
        let components = self.components();
        let mut head: Vec<String> =
            ["group", "scan", "detector", "map_file", "pixels"].map(String::from).into();
        head.extend(self.statuses.iter().map(|(name, _)| format!("{name} [pixels]")));
        head.extend(["r_squared_q1", "r_squared_median", "r_squared_q3"].map(String::from));
        for name in &components {
            head.extend([format!("{name} [counts]"), format!("{name} sigma [counts]")]);
        }
        let mut text = line(&head);
        for row in &self.rows {
            let found = &row.found;
            let mut cells: Vec<String> =
                [&row.group, &row.scan, &row.detector, &row.file].map(String::from).into();
            cells.push(found.pixels().to_string());
            let codes = 0..self.statuses.len();
            cells.extend(codes.map(|code| Self::with_status(row, code).to_string()));
            cells.extend(found.r_squared.map(number));
            for name in &components {
                let total = row.total(name);
                cells.push(total.map_or(String::new(), |t| number(t.counts)));
                cells.push(total.map_or(String::new(), |t| number(t.sigma)));
            }
            text += &line(&cells);
        }
        text
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

/// Cells as a line, quoted where they have to be.
fn line(cells: &[String]) -> String {
    let mut text = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let written = match cell.contains([',', '"', '\n', '\r']) {
            true => write!(text, "{comma}\"{}\"", cell.replace('"', "\"\"")),
            false => write!(text, "{comma}{cell}"),
        };
        written.expect("text grows");
    }
    text + "\n"
}
