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
#include "peaks.cuh"

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
    XRF_SHARE(team, c, a.count) from[c] = c + escape_shift(a, mode, energy, c);
    team.sync();
}

// total(c) += fraction model(c + n)
template <class Team, class T>
XRF_CALL void add_escape(Team team, int count, const int *from, T fraction, const T *model, T *total) {
    XRF_SHARE(team, c, count)
        if (from[c] < count) total[c] += fraction * model[from[c]];
    team.sync();
}

// weight(c + n) += fraction w'(c); returns dL/d fraction. Several c may share a c + n: its member adds them,
// in their order.
template <class Team, class T>
XRF_CALL double pull_escape(Team team, int count, const int *from, T fraction, const T *model, const T *outer, T *weight) {
    double slope = 0;
    XRF_SHARE(team, c, count)
        if (from[c] < count) slope += (double)outer[c] * (double)model[from[c]];
    for (int c = 0; c < count; ++c)
        if (from[c] < count && from[c] % Team::MEMBERS == team.member()) weight[from[c]] += fraction * outer[c];
    team.sync();
    return team.sum(slope);
}
