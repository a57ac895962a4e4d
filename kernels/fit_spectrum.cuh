// One spectrum from its counts to its fit: background, start amplitudes, optimiser, verdict.
#pragma once
#include "adam.cuh"
#include "shared.cuh"

// The result beside the variables.
struct Verdict {
    double objective, r_squared, r_squared_log, deviance, background_counts;
    int32_t steps, status;
};

// Does a spectrum that ended so have a fit?
XRF_FN bool is_fitted(int32_t status) {
    return status == XRF_CONVERGED || status == XRF_STEP_LIMIT || status == XRF_NO_DESCENT || status == XRF_SINGULAR;
}

// Do the variables that were found have deviations?
XRF_FN bool has_errors(const XrfProblem &q, int32_t status) { return q.optimizer != XRF_NNLS && is_fitted(status); }

// Where the result goes.
template <class T> struct Found {
    double *variables;          // [variables] shape parameters, then linear amplitudes [counts]
    double *sigma;              // [variables] their standard deviations; see errors.cuh
    double *signed_amplitudes;  // [K]
    double *limits;             // [2 K], or null
    T *fitted, *background;     // [count], background included in fitted
};

// Smallest start amplitude [counts]: from log10(0) no optimiser returns.
XRF_FN double least_start() { return 0.1; }
// Adam looks back this many steps for progress.
XRF_FN int patience() { return 50; }

// Counts that no channel has: their products are still numbers.
template <class T> XRF_FN T most_counts() { return T(1e18); }

// Counts of the window into the workspace; what makes a spectrum unfit for a fit is its status.
template <class Team, class T>
XRF_CALL int32_t load_counts(Team team, const XrfProblem &q, const T *XRF_RESTRICT counts, Workspace<T> &w) {
    T *XRF_RESTRICT into = w.counts;
    const T limit = T(q.saturation);
    T good[Team::LANES] = {}, high[Team::LANES] = {}, some[Team::LANES] = {};
    const int n = padded<Team>(q.count), whole = q.count / Team::BLOCK * Team::BLOCK;
    const auto take = [&](int c, int j, T y) {
        into[c] = y;
        good[j] += y >= T(0) && y < most_counts<T>() ? T(1) : T(0);
        high[j] += y >= limit ? T(1) : T(0);
        some[j] += y > T(0) ? T(1) : T(0);
    };
    for (int b = team.first(); b < whole; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) take(b + j, j, counts[q.first + b + j]);
    for (int b = whole + team.first(); b < n + Team::BLOCK; b += Team::BLOCK)
        for (int j = 0; j < Team::LANES; ++j) take(b + j, j, b + j < q.count ? counts[q.first + b + j] : T(0));
    const bool finite = team.sum(good) == T(n + Team::BLOCK), saturated = team.sum(high) > T(0);
    return !finite ? XRF_NOT_FINITE : saturated ? XRF_SATURATED : team.sum(some) > T(0) ? XRF_CONVERGED : XRF_EMPTY;
}

// The spectrum at variables v, amplitudes from w.amplitude, and weights of the objective that follow it.
template <class Team, class T> XRF_FN void spectrum_anew(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    spectrum(team, q, v, w);
    renew_trust(team, q, w);
}

// Adam from w.variables; the best variables that were visited are left there. Returns the status.
template <class Team, class T>
XRF_FN int32_t run_adam(Team team, const XrfProblem &q, Workspace<T> &w, int32_t *steps) {
    const int n = all_variables(q);
    double *v = w.variables, best = 0, before = 0;
    AdamClock clock = adam_begin(team, n, w);
    int32_t status = XRF_STEP_LIMIT, step = 0;
    for (;; ++step) {
        linear_amplitudes(team, q, v, w);
        spectrum(team, q, v, w);
        mix_templates(team, q, w);
        const double loss = objective(team, q, v, w, near_pointer(w.weight));
        if (!is_finite(loss)) {
            status = XRF_DIVERGED;
            break;
        }
        if (step == 0 || loss < best) {
            best = loss;
            XRF_SHARE(team, i, n) w.best[i] = v[i];
        }
        if (step == q.steps) break;
        if (step % patience() == 0) {
            if (q.tolerance > 0 && step > 0 && before - best <= q.tolerance * before) {
                status = XRF_CONVERGED;
                break;
            }
            if (follows_model(q)) {
                spectrum_anew(team, q, v, w);
                best = objective(team, q, v, w, near_pointer(w.weight));
                XRF_SHARE(team, i, n) w.best[i] = v[i];
            }
            before = best;
        }
        pull_templates(team, q, w);
        spectrum_adjoint(team, q, v, w);
        pull_priors(team, q, v, w, w.gradient);
        adam_step(team, q, n, clock, v, w);
    }
    *steps = step;
    team.sync();
    XRF_SHARE(team, i, n) v[i] = w.best[i];
    team.sync();
    return status;
}

