// What is minimised, and how good a fit is called.
//
//   mse      L = 1/n sum over the window of (M' + b - y)^2,                  dL/dM' = 2/n (M' + b - y)
//   poisson  L = 2/n sum (m - y + y log(y / m)),  m = M' + b + floor,        dL/dM' = 2/n (1 - y / m)
//   chi2     L = 1/n sum v (M' + b - y)^2,                                   dL/dM' = 2/n v (M' + b - y)
//
// M' is the model with escape. The floor, a ten thousandth of the mean counts of a channel, keeps a likelihood
// finite where the model ends. The weights v of chi2:
//
//   none       1
//   xrf-maps   1 / (1 + y), smoothed over five channels, over its largest value in the spectrum; 0 in the
//              spectrum's two outermost channels on each side
//   expected   1 / m, of the model where a step starts: constant in dL/dM', renewed from step to step, so that
//              the end of these steps has sum (1 - y / m) dm = 0, as the smallest deviance has
#pragma once
#include "priors.cuh"
#include "special.cuh"

// Part of the mean counts per channel that a likelihood adds to the model.
XRF_FN double floor_share() { return 1e-4; }

// Half the deviance of y >= 0 counts where m > 0 are expected, m - y + y log(y / m), and its slope (m - y) / m by m. With
// m = 2^k n, n near y, and s = (n - y) / (n + y) it is
// m - y - 2 y s - y k log 2 - 2 y s^3 (1/3 + s^2 / 5 + ...), m - y - 2 y s = (m - y) s where k = 0,
// which keeps its digits where m is near y. One division serves s and the slope.
template <class T> XRF_FN T half_deviance(T m, T y, T &slope) {
    const bool some = y > T(1e-20);
    const T of = some ? y : T(1), r = m - y;
    T k;
    const T n = brought_near(m, of, k), sum = n + of, inverse = T(1) / (m * sum);
    const T s = (n - of) * m * inverse, u = s * s;
    slope = r * sum * inverse;
    T p = T(1.0 / 9);
    if (sizeof(T) > 4) {
        p = T(1.0 / 21);
        p = p * u + T(1.0 / 19);
        p = p * u + T(1.0 / 17);
        p = p * u + T(1.0 / 15);
        p = p * u + T(1.0 / 13);
        p = p * u + T(1.0 / 11);
        p = p * u + T(1.0 / 9);
    }
    p = p * u + T(1.0 / 7);
    p = p * u + T(1.0 / 5);
    p = p * u + T(1.0 / 3);
    const T twice = T(2) * y * s, far = r - twice - y * k * T(0.69314718055994530942);
    return (some && k == T(0) ? r * s : far) - twice * u * p;
}

// Counts that a likelihood expects in a channel of the model and background f.
template <class T> XRF_FN T expected(T f, T floor) { return (f > T(0) ? f : T(0)) + floor; }

// Half the sum of r^2, r = M' + b - y, or of v r^2 where there is trust v; and r or v r times `scale` into `weight`, which
// may be `total`. All arrays are [padded n]; channels from n on count as fitted exactly, whatever they hold.
template <bool TRUST, class Team, class T>
XRF_FN double half_squares(Team team, int n, T scale, const T *XRF_RESTRICT trust, const T *total,
                           const T *XRF_RESTRICT background, const T *XRF_RESTRICT counts, T *weight) {
    T squares[Team::LANES] = {};
    for (int b = team.first(); b < padded<Team>(n); b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const int c = b + j;
            const T r = c < n ? total[c] + background[c] - counts[c] : T(0), s = TRUST && c < n ? trust[c] * r : r;
            weight[c] = scale * s;
            squares[j] += s * r;
        }
    return 0.5 * (double)team.sum(squares);
}

// Half the deviance, and (m - y) / m times `scale` into `weight`, which may be `total`.
template <class Team, class T>
XRF_FN double half_deviances(Team team, int n, T scale, T floor, const T *total, const T *XRF_RESTRICT background,
                             const T *XRF_RESTRICT counts, T *weight) {
    T halves[Team::LANES] = {};
    for (int b = team.first(); b < padded<Team>(n); b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const int c = b + j;
            const T m = expected(total[c] + background[c], floor), y = c < n ? counts[c] : m;
            T slope;
            const T half = half_deviance(m, y, slope);
            weight[c] = c < n ? scale * slope : T(0);
            halves[j] += c < n ? half : T(0);
        }
    return (double)team.sum(halves);
}

// Half of n L of w.total without priors, and its slope by M' times `scale` into `weight`, which may be w.total.
template <class Team, class T>
XRF_FN double half_misfit(Team team, const XrfProblem &q, const Workspace<T> &w, T scale, T *weight) {
    const T *total = near_pointer(w.total), *none = nullptr;
    const int n = q.count;
    if (q.objective == XRF_POISSON)
        return half_deviances(team, n, scale, w.floor, total, w.background, w.counts, weight);
    if (q.objective == XRF_CHI2) return half_squares<true>(team, n, scale, w.trust, total, w.background, w.counts, weight);
    return half_squares<false>(team, n, scale, none, total, w.background, w.counts, weight);
}

