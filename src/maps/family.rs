//! The files of a scan with several detectors: one each, and their sum.

use ndarray::{Array2, Array3, Zip};

use super::{MapFile, Maps, Summed};
use crate::scan::Times;

/// The sum of several detectors: amplitudes, their variances, counts, rates and summed spectra added, NaN where one has no fit;
/// clock times, quality and shapes averaged; the worst status. The live time is the one that makes the added
/// counts into the added rates, and the output rate the one that goes with it, so that who reads the file again
/// finds the same live time. Energies and the table of parameters are the first
/// detector's, as MAPS does it. `None` when the detectors were fitted with different components.
///
/// # Panics
///
/// When there are none, or their maps differ in size.
pub fn sum(all: &[MapFile]) -> Option<MapFile> {
    let (first, rest) = all.split_first().expect("a sum has parts");
    if rest.iter().any(|other| other.maps.components != first.maps.components) {
        return None;
    }
    let mut sum = first.clone();
    for other in rest {
        add_maps(&mut sum.maps, &other.maps);
        add_spectra(&mut sum.summed, &other.summed);
        add_times(&mut sum.times, &other.times);
        sum.provenance.seconds += other.provenance.seconds;
        sum.provenance.taken_over += other.provenance.taken_over;
    }
    average(&mut sum, all.len() as f32);
    add_rates(&mut sum, all);
    Some(sum)
}

fn add_maps(sum: &mut Maps, other: &Maps) {
    sum.amplitudes += &other.amplitudes;
    sum.signed_amplitudes += &other.signed_amplitudes;
    add_sigma(&mut sum.amplitude_sigma, &other.amplitude_sigma);
    // limits of a sum are not those of its parts
    sum.limits = [(); 2].map(|()| Array3::zeros((0, 0, 0)));
    sum.total_counts += &other.total_counts;
    sum.background_counts += &other.background_counts;
    if sum.parameters == other.parameters {
        sum.parameter_values += &other.parameter_values;
        add_sigma(&mut sum.parameter_sigma, &other.parameter_sigma);
    } else {
        // shapes that were free in some only have no mean
        sum.parameters.clear();
        let (rows, cols) = sum.status.dim();
        sum.parameter_values = Array3::zeros((0, rows, cols));
        sum.parameter_sigma = Array3::zeros((0, rows, cols));
    }
    sum.objective += &other.objective;
    sum.r_squared += &other.r_squared;
    sum.r_squared_log += &other.r_squared_log;
    sum.deviance += &other.deviance;
    sum.live_time = added(sum.live_time.take(), other.live_time.as_ref());
    sum.status.zip_mut_with(&other.status, |a, &b| *a = (*a).max(b));
    sum.steps.zip_mut_with(&other.steps, |a, &b| *a = (*a).max(b));
}

/// Standard deviations of a sum: its parts are independent.
fn add_sigma(sum: &mut Array3<f32>, other: &Array3<f32>) {
    sum.zip_mut_with(other, |a, &b| *a = a.hypot(b));
}

fn add_spectra(sum: &mut Summed, other: &Summed) {
    sum.spectrum += &other.spectrum;
    sum.fitted += &other.fitted;
    sum.background += &other.background;
    sum.fit_of_sum += &other.fit_of_sum;
    sum.background_of_sum += &other.background_of_sum;
}

fn add_times(sum: &mut Times, other: &Times) {
    for (a, b) in [
        (&mut sum.live, &other.live),
        (&mut sum.real, &other.real),
        (&mut sum.input_rate, &other.input_rate),
        (&mut sum.output_rate, &other.output_rate),
    ] {
        *a = added(a.take(), b.as_ref());
    }
}

fn added(a: Option<Array2<f32>>, b: Option<&Array2<f32>>) -> Option<Array2<f32>> {
    a.zip(b).map(|(a, b)| a + b)
}

/// Rates of the sum, from averaged times: those of the detectors, added.
fn add_rates(sum: &mut MapFile, all: &[MapFile]) {
    let MapFile { maps, times, .. } = sum;
    let Some(live) = &mut maps.live_time else { return };
    let rates = all.iter().map(|one| one.maps.rates().0);
    maps.added_rates = rates.reduce(|a, b| a + b);
    let totals = all.iter().map(|one| one.maps.total_rates());
    let total = totals.reduce(|a, b| a + b).expect("a sum has parts");
    Zip::from(&mut *live).and(&maps.total_counts).and(&total).for_each(|live, &counts, &rate| {
        // without counts the mean is as good as any
        *live = if counts == 0.0 { *live } else { counts / rate };
    });
    times.live = Some(live.clone());
    if let (Some(input), Some(output), Some(real)) =
        (&times.input_rate, &mut times.output_rate, &times.real)
    {
        *output = input * &*live / real;
    }
}

fn average(sum: &mut MapFile, n: f32) {
    let MapFile { maps, times, .. } = sum;
    maps.parameter_values /= n;
    maps.parameter_sigma /= n;
    for mean in
        [&mut maps.objective, &mut maps.r_squared, &mut maps.r_squared_log, &mut maps.deviance]
    {
        *mean /= n;
    }
    // the detectors count at the same time
    for mean in [&mut maps.live_time, &mut times.live, &mut times.real].into_iter().flatten() {
        *mean /= n;
    }
}
