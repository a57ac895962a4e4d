//! Maps as pictures: one per component, and an overview of all of them.
//!
//! Row 0 is at the top. Colours go from the 1st to the 99th percentile of a map; a pixel without a fit
//! is transparent, grey in the overview. A picture is for looking at: the numbers are in the map file.

mod overview;

use std::path::Path;

use ::png::{BitDepth, ColorType, Encoder, EncodingError};
use ndarray::ArrayView2;

use super::{MapFile, Overwrite, viridis};
use crate::error::{Error, Result};
use crate::output;

/// The side to which a small map is enlarged \[pixels\].
const SIDE: usize = 512;
const OVERVIEW: &str = "overview.png";

/// Makes the folder and sees that pictures can be written to it.
///
/// # Errors
///
/// When they cannot, or there are some that may not be replaced.
pub fn prepare(folder: &Path, overwrite: Overwrite) -> Result<()> {
    let unwritable = |e: std::io::Error| {
        Error::file(folder, format!("pictures cannot be written to this folder: {e}"))
    };
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let overview = folder.join(OVERVIEW);
    if overwrite == Overwrite::No && overview.exists() {
        return Err(Error::file(
            &overview,
            "the file exists (earlier pictures would be lost); give --overwrite or another folder",
        ));
    }
    let trial = folder.join(format!(".{OVERVIEW}.partial-{}", std::process::id()));
    std::fs::write(&trial, []).and_then(|()| std::fs::remove_file(&trial)).map_err(unwritable)
}

/// Writes `<component>.png` for each component, and `overview.png`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(folder: &Path, content: &MapFile) -> Result<()> {
    let (values, unit) = content.maps.rates();
    let names = &content.maps.components;
    for (name, map) in names.iter().zip(values.outer_iter()) {
        let scale = Scale::of(map);
        let picture = Picture::of(map, scale, (SIDE / map.nrows().max(map.ncols())).max(1));
        let range = format!("{} to {} {unit}", figure(scale.low), figure(scale.high));
        picture.write(&folder.join(format!("{name}.png")), name, &range)?;
    }
    let scan = content.provenance.inputs.first();
    let title = scan.map(|(file, _)| file.display().to_string()).unwrap_or_default();
    let range = format!("{unit}, each map on its own scale");
    overview::draw(names, &values, unit).write(&folder.join(OVERVIEW), &title, &range)
}

/// The values that get the first and the last colour.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    /// The 1st and the 99th percentile; NaN when there is no number at all.
    fn of(map: ArrayView2<'_, f32>) -> Self {
        let mut known: Vec<f32> = map.iter().copied().filter(|v| v.is_finite()).collect();
        known.sort_unstable_by(f32::total_cmp);
        let Some(last) = known.len().checked_sub(1) else {
            return Self { low: f32::NAN, high: f32::NAN };
        };
        let at = |percent: usize| known[(last * percent + 50) / 100];
        Self { low: at(1), high: at(99) }
    }

    /// A value's share of the scale, below 0 and above 1 outside it; 0 where the scale has no width.
    fn share(self, value: f32) -> f32 {
        let width = self.high - self.low;
        if width > 0.0 { (value - self.low) / width } else { 0.0 }
    }
}

/// Red, green, blue and opacity of each pixel, row by row.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 4]>,
}

impl Picture {
    fn filled(width: usize, height: usize, colour: [u8; 4]) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// A map with each of its pixels as a square of side `enlarged`.
    fn of(map: ArrayView2<'_, f32>, scale: Scale, enlarged: usize) -> Self {
        let (rows, cols) = map.dim();
        let mut picture = Self::filled(cols * enlarged, rows * enlarged, [0; 4]);
        for y in 0..picture.height {
            for x in 0..picture.width {
                let value = map[[y / enlarged, x / enlarged]];
                if value.is_finite() {
                    picture.pixels[y * picture.width + x] = opaque(viridis(scale.share(value)));
                }
            }
        }
        picture
    }

    fn write(&self, path: &Path, title: &str, description: &str) -> Result<()> {
        let bytes = self
            .encode(title, description)
            .map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
        // earlier pictures were given up when the folder was prepared
        output::write(path, Overwrite::Yes, bytes)
    }

    fn encode(
        &self,
        title: &str,
        description: &str,
    ) -> std::result::Result<Vec<u8>, EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(ColorType::Rgba);
        encoder.set_depth(BitDepth::Eight);
        for (key, text) in [("Title", title), ("Description", description)] {
            encoder.add_itxt_chunk(key.into(), text.into())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(bytes)
    }
}

fn opaque([red, green, blue]: [u8; 3]) -> [u8; 4] {
    [red, green, blue, 255]
}

/// Three significant digits.
fn figure(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(0.001..100_000.0).contains(&size) => format!("{value:.2e}"),
        size => {
            let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
            format!("{value:.decimals$}")
        }
    }
}
