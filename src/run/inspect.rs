//! `xrfit inspect`: what a file holds, and what `xrfit map` would do with it.

use super::output;
use crate::cli::InspectArgs;
use crate::config;
use crate::error::Result;
use crate::maps::SpectraPolicy;
use crate::report;
use crate::scan::{self, Detector, OpenOptions, ScanInfo};

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let options = OpenOptions { file_locking: !args.no_file_locking };
    report::say(&scan::inspect(&args.file, options)?)?;
    // a map file without spectra is no scan, and has been described
    if let Ok(scan) = scan::open(&args.file, options) {
        report::say(&mapping(scan.info()))?;
    }
    Ok(())
}

/// What `xrfit map` needs, takes and writes, when nothing else is said.
fn mapping(scan: &ScanInfo) -> String {
    let beside = |detector| config::override_file::find(&scan.path, detector);
    let needs = match (beside(None).or_else(|| beside(Some(0))), scan.incident_kev) {
        (Some(file), _) => format!("takes {}", file.display()),
        (None, Some(_)) => "needs --elements (no override file lies beside the scan)".to_string(),
        (None, None) => {
            "needs --elements and --incident-kev (no override file lies beside the scan)"
                .to_string()
        }
    };
    let files = match scan.detectors {
        1 => "OUT.h5".to_string(),
        n => {
            format!("OUT.h50 to OUT.h5{}, one for each detector, and OUT.h5 with their sum", n - 1)
        }
    };
    let spectra = match output::policy(scan, Detector::One(0)) {
        SpectraPolicy::Link => "a link to these spectra",
        SpectraPolicy::Copy => "a copy of these spectra",
        SpectraPolicy::None => "no spectra but the summed one (they are many: --spectra copy)",
    };
    format!("map        {needs}\n           writes {files}, with {spectra}\n")
}
