// What can be said of an element that may be absent: an upper limit of its counts, and the counts that would be found.
//
// As amplitude k moves the others follow it along the profile, d = C_k / C_kk with the inverse Fisher information C, and
// one count of it changes the model by u(c) = sum over columns of d_i r_i(c). With the expected counts m and the counts
// A_k at the end of a fit, t counts away,
//
//   log L(t) = sum of y log(1 + t u / m) - t u,  less the priors;   p(A) ~ L(A - A_k),  A >= 0
//
// upper limit: the A that 95 % of p is below. Where A_k is 20 deviations from 0 and more it is the signed amplitude and 1.645
// of them. Detection limit: 2.71 + 3.29 sigma_0 (Currie, Anal. Chem. 40 (1968) 586): of so many counts 95 % exceed what
// 5 % of absences do; sigma_0^2 = C_kk - A_k sum of (C_kk u / m)^2 r_k, by which the same estimate scatters without them.
#pragma once
#include "errors.cuh"

// Steps of p's integral, and how far it goes [sigma].
XRF_FN int limit_steps() { return 48; }
XRF_FN double limit_reach() { return 6.0; }

// Channels with counts, in order, into j.counted; beyond them up to a whole block -1.
template <class Team, class T> XRF_FN void find_counted(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    if (team.leads()) {
        int n = 0;
        for (int c = 0; c < q.count; ++c)
            if (w.counts[c] > T(0)) j.counted[n++] = c;
        j.n_counted = n;
        for (int i = n; i < padded<Team>(n); ++i) j.counted[i] = -1;
    }
    team.sync();
}

// The profile of one amplitude: what u(c) adds up to, and the slope and curvature of the priors along it.
struct Profile {
    double variance, total, slope, bend;
};

// u / m of the channels with counts into basis[1] and their counts into basis[2]; u into `weighted`. Row r of C is
// in `moved`, for the m chosen variables.
template <class Team, class T>
XRF_FN Profile profile_of(Team team, const XrfProblem &q, int r, int m, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int end = padded<Team>(q.count), linear = linear_variables(q);
    const double variance = j.moved[r];
    T *XRF_RESTRICT u = j.weighted;
    XRF_SIMD XRF_SHARE(team, c, end) u[c] = T(0);
    Profile p = {variance, 0, 0, 0};
    for (int s = 0; s < m; ++s) {
        const int i = j.chosen[s];
        const double d = j.moved[s] / variance;
        const T by = T(d);
        const T *XRF_RESTRICT column = j.column + (int64_t)i * j.stride;
        for (int b = j.low[i] + team.first(); b < j.high[i]; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) u[b + l] += by * column[b + l];
        if (i < linear || !has_prior(q, j.parameter[i - linear])) continue;
        const int parameter = j.parameter[i - linear];
        const double stiffness = prior_stiffness(q, w, parameter);
        p.slope += stiffness * d * (j.x[i] - q.prior[parameter]);
        p.bend += stiffness * d * d;
    }
    p.total = sum_of(team, q.count, u);
    T *XRF_RESTRICT ratio = j.basis[1], *XRF_RESTRICT counts = j.basis[2];
    team.sync();
    XRF_SHARE(team, i, padded<Team>(j.n_counted)) {
        const int c = j.counted[i];
        ratio[i] = c < 0 ? T(0) : u[c] / expected(w.total[c] + w.background[c], w.floor);
        counts[i] = c < 0 ? T(0) : w.counts[c];
    }
    team.sync();
    return p;
}

template <class Team, class T>
XRF_FN double log_likelihood(Team team, const Profile &p, double t, const Workspace<T> &w) {
    const T *XRF_RESTRICT ratio = w.jacobian.basis[1], *XRF_RESTRICT counts = w.jacobian.basis[2];
    const T step = T(t);
    T sums[Team::LANES] = {};
    for (int b = team.first(); b < w.jacobian.n_counted; b += Team::BLOCK)
        XRF_EACH_LANE(team, l) {
            const T factor = T(1) + step * ratio[b + l];
            sums[l] += counts[b + l] * logarithm(factor > T(1e-6) ? factor : T(1e-6));
        }
    return (double)team.sum(sums) - t * (p.total + p.slope) - 0.5 * p.bend * t * t;
}

