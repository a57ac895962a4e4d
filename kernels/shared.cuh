// What all spectra of a run share: components at unit amplitude and templates, their scalar products, SNIP's plan; and
// what a spectrum takes of it.
#pragma once
#include "limits.cuh"
#include "model.cuh"
#include "snip.cuh"

// What all spectra of a run share: unit components at the first-pass shapes, and SNIP's plan.
template <class T> struct Shared {
    SnipPlan snip;
    T *columns;    // [linear, padded count] counts per channel of one count in the first line; templates
    int32_t *reach;  // [linear, 2] where they are not 0: first channel and end, in whole blocks
    T *start_weight;  // [padded count] of a channel in the amplitudes' start
    double *gram;  // [linear, linear] scalar products of the columns with these weights
};

// First channel and end of what is not 0 in a column [n], in whole blocks.
template <class Team, class T> XRF_FN void find_reach_of(int n, const T *column, int32_t *reach) {
    int low = 0, high = n;
    while (low < n && column[low] == T(0)) ++low;
    while (high > low && column[high - 1] == T(0)) --high;
    reach[0] = low / Team::BLOCK * Team::BLOCK;
    reach[1] = padded<Team>(high);
}

// Part of the mean counts per channel that the weights of the start add to the first pass's.
XRF_FN double start_floor_share() { return 0.05; }

// Weights of the channels in the amplitudes' start: where Newton follows a likelihood those of its squares at the first-pass
// values, relative, from which it needs fewer steps; or 1.
template <class Team, class T>
XRF_FN void weigh_start(Team team, const XrfProblem &q, Shared<T> &shared, Workspace<T> &w) {
    const int n = padded<Team>(q.count), k_max = linear_variables(q);
    linear_amplitudes(team, q, q.start, w);
    XRF_SHARE(team, c, n) {
        double sum = 0;
        for (int k = 0; k < k_max; ++k) sum += w.amplitude[k] * shared.columns[(int64_t)k * n + c];
        w.scratch[c] = T(sum);
    }
    team.sync();
    const double mean = sum_of(team, q.count, w.scratch) / q.count;
    const bool weighted = q.optimizer == XRF_NEWTON && is_likely(q) && mean > 0 && mean < 1e30;
    XRF_SHARE(team, c, n) {
        const T of_channel = weighted ? T(mean / (w.scratch[c] + start_floor_share() * mean)) : T(1);
        shared.start_weight[c] = c < q.count ? of_channel : T(0);
    }
    team.sync();
}

// Scalar products of the columns with these weights.
template <class Team, class T> XRF_FN void find_gram(Team team, const XrfProblem &q, Shared<T> &shared) {
    const int n = padded<Team>(q.count), k_max = linear_variables(q);
    for (int k = 0; k < k_max; ++k)
        for (int i = 0; i <= k; ++i) {
            const T *a = shared.columns + (int64_t)k * n, *b = shared.columns + (int64_t)i * n;
            double sum = 0;
            XRF_SHARE(team, c, q.count) sum += (double)shared.start_weight[c] * (double)a[c] * (double)b[c];
            sum = team.sum(sum);
            if (team.leads()) shared.gram[k * k_max + i] = shared.gram[i * k_max + k] = sum;
        }
}

// Components at unit amplitude, templates, and their Gram matrix, from the first-pass shapes.
template <class Team, class T>
XRF_FN void unit_components(Team team, const XrfProblem &q, Shared<T> &shared, Workspace<T> &w) {
    const int n = padded<Team>(q.count), k_max = linear_variables(q);
    switch_on(team, q, q.start, w);
    for (int k = 0; k < k_max; ++k) {
        T *column = shared.columns + (int64_t)k * n;
        if (k < q.n_components) {
            XRF_SHARE(team, i, k_max) w.amplitude[i] = i == k ? 1.0 : 0.0;
            team.sync();
            spectrum(team, q, q.start, w);
        }
        const double *of_template = q.templates + (int64_t)(k - q.n_components) * q.count;
        XRF_SHARE(team, c, n)
            column[c] = c >= q.count ? T(0) : k < q.n_components ? w.total[c] : T(of_template[c]);
        team.sync();
        if (team.leads()) find_reach_of<Team>(n, column, shared.reach + 2 * k);
    }
    weigh_start(team, q, shared, w);
    find_gram(team, q, shared);
}

