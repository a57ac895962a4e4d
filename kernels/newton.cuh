// Newton's method on linear amplitudes and free shapes, in their box: amplitudes are not below 0.
//
// With r = dM'/d variable (columns.cuh), s = half the slope of the un-normalised objective by the model and k its
// half curvature, a step d minimises  g'd + d'H d / 2  inside the box (box.cuh),  g = r's,  H = r'k r:
//
//             s             k
//   poisson   1 - y / m     1 / m in the first two steps (Fisher), then y / m^2 and a thousandth of 1 / m
//   squares   v (m - y)     v                                      (Gauss-Newton)
//
// The second derivative of the model, which this leaves out, is learnt from the last steps (BFGS). The step is halved until the objective falls as it should; where
// it never does, the diagonal of H grows tenfold from a thousandth on (Levenberg).
#pragma once
#include "box.cuh"
#include "columns.cuh"
#include "objective.cuh"

XRF_FN int fisher_steps() { return 2; }
// Steps that are remembered; see learn.
XRF_FN int lessons() { return 4; }
// Escape moves by whole channels, which are found anew in the first steps and stay then, so that a fit can end.
XRF_FN int escape_steps() { return 3; }
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

// What the priors add to g and H at x.
template <class Team, class T> XRF_FN void add_priors(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    XRF_SHARE(team, f, j.shapes) {
        const int p = j.parameter[f], i = q.n_components + f;
        if (!has_prior(q, p)) continue;
        const double stiffness = prior_stiffness(q, w, p);
        j.gradient[i] += stiffness * (j.x[i] - q.prior[p]);
        j.matrix[i * j.n + i] += stiffness;
    }
    team.sync();
}

// Half the un-normalised objective of w.total and shapes v; its slope by the model is left in w.weight.
template <class Team, class T>
XRF_OUTLINE double half_objective(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    T halves[Team::LANES] = {};
    const bool poisson = q.objective == XRF_POISSON;
    const T floor = w.floor;
    const T *XRF_RESTRICT total = w.total, *XRF_RESTRICT background = w.background, *XRF_RESTRICT counts = w.counts,
            *XRF_RESTRICT trust = w.trust;
    T *XRF_RESTRICT slope = w.weight;
    const int n = padded<Team>(q.count);
    if (poisson) {
        for (int b = team.first(); b < n; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) {
                const int c = b + l;
                const T inside = c < q.count ? T(1) : T(0), y = counts[c];
                const T m = expected(total[c] + background[c], floor);
                slope[c] = inside * (m - y) / m;
                halves[l] += inside * half_deviance(m, y);
            }
    } else {
        for (int b = team.first(); b < n; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) {
                const int c = b + l;
                const T inside = c < q.count ? T(1) : T(0), r = inside * (total[c] + background[c] - counts[c]);
                slope[c] = trust[c] * r;
                halves[l] += T(0.5) * trust[c] * r * r;
            }
    }
    return (double)team.sum(halves) + 0.5 * prior_square(q, v, w);
}

// Curvature of the objective by the model, into the Jacobian's `curvature`.
template <class Team, class T>
XRF_FN void find_curvature(Team team, const XrfProblem &q, bool fisher, Workspace<T> &w) {
    T *XRF_RESTRICT curvature = w.jacobian.curvature;
    const bool poisson = q.objective == XRF_POISSON;
    XRF_SIMD XRF_SHARE(team, c, padded<Team>(q.count)) {
        const T m = expected(w.total[c] + w.background[c], w.floor), inverse = T(1) / m;
        const T likely = fisher ? inverse : (w.counts[c] * inverse + T(1e-3)) * inverse;
        curvature[c] = c < q.count ? (poisson ? likely : w.trust[c]) : T(0);
    }
    team.sync();
}

