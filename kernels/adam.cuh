// Adam (Kingma & Ba 2015, algorithm 1), one learning rate per variable, bounds by projection.
//
//   m <- 0.9 m + 0.1 g,  v <- 0.999 v + 0.001 g^2
//   x <- x - rate m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + 1e-8)
#pragma once
#include "workspace.cuh"

struct AdamClock {
    double beta1, beta2;  // 0.9^t, 0.999^t
};

template <class Team, class T> XRF_FN AdamClock adam_begin(Team team, int n, Workspace<T> &w) {
    XRF_SHARE(team, i, n) w.moment1[i] = w.moment2[i] = 0;
    return {1, 1};
}

// One step on the free variables x [n] with w.gradient.
template <class Team, class T>
XRF_OUTLINE void adam_step(Team team, const XrfProblem &q, int n, AdamClock &t, double *XRF_RESTRICT x, Workspace<T> &w) {
    t.beta1 *= 0.9;
    t.beta2 *= 0.999;
    const double c1 = 1 / (1 - t.beta1), c2 = 1 / (1 - t.beta2);
    double *XRF_RESTRICT m = w.moment1, *XRF_RESTRICT v = w.moment2;
    const double *XRF_RESTRICT gradient = w.gradient;
    XRF_SIMD XRF_SHARE(team, i, n) {
        const double g = gradient[i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.999 * v[i] + 0.001 * g * g;
        const double moved = x[i] - q.rate[i] * c1 * m[i] / (sqrt(v[i] * c2) + 1e-8);
        const double bounded = moved < q.lower[i] ? q.lower[i] : moved > q.upper[i] ? q.upper[i] : moved;
        x[i] = q.free[i] ? bounded : x[i];
    }
    team.sync();
}
