// Spectra of a tile, one after another, from and to the tile's arrays; for both engines.
#pragma once
#include "fit_spectrum.cuh"
#include "tile.h"

// Sums counts exactly, so that the order of spectra does not matter: in the units of src/engine/batch.rs' ExactSum,
// 2^-20 counts.
template <class T> XRF_FN void add_exactly(int64_t *sum, T counts) {
    const double most = 4611686018427387904.0, units = (double)counts * 1048576.0;  // 2^62
    add_together(sum, nearest(units < most ? units : most));
}

// Where the results of spectrum i go; what was fitted stays in the workspace.
template <class T> XRF_FN Found<T> found_of(const XrfProblem &q, const XrfTile &tile, int64_t i, Workspace<T> &w) {
    const int64_t variables = all_variables(q);
    T *fitted = w.net;  // the amplitudes' start is done with it
    return {tile.variables + i * variables, tile.sigma + i * variables, tile.signed_amplitudes + i * q.n_components,
            tile.limits ? tile.limits + i * 2 * q.n_components : nullptr, fitted, w.background};
}

// Counts of spectrum i [n_channels].
template <class T> XRF_FN const T *counts_of(const XrfProblem &q, const XrfTile &tile, int64_t i) {
    return (const T *)tile.counts + i * q.n_channels;
}

// Its background [count] where the tile gives one.
template <class T> XRF_FN const T *given_of(const XrfProblem &q, const XrfTile &tile, int64_t i) {
    return tile.background ? (const T *)tile.background + i * q.count : nullptr;
}

// Fits spectrum i; its deviations come after. Returns its status.
template <bool NEWTON, class Team, class T>
XRF_FN int32_t fit_nth(Team team, const XrfProblem &q, const XrfTile &tile, const Shared<T> &shared, int64_t i,
                       Workspace<T> &w) {
    const double *start = tile.start + i * tile.start_stride;
    const Found<T> found = found_of(q, tile, i, w);
    const Verdict v = fit_spectrum<NEWTON>(team, q, shared, counts_of<T>(q, tile, i), given_of<T>(q, tile, i), start, found, w);
    if (team.leads()) {
        tile.objective[i] = v.objective;
        tile.r_squared[i] = v.r_squared;
        tile.r_squared_log[i] = v.r_squared_log;
        tile.deviance[i] = v.deviance;
        tile.background_counts[i] = v.background_counts;
        tile.steps[i] = v.steps;
        tile.status[i] = v.status;
    }
    if (is_fitted(v.status)) {
        int64_t *fitted = tile.fitted_sum, *background = tile.background_sum;
        XRF_SIMD XRF_SHARE(team, c, q.count) {
            add_exactly(fitted + c, found.fitted[c]);
            add_exactly(background + c, found.background[c]);
        }
    }
    team.sync();
    return v.status;
}