// Scalar products of a with columns first .. n of the Jacobian over channels where they meet, into row [n].
template <class Team, class T>
XRF_OUTLINE void products(Team team, const Jacobian<T> &j, const T *XRF_RESTRICT a, int low, int high, int first, double *row) {
    for (int k = first; k < j.n;) {
        const int l0 = low > j.low[k] ? low : j.low[k], h0 = high < j.high[k] ? high : j.high[k];
        const T *XRF_RESTRICT b0 = j.column + (int64_t)k * j.stride;
        const bool four = k + 3 < j.n && k >= j.n - j.shapes;  // the shapes' columns reach alike
        if (!four) {
            double sum = 0;
            if (l0 < h0) {
                T acc[Team::LANES] = {};
                for (int b = l0 + team.first(); b < h0; b += Team::BLOCK)
                    XRF_EACH_LANE(team, l) acc[l] += a[b + l] * b0[b + l];
                sum = (double)team.sum(acc);
            }
            if (team.leads()) row[k] = sum;
            ++k;
            continue;
        }
        const T *XRF_RESTRICT b1 = b0 + j.stride, *XRF_RESTRICT b2 = b1 + j.stride, *XRF_RESTRICT b3 = b2 + j.stride;
        T s0[Team::LANES] = {}, s1[Team::LANES] = {}, s2[Team::LANES] = {}, s3[Team::LANES] = {};
        for (int b = l0 + team.first(); b < h0; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) {
                const T x = a[b + l];
                s0[l] += x * b0[b + l];
                s1[l] += x * b1[b + l];
                s2[l] += x * b2[b + l];
                s3[l] += x * b3[b + l];
            }
        const double sums[4] = {(double)team.sum(s0), (double)team.sum(s1), (double)team.sum(s2), (double)team.sum(s3)};
        if (team.leads())
            for (int i = 0; i < 4; ++i) row[k + i] = sums[i];
        k += 4;
    }
}

// Column k times an array over the channels, into the Jacobian's `weighted`.
template <class Team, class T> XRF_FN void weigh_column(Team team, Jacobian<T> &j, int k, const T *XRF_RESTRICT by) {
    const T *XRF_RESTRICT column = j.column + (int64_t)k * j.stride;
    T *XRF_RESTRICT weighted = j.weighted;
    for (int b = j.low[k] + team.first(); b < j.high[k]; b += Team::BLOCK)
        XRF_EACH_LANE(team, l) weighted[b + l] = by[b + l] * column[b + l];
}

// r'k r into `matrix` [n, n].
template <class Team, class T> XRF_FN void normal_matrix(Team team, Jacobian<T> &j, const T *by, double *matrix) {
    const int n = j.n;
    for (int k = 0; k < n; ++k) {
        weigh_column(team, j, k, by);
        products(team, j, j.weighted, j.low[k], j.high[k], k, matrix + k * n);
    }
    team.sync();
    XRF_SHARE(team, i, n)
        for (int k = 0; k < i; ++k) matrix[i * n + k] = matrix[k * n + i];
    team.sync();
}

// The past of a fit teaches what r'k r leaves out: each remembered step d, along which the gradient changed by y,
// makes H d = y (BFGS; damped where y has too little curvature, Powell 1978), the latest last.
template <class Team, class T> XRF_OUTLINE void learn(Team team, Jacobian<T> &j) {
    const int n = j.n;
    for (int k = j.taught > lessons() ? j.taught - lessons() : 0; k < j.taught; ++k) {
        const double *d = j.moved + k % lessons() * n, *y = j.turned + k % lessons() * n;
        double *hd = j.solution;
        XRF_SHARE(team, i, n) {
            double sum = 0;
            for (int l = 0; l < n; ++l) sum += j.matrix[i * n + l] * d[l];
            hd[i] = sum;
        }
        team.sync();
        double dhd = 0, dy = 0;
        for (int i = 0; i < n; ++i) {
            dhd += d[i] * hd[i];
            dy += d[i] * y[i];
        }
        if (dhd > 0) {
            const double part = dy < 0.2 * dhd ? 0.8 * dhd / (dhd - dy) : 1.0;
            const double of_old = 1 / dhd, of_new = 1 / (part * dy + (1 - part) * dhd);
            XRF_SHARE(team, i, n) {
                const double to = part * y[i] + (1 - part) * hd[i];
                for (int l = 0; l < n; ++l)
                    j.matrix[i * n + l] += of_new * to * (part * y[l] + (1 - part) * hd[l]) - of_old * hd[i] * hd[l];
            }
        }
        team.sync();
    }
}

// Remembers the step that led here, when the objective is still the same.
template <class Team, class T> XRF_FN void remember(Team team, bool comparable, Jacobian<T> &j) {
    const int n = j.n;
    const int at = j.taught % lessons() * n;
    team.sync();
    XRF_SHARE(team, i, n) {
        j.moved[at + i] = j.x[i] - j.last_x[i];
        j.turned[at + i] = j.gradient[i] - j.last_gradient[i];
        j.last_x[i] = j.x[i];
        j.last_gradient[i] = j.gradient[i];
    }
    if (team.leads()) j.taught += comparable ? 1 : 0;
    team.sync();
}