// The t that 95 % of L lies below, from `low` on.
template <class Team, class T>
XRF_FN double upper_of(Team team, const Profile &p, double low, double high, Workspace<T> &w) {
    const int n = limit_steps();
    const double step = (high - low) / n;
    double *logs = w.jacobian.moved + w.jacobian.n, *density = logs + n + 1, most = -1e300;  // behind the row
    for (int i = 0; i <= n; ++i) {
        const double here = log_likelihood(team, p, low + i * step, w);
        most = here > most ? here : most;
        if (team.leads()) logs[i] = here;
    }
    team.sync();
    double all = 0, before = 0;
    for (int i = 0; i <= n; ++i) {
        const double here = exponential(logs[i] - most);
        all += i > 0 ? before + here : 0.0;
        before = here;
        if (team.leads()) density[i] = here;
    }
    const double wanted = 0.95 * all;
    team.sync();
    double below = 0, piece = 0;
    int i = 0;
    for (; i < n; ++i) {
        piece = density[i] + density[i + 1];
        if (below + piece >= wanted) break;
        below += piece;
    }
    const double part = (wanted - below) / piece;
    team.sync();
    return low + (i + part) * step;
}

// What the estimate would scatter by without its element.
template <class Team, class T>
XRF_FN double null_sigma(Team team, const XrfProblem &q, const Profile &p, int k, const Workspace<T> &w) {
    const Jacobian<T> &j = w.jacobian;
    const T *XRF_RESTRICT u = j.weighted, *XRF_RESTRICT column = j.column + (int64_t)k * j.stride;
    T sums[Team::LANES] = {};
    for (int b = j.low[k] + team.first(); b < j.high[k]; b += Team::BLOCK)
        XRF_EACH_LANE(team, l) {
            const int c = b + l;
            const T h = u[c] / expected(w.total[c] + w.background[c], w.floor);
            sums[l] += c < q.count ? h * h * column[c] : T(0);
        }
    const double less = p.variance * p.variance * (double)team.sum(sums) * j.x[k];
    return sqrt(p.variance > less ? p.variance - less : 0.0);
}

// Upper and detection limits [2 K] of a fit whose errors were just found, with the deviance or expected weights; m
// variables were chosen. NaN where an amplitude has no deviation.
template <class Team, class T>
XRF_OUTLINE void find_limits(Team team, const XrfProblem &q, int m, const double *signed_amplitudes, double *limits,
                             Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int k_max = q.n_components;
    const double nan = 0.0 / 0.0;
    XRF_SHARE(team, k, 2 * k_max) limits[k] = nan;
    team.sync();
    if (!is_likely(q)) return;
    find_counted(team, q, w);
    for (int r = 0; r < m; ++r) {
        const int k = j.chosen[r];
        if (k >= k_max || !determined(team, m, j, r)) continue;
        XRF_SHARE(team, s, m) j.moved[s] = inverse_at(team, m, j, r, s) * j.scale[k] * j.scale[j.chosen[s]];
        team.sync();
        const Profile p = profile_of(team, q, r, m, w);
        const double sigma = sqrt(p.variance), reach = limit_reach() * sigma, here = j.x[k];
        const double upper = here > 20 * sigma ? signed_amplitudes[k] + 1.645 * sigma
                                              : here + upper_of(team, p, here < reach ? -here : -reach, reach, w);
        const double without = null_sigma(team, q, p, k, w);
        if (team.leads()) {
            limits[k] = upper;
            limits[k_max + k] = 2.71 + 3.29 * without;
        }
        team.sync();
    }
}
