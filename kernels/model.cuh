// The spectrum of the fit window and its adjoint: parameters into peaks, peaks into a model, the
// detector's escape on top, and all the way back.
#pragma once
#include "elements.cuh"
#include "escape.cuh"
#include "scatter.cuh"
#if defined(XRF_DEVICE)
#include "passes_device.cuh"
#else
#include "passes_thread.cuh"
#endif

// Chooses lines and terms from the start of a fit.
template <class Team, class T> XRF_FN void switch_on(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    if (team.leads()) {
        choose(q, v, w);
        number_scatter(q, w);
    }
    team.sync();
}

// The axis of a set of parameters.
XRF_FN Axis axis_of(const XrfProblem &q, const double *v) {
    const double no_cut = 1e30;
    return {v[ENERGY_OFFSET], v[ENERGY_SLOPE], v[ENERGY_QUADRATIC], q.first, q.count,
            q.tail == XRF_TAIL_HYPERMET ? no_cut : 0.0};
}

// All peaks of a set of parameters, placed; amplitudes are taken from w.amplitude, linear.
template <class Team, class T>
XRF_FN void put_peaks(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    if (is_shaped(w)) {
        put_lines<true>(team, q, a, v, w);
        put_scatter<true>(team, q, a, v, w);
    } else {
        put_lines<false>(team, q, a, v, w);
        put_scatter<false>(team, q, a, v, w);
    }
    team.sync();
}

// Spectrum of a set of parameters, w.total, and w.model without escape; amplitudes as for put_peaks.
template <class Team, class T> XRF_CALL void spectrum(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    const Axis a = axis_of(q, v);
    put_peaks(team, q, a, v, w);
    add_peaks(team, a, w);
    if (has_escape(w)) add_escapes(team, q, a, v, w);
}

// What peak i with these sums gives back, to where its component finds it and to what all peaks share.
template <class T>
XRF_FN void pull_one(const Axis &a, const double *v, const Peaks<T> &p, int i, const PeakSums<T> &sums, Workspace<T> &w,
                     AxisPull &shared) {
    const Pull pull = pull_peak(a, p, i, sums, i == w.scatter.wide ? v[COMPTON_FWHM_CORR] : 1.0, shared);
    w.pulled[i] = pull.value;
    if (i >= w.n_lines) w.scatter.pull[i - w.n_lines] = pull;
}

// dL/d variables from w.weight = dL/dtotal, into w.gradient [N_PARAMETERS + K].
template <class Team, class T>
XRF_CALL void spectrum_adjoint(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    const Axis a = axis_of(q, v);
    XRF_SHARE(team, i, N_PARAMETERS) w.gradient[i] = 0;
    T *weight = near_pointer(w.weight);
    for (int c = a.count + team.member(); c < padded<Team>(a.count) + Team::BLOCK; c += Team::MEMBERS) weight[c] = T(0);
    team.sync();
    if (has_escape(w)) pull_escapes(team, a, v, w);
    sum_peaks(team, a, w);
    team.sync();
    AxisPull shared = {};
    const Peaks<T> p = peaks_of(w);
    XRF_SHARE(team, i, p.n) pull_one(a, v, p, i, p.sums[i], w, shared);
    team.sync();
    pull_axis(team, q, v, shared, w.gradient);
    pull_lines(team, q, v, w, w.gradient);
    team.sync();
    if (team.leads()) {
        pull_elastic(q, v, w, w.gradient);
        pull_compton(q, v, w, w.gradient);
    }
    team.sync();
}

// Linear amplitudes of log10 ones.
template <class Team, class T>
XRF_OUTLINE void linear_amplitudes(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    XRF_SIMD XRF_SHARE(team, k, linear_variables(q))
        w.amplitude[k] = exponential(v[N_PARAMETERS + k] * log_ten());
    team.sync();
}
