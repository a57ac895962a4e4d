// From what a peak is made of to its coefficients and its window, and from the sums over its channels back to what
// all peaks share: the energy axis and the detector's width.
//
//   peak_coef = B b g / (s sqrt(2 pi)),   step_coef = B f_step g / 2E,   tail_coef = B f_tail g / 2Gs
//   s^2(E) = r^2 ((FWHM_OFFSET / 2.3548)^2 + eps E FWHM_FANOPRIME),   r = FWHM_SCALE
//
// B is an area [counts]; b, f_step, f_tail say how much of it is peak, step and tail. 2.3548 is MAPS' rounding of
// 2 sqrt(2 ln 2). eps is the number of eV and E is in keV, so FWHM_FANOPRIME is a thousandth of the Fano factor.
// r is ours: what changes from pixel to pixel is the width of all peaks together.
#pragma once
#include "workspace.cuh"

XRF_FN double fwhm_per_sigma() { return 2.3548; }
XRF_FN double sqrt_two_pi() { return 2.50662827463100050242; }

// ds^2/dE
XRF_FN double width_growth(const XrfProblem &q, const double *v) {
    return v[FWHM_SCALE] * v[FWHM_SCALE] * q.pair_energy_ev * v[FWHM_FANOPRIME];
}

XRF_FN double peak_width(const XrfProblem &q, const double *v, double energy) {
    const double noise = v[FWHM_OFFSET] / fwhm_per_sigma();
    return v[FWHM_SCALE] * sqrt(noise * noise + q.pair_energy_ev * energy * v[FWHM_FANOPRIME]);
}

XRF_FN double magnitude(double x) { return x < 0 ? -x : x; }
// Derivative of |x|; at 0 the one-sided one, so that a fraction at its gate can move.
XRF_FN double direction(double x) { return x < 0 ? -1.0 : 1.0; }

struct PeakParts {
    double energy, sigma, gamma, area;
    double peak, step, tail;
};

// Peak i, whose energy and kind are set. SHAPED where the run has tails or steps.
template <bool SHAPED, class Team, class T>
XRF_FN void put_peak(Team team, const Axis &a, const Peaks<T> &p, int i, const PeakParts &parts) {
    const double inv_sigma = 1 / parts.sigma, height = parts.area * a.slope;
    const int kind = SHAPED ? p.kind[i] : 0;
    PeakCoefs<T> coefs = {T(parts.peak * height * inv_sigma * (1 / sqrt_two_pi())), T(0), T(0), T(0)};
    if (SHAPED) {
        const int tail_bit = kind & PEAK_TAIL;
        const double inv_gamma = tail_bit / parts.gamma;
        coefs.step = T(height * parts.step / (2 * parts.energy));
        coefs.tail = T(height * parts.tail * inv_sigma * inv_gamma / 2);
        coefs.inv_gamma = T(inv_gamma);
        p.gamma[i] = parts.gamma;
        p.twice_e2[i] = T(2.0 * exponential(0.5 * inv_gamma * inv_gamma));
    }
    const Window window = window_of<SHAPED>(team, T(), a, parts.energy, parts.sigma, parts.gamma, kind);
    const int middle = window.first + window.count / 2;
    const double c = a.first + middle, scale = (kind & PEAK_MIRRORED) ? -inv_sigma : inv_sigma;
    p.inv_sigma[i] = inv_sigma;
    p.curve[i].coefs = coefs;
    p.first[i] = window.first;
    p.count[i] = window.count;
    if (SHAPED) p.far_count[i] = window.far;
    p.curve[i].axis = {T(middle), T((channel_energy(a, c) - parts.energy) * scale),
                 T((a.slope + 2 * a.quadratic * c) * scale), T(a.quadratic * scale)};
}

// What the peaks give back to the parameters that they share, as sums over peaks.
struct AxisPull {
    double offset, slope, quadratic;  // sum of dL/dE(c) times 1, c, c^2
    double value;                     // sum of dL/d log area
    double width, width_energy;       // sum of dL/ds / s times 1, E
    double scale;                     // sum of dL/ds s
};

