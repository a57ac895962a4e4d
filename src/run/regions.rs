//! `xrfit regions`: the summed spectra of regions of a scan, fitted as pixels are.

mod table;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use ndarray::{Array2, Array3, Axis, s};

use super::calibrate::settled;
use super::checksums::checksums;
use super::contents::{parameter_rows, provenance, status_meanings, workers};
use super::output::inputs;
use super::sum::Part;
use super::{Chosen, begin, detectors, on_rank_0, open_engine, problem, resolve_common, sum};
use crate::background;
use crate::cli::RegionsArgs;
use crate::cluster::Cluster;
use crate::engine::{Batch, Engine, Fits};
use crate::error::Result;
use crate::maps::{self, Provenance, RegionFile};
use crate::output::{self, numbered};
use crate::problem::{Background, Problem};
use crate::regions::Regions;
use crate::report;
use crate::scan::{self, OpenOptions, ScanInfo, ScanReader};

pub(super) fn run(args: &RegionsArgs, cluster: &mut dyn Cluster) -> Result<()> {
    let mut scan = begin(&args.scan, &args.work, cluster)?;
    let info = scan.info().clone();
    let regions = cluster.agree(regions(args, &info))?;
    let common = cluster.agree(resolve_common(&args.fit, &info))?;
    let chosen = cluster.agree(detectors(common.detector, &info))?;
    // what cannot be written is found before the first fit
    on_rank_0(cluster, || vacant(args, &chosen, &info))?;
    for which in chosen {
        let file = one(args, &mut *scan, &regions, which, cluster)?;
        on_rank_0(cluster, || {
            let Some(file) = file else { unreachable!() };
            let path = numbered(&args.output, which.index);
            maps::write_regions(&path, args.overwrite.into(), &file)?;
            log::info!("wrote {}", path.display());
            report::say(&table::of(&file, which.index))
        })?;
    }
    Ok(())
}

/// The regions that were asked for.
fn regions(args: &RegionsArgs, scan: &ScanInfo) -> Result<Regions> {
    let size = (scan.rows, scan.cols);
    let Some(path) = &args.mask else {
        return Regions::rectangles(&args.rows, &args.cols, size, &args.name);
    };
    let mask = scan::mask(path, OpenOptions { file_locking: !args.work.no_file_locking })?;
    Regions::of_mask(mask.view(), path, size, &args.name)
}

/// Every file that is read.
fn read(args: &RegionsArgs, scan: &ScanInfo) -> Vec<PathBuf> {
    let mask = args.mask.as_deref().map(|name| scan::mask_file(name).0);
    scan.files.iter().cloned().chain(mask).collect()
}

/// Sees that every output can be written, and that none replaces the scan or the mask.
fn vacant(args: &RegionsArgs, chosen: &[Chosen], scan: &ScanInfo) -> Result<()> {
    let mask = args.mask.as_deref().map(|name| scan::mask_file(name).0);
    let mut inputs = inputs(scan);
    inputs.extend(mask.as_deref().map(|file: &Path| ("the mask", file)));
    chosen.iter().try_for_each(|which| {
        let path = numbered(&args.output, which.index);
        output::check(&path, args.overwrite.into(), &inputs)
    })
}

