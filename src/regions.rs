//! Which pixels of a scan belong to its regions of interest.
//!
//! The regions of a mask have no pixel in common; rectangles may. Knows no files, no spectra and no ranks.

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};

/// Rows or columns from one to before another, as NumPy slices them; an end may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: Option<usize>,
    end: Option<usize>,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let end = |digits: &str| match digits.trim() {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| {
                format!("`{digits}` is no whole number from 0 on; write a:b, e.g. 10:20")
            }),
        };
        let (first, last) =
            text.split_once(':').ok_or("write a:b, from a to before b, e.g. 10:20")?;
        Ok(Self { first: end(first)?, end: end(last)? })
    }
}

impl Span {
    /// The rows or columns of a scan that has `length` of them; `what` they are.
    fn within(self, length: usize, what: &str) -> Result<Range<usize>> {
        let (first, end) = (self.first.unwrap_or(0), self.end.unwrap_or(length));
        if first >= end {
            return Err(Error::configuration(format!(
                "--{what} {first}:{end} holds no {what} (b of a:b is the first one outside); give b above a"
            )));
        }
        if end > length {
            return Err(Error::configuration(format!(
                "--{what} {first}:{end} ends outside the scan, which has {length} {what} (0:{length} is all \
                 of them); give a smaller end, or none, as in {first}:"
            )));
        }
        Ok(first..end)
    }
}

/// The regions of a scan, each with a name and at least one pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Regions {
    names: Vec<String>,
    places: Places,
}

#[derive(Clone, Debug, PartialEq)]
enum Places {
    /// Number of the region of each pixel, from 1; 0 outside.
    Mask(Vec<u32>),
    /// Rows and columns of each region, in a scan of `cols` columns.
    Rectangles { of: Vec<[Range<usize>; 2]>, cols: usize },
}

impl Regions {
    /// The regions of a mask `[row, col]` that was read from a file: 0 outside, 1, 2, ... inside.
    ///
    /// # Errors
    ///
    /// When it has another shape than the scan, or its numbers are not those of regions, or names are wrong.
    pub fn of_mask(
        mask: ArrayView2<i64>,
        from: &Path,
        scan: (usize, usize),
        names: &[String],
    ) -> Result<Self> {
        check_shape(mask.dim(), from, scan)?;
        if let Some((at, value)) = mask.indexed_iter().find(|(_, v)| **v < 0) {
            return Err(Error::file(
                from,
                format!(
                    "the mask has {value} at row {}, column {} (0 is outside, regions are 1, 2, ...); write \
                     0 there",
                    at.0, at.1
                ),
            ));
        }
        let mut numbers: Vec<i64> = mask.iter().copied().filter(|v| *v > 0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let regions = numbers.last().copied().unwrap_or(1);
        let without = (1..=regions).zip(numbers.iter().map(Some).chain([None]));
        if let Some((region, _)) = { without }.find(|(region, n)| *n != Some(region)) {
            return Err(Error::file(
                from,
                format!(
                    "region {region} of {regions} has no pixel in the mask (there is nothing to fit); number \
                     the regions 1, 2, ... without gaps, or save true and false for one region"
                ),
            ));
        }
        Ok(Self {
            names: named(names, numbers.len())?,
            places: Places::Mask(mask.iter().map(|&n| n as u32).collect()),
        })
    }

    /// Rectangles, one for each pair of spans.
    ///
    /// # Errors
    ///
    /// When one is empty or reaches outside the scan, or a pair is not complete, or names are wrong.
    pub fn rectangles(
        rows: &[Span],
        cols: &[Span],
        scan: (usize, usize),
        names: &[String],
    ) -> Result<Self> {
        if rows.len() != cols.len() {
            return Err(Error::configuration(format!(
                "there are {} --rows and {} --cols (a rectangle has one of each); give both for every \
                 rectangle, `:` for all",
                rows.len(),
                cols.len()
            )));
        }
        let pairs = rows.iter().zip(cols);
        let of = pairs.map(|(r, c)| Ok([r.within(scan.0, "rows")?, c.within(scan.1, "cols")?]));
        let of: Vec<_> = of.collect::<Result<_>>()?;
        Ok(Self { names: named(names, of.len())?, places: Places::Rectangles { of, cols: scan.1 } })
    }

    /// Their names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The regions that a pixel belongs to, counted from 0.
    pub fn of_pixel(&self, pixel: usize) -> impl Iterator<Item = usize> {
        let (number, rectangles, at) = match &self.places {
            Places::Mask(numbers) => (numbers[pixel], &[][..], (0, 0)),
            Places::Rectangles { of, cols } => (0, &of[..], (pixel / cols, pixel % cols)),
        };
        let masked = (number as usize).checked_sub(1);
        let inside = move |(i, [rows, cols]): (usize, &[Range<usize>; 2])| {
            (rows.contains(&at.0) && cols.contains(&at.1)).then_some(i)
        };
        masked.into_iter().chain(rectangles.iter().enumerate().filter_map(inside))
    }

    /// Where they lie, `[row, col]`: each region's number from 1, 0 outside; of several the last one's.
    pub fn map(&self, (rows, cols): (usize, usize)) -> Array2<u32> {
        Array2::from_shape_fn((rows, cols), |(row, col)| {
            self.of_pixel(row * cols + col).last().map_or(0, |i| i as u32 + 1)
        })
    }
}

fn check_shape(mask: (usize, usize), from: &Path, scan: (usize, usize)) -> Result<()> {
    if mask == scan {
        return Ok(());
    }
    let advice = if mask == (scan.1, scan.0) {
        "save it transposed"
    } else {
        "give a mask with one number for each pixel, [row, col]"
    };
    Err(Error::file(
        from,
        format!(
            "the mask has {} rows and {} columns, the scan {} and {}; {advice}",
            mask.0, mask.1, scan.0, scan.1
        ),
    ))
}

/// The given names, or `region1`, `region2`, ... They become groups of a file.
fn named(given: &[String], n: usize) -> Result<Vec<String>> {
    if given.is_empty() {
        return Ok((1..=n).map(|i| format!("region{i}")).collect());
    }
    if given.len() != n {
        return Err(Error::configuration(format!(
            "there are {} names for {n} regions; give --name once for each region, or not at all",
            given.len()
        )));
    }
    for (i, name) in given.iter().enumerate() {
        if name.is_empty() || name.contains('/') || name.chars().all(|c| c == '.') {
            return Err(Error::configuration(format!(
                "--name `{name}` cannot be the name of a group in a file; give one without `/`"
            )));
        }
        if given[..i].contains(name) {
            return Err(Error::configuration(format!(
                "two regions are named `{name}`; give each a name of its own"
            )));
        }
    }
    Ok(given.to_vec())
}
