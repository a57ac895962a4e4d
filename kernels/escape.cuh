// Escape of detector fluorescence: every photon of the model appears again, weaker, below itself.
//
//   M'(c) = M(c) + f_Si M(c + n_Si) + f_Ge M(c + n_Ge)
//
// n = escape energy over the channel spacing, rounded; channels above the fit window add nothing. The spacing:
//   local  slope + 2 quadratic c                  at channel c
//   first  slope + quadratic (2 first + 1)        between the first two channels of the window, as XRF-Maps
//   mean   slope + quadratic (first + last)       over the window, as MapsTorch
// Adjoint, given w'(c) = dL/dM'(c):
//   w(c) = w'(c) + f w'(c - n),     dL/df = sum over c of w'(c) M(c + n)
// n moves in whole channels, so the calibration has no derivative through it.
#pragma once
#include "workspace.cuh"

// Si K-alpha and Ge K-alpha, the photons that escape [keV]; as XRF-Maps and MapsTorch.
XRF_FN double si_escape_energy() { return 1.73998; }
XRF_FN double ge_escape_energy() { return 9.886; }

XRF_FN int escape_shift(const Axis &a, int mode, double energy, int channel) {
    const double first = a.first, last = a.first + a.count - 1;
    double spacing = a.slope + 2 * a.quadratic * (first + channel);
    if (mode == XRF_SHIFT_FIRST) spacing = a.slope + a.quadratic * (2 * first + 1);
    if (mode == XRF_SHIFT_MEAN) spacing = a.slope + a.quadratic * (first + last);
    const double shift = energy / spacing + 0.5;
    return shift > 0 && shift < a.count ? (int)shift : a.count;
}

// Into from(c) the channel c + n whose photons escape into channel c.
template <class Team> XRF_CALL void find_escape(Team team, const Axis &a, int mode, double energy, int *from) {
    const bool even = mode != XRF_SHIFT_LOCAL || a.quadratic == 0;
    const int everywhere = escape_shift(a, mode, energy, 0);
    XRF_SHARE(team, c, a.count) from[c] = c + (even ? everywhere : escape_shift(a, mode, energy, c));
}

// total(c) += fraction model(c + n)
template <class Team, class T>
XRF_CALL void add_escape(Team team, int count, const int *from, T fraction, const T *model, T *total) {
    XRF_SHARE(team, c, count)
        if (from[c] < count) total[c] += fraction * model[from[c]];
}

// weight(c + n) += fraction w'(c); returns dL/d fraction. Several c may share a c + n, which finds them between the
// smallest and the largest distance.
template <class Team, class T>
XRF_CALL double pull_escape(Team team, int count, const int *from, T fraction, const T *model, const T *outer, T *weight) {
    const int one = from[0], other = from[count - 1] - (count - 1);
    const int nearest = one < other ? one : other, farthest = one < other ? other : one;
    double slope = 0;
    XRF_SHARE(team, c, count) {
        if (from[c] < count) slope += (double)outer[c] * (double)model[from[c]];
        T sum = T(0);
        for (int d = c - farthest < 0 ? 0 : c - farthest; d <= c - nearest; ++d) sum += from[d] == c ? outer[d] : T(0);
        weight[c] += fraction * sum;
    }
    return team.sum(slope);
}

// The two escapes on top of w.total, which stays in w.model as it was.
template <class Team, class T>
XRF_FN void add_escapes(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    XRF_SIMD XRF_SHARE(team, c, a.count) w.model[c] = w.total[c];
    if (w.si_escape) find_escape(team, a, q.escape_shift, si_escape_energy(), w.escaped_from[0]);
    if (w.ge_escape) find_escape(team, a, q.escape_shift, ge_escape_energy(), w.escaped_from[1]);
    team.sync();
    if (w.si_escape) add_escape(team, a.count, w.escaped_from[0], T(v[SI_ESCAPE]), w.model, w.total);
    if (w.ge_escape) add_escape(team, a.count, w.escaped_from[1], T(v[GE_ESCAPE]), w.model, w.total);
    team.sync();
}

// w.weight = dL/dtotal becomes dL/dmodel; the derivatives by the fractions go into w.gradient.
template <class Team, class T> XRF_FN void pull_escapes(Team team, const Axis &a, const double *v, Workspace<T> &w) {
    T *outer = w.scratch;
    XRF_SIMD XRF_SHARE(team, c, a.count) outer[c] = w.weight[c];
    team.sync();
    double si = 0, ge = 0;
    if (w.si_escape) si = pull_escape(team, a.count, w.escaped_from[0], T(v[SI_ESCAPE]), w.model, outer, w.weight);
    if (w.ge_escape) ge = pull_escape(team, a.count, w.escaped_from[1], T(v[GE_ESCAPE]), w.model, outer, w.weight);
    if (team.leads()) {
        w.gradient[SI_ESCAPE] = si;
        w.gradient[GE_ESCAPE] = ge;
    }
    team.sync();
}
