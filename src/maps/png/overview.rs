//! All maps of a file side by side, each with its name and its colour scale.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoFont;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::{FONT_6X13, FONT_8X13_BOLD};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use ndarray::{Array2, Array3, ArrayView2, s};

use super::{Picture, Scale, figure, opaque};
use crate::maps::viridis;

/// The side of a map: a smaller one is enlarged, one of more than twice as many pixels reduced.
const SIDE: usize = 180;
/// Around each map, and between what belongs to it.
const MARGIN: usize = 10;
const GAP: usize = 4;
/// Height of the name, of the bar of colours and of its ends' values.
const NAME: usize = 14;
const BAR: usize = 8;
const VALUES: usize = 14;

const WHITE: [u8; 4] = [255; 4];
const GREY: [u8; 4] = [190, 190, 190, 255];

/// Draws the maps `[K, row, col]` in a grid, row by row.
pub(super) fn draw(names: &[String], values: &Array3<f32>, unit: &str) -> Picture {
    let (_, rows, cols) = values.dim();
    let reduced = rows.max(cols).div_ceil(2 * SIDE);
    let (rows, cols) = (rows.div_ceil(reduced), cols.div_ceil(reduced));
    let enlarged = (SIDE / rows.max(cols)).max(1);
    let (wide, high) = ((cols * enlarged).max(SIDE), rows * enlarged);
    let cell = (wide + MARGIN, NAME + high + GAP + BAR + GAP + VALUES + MARGIN);
    let across = (names.len() as f64).sqrt().ceil() as usize;
    let down = names.len().div_ceil(across);
    let mut page = Picture::filled(across * cell.0 + MARGIN, down * cell.1 + MARGIN, WHITE);
    for (i, (name, map)) in names.iter().zip(values.outer_iter()).enumerate() {
        let (x, y) = (MARGIN + i % across * cell.0, MARGIN + i / across * cell.1);
        let scale = Scale::of(map);
        let map = Picture::of(mean_of_blocks(map, reduced).view(), scale, enlarged);
        page.write_text(name, (x, y), &FONT_8X13_BOLD, Alignment::Left);
        page.paste(&map, (x, y + NAME));
        let y = y + NAME + high + GAP;
        page.paste(&bar(wide), (x, y));
        let (low, high) = match scale.low.is_nan() {
            true => ("no pixel has a fit".into(), String::new()),
            false => (figure(scale.low), format!("{} {unit}", figure(scale.high))),
        };
        page.write_text(&low, (x, y + BAR + GAP), &FONT_6X13, Alignment::Left);
        page.write_text(&high, (x + wide, y + BAR + GAP), &FONT_6X13, Alignment::Right);
    }
    page
}

/// Each block of `side` x `side` pixels as the mean of its numbers, NaN without any.
fn mean_of_blocks(map: ArrayView2<'_, f32>, side: usize) -> Array2<f32> {
    let (rows, cols) = map.dim();
    Array2::from_shape_fn((rows.div_ceil(side), cols.div_ceil(side)), |(i, j)| {
        let (bottom, right) = (rows.min((i + 1) * side), cols.min((j + 1) * side));
        let block = map.slice(s![i * side..bottom, j * side..right]);
        let (sum, n) = block
            .iter()
            .filter(|v| v.is_finite())
            .fold((0.0, 0_usize), |(sum, n), &v| (sum + f64::from(v), n + 1));
        (sum / n as f64) as f32
    })
}

/// The scale's colours, from low to high.
fn bar(width: usize) -> Picture {
    let colour = |x: usize| opaque(viridis(x as f32 / (width - 1) as f32));
    let pixels = (0..BAR).flat_map(|_| (0..width).map(colour)).collect();
    Picture { width, height: BAR, pixels }
}

impl Picture {
    /// Puts a picture onto this one, its transparent pixels as grey.
    fn paste(&mut self, picture: &Picture, (left, top): (usize, usize)) {
        for (i, line) in picture.pixels.chunks_exact(picture.width).enumerate() {
            let start = (top + i) * self.width + left;
            for (to, from) in self.pixels[start..].iter_mut().zip(line) {
                *to = if from[3] == 0 { GREY } else { *from };
            }
        }
    }

    fn write_text(
        &mut self,
        text: &str,
        (x, y): (usize, usize),
        font: &MonoFont<'_>,
        side: Alignment,
    ) {
        let style = TextStyleBuilder::new().baseline(Baseline::Top).alignment(side).build();
        let ink = MonoTextStyle::new(font, Rgb888::BLACK);
        let at = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_text_style(text, at, ink, style).draw(self);
    }
}

impl OriginDimensions for Picture {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Picture {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = embedded_graphics::Pixel<Rgb888>>,
    {
        for embedded_graphics::Pixel(Point { x, y }, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { continue };
            if x < self.width && y < self.height {
                self.pixels[y * self.width + x] = opaque([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}
