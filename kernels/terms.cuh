// What the columns of the Jacobian are made of: the coefficients of each peak's terms, from the adjoint.
//
// The adjoint (elements.cuh, scatter.cuh) is linear in its sums over channels: dL/dp = sum over peaks and sums of
// coefficient times sum, and each sum is over w times a term at a channel. So the coefficients of a peak's
// derivative by p are what the adjoint gives back for a sum of 1, and
//
//   dM/dp (c) = sum over peaks i and terms s of  coefficient(p, i, s) term(i, s, c)
//
//   TERM_PEAK p   TERM_STEP erfc   TERM_TAIL tau   TERM_GAMMA r   TERM_X x dm/dx   TERM_D0 dm/dx
//
// with the peaks at unit amplitude, whose sum is the amplitude's own column.
#pragma once
#include "model.cuh"

XRF_FN bool is_of_axis(int parameter) { return parameter <= ENERGY_QUADRATIC; }

// Component of a peak.
template <class T> XRF_FN int component_of(const XrfProblem &q, const Workspace<T> &w, int peak) {
    return peak < w.n_lines ? w.line_component[peak] : peak == w.scatter.elastic ? q.elastic : q.compton;
}

// The sums of a peak of which one term alone is 1. That of x dm/dx is x0 SUM_D0 + x1 SUM_D1 + x2 SUM_D2.
template <class T> XRF_FN PeakSums<T> sums_of(const PeakAxis<T> &x, int term) {
    PeakSums<T> sums = {};
    if (term == TERM_X) {
        sums.of[SUM_D1] = T(1) / x.x1;
    } else if (term == TERM_D0) {
        sums.of[SUM_D0] = T(1);
        sums.of[SUM_D1] = -x.x0 / x.x1;
    } else {
        sums.of[term == TERM_PEAK ? SUM_PEAK : term == TERM_STEP ? SUM_STEP : term == TERM_TAIL ? SUM_TAIL : SUM_GAMMA] = T(1);
    }
    return sums;
}

// Can a peak of this kind have the term?
XRF_FN bool has_term(int kind, int term) {
    if (term == TERM_STEP) return (kind & PEAK_STEP) != 0;
    if (term == TERM_TAIL || term == TERM_GAMMA) return (kind & PEAK_TAIL) != 0;
    return true;
}

// Coefficients of line l: what the adjoint gives back for each sum alone. TERM_D0 is its place on the axis, whose
// columns come from the drift.
template <class T>
XRF_FN void line_terms(const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w, int l) {
    Jacobian<T> &j = w.jacobian;
    const Peaks<T> p = peaks_of(w);
    for (int f = 0; f < j.shapes; ++f) j.term[(l * j.shapes + f) * N_TERMS + TERM_D0] = T(0);
    XRF_UNROLL for (int term = 0; term < TERM_D0; ++term) {
        if (!has_term(p.kind[l], term)) continue;
        double axis[FWHM_SCALE + 1] = {}, shape[GAMMA_LINEAR + 1 - F_STEP_OFFSET] = {};
        AxisPull shared = {};
        const PeakSums<T> sums = sums_of(p.curve[l].axis, term);
        pull_one(a, v, p, l, sums, w, shared);
        axis_gradient(q, v, shared, axis);
        if (p.kind[l] != 0) pull_fractions(v, w, l, sums, shape);
        for (int f = 0; f < j.shapes; ++f) {
            const int k = j.parameter[f];
            const double back = k <= FWHM_SCALE                        ? axis[k]
                                : k >= F_STEP_OFFSET && k <= GAMMA_LINEAR ? shape[k - F_STEP_OFFSET]
                                                                           : 0.0;
            j.term[(l * j.shapes + f) * N_TERMS + term] = T(back);
        }
    }
}

// Coefficients of scatter peak i; the sums of the others are 0.
template <class T>
XRF_FN void scatter_terms(const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w, int i) {
    Jacobian<T> &j = w.jacobian;
    const Peaks<T> p = peaks_of(w);
    for (int term = 0; term < N_TERMS; ++term) {
        if (!has_term(p.kind[i], term)) continue;
        for (int k = 0; k < all_variables(q); ++k) j.gather[k] = 0;
        AxisPull shared = {};
        p.sums[i] = sums_of(p.curve[i].axis, term);
        for (int s = w.n_lines; s < p.n; ++s) pull_one(a, v, p, s, p.sums[s], w, shared);
        axis_gradient(q, v, shared, j.gather);
        if (i == w.scatter.elastic) pull_elastic(q, v, w, j.gather);
        else pull_compton(q, v, w, j.gather);
        for (int f = 0; f < j.shapes; ++f)
            j.term[(i * j.shapes + f) * N_TERMS + term] = T(j.gather[j.parameter[f]]);
    }
    p.sums[i] = {};
}

template <class Team, class T>
XRF_OUTLINE void find_terms(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    if (w.jacobian.shapes == 0) return;
    XRF_SHARE(team, l, w.n_lines) line_terms(q, a, v, w, l);
    if (team.leads()) {
        for (int i = w.n_lines; i < w.peaks.n; ++i) w.peaks.sums[i] = {};
        for (int i = w.n_lines; i < w.peaks.n; ++i) scatter_terms(q, a, v, w, i);
    }
    team.sync();
}

// The columns that a peak is part of, and its coefficients in those of the shapes, for one count.
template <class T> struct PeakTerms {
    T *own, *drift, per_kev, amplitude;
    const T *term;  // [shapes, N_TERMS]
};

template <class T> XRF_FN PeakTerms<T> terms_of(const Workspace<T> &w, int peak, int component) {
    const Jacobian<T> &j = w.jacobian;
    const double amplitude = j.trial[component], sign = w.peaks.kind[peak] & PEAK_MIRRORED ? -1.0 : 1.0;
    return {j.column + (int64_t)component * j.stride, j.drift, T(sign * amplitude * w.peaks.inv_sigma[peak]), T(amplitude),
            j.term + peak * j.shapes * N_TERMS};
}

// Has the peak, with these kinds of terms, any part in the column of shape f?
template <bool TAIL, bool STEP, class T> XRF_FN bool moves(const PeakTerms<T> &terms, const Jacobian<T> &j, int f) {
    const T *k = terms.term + f * N_TERMS;
    if (is_of_axis(j.parameter[f]) || terms.amplitude == T(0)) return false;
    return k[TERM_PEAK] != T(0) || k[TERM_X] != T(0) || k[TERM_D0] != T(0) || (STEP && k[TERM_STEP] != T(0)) ||
           (TAIL && (k[TERM_TAIL] != T(0) || k[TERM_GAMMA] != T(0)));
}
