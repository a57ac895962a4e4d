//! The rows and columns of an MDA scan: where each pixel's spectra are, and what was recorded
//! beside them. Spectra themselves are read by [`super`].

use std::io::{Read, Seek};

use ndarray::{Array2, Array3, s};

use super::names::{self, Rate};
use super::record::Record;
use super::xdr::{DAMAGED, Result, Xdr};
use crate::scan::{Axes, Scalers};

/// A two-dimensional scan, without its numbers.
pub(super) struct Raster {
    /// Rows recorded.
    pub(super) rows: usize,
    /// Columns recorded.
    pub(super) cols: usize,
    /// The scan over rows; `None` for a single line.
    outer: Option<Record>,
    /// The scan along each row; `None` where the file has none.
    lines: Vec<Option<Record>>,
    /// Index of the first line that is there.
    first: usize,
}

/// A scaler of the scan.
struct Column {
    name: String,
    unit: String,
    /// Detector index of the clock, and its ticks per second, for what is to become a rate.
    clock: Option<(usize, f32)>,
}

impl Raster {
    /// The raster of a scan whose outermost record is `outer`.
    pub(super) fn read<S: Read + Seek>(xdr: &mut Xdr<S>, outer: Record) -> Result<Self> {
        // A scan that was stopped within its first row counts no row as recorded.
        let rows = outer.last_point.max(1);
        let places = outer.inner.get(..rows).ok_or("the scan has no rows; nothing was recorded")?;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for &at in places {
            let line = if at == 0 { None } else { Some(Record::read(xdr, at.into())?) };
            bytes += line.as_ref().map_or(0, Record::bytes);
            if bytes > xdr.len() {
                return Err(format!("the rows of the scan overlap in the file; {DAMAGED}"));
            }
            lines.push(line);
        }
        let rank = outer.rank - 1;
        Self::of_lines(Some(outer), lines).and_then(|raster| raster.check(xdr, rank))
    }

    /// The raster of a single line, one pixel high.
    pub(super) fn line<S: Read + Seek>(xdr: &Xdr<S>, line: Record) -> Result<Self> {
        let rank = line.rank;
        Self::of_lines(None, vec![Some(line)]).and_then(|raster| raster.check(xdr, rank))
    }

    fn of_lines(outer: Option<Record>, lines: Vec<Option<Record>>) -> Result<Self> {
        let cols = lines.iter().flatten().map(|line| line.last_point).max().unwrap_or(0);
        match lines.iter().position(Option::is_some) {
            Some(first) if cols > 0 => Ok(Self { rows: lines.len(), cols, outer, lines, first }),
            _ => Err("no pixel was recorded (the scan was stopped before its first point)".into()),
        }
    }

    /// Makes sure that the lines are alike, and no larger together than the file.
    fn check<S: Read + Seek>(self, xdr: &Xdr<S>, rank: usize) -> Result<Self> {
        let fields = |line: &Record| (line.rank, line.positioners.len(), line.detectors.len());
        let expected = (rank, self.head().positioners.len(), self.head().detectors.len());
        for (row, line) in self.lines.iter().enumerate() {
            if line.as_ref().is_some_and(|line| fields(line) != expected) {
                return Err(format!(
                    "row {row} records other things than row {}; {DAMAGED}",
                    self.first
                ));
            }
        }
        let values = (self.rows as u64).saturating_mul(self.cols as u64).saturating_mul(4);
        if values.saturating_mul(1 + self.head().detectors.len() as u64) > xdr.len() {
            return Err(format!(
                "{} rows x {} columns do not fit into the file's {} bytes; {DAMAGED}",
                self.rows,
                self.cols,
                xdr.len()
            ));
        }
        Ok(self)
    }

    fn head(&self) -> &Record {
        self.lines[self.first].as_ref().expect("the first line that is there")
    }

    fn outermost(&self) -> &Record {
        self.outer.as_ref().unwrap_or_else(|| self.head())
    }

    /// Name of the scan.
    pub(super) fn name(&self) -> &str {
        &self.outermost().name
    }

    /// When it began.
    pub(super) fn time_stamp(&self) -> &str {
        &self.outermost().time_stamp
    }

    /// Rows and columns asked for.
    pub(super) fn requested(&self) -> (usize, usize) {
        (self.outer.as_ref().map_or(1, |outer| outer.points), self.head().points)
    }

