// From the parameters to the peaks of the emission lines, and back.
//
//   s^2(E) = (FWHM_OFFSET / 2.3548)^2 + eps E FWHM_FANOPRIME
//   f_step = |mu (F_STEP_OFFSET + F_STEP_LINEAR E)|
//   f_tail = |F_TAIL_OFFSET + F_TAIL_LINEAR mu|           K-alpha and L lines; K-beta: KB_F_TAIL_*
//   N      = 1 + f_tail + f_step                          M lines: 1, with a step and no tail
//   B      = A ratio / N                                  A = 10^amplitude, counts in the first line
//   m(c)   = B (P + f_step S + f_tail T)                  lineshape.cuh
//   G      = |GAMMA_OFFSET + GAMMA_LINEAR E| width
//
// As MAPS and XRF-Maps (Gaussian_Model). 2.3548 is MAPS' rounding of 2 sqrt(2 ln 2). eps is the number of eV and
// E is in keV, so FWHM_FANOPRIME is a thousandth of the Fano factor.
#pragma once
#include "workspace.cuh"

XRF_FN double fwhm_per_sigma() { return 2.3548; }
XRF_FN double sqrt_two_pi() { return 2.50662827463100050242; }
XRF_FN double log_ten() { return 2.30258509299404568402; }

XRF_FN double peak_width(const XrfProblem &q, const double *v, double energy) {
    const double noise = v[FWHM_OFFSET] / fwhm_per_sigma();
    return sqrt(noise * noise + q.pair_energy_ev * energy * v[FWHM_FANOPRIME]);
}

XRF_FN double magnitude(double x) { return x < 0 ? -x : x; }
// Derivative of |x|; at 0 the one-sided one, so that a fraction at its gate can move.
XRF_FN double direction(double x) { return x < 0 ? -1.0 : 1.0; }

// Is any of these free or away from zero? Then its term is evaluated.
XRF_FN bool in_use(const XrfProblem &q, const double *v, int a, int b) {
    return v[a] != 0 || v[b] != 0 || q.free[a] || q.free[b];
}

// Chooses lines and terms from the start of a fit; they stay, so that the objective is continuous. Lines are
// put in order of their components.
template <class T> XRF_FN void choose(const XrfProblem &q, const double *v, Workspace<T> &w) {
    const bool tails = q.tail != XRF_TAIL_NONE;
    w.alpha_tail = tails && in_use(q, v, F_TAIL_OFFSET, F_TAIL_LINEAR);
    w.beta_tail = tails && in_use(q, v, KB_F_TAIL_OFFSET, KB_F_TAIL_LINEAR);
    w.compton_step = q.compton >= 0 && in_use(q, v, COMPTON_F_STEP, COMPTON_F_STEP);
    w.compton_low = q.compton >= 0 && tails && in_use(q, v, COMPTON_F_TAIL, COMPTON_F_TAIL);
    w.compton_high = q.compton >= 0 && tails && in_use(q, v, COMPTON_HI_F_TAIL, COMPTON_HI_F_TAIL);
    w.line_step = in_use(q, v, F_STEP_OFFSET, F_STEP_LINEAR);
    w.si_escape = in_use(q, v, SI_ESCAPE, SI_ESCAPE);
    w.ge_escape = in_use(q, v, GE_ESCAPE, GE_ESCAPE);
    w.total = w.si_escape || w.ge_escape ? w.scratch : w.model;
    int n = 0;
    for (int k = 0; k < q.n_components; ++k) {
        w.first_line[k] = n;
        for (int l = 0; l < q.n_lines; ++l) {
            if (q.component[l] != k) continue;
            if (q.edge[l] >= v[COHERENT_SCT_ENERGY] || !(q.ratio[l] > 0) || !(q.energy[l] > 0)) continue;
            w.line_energy[n] = q.energy[l];
            w.line_ratio[n] = q.ratio[l];
            w.line_mu[n] = q.mu[l];
            w.line_width[n] = q.width[l];
            w.line_component[n] = k;
            w.line_family[n] = q.family[l];
            ++n;
        }
    }
    w.first_line[q.n_components] = w.n_lines = n;
}

template <class Team, class T> XRF_FN void switch_on(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    if (team.leads()) choose(q, v, w);
    team.sync();
}