// Linear amplitudes by weighted non-negative least squares against the shared components, into w.amplitude: a quadratic
// form in a box (box.cuh) with g = -C'v (y - b) and H = C'v C. Uses up the Jacobian's variables.
template <class Team, class T>
XRF_OUTLINE void solve_amplitudes(Team team, const XrfProblem &q, const Shared<T> &shared, Workspace<T> &w) {
    const int n = padded<Team>(q.count), k_max = linear_variables(q);
    Jacobian<T> &j = w.jacobian;
    const bool clip = q.clip_net_counts != 0;
    XRF_SIMD XRF_SHARE(team, c, n) {
        const T net = w.counts[c] - w.background[c];
        w.net[c] = shared.start_weight[c] * (clip && net < T(0) ? T(0) : net);
    }
    for (int k = 0; k < k_max; ++k) {
        const T *XRF_RESTRICT column = shared.columns + (int64_t)k * n;
        const int low = shared.reach[2 * k], high = shared.reach[2 * k + 1];
        T acc[Team::LANES] = {};
        for (int b = low + team.first(); b < high; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) acc[l] += column[b + l] * w.net[b + l];
        const T sum = team.sum(acc);
        if (team.leads()) j.gradient[k] = -(double)sum;
    }
    if (team.leads()) j.n = k_max;
    team.sync();
    XRF_SHARE(team, i, k_max * k_max) j.matrix[i] = shared.gram[i];
    XRF_SHARE(team, k, k_max) {
        const double size = shared.gram[k * k_max + k];
        j.scale[k] = size > 0 ? 1 / sqrt(size) : 0.0;
        j.x[k] = j.lower[k] = 0;
        j.upper[k] = 1e30;
        j.state[k] = !(size > 0) ? BOX_FIXED : j.gradient[k] < 0 ? BOX_FREE : BOX_LOWER;
    }
    team.sync();
    solve_box(team, 0, j);
    XRF_SHARE(team, k, k_max) w.amplitude[k] = j.step[k] > 0 ? j.step[k] : 0.0;
    team.sync();
}

// Chooses the columns of a spectrum's variables. Where no shape is free or another than the first pass's, they are what
// all spectra share, and nothing has to be switched on.
template <class Team, class T>
XRF_FN void take_columns(Team team, const XrfProblem &q, const Shared<T> &shared, Workspace<T> &w) {
    bool another = false;
    XRF_SHARE(team, p, N_PARAMETERS) another = another || q.free[p] || w.variables[p] != q.start[p];
    another = team.any(another);
    choose_columns(team, q, w);
    Jacobian<T> &j = w.jacobian;
    const int n = padded<Team>(q.count);
    for (int k = q.n_components; another && k < linear_variables(q); ++k)
        XRF_SHARE(team, c, n) j.own[(int64_t)k * j.stride + c] = shared.columns[(int64_t)k * n + c];
    XRF_SHARE(team, k, linear_variables(q)) {
        j.low[k] = shared.reach[2 * k];
        j.high[k] = shared.reach[2 * k + 1];
    }
    team.sync();
    if (another) return;
    if (team.leads()) {
        j.column = shared.columns;
        j.stride = n;
        j.stay = true;
        w.model = w.total;  // with escape
        w.si_escape = w.ge_escape = false;
    }
    team.sync();
}

// The background made of templates, with w.amplitude.
template <class Team, class T> XRF_OUTLINE void mix_templates(Team team, const XrfProblem &q, Workspace<T> &w) {
    if (q.n_templates == 0) return;
    XRF_SHARE(team, c, q.count) {
        double sum = 0;
        for (int t = 0; t < q.n_templates; ++t) sum += w.amplitude[q.n_components + t] * q.templates[(int64_t)t * q.count + c];
        w.background[c] = T(sum);
    }
    team.sync();
}

// dL/d log10 amplitudes of the templates, from w.weight, into w.gradient.
template <class Team, class T> XRF_OUTLINE void pull_templates(Team team, const XrfProblem &q, Workspace<T> &w) {
    for (int t = 0; t < q.n_templates; ++t) {
        double sum = 0;
        XRF_SHARE(team, c, q.count) sum += (double)w.weight[c] * q.templates[(int64_t)t * q.count + c];
        sum = team.sum(sum);
        const int k = q.n_components + t;
        if (team.leads()) w.gradient[N_PARAMETERS + k] = sum * w.amplitude[k] * log_ten();
    }
    team.sync();
}
