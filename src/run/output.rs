//! What `xrfit map` writes of a detector, or of the sum of all: the map file, the spectra in it, pictures.

use std::path::{Path, PathBuf};

use super::Chosen;
use crate::cli::MapArgs;
use crate::error::{Error, Result};
use crate::fit;
use crate::maps::{self, MapFile, Spectra, SpectraPolicy};
use crate::output::{self, Overwrite};
use crate::scan::{Detector, ScanInfo, ScanReader, spectra_of};

/// Spectra are copied up to this size when nobody says \[bytes\].
const MOST_COPIED: usize = 256 << 20;

/// The outputs of a run.
pub(super) struct Outputs {
    /// By detector.
    pub each: Vec<Output>,
    /// Of several detectors, their sum.
    pub sum: Option<Output>,
}

/// What a run will write; nothing where `--resume` finds it complete.
///
/// # Errors
///
/// When it cannot be written, or would be lost: the scan, a file that exists, a run that did not end.
pub(super) fn outputs(
    args: &MapArgs,
    scan: &ScanInfo,
    chosen: &[Chosen],
) -> Result<Option<Outputs>> {
    let paths: Vec<PathBuf> =
        chosen.iter().map(|which| output::numbered(&args.output, which.index)).collect();
    let ledgers: Vec<PathBuf> =
        paths.iter().map(|path| maps::ledger_of(path)).filter(|path| path.exists()).collect();
    if args.resume && ledgers.is_empty() && paths.iter().all(|path| path.exists()) {
        log::info!("{} is complete already", args.output.display());
        return Ok(None);
    }
    let given_up = args.resume || args.overwrite;
    for ledger in ledgers.iter().filter(|_| !given_up) {
        if maps::progress(ledger)?.is_some_and(|progress| progress.done > 0) {
            return Err(Error::file(
                ledger,
                "holds the pixels of a run that did not end (they would be lost); go on with --resume, or begin \
                 anew with --overwrite",
            ));
        }
    }
    // the outputs of a run that did not end are its own
    let overwrite = Overwrite::from(args.overwrite || (args.resume && !ledgers.is_empty()));
    let each = chosen.iter().map(|&which| Output::of(args, scan, which, overwrite));
    let sum = (chosen.len() > 1).then(|| Output::of_sum(args, scan, overwrite));
    let found = Outputs { each: each.collect::<Result<_>>()?, sum: sum.transpose()? };
    if args.resume {
        let written = found.each.iter().chain(&found.sum).map(|output| output.path.clone());
        let begun = paths.iter().map(|path| maps::ledger_of(path));
        written.chain(begun).for_each(|path| output::remove_partials(&path));
    } else {
        for ledger in ledgers {
            std::fs::remove_file(&ledger)
                .map_err(|e| Error::file(&ledger, format!("cannot be removed: {e}")))?;
        }
    }
    Ok(Some(found))
}

/// The output of one detector or of the sum.
pub(super) struct Output {
    path: PathBuf,
    pictures: Option<PathBuf>,
    overwrite: Overwrite,
    detector: Detector,
    spectra: SpectraPolicy,
}

impl Output {
    /// The output of a detector.
    ///
    /// # Errors
    ///
    /// When it cannot be written or would replace the scan, or its spectra cannot be linked.
    fn of(args: &MapArgs, scan: &ScanInfo, which: Chosen, overwrite: Overwrite) -> Result<Self> {
        let spectra = match (args.spectra.map(SpectraPolicy::from), link(scan, which.detector)) {
            (Some(SpectraPolicy::Link), None) => {
                return Err(Error::configuration(format!(
                    "--spectra link: {} does not hold these spectra as one HDF5 dataset [channel, row, col]; say \
                     copy or none",
                    scan.path.display()
                )));
            }
            (Some(asked), _) => asked,
            (None, _) => policy(scan, which.detector),
        };
        let number = which.index;
        let folder = |f: &PathBuf| number.map_or(f.clone(), |i| f.join(format!("detector{i}")));
        let output = Self {
            path: output::numbered(&args.output, number),
            pictures: args.png.as_ref().map(folder),
            overwrite,
            detector: which.detector,
            spectra,
        };
        output.check(scan).map(|()| output)
    }

    /// The output of the sum of several detectors; its spectra can only be copied.
    ///
    /// # Errors
    ///
    /// As [`Output::of`].
    fn of_sum(args: &MapArgs, scan: &ScanInfo, overwrite: Overwrite) -> Result<Self> {
        let spectra = match args.spectra.map(SpectraPolicy::from) {
            Some(SpectraPolicy::Link) => SpectraPolicy::None,
            Some(asked) => asked,
            None => unasked(scan),
        };
        let output = Self {
            path: args.output.clone(),
            pictures: args.png.clone(),
            overwrite,
            detector: Detector::Sum,
            spectra,
        };
        output.check(scan).map(|()| output)
    }

    /// Fails before a long run rather than after it.
    fn check(&self, scan: &ScanInfo) -> Result<()> {
        output::check(&self.path, self.overwrite, &inputs(scan))?;
        self.pictures.iter().try_for_each(|folder| maps::png::prepare(folder, self.overwrite))
    }

    /// Writes the map file, then the pictures.
    pub(super) fn write(&self, content: &MapFile, scan: &mut dyn ScanReader) -> Result<()> {
        let info = scan.info().clone();
        let channels = content.summed.spectrum.len();
        let mut read = |pixels| Ok(fit::padded(spectra_of(scan, self.detector, pixels)?, channels));
        let spectra = match (self.spectra, link(&info, self.detector)) {
            (SpectraPolicy::Link, Some((file, dataset))) => Spectra::Link(file, dataset),
            (SpectraPolicy::Copy, _) => Spectra::Copy(&mut read),
            _ => Spectra::None,
        };
        maps::create(&self.path, self.overwrite)?.write(content, spectra)?;
        log::info!("wrote {}", self.path.display());
        if let Some(folder) = &self.pictures {
            maps::png::write(folder, content)?;
            log::info!("wrote pictures of the maps to {}", folder.display());
        }
        Ok(())
    }
}

/// The files of a scan, none of which an output may replace.
pub(super) fn inputs(scan: &ScanInfo) -> Vec<(&'static str, &Path)> {
    scan.files.iter().map(|file| ("the scan", &**file)).collect()
}

/// Where the input holds a detector's spectra in the order of a map file.
fn link(scan: &ScanInfo, detector: Detector) -> Option<(&Path, &str)> {
    let Detector::One(index) = detector else { return None };
    scan.spectra_links.get(index).map(|(file, dataset)| (file.as_path(), dataset.as_str()))
}

/// What becomes of a detector's spectra when nobody says.
pub(super) fn policy(scan: &ScanInfo, detector: Detector) -> SpectraPolicy {
    if link(scan, detector).is_some() { SpectraPolicy::Link } else { unasked(scan) }
}

/// What becomes of spectra that cannot be linked.
fn unasked(scan: &ScanInfo) -> SpectraPolicy {
    let bytes = scan.pixels().saturating_mul(scan.channels * size_of::<f32>());
    if bytes <= MOST_COPIED { SpectraPolicy::Copy } else { SpectraPolicy::None }
}
