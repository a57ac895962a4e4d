// The system of equations of a Newton step: g = r's and H = r'k r of the columns r, with the priors and with what the last
// steps taught. s and k are half the slope and half the curvature of the un-normalised objective by the model; see
// newton.cuh.
#pragma once
#include "box.cuh"
#include "columns.cuh"
#include "objective.cuh"

// Steps that are remembered; see learn.
XRF_FN int lessons() { return 4; }

// What the priors add to g and H at x.
template <class Team, class T> XRF_FN void add_priors(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    XRF_SHARE(team, f, j.shapes) {
        const int p = j.parameter[f], i = linear_variables(q) + f;
        if (!has_prior(q, p)) continue;
        const double stiffness = prior_stiffness(q, w, p);
        j.gradient[i] += stiffness * (j.x[i] - q.prior[p]);
        j.matrix[i * j.n + i] += stiffness;
    }
    team.sync();
}

// Half the un-normalised objective of w.total and shapes v; its slope by the model is left in the Jacobian.
template <class Team, class T>
XRF_OUTLINE double half_objective(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    return half_misfit(team, q, w, T(1), w.jacobian.slope) + 0.5 * prior_square(q, v, w);
}

// Curvature of the objective by the model, into the Jacobian's `curvature`.
template <class Team, class T>
XRF_OUTLINE void find_curvature(Team team, const XrfProblem &q, bool fisher, Workspace<T> &w) {
    T *XRF_RESTRICT curvature = w.jacobian.curvature;
    const T *XRF_RESTRICT total = w.total, *XRF_RESTRICT background = w.background, *XRF_RESTRICT counts = w.counts,
            *XRF_RESTRICT trust = w.trust;
    const bool poisson = q.objective == XRF_POISSON;
    const T floor = w.floor;
    const int n = q.count;
    for (int b = team.first(); b < padded<Team>(n); b += Team::BLOCK)
        XRF_EACH_LANE(team, l) {
            const int c = b + l;
            const T inverse = T(1) / expected(total[c] + background[c], floor), y = counts[c], v = trust[c];
            const T likely = fisher ? inverse : (y * inverse + T(1e-3)) * inverse;
            curvature[c] = c < n ? (poisson ? likely : v) : T(0);
        }
    team.sync();
}

// Scalar product of a with column k of the Jacobian over the channels from low to high.
template <class Team, class T>
XRF_FN double product(Team team, const Jacobian<T> &j, const T *XRF_RESTRICT a, int low, int high, int k) {
    const int l = low > j.low[k] ? low : j.low[k], h = high < j.high[k] ? high : j.high[k];
    if (l >= h) return 0;
    const T *XRF_RESTRICT b = j.column + (int64_t)k * j.stride;
    T sums[Team::LANES] = {};
    for (int c = l + team.first(); c < h; c += Team::BLOCK) XRF_EACH_LANE(team, i) sums[i] += a[c + i] * b[c + i];
    return (double)team.sum(sums);
}

// The same with the four columns from k on, which reach alike, into row [4].
template <class Team, class T>
XRF_FN void four_products(Team team, const Jacobian<T> &j, const T *XRF_RESTRICT a, int low, int high, int k, double *row) {
    const int l = low > j.low[k] ? low : j.low[k], h = high < j.high[k] ? high : j.high[k];
    const T *XRF_RESTRICT b0 = j.column + (int64_t)k * j.stride;
    const T *XRF_RESTRICT b1 = b0 + j.stride, *XRF_RESTRICT b2 = b1 + j.stride, *XRF_RESTRICT b3 = b2 + j.stride;
    T s0[Team::LANES] = {}, s1[Team::LANES] = {}, s2[Team::LANES] = {}, s3[Team::LANES] = {};
    for (int c = l + team.first(); c < h; c += Team::BLOCK)
        XRF_EACH_LANE(team, i) {
            const T x = a[c + i];
            s0[i] += x * b0[c + i];
            s1[i] += x * b1[c + i];
            s2[i] += x * b2[c + i];
            s3[i] += x * b3[c + i];
        }
    const double sums[4] = {(double)team.sum(s0), (double)team.sum(s1), (double)team.sum(s2), (double)team.sum(s3)};
    if (team.leads())
        for (int i = 0; i < 4; ++i) row[i] = sums[i];
}

// The same with all columns from `first` on, into row [n]; the shapes' columns, the last ones, reach alike.
template <class Team, class T>
XRF_OUTLINE void products(Team team, const Jacobian<T> &j, const T *a, int low, int high, int first, double *row) {
    int k = first;
    const auto one_by_one = [&](int end) {
        for (; k < end; ++k) {
            const double sum = product(team, j, a, low, high, k);
            if (team.leads()) row[k] = sum;
        }
    };
    one_by_one(j.n - j.shapes);
    for (; k + 3 < j.n; k += 4) four_products(team, j, a, low, high, k, row + k);
    one_by_one(j.n);
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

// g of the last columns with `slope`, without priors.
template <class Team, class T> XRF_OUTLINE void find_gradient(Team team, const XrfProblem &q, Jacobian<T> &j) {
    products(team, j, j.slope, 0, padded<Team>(q.count), 0, j.gradient);
    team.sync();
}

// H of the last columns with `curvature`, to that gradient; the priors in both.
template <class Team, class T> XRF_FN void find_matrix(Team team, const XrfProblem &q, Workspace<T> &w) {
    normal_matrix(team, w.jacobian, w.jacobian.curvature, w.jacobian.matrix);
    add_priors(team, q, w);
}

// H and its scale, which makes H_ii 1, and where each variable begins in its box. What has no curvature is fixed.
template <class Team, class T>
XRF_OUTLINE void normal_equations(Team team, const XrfProblem &q, bool comparable, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int n = j.n;
    find_matrix(team, q, w);
    if (j.shapes > 0) {  // the model is linear in the amplitudes
        remember(team, comparable, j);
        learn(team, j);
    }
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