// dL/d log area, position and width of peak i from its sums, whose width is `widening` times the detector's; added to
// `shared` where it is.
template <class T>
XRF_FN Pull pull_peak(const Axis &a, const Peaks<T> &p, int i, const PeakSums<T> &sums, double widening, AxisPull &shared) {
    const double inv = p.inv_sigma[i], signed_inv = (p.kind[i] & PEAK_MIRRORED) ? -inv : inv;
    const PeakAxis<T> x = p.curve[i].axis;
    const PeakCoefs<T> coefs = p.curve[i].coefs;
    const double c = a.first + (double)x.middle;
    const double d0 = sums.of[SUM_D0], d1 = sums.of[SUM_D1], d2 = sums.of[SUM_D2];
    const double x_sum = (double)x.x0 * d0 + (double)x.x1 * d1 + (double)x.x2 * d2;
    const double peak = (double)coefs.peak * (double)sums.of[SUM_PEAK];
    const double tail = (double)coefs.tail * (double)sums.of[SUM_TAIL];
    const double value = peak + (double)coefs.step * (double)sums.of[SUM_STEP] + tail;
    // x = (e - E) / s: dx/ds = -x / s; peak and tail coefficients are proportional to 1 / s
    const double broader = -(x_sum + peak + tail);
    const Pull pull = {value, signed_inv * d0, inv * broader};
    const double width = pull.sigma * widening * widening * inv;
    shared.offset += pull.position;
    shared.slope += signed_inv * (c * d0 + d1);
    shared.quadratic += signed_inv * (c * (c * d0 + 2 * d1) + d2);
    shared.value += value;
    shared.width += width;
    shared.width_energy += width * p.energy[i];
    shared.scale += broader;
    return pull;
}

// dL/d calibration and width from the sums over peaks. Every m is proportional to slope.
//
//   ds/dFWHM_OFFSET = r^2 F0 / (2.3548^2 s),   ds/dFWHM_FANOPRIME = r^2 eps E / 2s,   ds/dFWHM_SCALE = s / r
XRF_FN void axis_gradient(const XrfProblem &q, const double *v, const AxisPull &all, double *gradient) {
    gradient[ENERGY_OFFSET] = all.offset;
    gradient[ENERGY_SLOPE] = all.slope + all.value / v[ENERGY_SLOPE];
    gradient[ENERGY_QUADRATIC] = all.quadratic;
    const double scale = v[FWHM_SCALE], square = scale * scale;
    gradient[FWHM_OFFSET] = all.width * square * v[FWHM_OFFSET] / (fwhm_per_sigma() * fwhm_per_sigma());
    gradient[FWHM_FANOPRIME] = all.width_energy * square * q.pair_energy_ev / 2;
    gradient[FWHM_SCALE] = all.scale / scale;
}

// The same from the members' sums over their own peaks.
template <class Team>
XRF_FN void pull_axis(Team team, const XrfProblem &q, const double *v, const AxisPull &mine, double *gradient) {
    const AxisPull all = {team.sum(mine.offset), team.sum(mine.slope), team.sum(mine.quadratic),
                          team.sum(mine.value), team.sum(mine.width), team.sum(mine.width_energy), team.sum(mine.scale)};
    if (team.leads()) axis_gradient(q, v, all, gradient);
}

// d tau / dG, prefactor 1/G included: tail_coef (-ST / G - ST / G^3 + SG / G^2)
template <class T> XRF_FN double pull_gamma(const Peaks<T> &p, int i, const PeakSums<T> &sums) {
    const double inv = 1 / p.gamma[i], tail = sums.of[SUM_TAIL], gamma = sums.of[SUM_GAMMA];
    return (double)p.curve[i].coefs.tail * inv * (-tail + inv * (gamma - inv * tail));
}