/// One detector; on rank 0 the file's contents.
fn one(
    args: &RegionsArgs,
    scan: &mut dyn ScanReader,
    regions: &Regions,
    which: Chosen,
    cluster: &mut dyn Cluster,
) -> Result<Option<RegionFile>> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let info = scan.info().clone();
    let settings = settled(scan, which, (&args.fit, &args.work), cluster)?.settings;
    let mut problem = cluster.agree(problem(&settings, &info, which))?;
    if problem.background.has_templates() {
        // the sum of a region has counts enough for a background of its own
        (problem.background, problem.templates) =
            (Background::Pooled, background::splines(problem.count));
    }
    // saturated pixels are not in the sums, which may be as large as they are
    problem.saturation = None;
    let engine = open_engine(args.work.engine, settings.fit.precision, cluster)?;
    let sums = sum::regions(scan, which, regions, &args.work, cluster)?;
    let mut file = Ok(None);
    if cluster.rank() == 0 {
        let cluster = workers(cluster);
        file = fitted(&*engine, &problem, &sums).and_then(|fitted| {
            let provenance = Provenance {
                engine: engine.describe(),
                taken_over: engine.taken_over(),
                cluster,
                inputs: checksums(read(args, &info))?,
                started: humantime::format_rfc3339_seconds(started).to_string(),
                seconds: began.elapsed().as_secs_f64(),
                ..provenance(&settings)
            };
            let map = regions.map((info.rows, info.cols));
            Ok(Some(RegionFile { names: regions.names().to_vec(), map, provenance, ..fitted }))
        });
    }
    cluster.agree(file)
}

/// Fits all sums at once; what the file holds but names, places and provenance.
fn fitted(engine: &dyn Engine, problem: &Problem, sums: &[Part]) -> Result<RegionFile> {
    let mut spectra = Array2::zeros((sums.len(), problem.channels));
    for (mut row, part) in spectra.rows_mut().into_iter().zip(sums) {
        row.slice_mut(s![..part.sum.0.len()]).assign(&part.sum.counts());
    }
    let counts = spectra.mapv(|y: f64| y as f32);
    let fits = engine.fit(problem, Batch::of(counts.view()))?;
    let background = match problem.background {
        Background::None => Array2::zeros((sums.len(), problem.count)),
        _ if problem.background.has_templates() => fits.template_amplitudes.dot(&problem.templates),
        _ => engine.snip(problem, counts.view())?,
    };
    let (r, n, k) = (sums.len(), problem.channels, problem.components.len());
    let mut fitted = Array2::from_elem((r, n), f64::NAN);
    let mut backgrounds = fitted.clone();
    let mut component_spectra = Array3::from_elem((r, k, n), f64::NAN);
    let window = s![problem.first..problem.first + problem.count];
    for region in (0..r).filter(|&region| fits.status[region].is_fitted()) {
        let background = background.row(region);
        let found =
            engine.evaluate(problem, &variables(&fits, region), spectra.row(region), background)?;
        fitted.row_mut(region).slice_mut(window).assign(&(found.total + background));
        backgrounds.row_mut(region).slice_mut(window).assign(&background);
        let mut own = component_spectra.index_axis_mut(Axis(0), region);
        own.slice_mut(s![.., problem.first..problem.first + problem.count])
            .assign(&found.components);
    }
    let whole = |number: fn(&Part) -> i64| sums.iter().map(|part| number(part) as u64).collect();
    Ok(RegionFile {
        names: Vec::new(),
        map: Array2::zeros((0, 0)),
        pixels: whole(|part| part.pixels),
        left_out: whole(|part| part.left_out),
        energy: problem.energies(),
        spectra,
        fitted,
        backgrounds,
        components: problem.components.clone(),
        component_spectra,
        amplitudes: fits.amplitudes,
        parameters: parameter_rows(problem),
        parameter_values: fits.parameters,
        objective: fits.objective,
        objective_unit: problem.objective_unit().into(),
        r_squared: fits.r_squared,
        r_squared_log: fits.r_squared_log,
        steps: fits.steps,
        status: fits.status.iter().map(|&s| s as u8).collect(),
        status_meanings: status_meanings(),
        provenance: Provenance::default(),
    })
}

/// Fewer counts than any fit can tell from none: the logarithm of an amplitude of 0.
const NO_COUNTS: f64 = 1e-12;

/// Where a fit ended: shape parameters, then log10 amplitudes.
fn variables(fits: &Fits, spectrum: usize) -> Vec<f64> {
    let linear = [fits.amplitudes.row(spectrum), fits.template_amplitudes.row(spectrum)];
    let logarithms = linear.iter().flatten().map(|a| a.max(NO_COUNTS).log10());
    fits.parameters.row(spectrum).iter().copied().chain(logarithms).collect()
}