// g and H at the last columns, with w.weight and `curvature`; and the scale that makes H_ii 1. What has no
// curvature is fixed.
template <class Team, class T>
XRF_OUTLINE void normal_equations(Team team, const XrfProblem &q, bool comparable, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int n = j.n, end = padded<Team>(q.count);
    normal_matrix(team, j, j.curvature, j.matrix);
    products(team, j, w.weight, 0, end, 0, j.gradient);
    team.sync();
    add_priors(team, q, w);
    remember(team, comparable, j);
    learn(team, j);
    XRF_SHARE(team, i, n) {
        const double h = j.matrix[i * n + i];
        const bool matters = h > 0 && j.lower[i] < j.upper[i];
        j.scale[i] = h > 0 ? 1 / sqrt(h) : 0.0;
        const int now = j.x[i] <= j.lower[i] && j.gradient[i] > 0   ? BOX_LOWER
                        : j.x[i] >= j.upper[i] && j.gradient[i] < 0 ? BOX_UPPER
                                                                    : BOX_FREE;
        j.state[i] = matters ? now : BOX_FIXED;
    }
    team.sync();
}

// How a step is expected to change half the objective: by the quadratic form, and at first.
struct Promise {
    double change, slope;
};

template <class Team, class T> XRF_OUTLINE Promise promise_of(Team team, const Jacobian<T> &j) {
    double slope = 0, bend = 0;
    for (int i = 0; i < j.n; ++i) {
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

// The variables where a fit starts: w.amplitude and the free shapes of v.
template <class Team, class T> XRF_FN void begin_newton(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    choose_columns(team, q, w);
    XRF_SHARE(team, k, q.n_components) {
        const bool free = q.free[N_PARAMETERS + k] != 0;
        j.x[k] = w.amplitude[k];
        j.lower[k] = free ? 0.0 : j.x[k];
        j.upper[k] = free ? 1e30 : j.x[k];
    }
    XRF_SHARE(team, f, j.shapes) {
        const int p = j.parameter[f], i = q.n_components + f;
        j.x[i] = v[p];
        j.lower[i] = q.lower[p];
        j.upper[i] = q.upper[p];
    }
    XRF_SHARE(team, i, j.n) j.step[i] = j.trial[i] = 0;
    if (team.leads()) j.taught = 0;
    team.sync();
}

// Newton from w.amplitude and w.variables, which become those of the end; columns, w.total and w.weight are those of
// the end too. Returns the status.
template <class Team, class T>
XRF_FN int32_t run_newton(Team team, const XrfProblem &q, Workspace<T> &w, int32_t *steps) {
    Jacobian<T> &j = w.jacobian;
    double *v = w.variables;
    begin_newton(team, q, v, w);
    place_escape(team, q, v, w);
    double half = half_at(team, q, 0, v, w);
    int32_t status = XRF_STEP_LIMIT, step = 0;
    bool same = true;  // as before the last step: where photons escape to
    for (; step < q.steps; ++step) {
        if (!is_finite(half)) {
            status = XRF_DIVERGED;
            break;
        }
        const bool renewed = renew_trust(team, q, w);
        if (renewed) half = half_objective(team, q, v, w);
        find_curvature(team, q, step < fisher_steps(), w);
        normal_equations(team, q, step > 0 && same && !renewed, w);
        bool sound = solve_box(team, 0, j), moved = false;
        const Promise promise = promise_of(team, j);
        if (-promise.change <= least_gain(T()) * half + least_gain_of_deviation(T()) * w.prior_scale) {
            half = half_at(team, q, 1, v, w);
            XRF_SHARE(team, i, j.n) j.x[i] = j.trial[i];
            team.sync();
            status = sound ? XRF_CONVERGED : XRF_SINGULAR;
            ++step;
            break;
        }
        moved = take_step(team, q, promise.slope, v, half, w);
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
        same = !(w.si_escape || w.ge_escape) || step + 1 >= escape_steps();
        if (!same) {
            place_escape(team, q, v, w);
            half = half_at(team, q, 0, v, w);
        }
    }
    *steps = step;
    XRF_SHARE(team, k, q.n_components) w.amplitude[k] = j.x[k];
    team.sync();
    return status;
}