    /// Place of the spectra of a pixel; `None` where nothing was recorded.
    pub(super) fn spectra_at(&self, pixel: usize) -> Option<u64> {
        let (line, col) = (self.lines[pixel / self.cols].as_ref()?, pixel % self.cols);
        let at = *line.inner.get(col).filter(|_| col < line.last_point)?;
        (at != 0).then_some(u64::from(at))
    }

    /// Number of pixels where nothing was recorded.
    pub(super) fn missing(&self) -> usize {
        (0..self.rows * self.cols).filter(|&pixel| self.spectra_at(pixel).is_none()).count()
    }

    /// All scalers, under their MAPS names where they have one.
    pub(super) fn scalers<S: Read + Seek>(&self, xdr: &mut Xdr<S>) -> Result<Scalers> {
        let columns = self.columns();
        let mut values = Array3::from_elem((columns.len(), self.rows, self.cols), f32::NAN);
        for (row, line) in self.lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let readings: Vec<_> =
                (0..columns.len()).map(|index| line.readings(xdr, index)).collect::<Result<_>>()?;
            for (index, column) in columns.iter().enumerate() {
                for col in 0..line.last_point.min(self.cols) {
                    let seconds =
                        column.clock.map_or(1.0, |(ticks, hertz)| readings[ticks][col] / hertz);
                    values[[index, row, col]] = readings[index][col] / seconds;
                }
            }
        }
        let (names, units) = columns.into_iter().map(|column| (column.name, column.unit)).unzip();
        Ok(Scalers { names, units, values })
    }

    /// The scaler of a MAPS name, `[row, col]`; `None` when the scan has none.
    pub(super) fn scaler<S: Read + Seek>(
        &self,
        xdr: &mut Xdr<S>,
        name: &str,
    ) -> Result<Option<Array2<f32>>> {
        let Some(index) = self.columns().iter().position(|column| column.name == name) else {
            return Ok(None);
        };
        let mut values = Array2::from_elem((self.rows, self.cols), f32::NAN);
        for (row, line) in self.lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let recorded = line.last_point.min(self.cols);
            let readings = line.readings(xdr, index)?;
            values.slice_mut(s![row, ..recorded]).assign(&ndarray::aview1(&readings[..recorded]));
        }
        Ok(Some(values))
    }

    /// The PVs of the detectors beside the spectra, each with the name it gets. A name is given
    /// once; a second PV of the same meaning keeps its own.
    fn columns(&self) -> Vec<Column> {
        let fields = &self.head().detectors;
        let clock = |rate: &Rate| fields.iter().position(|field| field.name == rate.ticks);
        let mut columns: Vec<Column> = Vec::new();
        for field in fields {
            let rate = names::rate(&field.name).and_then(|rate| Some((clock(&rate)?, rate)));
            let column = match rate {
                Some((ticks, rate)) => Column {
                    name: rate.name.into(),
                    unit: "cts/s".into(),
                    clock: Some((ticks, rate.hertz)),
                },
                None => Column {
                    name: names::scaler(&field.name).unwrap_or_else(|| field.name.clone()),
                    unit: field.unit.clone(),
                    clock: None,
                },
            };
            let taken = columns.iter().any(|other| other.name == column.name);
            columns.push(if taken {
                Column { name: field.name.clone(), unit: field.unit.clone(), clock: None }
            } else {
                column
            });
        }
        columns
    }

    /// Positions of the pixels; pixel numbers along a direction without positioner.
    pub(super) fn axes<S: Read + Seek>(&self, xdr: &mut Xdr<S>) -> Result<Axes> {
        let mut axes = Axes::pixel_numbers(self.rows, self.cols);
        if let Some(outer) = self.outer.as_ref().filter(|outer| !outer.positioners.is_empty()) {
            let y = outer.positions(xdr, 0)?;
            axes.y = Array2::from_shape_fn((self.rows, self.cols), |(row, _)| y[row] as f32);
            axes.y_unit.clone_from(&outer.positioners[0].unit);
        }
        let Some(positioner) = self.head().positioners.first() else { return Ok(axes) };
        axes.x_unit.clone_from(&positioner.unit);
        axes.x.fill(f32::NAN);
        for (row, line) in self.lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let x = line.positions(xdr, 0)?;
            for (to, from) in axes.x.row_mut(row).iter_mut().zip(&x[..line.last_point]) {
                *to = *from as f32;
            }
        }
        Ok(axes)
    }
}
