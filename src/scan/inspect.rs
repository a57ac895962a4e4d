//! What a file holds, what it lacks and what that means, as text for `xrfit inspect`.

use std::fmt::Write;
use std::path::Path;

use super::hdf5_file::Hdf5File;
use super::volumes::storage;
use super::{Axes, Metadata, OpenOptions, ScanInfo, ScanReader, Times, check_file, open};
use crate::error::Result;

/// Memory for a tile of spectra while counting \[bytes\].
const TILE_BYTES: usize = 16 << 20;

/// Extra PVs that tell most about a scan: parts of their names or descriptions.
const TELLING: [&str; 8] =
    ["energy", "srcurrent", "theta", "rotation", "sample", "title", "comment", "attenuat"];

/// As many of them as are shown.
const SHOWN_PVS: usize = 16;

/// Groups of an analysed file that hold maps: name and meaning.
const ANALYSES: [(&str, &str); 4] = [
    ("Fitted", "nonlinear fits"),
    ("NNLS", "linear non-negative fits"),
    ("SVD", "linear fits"),
    ("ROI", "sums over regions"),
];

/// Describes a file: its scan, if it holds one, and the maps made of it, if there are any.
///
/// # Errors
///
/// A file error when it holds neither, or is damaged.
pub fn inspect(path: &Path, options: OpenOptions) -> Result<String> {
    check_file(path)?;
    let analyses = match Hdf5File::open(path, options)? {
        Some(file) => analyses(&file)?,
        None => String::new(),
    };
    match open(path, options) {
        Ok(mut scan) => Ok(describe(scan.as_mut(), options)? + &analyses),
        Err(error) if analyses.is_empty() => Err(error),
        Err(error) => Ok(format!("file       {}\nno scan: {error}\n{analyses}", path.display())),
    }
}

/// Describes an open scan. Reads all spectra, a tile at a time.
///
/// # Errors
///
/// As [`ScanReader::spectra`].
pub fn describe(scan: &mut dyn ScanReader, options: OpenOptions) -> Result<String> {
    let mut text = String::new();
    let info = scan.info().clone();
    header(&mut text, &info, scan.metadata());
    spectra(&mut text, scan, &info)?;
    for (file, dataset) in &info.spectra_links {
        if let Some(stored) =
            Hdf5File::open(file, options)?.map(|file| file.dataset(dataset)).transpose()?.flatten()
        {
            line(&mut text, "stored", &format!("{dataset}: {}", storage(&stored)));
        }
    }
    times(&mut text, scan, info.detectors)?;
    beside(&mut text, scan, &info)?;
    for note in &info.notes {
        line(&mut text, "note", note);
    }
    Ok(text)
}

/// One line: a word of at most ten letters, and what is to be said.
fn line(text: &mut String, word: &str, what: &str) {
    writeln!(text, "{word:<10} {what}").expect("a string takes all text");
}

fn header(text: &mut String, info: &ScanInfo, metadata: &Metadata) {
    line(text, "file", &info.path.display().to_string());
    line(text, "format", info.format);
    if !metadata.name.is_empty() {
        line(text, "scan", format!("{} {}", metadata.name, metadata.time_stamp).trim_end());
    }
    let (rows, cols) = (metadata.requested_rows, metadata.requested_cols);
    let requested = if (rows, cols) == (info.rows, info.cols) {
        String::new()
    } else {
        format!(" ({rows} x {cols} were asked for)")
    };
    line(text, "map", &format!("{} rows x {} columns{requested}", info.rows, info.cols));
}

fn spectra(text: &mut String, scan: &mut dyn ScanReader, info: &ScanInfo) -> Result<()> {
    let plural = if info.detectors == 1 { "" } else { "s" };
    line(
        text,
        "spectra",
        &format!("{} detector{plural}, {} channels", info.detectors, info.channels),
    );
    for detector in 0..info.detectors {
        let counted = count(scan, info, detector)?;
        line(text, "", &format!("detector {detector}: {counted}"));
    }
    Ok(())
}

/// Total counts of a detector, and its odd pixels.
fn count(scan: &mut dyn ScanReader, info: &ScanInfo, detector: usize) -> Result<String> {
    let tile = (TILE_BYTES / (4 * info.channels)).max(1);
    let (mut total, mut empty, mut saturated, mut broken) = (0.0_f64, 0, 0, 0);
    for first in (0..info.pixels()).step_by(tile) {
        let spectra = scan.spectra(detector, first..info.pixels().min(first + tile))?;
        for spectrum in spectra.rows() {
            let counts: f64 = spectrum.iter().map(|&count| f64::from(count)).sum();
            total += counts;
            empty += usize::from(spectrum.iter().all(|&count| count == 0.0));
            saturated += usize::from(
                info.saturation.is_some_and(|full| spectrum.iter().any(|&count| count >= full)),
            );
            broken += usize::from(spectrum.iter().any(|&count| count < 0.0 || !count.is_finite()));
        }
    }
    let mut text = format!("{total} counts");
    for (pixels, what) in
        [(empty, "empty"), (saturated, "saturated"), (broken, "with negative or undefined counts")]
    {
        if pixels > 0 {
            write!(text, ", {pixels} pixels {what}").expect("a string takes all text");
        }
    }
    Ok(text)
}

