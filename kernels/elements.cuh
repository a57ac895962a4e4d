// From the parameters to the peaks of the emission lines, and back.
//
//   f_step = |mu (F_STEP_OFFSET + F_STEP_LINEAR E)|
//   f_tail = |F_TAIL_OFFSET + F_TAIL_LINEAR mu|           K-alpha and L lines; K-beta: KB_F_TAIL_*
//   N      = 1 + f_tail + f_step                          M lines: 1, with a step and no tail
//   B      = A ratio / N                                  A = 10^amplitude, counts in the first line
//   m(c)   = B (P + f_step S + f_tail T)                  lineshape.cuh
//   G      = |GAMMA_OFFSET + GAMMA_LINEAR E| width
//
// As MAPS and XRF-Maps (Gaussian_Model).
#pragma once
#include "peak_parts.cuh"

XRF_FN double log_ten() { return 2.30258509299404568402; }

// Is any of these free or away from zero? Then its term is evaluated.
XRF_FN bool in_use(const XrfProblem &q, const double *v, int a, int b) {
    return v[a] != 0 || v[b] != 0 || q.free[a] || q.free[b];
}

template <class T> XRF_FN int line_kind(const Workspace<T> &w, int family) {
    const bool tailed = family == XRF_ALPHA ? w.alpha_tail : family == XRF_BETA && w.beta_tail;
    return (tailed ? PEAK_TAIL : 0) | (w.line_step ? PEAK_STEP : 0);
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
    w.model = has_escape(w) ? w.unescaped : w.total;
    w.kinds = 0;
    int n = 0;
    for (int k = 0; k < q.n_components; ++k) {
        w.first_line[k] = n;
        for (int l = 0; l < q.n_lines; ++l) {
            if (q.component[l] != k) continue;
            if (q.edge[l] >= v[COHERENT_SCT_ENERGY] || !(q.ratio[l] > 0) || !(q.energy[l] > 0)) continue;
            w.peaks.energy[n] = q.energy[l];
            w.line_ratio[n] = q.ratio[l];
            w.line_mu[n] = q.mu[l];
            w.line_width[n] = q.width[l];
            w.line_component[n] = k;
            w.line_family[n] = q.family[l];
            w.peaks.kind[n] = line_kind(w, q.family[l]);
            w.kinds |= kind_bit(w.peaks.kind[n]);
            ++n;
        }
    }
    w.first_line[q.n_components] = w.n_lines = n;
}

// Peaks 0 .. n_lines: the lines, in their order.
template <bool SHAPED, class Team, class T>
XRF_FN void put_lines(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    const Peaks<T> p = peaks_of(w);
    const int n = w.n_lines;
    XRF_SIMD XRF_SHARE(team, l, n) {
        const double energy = p.energy[l];
        const double intensity = w.amplitude[w.line_component[l]] * w.line_ratio[l];
        PeakParts parts = {energy, peak_width(q, v, energy), 1, intensity, 1, 0, 0};
        if (SHAPED) {
            const double mu = w.line_mu[l];
            const int family = w.line_family[l];
            const double alpha = w.alpha_tail ? v[F_TAIL_OFFSET] + v[F_TAIL_LINEAR] * mu : 0.0;
            const double beta = w.beta_tail ? v[KB_F_TAIL_OFFSET] + v[KB_F_TAIL_LINEAR] * mu : 0.0;
            const double tail = family == XRF_ALPHA ? alpha : family == XRF_BETA ? beta : 0.0;
            const double step = w.line_step ? mu * (v[F_STEP_OFFSET] + v[F_STEP_LINEAR] * energy) : 0.0;
            const double norm = family == XRF_M ? 1.0 : 1 + magnitude(tail) + magnitude(step);
            parts.gamma = magnitude(v[GAMMA_OFFSET] + v[GAMMA_LINEAR] * energy) * w.line_width[l];
            parts.area = intensity / norm;
            parts.step = magnitude(step);
            parts.tail = magnitude(tail);
            w.tail_fraction[l] = tail;
            w.step_fraction[l] = step;
            w.norm[l] = norm;
            w.area[l] = parts.area;
        }
        put_peak<SHAPED>(team, a, p, l, parts);
    }
}

