// Elastic and Compton scatter: from the parameters to their peaks, and back.
//
//   elastic   A P at E0 = COHERENT_SCT_ENERGY
//   Compton   at Ec = E0 / d,  d = 1 + E0 / 511 (1 - cos COMPTON_ANGLE)
//             F [ P(s FWHM_CORR) + f_step S(s) + f_tail T(s, GAMMA) + f_hi T(s, HI_GAMMA)(-x) ]
//             F = A / (1 + f_step + f_tail + f_hi),  s = s(Ec)
//
// Only the Gaussian is widened by COMPTON_FWHM_CORR; step and tails keep the detector's width. As MAPS
// and XRF-Maps. Fractions below 0 count as 0, in the sum and in F alike.
#pragma once
#include "elements.cuh"

XRF_FN double electron_mass_kev() { return 511.0; }  // MAPS' rounding
XRF_FN double positive(double x) { return x > 0 ? x : 0.0; }

// What a peak is made of, as in Peaks.
struct PeakParts {
    double energy, sigma, gamma, peak_coef, step_coef, tail_coef;
    int kind;
};

// Appends a peak; returns its index.
template <class T> XRF_FN int add_peak(Peaks<T> &p, const PeakParts &parts) {
    const int n = p.n++;
    p.energy[n] = parts.energy;
    p.sigma[n] = parts.sigma;
    p.gamma[n] = parts.gamma;
    p.peak_coef[n] = parts.peak_coef;
    p.step_coef[n] = parts.step_coef;
    p.tail_coef[n] = parts.tail_coef;
    p.kind[n] = parts.kind;
    return n;
}

// The elastic peak's index, or -1.
template <class T> XRF_FN int elastic_peak(const XrfProblem &q, const double *v, Workspace<T> &w) {
    if (q.elastic < 0) return -1;
    const double sigma = peak_width(q, v, v[COHERENT_SCT_ENERGY]);
    const double coef = w.amplitude[q.elastic] * v[ENERGY_SLOPE] / (sigma * sqrt_two_pi());
    return add_peak(w.peaks, {v[COHERENT_SCT_ENERGY], sigma, 1.0, coef, 0, 0, 0});
}

template <class T> XRF_FN void compton_peaks(const XrfProblem &q, const double *v, Workspace<T> &w) {
    Compton &k = w.scatter.compton;
    k.wide = k.low = k.up = -1;
    if (q.compton < 0) return;
    Peaks<T> &p = w.peaks;
    const double g = v[ENERGY_SLOPE], e0 = v[COHERENT_SCT_ENERGY];
    const Turn angle = turn(v[COMPTON_ANGLE]);
    k.sine = angle.sine;
    k.d = 1 + e0 / electron_mass_kev() * (1 - angle.cosine);
    k.energy = e0 / k.d;
    k.sigma = peak_width(q, v, k.energy);
    k.step = w.compton_step ? positive(v[COMPTON_F_STEP]) : 0.0;
    k.tail = w.compton_low ? positive(v[COMPTON_F_TAIL]) : 0.0;
    k.high = w.compton_high ? positive(v[COMPTON_HI_F_TAIL]) : 0.0;
    k.norm = 1 + k.step + k.tail + k.high;
    k.area = w.amplitude[q.compton] / k.norm;
    k.step_coef = k.area * k.step * g / (2 * k.energy);
    const double wide = k.sigma * v[COMPTON_FWHM_CORR];
    k.wide = add_peak(p, {k.energy, wide, 1.0, k.area * g / (wide * sqrt_two_pi()), 0, 0, 0});
    if (w.compton_step || w.compton_low) {
        const int kind = (w.compton_low ? PEAK_TAIL : 0) | (w.compton_step ? PEAK_STEP : 0);
        const double tail = k.area * k.tail * g / (2 * v[COMPTON_GAMMA] * k.sigma);
        k.low = add_peak(p, {k.energy, k.sigma, v[COMPTON_GAMMA], 0, k.step_coef, tail, kind});
    }
    if (w.compton_high) {
        const double tail = k.area * k.high * g / (2 * v[COMPTON_HI_GAMMA] * k.sigma);
        k.up = add_peak(p, {k.energy, k.sigma, v[COMPTON_HI_GAMMA], 0, 0, tail, PEAK_TAIL | PEAK_MIRRORED});
    }
}