fn times(text: &mut String, scan: &mut dyn ScanReader, detectors: usize) -> Result<()> {
    let mut consequence = "";
    for detector in 0..detectors {
        let times = scan.times(detector)?;
        let parts = [
            ("live", "s", &times.live),
            ("real", "s", &times.real),
            ("input rate", "1/s", &times.input_rate),
            ("output rate", "1/s", &times.output_rate),
        ];
        let means: Vec<_> = parts
            .iter()
            .filter_map(|(name, unit, values)| {
                Some(format!("{name} {:.4} {unit}", values.as_ref()?.mean()?))
            })
            .collect();
        let means = if means.is_empty() { "none".into() } else { means.join(", ") };
        let word = if detector == 0 { "times" } else { "" };
        line(text, word, &format!("detector {detector}, means: {means}"));
        if meaning(&times) != consequence {
            consequence = meaning(&times);
            line(text, "", consequence);
        }
    }
    Ok(())
}

/// What xrfit makes of the times.
fn meaning(times: &Times) -> &'static str {
    match times {
        Times { real: Some(_), input_rate: Some(_), output_rate: Some(_), .. } => {
            "-> maps in counts/s; live time = real time x output rate / input rate"
        }
        Times { live: Some(_), .. } => {
            "-> maps in counts/s; live time as recorded (rates are missing)"
        }
        _ => "-> no live time: maps will be in counts",
    }
}

/// Energy, scalers, positions and extra PVs.
fn beside(text: &mut String, scan: &mut dyn ScanReader, info: &ScanInfo) -> Result<()> {
    let energy = match info.incident_kev {
        Some(kev) => format!("{kev} keV incident"),
        None => {
            "not recorded: --incident-kev, the configuration or an override file must say it".into()
        }
    };
    line(text, "energy", &energy);
    let scalers = scan.scalers()?;
    let (pvs, named): (Vec<_>, Vec<_>) = scalers.names.iter().partition(|name| name.contains(':'));
    let names: Vec<_> = named.into_iter().map(String::as_str).collect();
    let listed = match (names.len(), pvs.len()) {
        (0, 0) => "none".into(),
        (0, others) => format!("none known, {others} others"),
        (known, others) => format!("{known} known ({}), {others} others", names.join(" ")),
    };
    line(text, "scalers", &listed);
    let axes = scan.axes()?;
    let ends = |values: &ndarray::Array2<f32>, unit: &str| {
        let last = (info.rows - 1, info.cols - 1);
        format!("{} to {} {unit}", values[(0, 0)], values[last]).trim_end().to_owned()
    };
    let numbers = Axes::pixel_numbers(info.rows, info.cols);
    let of = |values: &ndarray::Array2<f32>, unit: &str, number: &ndarray::Array2<f32>| {
        let recorded = if values == number { " (pixel numbers: not recorded)" } else { "" };
        ends(values, unit) + recorded
    };
    let x = of(&axes.x, &axes.x_unit, &numbers.x);
    let y = of(&axes.y, &axes.y_unit, &numbers.y);
    line(text, "positions", &format!("x {x}, y {y}"));
    let pvs = &scan.metadata().extra_pvs;
    line(text, "extra PVs", &format!("{}", pvs.len()));
    let telling = pvs.iter().filter(|pv| {
        let about = format!("{} {}", pv.name, pv.description).to_lowercase();
        let about_the_motor = [".DESC", ".OFF", ".EGU"].iter().any(|end| pv.name.ends_with(end));
        !pv.value.trim().is_empty()
            && !about_the_motor
            && TELLING.iter().any(|word| about.contains(word))
    });
    for pv in telling.take(SHOWN_PVS) {
        let described = format!("{} = {} {} {}", pv.name, pv.value, pv.unit, pv.description);
        line(text, "", described.split_whitespace().collect::<Vec<_>>().join(" ").as_str());
    }
    Ok(())
}

/// The maps an analysed file holds.
fn analyses(file: &Hdf5File) -> Result<String> {
    let mut text = String::new();
    for (name, meaning) in ANALYSES {
        let group = format!("/MAPS/XRF_Analyzed/{name}");
        let Some(maps) = file.dataset(&format!("{group}/Counts_Per_Sec"))? else { continue };
        let names = file.texts(&format!("{group}/Channel_Names"))?.unwrap_or_default();
        let own = if file.has(&format!("{group}/xrfit")) {
            ", with xrfit's shapes and status"
        } else {
            ""
        };
        let about = format!("{name} ({meaning}), {:?}{own}: {}", maps.shape(), names.join(" "));
        line(&mut text, "maps", &about);
    }
    Ok(text)
}
