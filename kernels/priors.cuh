// What is known of shape parameters before the fit: Gaussians of centre p0 and standard deviation s.
//
//   n L <- n L + sum over free shapes of v ((p - p0) / s)^2,     dL/dp <- dL/dp + 2 v (p - p0) / (n s^2)
//
// v is the variance that makes a square of the objective's an even one: 1 for a deviance and for squares over expected
// counts; the mean of weight times counts for other squares.
#pragma once
#include "workspace.cuh"

// Is the weight of a channel's square its inverse variance?
XRF_FN bool is_likely(const XrfProblem &q) {
    return q.objective == XRF_POISSON || (q.objective == XRF_CHI2 && q.weights == XRF_WEIGHTS_EXPECTED);
}

// v of a spectrum whose counts and trust are in the workspace.
template <class Team, class T> XRF_FN double prior_scale(Team team, const XrfProblem &q, const Workspace<T> &w) {
    if (is_likely(q)) return 1.0;
    T sums[Team::LANES] = {};
    for (int b = team.first(); b < q.count; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) sums[j] += b + j < q.count ? w.trust[b + j] * w.counts[b + j] : T(0);
    return (double)team.sum(sums) / q.count;
}

XRF_FN bool has_prior(const XrfProblem &q, int p) { return q.free[p] && q.prior_width[p] > 0; }

// v / s^2
template <class T> XRF_FN double prior_stiffness(const XrfProblem &q, const Workspace<T> &w, int p) {
    return w.prior_scale / (q.prior_width[p] * q.prior_width[p]);
}

// sum of v ((p - p0) / s)^2 at parameters v.
template <class T> XRF_FN double prior_square(const XrfProblem &q, const double *v, const Workspace<T> &w) {
    double sum = 0;
    for (int p = 0; p < N_PARAMETERS; ++p)
        if (has_prior(q, p)) sum += prior_stiffness(q, w, p) * (v[p] - q.prior[p]) * (v[p] - q.prior[p]);
    return sum;
}

// Their share of dL/dp, added to `gradient`.
template <class Team, class T>
XRF_OUTLINE void pull_priors(Team team, const XrfProblem &q, const double *v, const Workspace<T> &w, double *gradient) {
    XRF_SHARE(team, p, N_PARAMETERS)
        if (has_prior(q, p)) gradient[p] += 2 * prior_stiffness(q, w, p) * (v[p] - q.prior[p]) / q.count;
    team.sync();
}
