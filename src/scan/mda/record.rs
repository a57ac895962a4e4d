//! The records of an MDA file: its header, one scan of one dimension, the extra PVs.
//!
//! Format: EPICS sscan module, `saveData_writeXDR`. Nothing here knows what the dimensions mean;
//! that is [`super::raster`]'s part.

use std::io::{Read, Seek};

use super::xdr::{DAMAGED, Result, Xdr};
use crate::scan::ExtraPv;

/// More positioners, detectors or triggers than sscan can record (4, 70 and 4).
const MOST_FIELDS: usize = 1000;

/// What the file says of itself.
pub(super) struct Header {
    /// Number of dimensions.
    pub(super) rank: usize,
    /// Place of the extra PVs, `None` when there are none.
    pub(super) extra_pvs_at: Option<u64>,
}

impl Header {
    /// Reads the header, or says `None` when the file begins in no way MDA files begin.
    pub(super) fn read<S: Read + Seek>(xdr: &mut Xdr<S>) -> Result<Option<Self>> {
        if xdr.len() < 4 || !is_version(xdr.float()?) {
            return Ok(None);
        }
        let _scan_number = xdr.int()?;
        let rank = xdr.count("dimensions", 4)?;
        xdr.skip(4 * rank as u64)?;
        let _regular = xdr.int()?;
        let at = xdr.offsets(1)?[0];
        Ok(Some(Self { rank, extra_pvs_at: (at != 0).then_some(u64::from(at)) }))
    }
}

fn is_version(version: f32) -> bool {
    [1.2, 1.3, 1.4].contains(&version)
}

/// A positioner or a detector of a scan.
pub(super) struct Field {
    /// PV name.
    pub(super) name: String,
    /// Unit.
    pub(super) unit: String,
}

/// One scan of one dimension, without its numbers.
pub(super) struct Record {
    /// Dimensions from here inwards.
    pub(super) rank: usize,
    /// Points asked for; the arrays have this length.
    pub(super) points: usize,
    /// Points recorded.
    pub(super) last_point: usize,
    /// Places of the scans one dimension further in, by point; 0 where there is none.
    pub(super) inner: Vec<u32>,
    /// Name of the sscan record.
    pub(super) name: String,
    /// Time stamp.
    pub(super) time_stamp: String,
    /// Positioners.
    pub(super) positioners: Vec<Field>,
    /// Detectors.
    pub(super) detectors: Vec<Field>,
    /// Bytes before the arrays.
    head_bytes: u64,
    /// Place of the arrays: doubles of each positioner, then floats of each detector.
    data_at: u64,
}

impl Record {
    /// Reads the record at a place and makes sure that its arrays are in the file.
    pub(super) fn read<S: Read + Seek>(xdr: &mut Xdr<S>, at: u64) -> Result<Self> {
        xdr.go_to(at)?;
        let rank = xdr.count("dimensions", 4)?;
        let most = usize::try_from(xdr.len()).unwrap_or(usize::MAX);
        let points = xdr.count("points of a scan", most)?;
        // sscan counts no further than the points asked for, but leaves older numbers behind.
        let last_point = xdr.count("recorded points of a scan", most)?.min(points);
        let inner = if rank > 1 { xdr.offsets(points)? } else { Vec::new() };
        let (name, time_stamp) = (xdr.string()?, xdr.string()?);
        let (positioners, detectors, triggers) = (
            xdr.count("positioners", MOST_FIELDS)?,
            xdr.count("detectors", MOST_FIELDS)?,
            xdr.count("triggers", MOST_FIELDS)?,
        );
        let positioners = (0..positioners).map(|_| positioner(xdr)).collect::<Result<_>>()?;
        let detectors = (0..detectors).map(|_| detector(xdr)).collect::<Result<_>>()?;
        for _ in 0..triggers {
            xdr.int()?;
            xdr.string()?;
            xdr.float()?;
        }
        let (data_at, head_bytes) = (xdr.at(), xdr.at() - at);
        let record = Self {
            rank,
            points,
            last_point,
            inner,
            name,
            time_stamp,
            positioners,
            detectors,
            head_bytes,
            data_at,
        };
        xdr.needs(record.data_bytes(), "the data of a scan")?;
        Ok(record)
    }

