// Newton's method on linear amplitudes and free shapes, in their box: amplitudes are not below 0.
//
// With r = dM'/d variable (columns.cuh), s = half the slope of the un-normalised objective by the model and k its
// half curvature, a step d minimises  g'd + d'H d / 2  inside the box (box.cuh),  g = r's,  H = r'k r:
//
//             s             k
//   poisson   1 - y / m     1 / m at first (Fisher), then y / m^2 and a thousandth of 1 / m
//   squares   v (m - y)     v                                      (Gauss-Newton)
//
// The second derivative of the model, which this leaves out, is learnt from the last steps (BFGS). The step is halved
// until the objective falls as it should; where it never does, the diagonal of H grows tenfold from a thousandth on
// (Levenberg).
#pragma once
#include "normal.cuh"

// Steps with the expected curvature: a linear model is near enough after the first.
XRF_FN int fisher_steps(bool linear) { return linear ? 1 : 2; }
// Escape moves by whole channels, which are found anew in the first steps and stay then, so that a fit can end.
XRF_FN int escape_steps() { return 3; }
// So many steps in a row whose gain rounding hides end a fit too.
XRF_FN int idle_steps() { return 4; }
XRF_FN int halvings() { return 10; }
// A fit ends when a step would lower half the objective by less than this part of it and this part of what a
// standard deviation makes. By a step that gains e a variable moves sqrt(2 e) of its standard deviation at most.
XRF_FN double least_gain(float) { return 1e-8; }
XRF_FN double least_gain(double) { return 1e-11; }
XRF_FN double least_gain_of_deviation(float) { return 1e-7; }
XRF_FN double least_gain_of_deviation(double) { return 1e-10; }
// Differences of the objective below this part of it are rounding.
XRF_FN double rounding_of(float) { return 2e-6; }
XRF_FN double rounding_of(double) { return 1e-12; }

XRF_FN bool is_finite(double x) { return x - x == 0; }

// How a step is expected to change half the objective: by the quadratic form, and at first.
struct Promise {
    double change, slope;
};

template <class Team, class T> XRF_OUTLINE Promise promise_of(Team team, const Jacobian<T> &j) {
    double slope = 0, bend = 0;
    for (int i = 0; i < j.n; ++i) {
        if (j.step[i] == 0) continue;
        const double *row = j.matrix + i * j.n;
        double h = 0;
        for (int k = 0; k < j.n; ++k) h += row[k] * j.step[k];
        slope += j.gradient[i] * j.step[i];
        bend += 0.5 * h * j.step[i];
    }
    return {slope + bend, slope};
}

// Half the objective with a part of the step; columns, w.total and slope are then those of that place.
template <class Team, class T>
XRF_OUTLINE double half_at(Team team, const XrfProblem &q, double part, double *v, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    XRF_SHARE(team, i, j.n) {
        const double x = j.x[i] + part * j.step[i];
        const bool whole = part == 1;
        j.trial[i] = whole && j.state[i] == BOX_LOWER   ? j.lower[i]
                     : whole && j.state[i] == BOX_UPPER ? j.upper[i]
                                                        : clamped(x, j.lower[i], j.upper[i]);
    }
    team.sync();
    columns(team, q, v, w);
    return half_objective(team, q, v, w);
}

// A step from j.x with the best part of it that lowers the objective; false when none does. `half` becomes that of
// the new place.
template <class Team, class T>
XRF_OUTLINE bool take_step(Team team, const XrfProblem &q, double slope, double *v, double &half, Workspace<T> &w) {
    double part = 1;
    for (int i = 0; i < halvings(); ++i, part *= 0.5) {
        const double there = half_at(team, q, part, v, w);
        if (there <= half + 1e-4 * part * slope + rounding_of(T()) * half) {
            half = there;
            XRF_SHARE(team, k, w.jacobian.n) w.jacobian.x[k] = w.jacobian.trial[k];
            team.sync();
            return true;
        }
    }
    return false;
}

// The whole step, unless it does more harm than rounding.
template <class Team, class T>
XRF_OUTLINE bool take_last_step(Team team, const XrfProblem &q, double *v, double &half, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const double there = half_at(team, q, 1, v, w);
    if (!(there <= half + rounding_of(T()) * half)) return false;
    half = there;
    XRF_SHARE(team, i, j.n) j.x[i] = j.trial[i];
    team.sync();
    return true;
}