// Appends the scatter's peaks to the lines'.
template <class T> XRF_FN void scatter_peaks(const XrfProblem &q, const double *v, Workspace<T> &w) {
    w.peaks.n = w.n_lines;
    w.scatter.elastic = elastic_peak(q, v, w);
    compton_peaks(q, v, w);
}

template <class T>
XRF_FN void pull_elastic(const XrfProblem &q, const Axis &a, const double *v, const Workspace<T> &w,
                         double *gradient) {
    const int i = w.scatter.elastic;
    if (i < 0) return;
    const Pull pull = pull_peak(a, w.peaks, i, gradient);
    const double sigma = w.peaks.sigma[i];
    gradient[N_PARAMETERS + q.elastic] += log_ten() * pull.value;
    pull_width(q, v, v[COHERENT_SCT_ENERGY], sigma, pull.sigma, gradient);
    // dx/dE0 = -1/s, ds/dE0 = eps F' / 2s
    gradient[COHERENT_SCT_ENERGY] +=
        pull.sigma * q.pair_energy_ev * v[FWHM_FANOPRIME] / (2 * sigma) - pull.position;
}

template <class T>
XRF_FN void pull_compton(const XrfProblem &q, const Axis &a, const double *v, const Workspace<T> &w,
                         double *gradient) {
    const Compton &k = w.scatter.compton;
    if (k.wide < 0) return;
    const Peaks<T> &p = w.peaks;
    const Pull none = {0, 0, 0};
    const Pull wide = pull_peak(a, p, k.wide, gradient);
    const Pull low = k.low < 0 ? none : pull_peak(a, p, k.low, gradient);
    const Pull up = k.up < 0 ? none : pull_peak(a, p, k.up, gradient);
    const double value = wide.value + low.value + up.value, per_norm = value / k.norm;
    const double g = v[ENERGY_SLOPE];
    gradient[N_PARAMETERS + q.compton] += log_ten() * value;
    gradient[COMPTON_FWHM_CORR] += wide.sigma * k.sigma;
    if (w.compton_step && v[COMPTON_F_STEP] >= 0)  // d/df_step = F S - m / N
        gradient[COMPTON_F_STEP] += k.area * g / (2 * k.energy) * p.sums[SUM_STEP][k.low] - per_norm;
    if (w.compton_low) {
        if (v[COMPTON_F_TAIL] >= 0)  // d/df_tail = F T - m / N
            gradient[COMPTON_F_TAIL] +=
                k.area * g / (2 * p.gamma[k.low] * k.sigma) * p.sums[SUM_TAIL][k.low] - per_norm;
        gradient[COMPTON_GAMMA] += pull_gamma(p, k.low);
    }
    if (w.compton_high) {
        if (v[COMPTON_HI_F_TAIL] >= 0)
            gradient[COMPTON_HI_F_TAIL] +=
                k.area * g / (2 * p.gamma[k.up] * k.sigma) * p.sums[SUM_TAIL][k.up] - per_norm;
        gradient[COMPTON_HI_GAMMA] += pull_gamma(p, k.up);
    }
    const double sigma_bar = wide.sigma * v[COMPTON_FWHM_CORR] + low.sigma + up.sigma;
    pull_width(q, v, k.energy, k.sigma, sigma_bar, gradient);
    // Ec moves the peaks, their width, and the step's 1 / Ec
    double energy_bar = sigma_bar * q.pair_energy_ev * v[FWHM_FANOPRIME] / (2 * k.sigma) -
                        (wide.position + low.position + up.position);
    if (k.low >= 0) energy_bar -= k.step_coef * p.sums[SUM_STEP][k.low] / k.energy;
    // dEc/dE0 = 1 / d^2, dEc/d angle = -(Ec / d) (E0 / 511) sin(angle) pi / 180
    const double per_degree = radians_per_degree() * k.sine;
    gradient[COHERENT_SCT_ENERGY] += energy_bar / (k.d * k.d);
    gradient[COMPTON_ANGLE] -=
        energy_bar * k.energy / k.d * v[COHERENT_SCT_ENERGY] / electron_mass_kev() * per_degree;
}
