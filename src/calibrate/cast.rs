//! A problem with some of its components.

use crate::problem::Problem;

/// The problem with the components that `keeps` says, and with scatter; the order stays.
pub(super) fn kept(problem: &Problem, keeps: impl Fn(usize) -> bool) -> Problem {
    let all = 0..problem.components.len();
    let stays: Vec<usize> = all.filter(|&k| problem.is_scatter(k) || keeps(k)).collect();
    let place = |k: usize| stays.iter().position(|&s| s == k);
    let lines = problem.lines.iter().filter_map(|line| {
        place(line.component).map(|component| crate::problem::Line { component, ..line.clone() })
    });
    Problem {
        components: stays.iter().map(|&k| problem.components[k].clone()).collect(),
        amplitudes: stays.iter().map(|&k| problem.amplitudes[k]).collect(),
        elastic: problem.elastic.and_then(place),
        compton: problem.compton.and_then(place),
        lines: lines.collect(),
        ..problem.clone()
    }
}

/// Counts of a component per count in its first line.
pub(super) fn intensity(problem: &Problem, component: usize) -> f64 {
    if problem.is_scatter(component) {
        return 1.0;
    }
    problem.lines.iter().filter(|l| l.component == component).map(|l| l.ratio).sum()
}