// Steps after which the model is near the counts: one from amplitudes that were solved for, two from any.
XRF_FN int steps_until_near(const XrfProblem &q) { return q.start_amplitudes ? 1 : 2; }

// The last step of a linear model with the factor of the step before, if that is enough: H changes little there, once the
// model is near the counts.
template <class Team, class T>
XRF_OUTLINE bool end_by_factor(Team team, const XrfProblem &q, double enough, double *v, double &half, Workspace<T> &w) {
    if (gain_by_factor(team, w.jacobian) > enough) return false;
    solve_again(team, w.jacobian);
    if (take_last_step(team, q, v, half, w)) return true;
    half_at(team, q, 0, v, w);
    return false;
}

// The variables where a fit starts: w.amplitude and the free shapes of v. The columns are chosen.
template <class Team, class T> XRF_OUTLINE void begin_newton(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    XRF_SHARE(team, k, linear_variables(q)) {
        const bool free = q.free[N_PARAMETERS + k] != 0;
        j.x[k] = w.amplitude[k];
        j.lower[k] = free ? 0.0 : j.x[k];
        j.upper[k] = free ? 1e30 : j.x[k];
    }
    XRF_SHARE(team, f, j.shapes) {
        const int p = j.parameter[f], i = linear_variables(q) + f;
        j.x[i] = v[p];
        j.lower[i] = q.lower[p];
        j.upper[i] = q.upper[p];
    }
    XRF_SHARE(team, i, j.n) j.step[i] = j.trial[i] = 0;
    if (team.leads()) j.taught = 0;
    team.sync();
    if (!j.stay) place_escape(team, q, v, w);
}

// Where Newton ended, and half the objective there.
struct NewtonEnd {
    double half;
    int32_t steps, status;
};

// Newton from w.amplitude and w.variables, which become those of the end; columns, slope, trust and w.total are those
// of the end too.
template <class Team, class T> XRF_OUTLINE NewtonEnd run_newton(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    double *v = w.variables;
    begin_newton(team, q, v, w);
    double half = half_at(team, q, 0, v, w);
    int32_t status = XRF_STEP_LIMIT, step = 0;
    int idle = 0;      // steps in a row whose gain is lost in rounding
    bool same = true;  // as before the last step: where photons escape to
    bool sound = true;
    for (; step < q.steps; ++step) {
        if (!is_finite(half)) {
            status = XRF_DIVERGED;
            break;
        }
        const bool renewed = renew_trust(team, q, w);
        if (renewed) half = half_objective(team, q, v, w);
        const double enough = least_gain(T()) * half + least_gain_of_deviation(T()) * w.prior_scale;
        find_gradient(team, q, j);
        const bool linear = j.shapes == 0;
        if (linear && step >= steps_until_near(q) && sound && !renewed && end_by_factor(team, q, enough, v, half, w)) {
            status = XRF_CONVERGED;
            ++step;
            break;
        }
        find_curvature(team, q, step < fisher_steps(linear), w);
        normal_equations(team, q, step > 0 && same && !renewed, w);
        sound = solve_box(team, 0, j);
        const Promise promise = promise_of(team, j);
        idle = -promise.change <= rounding_of(T()) * half ? idle + 1 : 0;
        // a step that rounding spoilt is none to end with
        if ((idle > idle_steps() || -promise.change <= enough) && take_last_step(team, q, v, half, w)) {
            status = sound ? XRF_CONVERGED : XRF_SINGULAR;
            ++step;
            break;
        }
        bool moved = take_step(team, q, promise.slope, v, half, w);
        for (double damping = 1e-3; !moved && damping < 1e3; damping *= 10) {
            half_at(team, q, 0, v, w);
            solve_box(team, damping, j);
            moved = take_step(team, q, promise_of(team, j).slope, v, half, w);
        }
        if (!moved) {
            half_at(team, q, 0, v, w);
            status = XRF_NO_DESCENT;
            break;
        }
        same = !(has_escape(w)) || step + 1 >= escape_steps();
        if (!same) {
            place_escape(team, q, v, w);
            half = half_at(team, q, 0, v, w);
        }
    }
    XRF_SHARE(team, k, linear_variables(q)) w.amplitude[k] = j.x[k];
    team.sync();
    if (renew_trust(team, q, w)) half = half_objective(team, q, v, w);
    return {half, step, status};
}
