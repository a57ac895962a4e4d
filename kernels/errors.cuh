// How far a fit can be trusted: standard deviations of its amplitudes and free shapes, marginal over all others.
//
//   C = A^-1 B A^-1,  A = r'k r + P,  B = r'k^2 m r + P,   k the weight of a channel's square, m its variance,
//
// the expected counts, P the priors. For the deviance k = 1 / m, so C = A^-1, the inverse Fisher information. An
// amplitude at 0 keeps its column, so its deviation is that of a zero; and beside the amplitude stands what one free
// step from the end would make of it, A - (A^-1 g), which may be negative: the one to average over pixels.
//
// A variable without any effect, or one that others make up for, has none: NaN.
#pragma once
#include "newton.cuh"

// The variance that the curvature of the channels sees, k^2 m, into `drift`.
template <class Team, class T> XRF_FN void find_spread(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    XRF_SIMD XRF_SHARE(team, c, padded<Team>(q.count))
        j.drift[c] = j.curvature[c] * j.curvature[c] * expected(w.total[c] + w.background[c], w.floor);
    team.sync();
}

// Standard deviations of the free shapes and the amplitudes into sigma [variables] and the free step's amplitudes into
// signed_amplitudes [K], NaN where there is none; returns the number of variables that have one, j.chosen. Columns,
// slope and w.total are those of w.amplitude and w.variables' shapes.
template <class Team, class T>
XRF_OUTLINE int find_errors(Team team, const XrfProblem &q, double *sigma, double *signed_amplitudes, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int n = j.n, k_max = linear_variables(q);
    const double nan = 0.0 / 0.0;
    find_curvature(team, q, true, w);
    find_gradient(team, q, j);
    find_matrix(team, q, w);
    int m = 0;
    for (int i = 0; i < n; ++i) {
        const double h = j.matrix[i * n + i];
        if (team.leads()) j.scale[i] = h > 0 ? 1 / sqrt(h) : 0.0;
        if (!(h > 0) || !q.free[i < k_max ? N_PARAMETERS + i : j.parameter[i - k_max]]) continue;
        if (team.leads()) {
            j.chosen[m] = i;
            j.solution[m] = -j.gradient[i];
        }
        ++m;
    }
    XRF_SHARE(team, i, N_PARAMETERS + k_max) sigma[i] = nan;
    XRF_SHARE(team, k, q.n_components) signed_amplitudes[k] = nan;
    team.sync();
    factor_chosen(team, m, 0, j);
    solve_upper(team, m, j);
    invert_factor(team, m, j);
    const bool likely = is_likely(q);
    if (!likely) {  // B in place of A
        find_spread(team, q, w);
        normal_matrix(team, j, j.drift, j.matrix);
        XRF_SHARE(team, f, j.shapes) {
            const int p = j.parameter[f], i = k_max + f;
            if (has_prior(q, p)) j.matrix[i * n + i] += prior_stiffness(q, w, p);
        }
        team.sync();
    }
    XRF_SHARE(team, r, m) {
        const int i = j.chosen[r];
        double variance = 0;
        if (likely) {
            variance = inverse_at(team, m, j, r, r);
        } else {
            double *row = j.moved + r * m;  // row r of the scaled A^-1
            for (int s = 0; s < m; ++s) row[s] = inverse_at(team, m, j, r, s);
            for (int s = 0; s < m; ++s)
                for (int t = 0; t < m; ++t)
                    variance += row[s] * row[t] * j.matrix[j.chosen[s] * n + j.chosen[t]] * j.scale[j.chosen[s]] *
                                j.scale[j.chosen[t]];
        }
        const bool known = determined(team, m, j, r);
        sigma[i < k_max ? N_PARAMETERS + i : j.parameter[i - k_max]] = known ? sqrt(variance) * j.scale[i] : nan;
        if (i < q.n_components && known) signed_amplitudes[i] = j.x[i] + j.solution[r] * j.scale[i];
    }
    team.sync();
    return m;
}

// The columns, which are chosen, slope and weights at w.amplitude and w.variables, as Newton leaves them at its end.
template <class Team, class T> XRF_FN void find_columns(Team team, const XrfProblem &q, Workspace<T> &w) {
    begin_newton(team, q, w.variables, w);
    half_at(team, q, 0, w.variables, w);
    XRF_SHARE(team, k, linear_variables(q)) w.amplitude[k] = w.jacobian.x[k];
    team.sync();
    if (renew_trust(team, q, w)) half_objective(team, q, w.variables, w);
}