// Peaks 0 .. n_lines: the lines, in their order.
template <class Team, class T>
XRF_FN void line_peaks(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    Peaks<T> &p = w.peaks;
    const double g = v[ENERGY_SLOPE];
    const bool any_tail = w.alpha_tail || w.beta_tail;
    XRF_SIMD XRF_SHARE(team, l, w.n_lines) {
        const double energy = w.line_energy[l], mu = w.line_mu[l];
        const int family = w.line_family[l];
        const double sigma = peak_width(q, v, energy);
        const double gamma = magnitude(v[GAMMA_OFFSET] + v[GAMMA_LINEAR] * energy) * w.line_width[l];
        const double alpha = w.alpha_tail ? v[F_TAIL_OFFSET] + v[F_TAIL_LINEAR] * mu : 0.0;
        const double beta = w.beta_tail ? v[KB_F_TAIL_OFFSET] + v[KB_F_TAIL_LINEAR] * mu : 0.0;
        const double tail = family == XRF_ALPHA ? alpha : family == XRF_BETA ? beta : 0.0;
        const double step = w.line_step ? mu * (v[F_STEP_OFFSET] + v[F_STEP_LINEAR] * energy) : 0.0;
        const double norm = family == XRF_M ? 1.0 : 1 + magnitude(tail) + magnitude(step);
        const double area = w.amplitude[w.line_component[l]] * w.line_ratio[l] / norm;
        const bool tailed = any_tail && (family == XRF_ALPHA ? w.alpha_tail : family == XRF_BETA && w.beta_tail);
        w.tail_fraction[l] = tail;
        w.step_fraction[l] = step;
        w.norm[l] = norm;
        w.area[l] = area;
        p.energy[l] = energy;
        p.sigma[l] = sigma;
        p.gamma[l] = gamma;
        p.peak_coef[l] = area * g / (sigma * sqrt_two_pi());
        p.step_coef[l] = area * magnitude(step) * g / (2 * energy);
        p.tail_coef[l] = tailed ? area * magnitude(tail) * g / (2 * gamma * sigma) : 0.0;
        p.kind[l] = (tailed ? PEAK_TAIL : 0) | (w.line_step ? PEAK_STEP : 0);
    }
}

// What every peak gives back, whatever it belongs to.
struct Pull {
    double value;     // sum of w m: dL/d log area
    double position;  // dL/dE of the channel axis: sum of w dm/de
    double sigma;     // dL/ds
};

// Adds the calibration's share of peak i to the gradient.
template <class T>
XRF_FN Pull pull_peak(const Axis &a, const Peaks<T> &p, int i, double *gradient) {
    const double inv = 1 / p.sigma[i], signed_inv = (p.kind[i] & PEAK_MIRRORED) ? -inv : inv;
    const double c = a.first + p.first[i];
    const double d0 = p.sums[SUM_D0][i], d1 = p.sums[SUM_D1][i], d2 = p.sums[SUM_D2][i];
    const double peak = p.peak_coef[i] * p.sums[SUM_PEAK][i];
    const double tail = p.tail_coef[i] * p.sums[SUM_TAIL][i];
    const double value = peak + p.step_coef[i] * p.sums[SUM_STEP][i] + tail;
    // de/d offset = 1, de/d slope = c, de/d quadratic = c^2, and every m is proportional to slope
    gradient[ENERGY_OFFSET] += signed_inv * d0;
    gradient[ENERGY_SLOPE] += signed_inv * (c * d0 + d1) + value / a.slope;
    gradient[ENERGY_QUADRATIC] += signed_inv * (c * (c * d0 + 2 * d1) + d2);
    // x = (e - E) / s: dx/ds = -x / s; peak and tail coefficients are proportional to 1 / s
    return {value, signed_inv * d0, -inv * (p.sums[SUM_X][i] + peak + tail)};
}

// ds/dFWHM_OFFSET = F0 / (2.3548^2 s), ds/dFWHM_FANOPRIME = eps E / 2s
XRF_FN void pull_width(const XrfProblem &q, const double *v, double energy, double sigma,
                       double sigma_bar, double *gradient) {
    const double k = fwhm_per_sigma();
    gradient[FWHM_OFFSET] += sigma_bar * v[FWHM_OFFSET] / (k * k * sigma);
    gradient[FWHM_FANOPRIME] += sigma_bar * q.pair_energy_ev * energy / (2 * sigma);
}

// d tau / dG, prefactor 1/G included: tail_coef (-ST / G - ST / G^3 + SG / G^2)
template <class T> XRF_FN double pull_gamma(const Peaks<T> &p, int i) {
    const double inv = 1 / p.gamma[i], tail = p.sums[SUM_TAIL][i];
    return p.tail_coef[i] * inv * (-tail + inv * (p.sums[SUM_GAMMA][i] - inv * tail));
}