// The background of the window, frozen for the fit, zero beyond it; that of templates is found by the fit.
template <class Team, class T>
XRF_CALL void find_background(Team team, const XrfProblem &q, const SnipPlan &plan, const T *counts,
                            const T *given, Workspace<T> &w) {
    const int n = padded<Team>(q.count);
    if (q.background == XRF_BACKGROUND_SNIP) snip(team, q, plan, counts, w.background, w.scratch);
    XRF_SHARE(team, c, n + Team::BLOCK) {
        const T b = c >= q.count                              ? T(0)
                    : q.background == XRF_BACKGROUND_GIVEN ? given[c]
                    : q.background == XRF_BACKGROUND_SNIP  ? w.background[c]
                                                           : T(0);
        w.background[c] = b - b == T(0) ? b : T(0);
    }
}

// Fits one spectrum: by Newton, or by Adam or non-negative least squares. Deviations are left NaN; see errors_of_spectrum.
//
//   counts     [n_channels]  as recorded
//   given      [count]       background, where the problem says it is given
//   start      [variables]   shape parameters and log10 amplitudes
template <bool NEWTON, class Team, class T>
XRF_FN Verdict fit_spectrum(Team team, const XrfProblem &q, const Shared<T> &shared, const T *counts, const T *given,
                            const double *start, const Found<T> &out, Workspace<T> &w) {
    const int n = all_variables(q);
    const double nan = 0.0 / 0.0;
    Verdict r = {nan, nan, nan, nan, nan, 0, XRF_EMPTY};
    XRF_SHARE(team, i, n) out.variables[i] = out.sigma[i] = nan;
    XRF_SHARE(team, k, q.n_components) out.signed_amplitudes[k] = nan;
    if (out.limits) XRF_SHARE(team, k, 2 * q.n_components) out.limits[k] = nan;
    r.status = load_counts(team, q, counts, w);
    if (r.status != XRF_CONVERGED) return r;
    find_background(team, q, shared.snip, counts, given, w);
    meet_spectrum(team, q, counts, w);
    XRF_SHARE(team, i, n) w.variables[i] = q.free[i] ? clamped(start[i], q.lower[i], q.upper[i]) : start[i];
    team.sync();
    if (!NEWTON) switch_on(team, q, w.variables, w);
    if (q.start_amplitudes || q.optimizer == XRF_NNLS) solve_amplitudes(team, q, shared, w);
    if (NEWTON) take_columns(team, q, shared, w);
    if (NEWTON && !w.jacobian.stay) switch_on(team, q, w.variables, w);
    if (!NEWTON && q.optimizer == XRF_ADAM) {
        if (q.start_amplitudes)
            XRF_SHARE(team, k, linear_variables(q)) {
                const double amplitude = w.amplitude[k] > least_start() ? w.amplitude[k] : least_start();
                w.variables[N_PARAMETERS + k] = logarithm(amplitude) / log_ten();
            }
        team.sync();
        r.status = run_adam(team, q, w, &r.steps);
        if (r.status == XRF_DIVERGED) return r;
        linear_amplitudes(team, q, w.variables, w);
    }
    if (NEWTON) {
        if (!q.start_amplitudes) linear_amplitudes(team, q, w.variables, w);
        const NewtonEnd end = run_newton(team, q, w);
        r.objective = 2 * end.half / q.count;
        r.steps = end.steps;
        r.status = end.status;
    } else {
        mix_templates(team, q, w);
        spectrum_anew(team, q, w.variables, w);
        r.objective = objective(team, q, w.variables, w, w.scratch);
    }
    if (!is_finite(r.objective)) {
        r.status = XRF_DIVERGED;
        return r;
    }
    const Quality quality = r_squared(team, q.count, w.total, w.background, w.counts, w.scratch);
    r.r_squared = quality.r_squared;
    r.r_squared_log = quality.r_squared_log;
    r.deviance = reduced_deviance(team, q, w.variables, r.objective, w);
    r.background_counts = sum_of(team, q.count, w.background);
    XRF_SHARE(team, i, N_PARAMETERS) out.variables[i] = w.variables[i];
    XRF_SHARE(team, k, linear_variables(q)) out.variables[N_PARAMETERS + k] = w.amplitude[k];
    XRF_SHARE(team, c, q.count) {
        out.fitted[c] = w.total[c] + w.background[c];
        out.background[c] = w.background[c];
    }
    return r;
}

