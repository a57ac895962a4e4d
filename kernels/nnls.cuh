// Non-negative least squares: minimise |A x - d|^2 with x >= 0, from G = A'A and h = A'd.
//
// Block principal pivoting (Portugal, Judice & Vicente, Math. Comp. 63 (1994) 625): solve for the
// passive variables, exchange every one that is infeasible, and fall back to one at a time when that
// does not reduce their number, which guarantees an end.
#pragma once
#include "portable.cuh"

// Solves G x = h for the passive variables by Cholesky; a column that depends on the ones before it
// leaves the set. `factor` is [n, n], `passive` [n].
XRF_FN void solve_passive(int n, const double *gram, const double *h, int *passive, double *x, double *factor) {
    for (int i = 0; i < n; ++i) {
        x[i] = 0;
        if (!passive[i]) continue;
        for (int j = 0; j <= i; ++j) {
            if (!passive[j]) continue;
            double s = gram[i * n + j];
            for (int k = 0; k < j; ++k)
                if (passive[k]) s -= factor[i * n + k] * factor[j * n + k];
            if (j < i) {
                factor[i * n + j] = s / factor[j * n + j];
            } else if (s > 1e-12 * gram[i * n + i]) {
                factor[i * n + i] = sqrt(s);
            } else {
                passive[i] = 0;
            }
        }
    }
    for (int i = 0; i < n; ++i) {
        if (!passive[i]) continue;
        double s = h[i];
        for (int k = 0; k < i; ++k)
            if (passive[k]) s -= factor[i * n + k] * x[k];
        x[i] = s / factor[i * n + i];
    }
    for (int i = n - 1; i >= 0; --i) {
        if (!passive[i]) continue;
        double s = x[i];
        for (int k = i + 1; k < n; ++k)
            if (passive[k]) s -= factor[k * n + i] * x[k];
        x[i] = s / factor[i * n + i];
    }
}

// True when variable i breaks the optimality conditions: a passive one below 0, or an active one whose
// gradient G x - h would lower the objective.
XRF_FN bool infeasible(int n, int i, const double *gram, const double *h, const int *passive, const double *x) {
    if (passive[i]) return x[i] < 0;
    if (!(gram[i * n + i] > 0)) return false;
    double gradient = -h[i], size = h[i] < 0 ? -h[i] : h[i];
    for (int k = 0; k < n; ++k) {
        if (!passive[k]) continue;
        const double term = gram[i * n + k] * x[k];
        gradient += term;
        size += term < 0 ? -term : term;
    }
    return gradient < -1e-10 * size;
}

XRF_CALL void solve_nnls(int n, const double *gram, const double *h, int *passive, double *x, double *factor) {
    for (int i = 0; i < n; ++i) passive[i] = gram[i * n + i] > 0 && h[i] > 0;
    int fewest = n + 1, tries = 3;
    for (int round = 0; round < 30 * n; ++round) {
        solve_passive(n, gram, h, passive, x, factor);
        int count = 0, last = -1;
        for (int i = 0; i < n; ++i)
            if (infeasible(n, i, gram, h, passive, x)) {
                ++count;
                last = i;
            }
        if (count == 0) break;
        bool all = true;
        if (count < fewest) {
            fewest = count;
            tries = 3;
        } else if (tries > 0) {
            --tries;
        } else {
            all = false;
        }
        if (!all) {
            passive[last] = !passive[last];
            continue;
        }
        // decide on all before changing any
        for (int i = 0; i < n; ++i)
            if (infeasible(n, i, gram, h, passive, x)) passive[i] |= 2;
        for (int i = 0; i < n; ++i)
            if (passive[i] & 2) passive[i] = !(passive[i] & 1);
    }
    for (int i = 0; i < n; ++i) x[i] = passive[i] && x[i] > 0 ? x[i] : 0;
}
