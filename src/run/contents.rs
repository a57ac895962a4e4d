//! What a map file holds beside the maps themselves: sums, parameters, how it was made.

use std::time::Instant;

use ndarray::{Array1, s};

use super::Chosen;
use crate::assemble::Assembly;
use crate::calibrate::fit_sum;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::engine::Engine;
use crate::error::Result;
use crate::kernels::{self, Status};
use crate::maps::{Analysis, MapFile, Maps, ParameterRow, Provenance, Summed};
use crate::problem::{Optimizer, Problem};
use crate::report;
use crate::scan::{ScanReader, Times};

/// Everything the map file holds, from the assembled maps.
pub(super) fn finish(
    scan: &mut dyn ScanReader,
    (engine, problem, deviance): (&dyn Engine, &Problem, f64),
    assembly: Assembly,
    times: Times,
    provenance: Provenance,
) -> Result<MapFile> {
    let counts = assembly.counts.counts();
    let of_sum = fit_sum(engine, problem, counts.view())?;
    let wide = |window: &Array1<f64>| {
        let mut all = Array1::zeros(problem.channels);
        all.slice_mut(s![problem.first..problem.first + problem.count]).assign(window);
        all
    };
    let summed = Summed {
        energy: problem.energies(),
        calibration: problem.calibration(),
        window: (problem.first, problem.count),
        spectrum: counts,
        fitted: wide(&assembly.fitted.counts()),
        background: wide(&assembly.background.counts()),
        fit_of_sum: wide(&of_sum.fitted),
        background_of_sum: wide(&of_sum.background),
        deviance_of_sum: deviance,
    };
    Ok(MapFile {
        analysis: match problem.optimizer {
            Optimizer::Adam | Optimizer::Newton => Analysis::Fitted,
            Optimizer::Nnls => Analysis::Nnls,
        },
        maps: assembly.into_maps(),
        objective_unit: problem.objective_unit().into(),
        status_meanings: status_meanings(),
        summed,
        parameters: parameter_rows(problem),
        times,
        scalers: scan.scalers()?,
        axes: scan.axes()?,
        metadata: scan.metadata().clone(),
        provenance,
    })
}

/// Every shape parameter: where its fits started.
pub(super) fn parameter_rows(problem: &Problem) -> Vec<ParameterRow> {
    let rows = kernels::parameters().iter().zip(&problem.parameters);
    rows.map(|(info, v)| ParameterRow {
        name: info.name.into(),
        unit: info.unit.into(),
        value: [v.start, v.lower, v.upper],
        free: v.free,
        prior: v.prior.map_or(f64::NAN, |prior| prior.width),
    })
    .collect()
}

/// Every status code with its sentence.
pub(super) fn status_meanings() -> Vec<(u8, String)> {
    Status::ALL.map(|s| (s as u8, s.meaning().to_string())).to_vec()
}

pub(super) fn provenance(settings: &Settings) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: env!("XRFIT_COMMIT").into(),
        command: command_line(|_| true),
        configuration: settings.to_toml(),
        ..Provenance::default()
    }
}

/// Ranks and threads, and what carries the messages. Ranks of other machines may have other threads.
pub(super) fn workers(cluster: &dyn Cluster) -> String {
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let threads = several(rayon::current_num_threads(), "thread");
    let place = if cluster.size() == 1 { "" } else { " on the first" };
    format!("{}, {threads}{place}, {}", several(cluster.size(), "rank"), cluster.describe())
}

/// What was typed, or some words of it.
pub(super) fn command_line(wanted: impl Fn(&str) -> bool) -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.filter(|word| wanted(word)).collect::<Vec<_>>().join(" ")
}

/// The closing lines: pixels, failures by status, R² quartiles, speed.
pub(super) fn summary(maps: &Maps, which: Chosen, began: Instant) {
    let prefix = which.prefix();
    let all = report::duration(began.elapsed());
    log::info!("{prefix}{all} in all, from the scan to the map file");
    for status in Status::ALL.into_iter().filter(|s| !s.is_fitted()) {
        let failed = maps.status.iter().filter(|&&code| code == status as u8).count();
        if failed > 0 {
            log::warn!(
                "{prefix}{} pixels without a fit: {}",
                report::count(failed),
                status.meaning()
            );
        }
    }
    let mut r: Vec<f32> = maps.r_squared.iter().copied().filter(|r| r.is_finite()).collect();
    r.sort_by(f32::total_cmp);
    if let [_, .., _] = r[..] {
        let quartile = |q: usize| r[(r.len() - 1) * q / 4];
        log::info!("{prefix}R² quartiles {:.4} {:.4} {:.4}", quartile(1), quartile(2), quartile(3));
    }
}
