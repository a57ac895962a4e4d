// Cholesky of the chosen variables' part of a Jacobian's matrix, U'U = S (H + damping diag H) S, S the scale that makes
// H_ii 1; and U^-1. A column that depends on the ones before it has pivot 0 and takes no part.
//
// U is made row by row, each in pieces that a member takes at once: U_r = A_r / sqrt A_rr, then A_k -= U_rk U_r of the rows
// k below. The right side is a column of it, the last.
#pragma once
#include "elements.cuh"

// A pivot below this, of 1, is a column that depends on the others.
XRF_FN double least_pivot(float) { return 3e-7; }
XRF_FN double least_pivot(double) { return 1e-12; }

#define XRF_EACH_PIECE(team, b, first, end) \
    for (int b = (first) / decltype(team)::PIECE * decltype(team)::PIECE + decltype(team)::PIECE * team.member(); b < (end); \
         b += decltype(team)::PIECE * decltype(team)::MEMBERS)
#define XRF_EACH_OF_PIECE(team, c) XRF_SIMD for (int c = 0; c < decltype(team)::PIECE; ++c)

// U into the factor, left of its diagonal anything, behind it zeros; `solution` <- U'^-1 S of itself. Returns false when
// a column was dependent.
template <class Team, class T> XRF_FN bool factor_chosen(Team team, int m, double damping, Jacobian<T> &j) {
    const int stride = factor_stride<Team>(m);
    double *u = j.factor;
    XRF_SHARE(team, r, m) j.row[r] = j.scale[j.chosen[r]];
    team.sync();
    const int *chosen = j.chosen;
    const double *scales = j.row;
    XRF_SHARE(team, r, m) {
        const double *of_r = j.matrix + chosen[r] * j.n, scale = scales[r];
        double *row = u + r * stride;
        for (int k = r; k < m; ++k) row[k] = of_r[chosen[k]] * (scale * scales[k]);
        row[r] = 1 + damping;
        row[m] = j.solution[r] * scale;
        for (int k = m + 1; k < stride; ++k) row[k] = 0;
    }
    team.sync();
    bool sound = true;
    for (int r = 0; r < m; ++r) {
        double *row = u + r * stride;
        const double pivot = row[r];
        const bool independent = pivot > least_pivot(T());
        const double inverse = independent ? 1 / sqrt(pivot) : 0.0;
        sound = sound && independent;
        team.sync();
        XRF_EACH_PIECE(team, b, r, stride) XRF_EACH_OF_PIECE(team, c) row[b + c] *= inverse;
        team.sync();
        for (int k = r + 1; k < m; ++k) {
            double *below = u + k * stride;
            const double part = row[k];
            XRF_EACH_PIECE(team, b, k, stride) XRF_EACH_OF_PIECE(team, c) below[b + c] -= part * row[b + c];
        }
        team.sync();
    }
    XRF_SHARE(team, r, m) {
        j.solution[r] = u[r * stride + m];
        u[r * stride + m] = 0;
    }
    team.sync();
    return sound;
}

// U' y = `solution`, in place; 0 for dependent columns.
template <class Team, class T> XRF_FN void solve_lower(Team team, int m, Jacobian<T> &j) {
    const int stride = factor_stride<Team>(m);
    double *y = j.solution;
    for (int r = 0; r < m; ++r) {
        const double *row = j.factor + r * stride;
        const double pivot = row[r], x = pivot > 0 ? y[r] / pivot : 0.0;
        team.sync();
        for (int i = r + team.member(); i < m; i += Team::MEMBERS) y[i] = i == r ? x : y[i] - row[i] * x;
        team.sync();
    }
}

// U x = `solution`, in place; 0 for dependent columns.
template <class Team, class T> XRF_FN void solve_upper(Team team, int m, Jacobian<T> &j) {
    const int stride = factor_stride<Team>(m);
    double *y = j.solution;
    for (int r = m - 1; r >= 0; --r) {
        const double pivot = j.factor[r * stride + r], x = pivot > 0 ? y[r] / pivot : 0.0;
        team.sync();
        if (team.leads()) y[r] = x;
        for (int i = team.member(); i < r; i += Team::MEMBERS) y[i] -= j.factor[i * stride + r] * x;
        team.sync();
    }
}

// U^-1 in the place of U, zeros left of its diagonal, from the last row up:
// (U^-1)_k = (e_k - sum over l > k of U_kl (U^-1)_l) / U_kk.
template <class Team, class T> XRF_FN void invert_factor(Team team, int m, Jacobian<T> &j) {
    const int stride = factor_stride<Team>(m);
    double *u = j.factor;
    for (int k = m - 1; k >= 0; --k) {
        double *row = u + k * stride;
        const double pivot = row[k], inverse = pivot > 0 ? 1 / pivot : 0.0;
        XRF_SHARE(team, l, m) j.row[l] = row[l] * inverse;
        team.sync();
        XRF_EACH_PIECE(team, b, 0, stride) {
            double sum[Team::PIECE];
            XRF_EACH_OF_PIECE(team, c) sum[c] = b + c == k ? inverse : 0.0;
            for (int l = k + 1; l < m; ++l) XRF_EACH_OF_PIECE(team, c) sum[c] -= j.row[l] * u[l * stride + b + c];
            XRF_EACH_OF_PIECE(team, c) row[b + c] = sum[c];
        }
        team.sync();
    }
}

// Element (r, s) of (U'U)^-1 = U^-1 U^-1' from U^-1.
template <class Team, class T> XRF_FN double inverse_at(Team team, int m, const Jacobian<T> &j, int r, int s) {
    const int stride = factor_stride<Team>(m);
    const double *XRF_RESTRICT a = j.factor + r * stride, *XRF_RESTRICT b = j.factor + s * stride;
    double sums[Team::PIECE] = {}, sum = 0;
    for (int at = (r > s ? r : s) / Team::PIECE * Team::PIECE; at < stride; at += Team::PIECE)
        XRF_EACH_OF_PIECE(team, c) sums[c] += a[at + c] * b[at + c];
    for (int c = 0; c < Team::PIECE; ++c) sum += sums[c];
    return sum;
}

// Is the r-th of the chosen variables determined by the matrix? The factor is U or U^-1.
template <class Team, class T> XRF_FN bool determined(Team, int m, const Jacobian<T> &j, int r) {
    return j.factor[r * factor_stride<Team>(m) + r] > 0;
}