// dL/d parameters of the tail and step of line l, added to `gradient`, whose first entry is F_STEP_OFFSET's.
template <class T>
XRF_FN void pull_fractions(const double *v, const Workspace<T> &w, int l, const PeakSums<T> &sums,
                           double (&gradient)[GAMMA_LINEAR + 1 - F_STEP_OFFSET]) {
    const Peaks<T> &p = w.peaks;
    const double energy = p.energy[l], mu = w.line_mu[l];
    const double per_norm = w.line_family[l] == XRF_M ? 0.0 : w.pulled[l] / w.norm[l];
    if (p.kind[l] & PEAK_TAIL) {
        // d(m)/d f_tail = B T - m / N
        const double unit = w.area[l] * v[ENERGY_SLOPE] * p.inv_sigma[l] / (2 * p.gamma[l]);
        const double f = (unit * (double)sums.of[SUM_TAIL] - per_norm) * direction(w.tail_fraction[l]);
        const bool alpha = w.line_family[l] == XRF_ALPHA;
        gradient[F_TAIL_OFFSET - F_STEP_OFFSET] += alpha ? f : 0.0;
        gradient[F_TAIL_LINEAR - F_STEP_OFFSET] += alpha ? f * mu : 0.0;
        gradient[KB_F_TAIL_OFFSET - F_STEP_OFFSET] += alpha ? 0.0 : f;
        gradient[KB_F_TAIL_LINEAR - F_STEP_OFFSET] += alpha ? 0.0 : f * mu;
        // dG/d GAMMA_OFFSET = width, dG/d GAMMA_LINEAR = E width
        const double raw = v[GAMMA_OFFSET] + v[GAMMA_LINEAR] * energy;
        const double g = pull_gamma(p, l, sums) * direction(raw) * w.line_width[l];
        gradient[GAMMA_OFFSET - F_STEP_OFFSET] += g;
        gradient[GAMMA_LINEAR - F_STEP_OFFSET] += g * energy;
    }
    if (p.kind[l] & PEAK_STEP) {
        // d(m)/d f_step = B S - m / N
        const double unit = w.area[l] * v[ENERGY_SLOPE] / (2 * energy);
        const double f = (unit * (double)sums.of[SUM_STEP] - per_norm) * direction(w.step_fraction[l]) * mu;
        gradient[F_STEP_OFFSET - F_STEP_OFFSET] += f;
        gradient[F_STEP_LINEAR - F_STEP_OFFSET] += f * energy;
    }
}

// The sums over a team of its members' n shares, into `gradient`.
template <int N, class Team> XRF_FN void gather_sums(Team team, const double (&mine)[N], double *gradient) {
    XRF_UNROLL for (int i = 0; i < N; ++i) {
        const double sum = team.sum(mine[i]);
        if (team.leads()) gradient[i] = sum;
    }
}

// dL/d parameters of tails and steps and dL/d log10 amplitudes of the lines, into `gradient` [N_PARAMETERS + K],
// from w.pulled = dL/d log area.
template <class Team, class T>
XRF_FN void pull_lines(Team team, const XrfProblem &q, const double *v, const Workspace<T> &w, double *gradient) {
    if (is_shaped(w) && (w.alpha_tail || w.beta_tail || w.line_step)) {
        double of_shape[GAMMA_LINEAR + 1 - F_STEP_OFFSET] = {};
        XRF_SHARE(team, l, w.n_lines) pull_fractions(v, w, l, w.peaks.sums[l], of_shape);
        gather_sums(team, of_shape, gradient + F_STEP_OFFSET);
    }
    XRF_SHARE(team, k, q.n_components) {
        double sum = 0;
        for (int l = w.first_line[k]; l < w.first_line[k + 1]; ++l) sum += log_ten() * w.pulled[l];
        gradient[N_PARAMETERS + k] = sum;
    }
}