// Objective of w.total, which has the shapes v, and dL/dM' into `weight`, which may be w.total.
template <class Team, class T>
XRF_FN double objective(Team team, const XrfProblem &q, const double *v, const Workspace<T> &w, T *weight) {
    return (2 * half_misfit(team, q, w, T(2.0 / q.count), weight) + prior_square(q, v, w)) / q.count;
}

// 1 / (1 + y), smoothed over five channels; y [n_channels].
template <class T> XRF_FN T smoothed_inverse(const T *y, int n, int c) {
    if (c < 2 || c > n - 3) return T(0);
    T sum = T(0);
    for (int i = c - 2; i <= c + 2; ++i) sum += T(1) / (T(1) + y[i]);
    return (sum < T(0) ? -sum : sum) / T(5);
}

// XRF-Maps' weights of a recorded spectrum into w.trust.
template <class Team, class T>
XRF_FN void trust_as_xrf_maps(Team team, const XrfProblem &q, const T *counts, Workspace<T> &w) {
    T mine = T(0);
    XRF_SHARE(team, c, q.n_channels) {
        const T v = smoothed_inverse(counts, q.n_channels, c);
        mine = v > mine ? v : mine;
    }
    w.scratch[team.member()] = mine;
    team.sync();
    T most = T(0);
    for (int i = 0; i < Team::MEMBERS; ++i) most = w.scratch[i] > most ? w.scratch[i] : most;
    XRF_SHARE(team, c, q.count) {
        const T v = smoothed_inverse(counts, q.n_channels, q.first + c) / most;
        w.trust[c] = v - v == T(0) ? v : T(1);
    }
    team.sync();
}

// What an objective knows of a spectrum before its fit: floor and trust. w.counts are loaded; counts
// [n_channels], or null for none.
template <class Team, class T>
XRF_FN void meet_spectrum(Team team, const XrfProblem &q, const T *counts, Workspace<T> &w) {
    const double floor = floor_share() * sum_of(team, q.count, w.counts) / q.count;
    if (team.leads()) w.floor = T(floor > 1e-12 ? floor : 1e-12);
    XRF_SHARE(team, c, padded<Team>(q.count)) w.trust[c] = T(1);
    team.sync();
    if (counts && q.objective == XRF_CHI2 && q.weights == XRF_WEIGHTS_XRF_MAPS) trust_as_xrf_maps(team, q, counts, w);
    const double scale = prior_scale(team, q, w);
    if (team.leads()) w.prior_scale = scale;
    team.sync();
}

// Do the weights of chi2 follow the model?
XRF_FN bool follows_model(const XrfProblem &q) { return q.objective == XRF_CHI2 && q.weights == XRF_WEIGHTS_EXPECTED; }

// Renews the weights that follow the model, w.total; false when there are none.
template <class Team, class T> XRF_OUTLINE bool renew_trust(Team team, const XrfProblem &q, Workspace<T> &w) {
    if (!follows_model(q)) return false;
    XRF_SIMD XRF_SHARE(team, c, q.count) w.trust[c] = T(1) / expected(w.total[c] + w.background[c], w.floor);
    team.sync();
    return true;
}

// Poisson deviance over the channels less the free variables, of a fit whose objective is `loss`; uses up w.scratch.
template <class Team, class T>
XRF_OUTLINE double reduced_deviance(Team team, const XrfProblem &q, const double *v, double loss, Workspace<T> &w) {
    int freedom = q.count;
    for (int i = 0; i < all_variables(q); ++i) freedom -= q.free[i] ? 1 : 0;
    const double deviance =
        q.objective == XRF_POISSON
            ? loss * q.count - prior_square(q, v, w)
            : 2 * half_deviances(team, q.count, T(1), w.floor, w.total, w.background, w.counts, w.scratch);
    return deviance / (freedom > 1 ? freedom : 1);
}

// 1 - sum (y - f)^2 / sum (y - mean y)^2 of the counts and of log10(counts + 1). A spectrum without any variation has
// no R^2: NaN.
struct Quality {
    double r_squared, r_squared_log;
};

// logs [padded n] is used up.
template <class Team, class T>
XRF_CALL Quality r_squared(Team team, int n, const T *XRF_RESTRICT total, const T *XRF_RESTRICT background,
                           const T *XRF_RESTRICT counts, T *XRF_RESTRICT logs) {
    T ry[Team::LANES] = {}, rz[Team::LANES] = {};
    for (int b = team.first(); b < n; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const int c = b + j;
            const T inside = c < n ? T(1) : T(0), y = counts[c], f = total[c] + background[c];
            const T z = logarithm(y + T(1)), g = logarithm((f > T(0) ? f : T(0)) + T(1));
            logs[c] = z;
            ry[j] += inside * (y - f) * (y - f);
            rz[j] += inside * (z - g) * (z - g);
        }
    const T ym = T(sum_of(team, n, counts) / n), zm = T(sum_of(team, n, logs) / n);
    T y2[Team::LANES] = {}, z2[Team::LANES] = {};
    for (int b = team.first(); b < n; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const int c = b + j;
            const T inside = c < n ? T(1) : T(0), y = counts[c] - ym, z = logs[c] - zm;
            y2[j] += inside * y * y;
            z2[j] += inside * z * z;
        }
    return {1 - (double)team.sum(ry) / (double)team.sum(y2), 1 - (double)team.sum(rz) / (double)team.sum(z2)};
}
