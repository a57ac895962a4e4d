//! Elements from the incident energy alone. With all that may be there, wrong gains explain a spectrum almost as well as
//! the right one; but they ask for more components. So each valley gets its own list, and the shapes that belong to it,
//! and the one that leaves least with fewest components wins.

use std::slice::from_ref;

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::descent::{self, Place, Way};
use super::evidence::{Evidence, LEAST, evidence};
use super::{Engines, LAST, ProblemAt, Search, cast, starts};
use crate::engine;
use crate::error::Result;
use crate::kernels::known_parameter;

/// Valleys that are looked at with K lines alone and with L lines too, and how far apart their energy axes are: gains by this part, offsets by this much
/// \[keV\].
const VALLEYS: usize = 3;
const APART: [f64; 2] = [0.01, 0.04];

/// How often a list and its shapes follow each other.
const ROUNDS: usize = 2;

/// What a spectrum shows.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Shape parameters, in the kernels' order.
    pub parameters: Vec<f64>,
    /// The components, in the problem's order.
    pub evidence: Vec<Evidence>,
}

/// The components of a spectrum `[channels]` \[counts\] among all those of the problem, and the shapes; nothing where no
/// valley shows any.
///
/// # Errors
///
/// When the engine fails.
pub fn propose(
    engines: Engines,
    problem_at: &ProblemAt,
    configured: &[f64],
    counts: ArrayView1<f64>,
    search: Search,
) -> Result<Option<Proposal>> {
    let spectrum = engine::single(counts);
    let way = Way { problem_at, stages: &descent::ROUGH, frozen: &LAST, configured };
    let mut valleys = Vec::new();
    for shells in [|name: &str| !name.contains('_'), |name: &str| !name.ends_with("_M")] {
        let at = |p: &[f64]| {
            let problem = problem_at(p)?;
            Ok(cast::kept(&problem, |k| shells(&problem.components[k])))
        };
        let starts = starts(engines.search, &at, 0, configured, spectrum.view(), search)?;
        let way = Way { problem_at: &at, ..way };
        let ends = descent::all(engines.search, way, &starts, spectrum.view())?;
        valleys.extend(distinct(ends));
    }
    let lists = valleys.par_iter().map(|place| listed(engines, way, place, spectrum.view()));
    let lists: Vec<Option<(f64, Proposal)>> = lists.collect::<Result<_>>()?;
    let best = lists.into_iter().flatten().min_by(|a, b| a.0.total_cmp(&b.0));
    Ok(best.map(|(_, proposal)| proposal))
}

/// The best of each valley, the best first.
fn distinct(mut ends: Vec<Place>) -> Vec<Place> {
    let [slope, offset] = ["ENERGY_SLOPE", "ENERGY_OFFSET"].map(known_parameter);
    ends.sort_by(|a, b| a.unexplained.total_cmp(&b.unexplained));
    let mut valleys: Vec<Place> = Vec::new();
    for end in ends.into_iter().filter(|end| end.status.is_fitted()) {
        let p = &end.parameters;
        let another = |q: &[f64]| {
            (p[slope] / q[slope] - 1.0).abs() > APART[0] || (p[offset] - q[offset]).abs() > APART[1]
        };
        if valleys.iter().all(|valley| another(&valley.parameters)) {
            valleys.push(end);
        }
    }
    valleys.truncate(VALLEYS);
    valleys
}

/// The list of a valley with its shapes, and what it costs: the deviance that is left, a count for each count outside
/// the window, and for each component what it must explain at least.
fn listed(
    engines: Engines,
    way: Way,
    valley: &Place,
    spectrum: ArrayView2<f32>,
) -> Result<Option<(f64, Proposal)>> {
    let counts = spectrum.row(0).mapv(f64::from);
    let mut place = valley.clone();
    let mut shown = Vec::new();
    for _ in 0..ROUNDS {
        let problem = (way.problem_at)(&place.parameters)?;
        shown = evidence(engines.last, &problem, counts.view())?;
        let named = |k: usize| shown.iter().any(|e| e.name == problem.components[k]);
        let at = |p: &[f64]| Ok(cast::kept(&(way.problem_at)(p)?, named));
        let way = Way { problem_at: &at, stages: &descent::FINE, ..way };
        place = descent::all(engines.last, way, from_ref(&place.parameters), spectrum)?.remove(0);
        if shown.is_empty() || !place.status.is_fitted() {
            return Ok(None);
        }
    }
    let cost = place.deviance + LEAST * LEAST * shown.len() as f64;
    Ok(Some((cost, Proposal { parameters: place.parameters, evidence: shown })))
}