// Deviations, signed amplitudes and limits where the columns are those of the end of a fit.
template <class Team, class T>
XRF_FN void errors_of_fit(Team team, const XrfProblem &q, const Found<T> &out, Workspace<T> &w) {
    const int chosen = find_errors(team, q, out.sigma, out.signed_amplitudes, w);
    if (out.limits) find_limits(team, q, chosen, out.signed_amplitudes, out.limits, w);
}

// The same of a spectrum that was fitted, from out.variables. The workspace may be another's.
template <class Team, class T>
XRF_FN void errors_of_spectrum(Team team, const XrfProblem &q, const Shared<T> &shared, const T *counts, const T *given,
                               const Found<T> &out, Workspace<T> &w) {
    load_counts(team, q, counts, w);
    find_background(team, q, shared.snip, counts, given, w);
    meet_spectrum(team, q, counts, w);
    XRF_SHARE(team, i, N_PARAMETERS) w.variables[i] = out.variables[i];
    XRF_SHARE(team, k, linear_variables(q)) w.amplitude[k] = out.variables[N_PARAMETERS + k];
    team.sync();
    take_columns(team, q, shared, w);
    if (!w.jacobian.stay) switch_on(team, q, w.variables, w);
    find_columns(team, q, w);
    errors_of_fit(team, q, out, w);
}

// The model at variables v: total [count], every component [K, count] without escape or null, gradient of the
// objective [variables] or null; returns the objective. No counts or no background counts as zeros.
template <class Team, class T>
XRF_FN double evaluate_spectrum(Team team, const XrfProblem &q, const T *counts, const T *given, const double *v,
                                T *total, T *components, double *gradient, Workspace<T> &w) {
    switch_on(team, q, v, w);
    XRF_SHARE(team, c, padded<Team>(q.count)) {
        w.counts[c] = counts && c < q.count ? counts[q.first + c] : T(0);
        w.background[c] = given && c < q.count ? given[c] : T(0);
    }
    team.sync();
    meet_spectrum(team, q, counts, w);
    linear_amplitudes(team, q, v, w);
    mix_templates(team, q, w);
    for (int k = 0; components && k < q.n_components; ++k) {
        linear_amplitudes(team, q, v, w);
        XRF_SHARE(team, i, q.n_components) w.amplitude[i] = i == k ? w.amplitude[i] : 0.0;
        team.sync();
        spectrum(team, q, v, w);
        XRF_SHARE(team, c, q.count) components[(int64_t)k * q.count + c] = w.model[c];
    }
    linear_amplitudes(team, q, v, w);
    spectrum_anew(team, q, v, w);
    XRF_SHARE(team, c, q.count) total[c] = w.total[c];
    const double loss = objective(team, q, v, w, near_pointer(w.weight));
    if (gradient) {
        pull_templates(team, q, w);
        spectrum_adjoint(team, q, v, w);
        pull_priors(team, q, v, w, w.gradient);
        XRF_SHARE(team, i, all_variables(q)) gradient[i] = w.gradient[i];
    }
    team.sync();
    return loss;
}
