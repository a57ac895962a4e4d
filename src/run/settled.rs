//! What the pixels of a detector are fitted with, settled before the first of them; as bytes a later run can take it up.

use super::calibrate::{self, Found};
use super::common::{Common, common};
use super::{Chosen, problem};
use crate::cli::{FitArgs, WorkArgs};
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::error::Result;
use crate::scan::{ScanInfo, ScanReader};

/// The same on all ranks, but for what only rank 0 writes down.
pub(super) struct Settled {
    /// On rank 0: what speaks for the components, where nobody asked for any.
    pub evidence: String,
    pub common: Common,
    /// On rank 0: all of this for a later run.
    pub bytes: Vec<u8>,
}

/// Settles it: a first pass where it is needed, and what the pixels have in common.
pub(super) fn settle(
    scan: &mut dyn ScanReader,
    which: Chosen,
    (fit, work): (&FitArgs, &WorkArgs),
    cluster: &mut dyn Cluster,
) -> Result<Settled> {
    let found = calibrate::settled(scan, which, (fit, work), cluster)?;
    let (common, known) = common(scan, which, &found, work, cluster)?;
    let Found { settings, evidence, .. } = found;
    let bytes = pack([evidence.as_bytes(), &calibrate::as_bytes(&settings), &known]);
    Ok(Settled { evidence, common, bytes })
}

/// As an earlier run with the same settings, `asked`, has settled it.
pub(super) fn taken_up(
    asked: &Settings,
    scan: &ScanInfo,
    which: Chosen,
    bytes: &[u8],
) -> Result<Settled> {
    let [evidence, first_pass, known] = unpack(bytes);
    let settings = calibrate::from_bytes(asked, first_pass)?;
    let problem = problem(&settings, scan, which)?;
    Ok(Settled {
        evidence: String::from_utf8_lossy(evidence).into_owned(),
        common: Common::of(settings, problem, known),
        bytes: bytes.to_vec(),
    })
}

/// Each part behind its length.
fn pack(parts: [&[u8]; 3]) -> Vec<u8> {
    let part = |part: &[u8]| [&(part.len() as u64).to_le_bytes()[..], part].concat();
    parts.map(part).concat()
}

fn unpack(mut bytes: &[u8]) -> [&[u8]; 3] {
    [(); 3].map(|()| {
        let (length, rest) = bytes.split_first_chunk().expect("a length before each part");
        let (part, others) = rest.split_at(u64::from_le_bytes(*length) as usize);
        bytes = others;
        part
    })
}