// dL/d calibration and width by line l, added to `gradient`; returns dL/d log area.
template <class T>
XRF_FN double pull_line(const XrfProblem &q, const Axis &a, const double *v, const Workspace<T> &w, int l,
                        double (&gradient)[FWHM_FANOPRIME + 1]) {
    const Peaks<T> &p = w.peaks;
    const Pull pull = pull_peak(a, p, l, gradient);
    pull_width(q, v, p.energy[l], p.sigma[l], pull.sigma, gradient);
    return pull.value;
}

// dL/d parameters of the tail and step of line l, added to `gradient`, whose first entry is F_STEP_OFFSET's.
template <class T>
XRF_FN void pull_fractions(const double *v, const Workspace<T> &w, int l,
                           double (&gradient)[GAMMA_LINEAR + 1 - F_STEP_OFFSET]) {
    const Peaks<T> &p = w.peaks;
    const double energy = p.energy[l], mu = w.line_mu[l];
    const double per_norm = w.line_family[l] == XRF_M ? 0.0 : w.pulled[l] / w.norm[l];
    if (p.kind[l] & PEAK_TAIL) {
        // d(m)/d f_tail = B T - m / N
        const double unit = w.area[l] * v[ENERGY_SLOPE] / (2 * p.gamma[l] * p.sigma[l]);
        const double f = (unit * p.sums[SUM_TAIL][l] - per_norm) * direction(w.tail_fraction[l]);
        const bool alpha = w.line_family[l] == XRF_ALPHA;
        gradient[F_TAIL_OFFSET - F_STEP_OFFSET] += alpha ? f : 0.0;
        gradient[F_TAIL_LINEAR - F_STEP_OFFSET] += alpha ? f * mu : 0.0;
        gradient[KB_F_TAIL_OFFSET - F_STEP_OFFSET] += alpha ? 0.0 : f;
        gradient[KB_F_TAIL_LINEAR - F_STEP_OFFSET] += alpha ? 0.0 : f * mu;
        // dG/d GAMMA_OFFSET = width, dG/d GAMMA_LINEAR = E width
        const double raw = v[GAMMA_OFFSET] + v[GAMMA_LINEAR] * energy;
        const double g = pull_gamma(p, l) * direction(raw) * w.line_width[l];
        gradient[GAMMA_OFFSET - F_STEP_OFFSET] += g;
        gradient[GAMMA_LINEAR - F_STEP_OFFSET] += g * energy;
    }
    if (p.kind[l] & PEAK_STEP) {
        // d(m)/d f_step = B S - m / N
        const double unit = w.area[l] * v[ENERGY_SLOPE] / (2 * energy);
        const double f = (unit * p.sums[SUM_STEP][l] - per_norm) * direction(w.step_fraction[l]) * mu;
        gradient[F_STEP_OFFSET - F_STEP_OFFSET] += f;
        gradient[F_STEP_LINEAR - F_STEP_OFFSET] += f * energy;
    }
}

// The sums over a team of its members' n shares, into `gradient`.
template <int N, class Team> XRF_FN void gather(Team team, const double (&mine)[N], double *gradient) {
    XRF_UNROLL for (int i = 0; i < N; ++i) {
        const double sum = team.sum(mine[i]);
        if (team.leads()) gradient[i] = sum;
    }
}

// dL/d parameters and dL/d log10 amplitudes of the lines, into `gradient` [N_PARAMETERS + K].
template <class Team, class T>
XRF_FN void pull_lines(Team team, const XrfProblem &q, const Axis &a, const double *v, const Workspace<T> &w,
                       double *gradient) {
    double of_axis[FWHM_FANOPRIME + 1] = {};
    XRF_SHARE(team, l, w.n_lines) w.pulled[l] = pull_line(q, a, v, w, l, of_axis);
    XRF_SHARE(team, i, N_PARAMETERS) gradient[i] = 0;
    team.sync();
    gather(team, of_axis, gradient);
    if (w.alpha_tail || w.beta_tail || w.line_step) {
        double of_shape[GAMMA_LINEAR + 1 - F_STEP_OFFSET] = {};
        XRF_SHARE(team, l, w.n_lines) pull_fractions(v, w, l, of_shape);
        gather(team, of_shape, gradient + F_STEP_OFFSET);
    }
    XRF_SHARE(team, k, q.n_components) {
        double sum = 0;
        for (int l = w.first_line[k]; l < w.first_line[k + 1]; ++l) sum += log_ten() * w.pulled[l];
        gradient[N_PARAMETERS + k] = sum;
    }
    team.sync();
}
