// What is minimised, and how good a fit is called.
//
//   mse   L = 1/n sum over the window of (M + b - y)^2,   dL/dM = 2 (M + b - y) / n,   M with escape
#pragma once
#include "team.cuh"
#include "special.cuh"

// L, and dL/dM into `weight`, which may be `total`. All arrays are [padded n]; channels from n on count as fitted exactly.
template <class Team, class T>
XRF_FN double mean_square(Team team, int n, const T *total, const T *XRF_RESTRICT background,
                          const T *XRF_RESTRICT counts, T *weight) {
    T squares[Team::LANES] = {};
    const T scale = T(2.0 / n);
    for (int b = team.first(); b < n; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const int c = b + j;
            const T inside = c < n ? T(1) : T(0);
            const T r = inside * (total[c] + background[c] - counts[c]);
            weight[c] = scale * r;
            squares[j] += r * r;
        }
    return (double)team.sum(squares) / n;
}

// 1 - sum (y - f)^2 / sum (y - mean y)^2 of the counts and of log10(counts + 1), in f64. A spectrum
// without any variation has no R^2: NaN.
struct Quality {
    double r_squared, r_squared_log;
};

template <class Team, class T>
XRF_CALL Quality r_squared(Team team, int n, const T *total, const T *background, const T *counts) {
    double y1 = 0, y2 = 0, z1 = 0, z2 = 0, ry = 0, rz = 0;
    XRF_SHARE(team, c, n) {
        const double y = counts[c], f = (double)total[c] + (double)background[c];
        const double z = logarithm(y + 1.0), g = logarithm((f > 0 ? f : 0.0) + 1.0);
        y1 += y;
        z1 += z;
        ry += (y - f) * (y - f);
        rz += (z - g) * (z - g);
    }
    const double ym = team.sum(y1) / n, zm = team.sum(z1) / n;
    XRF_SHARE(team, c, n) {
        const double y = counts[c], z = logarithm(y + 1.0);
        y2 += (y - ym) * (y - ym);
        z2 += (z - zm) * (z - zm);
    }
    return {1 - team.sum(ry) / team.sum(y2), 1 - team.sum(rz) / team.sum(z2)};
}
