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

// Numbers the peaks of the scatter that is switched on, and sets their kinds.
template <class T> XRF_FN void number_scatter(const XrfProblem &q, Workspace<T> &w) {
    int n = w.n_lines;
    const auto number = [&](bool there, int kind) {
        if (!there) return -1;
        w.peaks.kind[n] = kind;
        w.kinds |= kind_bit(kind);
        return n++;
    };
    const int low = (w.compton_low ? PEAK_TAIL : 0) | (w.compton_step ? PEAK_STEP : 0);
    w.scatter.elastic = number(q.elastic >= 0, 0);
    w.scatter.wide = number(q.compton >= 0, 0);
    w.scatter.low = number(low != 0, low);
    w.scatter.up = number(w.compton_high, PEAK_TAIL | PEAK_MIRRORED);
    w.peaks.n = n;
}

template <class T> XRF_FN Compton compton_of(const XrfProblem &q, const double *v, const Workspace<T> &w) {
    Compton k = {};
    if (q.compton < 0) return k;
    const double e0 = v[COHERENT_SCT_ENERGY];
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
    return k;
}

template <class T>
XRF_FN PeakParts scatter_parts(const XrfProblem &q, const double *v, const Workspace<T> &w, const Compton &k, int i) {
    if (i == w.scatter.elastic) {
        const double energy = v[COHERENT_SCT_ENERGY];
        return {energy, peak_width(q, v, energy), 1, w.amplitude[q.elastic], 1, 0, 0};
    }
    if (i == w.scatter.wide) return {k.energy, k.sigma * v[COMPTON_FWHM_CORR], 1, k.area, 1, 0, 0};
    if (i == w.scatter.low) return {k.energy, k.sigma, v[COMPTON_GAMMA], k.area, 0, k.step, k.tail};
    return {k.energy, k.sigma, v[COMPTON_HI_GAMMA], k.area, 0, 0, k.high};
}

// The scatter's peaks, behind the lines'.
template <bool SHAPED, class Team, class T>
XRF_CALL void put_scatter(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    const Compton k = compton_of(q, v, w);
    if (team.leads()) w.scatter.compton = k;
    const Peaks<T> p = peaks_of(w);
    const int lines = w.n_lines, scattered = p.n - lines;
    XRF_SHARE(team, s, scattered) {
        const PeakParts parts = scatter_parts(q, v, w, k, lines + s);
        p.energy[lines + s] = parts.energy;
        put_peak<SHAPED>(team, a, p, lines + s, parts);
    }
}

template <class T>
XRF_FN void pull_elastic(const XrfProblem &q, const double *v, const Workspace<T> &w, double *gradient) {
    const int i = w.scatter.elastic;
    if (i < 0) return;
    const Pull pull = w.scatter.pull[i - w.n_lines];
    gradient[N_PARAMETERS + q.elastic] += log_ten() * pull.value;
    // dx/dE0 = -1/s, ds/dE0 = r^2 eps F' / 2s
    gradient[COHERENT_SCT_ENERGY] +=
        pull.sigma * width_growth(q, v) * w.peaks.inv_sigma[i] / 2 - pull.position;
}

template <class T>
XRF_FN void pull_compton(const XrfProblem &q, const double *v, const Workspace<T> &w, double *gradient) {
    const Scatter &s = w.scatter;
    if (s.wide < 0) return;
    const Compton &k = s.compton;
    const Peaks<T> &p = w.peaks;
    const Pull none = {0, 0, 0};
    const Pull wide = s.pull[s.wide - w.n_lines];
    const Pull low = s.low < 0 ? none : s.pull[s.low - w.n_lines];
    const Pull up = s.up < 0 ? none : s.pull[s.up - w.n_lines];
    const double value = wide.value + low.value + up.value, per_norm = value / k.norm;
    const double unit = k.area * v[ENERGY_SLOPE] / 2;
    gradient[N_PARAMETERS + q.compton] += log_ten() * value;
    gradient[COMPTON_FWHM_CORR] += wide.sigma * k.sigma;
    const bool low_tail = is_shaped(w) && w.compton_low, high_tail = is_shaped(w) && w.compton_high;
    const bool step = is_shaped(w) && w.compton_step;
    if (step && v[COMPTON_F_STEP] >= 0)  // d/df_step = F S - m / N
        gradient[COMPTON_F_STEP] += unit / k.energy * (double)p.sums[s.low].of[SUM_STEP] - per_norm;
    if (low_tail) {
        if (v[COMPTON_F_TAIL] >= 0)  // d/df_tail = F T - m / N
            gradient[COMPTON_F_TAIL] +=
                unit / (p.gamma[s.low] * k.sigma) * (double)p.sums[s.low].of[SUM_TAIL] - per_norm;
        gradient[COMPTON_GAMMA] += pull_gamma(p, s.low, p.sums[s.low]);
    }
    if (high_tail) {
        if (v[COMPTON_HI_F_TAIL] >= 0)
            gradient[COMPTON_HI_F_TAIL] +=
                unit / (p.gamma[s.up] * k.sigma) * (double)p.sums[s.up].of[SUM_TAIL] - per_norm;
        gradient[COMPTON_HI_GAMMA] += pull_gamma(p, s.up, p.sums[s.up]);
    }
    // Ec moves the peaks, their width, and the step's 1 / Ec
    const double sigma_bar = wide.sigma * v[COMPTON_FWHM_CORR] + low.sigma + up.sigma;
    double energy_bar = sigma_bar * width_growth(q, v) / (2 * k.sigma) -
                        (wide.position + low.position + up.position);
    if (step) energy_bar -= unit * k.step / (k.energy * k.energy) * (double)p.sums[s.low].of[SUM_STEP];
    // dEc/dE0 = 1 / d^2, dEc/d angle = -(Ec / d) (E0 / 511) sin(angle) pi / 180
    const double per_degree = radians_per_degree() * k.sine;
    gradient[COHERENT_SCT_ENERGY] += energy_bar / (k.d * k.d);
    gradient[COMPTON_ANGLE] -=
        energy_bar * k.energy / k.d * v[COHERENT_SCT_ENERGY] / electron_mass_kev() * per_degree;
}