    /// Values of a positioner, length `points`.
    pub(super) fn positions<S: Read + Seek>(
        &self,
        xdr: &mut Xdr<S>,
        index: usize,
    ) -> Result<Vec<f64>> {
        xdr.go_to(self.data_at + 8 * (self.points * index) as u64)?;
        xdr.doubles(self.points)
    }

    /// Values of a detector, length `points`.
    pub(super) fn readings<S: Read + Seek>(
        &self,
        xdr: &mut Xdr<S>,
        index: usize,
    ) -> Result<Vec<f32>> {
        let floats = self.points * (2 * self.positioners.len() + index);
        xdr.go_to(self.data_at + 4 * floats as u64)?;
        xdr.floats(self.points)
    }

    /// Bytes of the whole record.
    pub(super) fn bytes(&self) -> u64 {
        self.head_bytes + self.data_bytes()
    }

    /// Bytes of all arrays.
    fn data_bytes(&self) -> u64 {
        4 * self.points as u64 * (2 * self.positioners.len() + self.detectors.len()) as u64
    }
}

/// Number, name, description, step mode, unit; readback name, description, unit.
fn positioner<S: Read + Seek>(xdr: &mut Xdr<S>) -> Result<Field> {
    xdr.int()?;
    let name = xdr.string()?;
    xdr.string()?;
    xdr.string()?;
    let unit = xdr.string()?;
    let readback = xdr.string()?;
    xdr.string()?;
    let readback_unit = xdr.string()?;
    // With a readback PV, the array holds what was read back.
    Ok(if readback.is_empty() {
        Field { name, unit }
    } else {
        Field { name: readback, unit: readback_unit }
    })
}

/// Number, name, description, unit.
fn detector<S: Read + Seek>(xdr: &mut Xdr<S>) -> Result<Field> {
    xdr.int()?;
    let name = xdr.string()?;
    xdr.string()?;
    Ok(Field { name, unit: xdr.string()? })
}

/// The extra PVs at a place: as many as can be read, and what is wrong with the next.
pub(super) fn extra_pvs<S: Read + Seek>(xdr: &mut Xdr<S>, at: u64) -> (Vec<ExtraPv>, Result<()>) {
    let mut pvs = Vec::new();
    let read = (|| {
        xdr.go_to(at)?;
        let most = usize::try_from(xdr.len()).unwrap_or(usize::MAX);
        for _ in 0..xdr.count("extra PVs", most)? {
            pvs.push(extra_pv(xdr)?);
        }
        Ok(())
    })();
    (pvs, read)
}

fn extra_pv<S: Read + Seek>(xdr: &mut Xdr<S>) -> Result<ExtraPv> {
    let (name, description) = (xdr.string()?, xdr.string()?);
    let kind = xdr.int()?;
    if kind == 0 {
        return Ok(ExtraPv { name, value: xdr.string()?, description, unit: String::new() });
    }
    let most = usize::try_from(xdr.len()).unwrap_or(usize::MAX);
    let n = xdr.count("values of an extra PV", most)?;
    let unit = xdr.string()?;
    let value = match kind {
        32 => characters(&xdr.ints(n)?),
        29 | 33 => listed(&xdr.ints(n)?),
        30 => listed(&xdr.floats(n)?),
        34 => listed(&xdr.doubles(n)?),
        _ => return Err(format!("an extra PV of type {kind} before byte {}; {DAMAGED}", xdr.at())),
    };
    Ok(ExtraPv { name, value, description, unit })
}

/// A character array is a long text, ended by a NUL.
fn characters(codes: &[i32]) -> String {
    let text = codes.iter().map_while(|&code| u8::try_from(code & 0xff).ok().filter(|&c| c != 0));
    text.map(char::from).collect()
}

fn listed<T: std::fmt::Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
