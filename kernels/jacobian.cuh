// What a spectrum holds while its model is looked at variable by variable: the columns dM'/d variable, and the
// system of equations that they make.
#pragma once
#include "parameters.cuh"
#include "peaks.cuh"

// The sums of the adjoint whose terms a column is made of; see columns.cuh.
enum { TERM_PEAK, TERM_STEP, TERM_TAIL, TERM_GAMMA, TERM_X, TERM_D0, N_TERMS };

template <class T> struct Jacobian {
    int n, shapes;         // columns; the last `shapes` of them are of free shape parameters
    int *parameter;        // [shapes] which ones
    bool stay;             // the columns are found, and no shape moves
    int stride;            // from a column to the next
    T *column;             // [n, stride] `own`, or what all spectra share
    T *own;
    int *counted, n_counted;  // channels with counts, and how many; see limits.cuh
    int *low, *high;       // [n] channels where a column is not 0, whole blocks
    T *drift;              // [stride] dM/d ENERGY_OFFSET without escape
    T *term;               // [peaks, N_PARAMETERS, N_TERMS] coefficients of a peak's terms in the shapes' columns
    T *basis[N_TERMS];     // [stride] the terms of one peak in its window
    T *height;             // [n, blocks + 1] steps of each column that end at each block
    T *slope, *curvature;  // [stride] half of the un-normalised objective's, by the model
    T *weighted;           // [stride] a column times an array
    double *gather;        // [variables] derivatives of one peak's term

    double *x, *trial, *lower, *upper, *step;  // [n]
    double *gradient, *scale, *solution;       // [n]
    double *matrix, *factor;                   // [n, n], [m, factor_stride] of m chosen variables; cholesky.cuh
    double *row;                               // [n] one of the factor
    double *last_x, *last_gradient;            // [n] where the last step began
    double *moved, *turned;                    // [n, n], [lessons, n] past steps, and how the gradient changed
    int taught;            // past steps that were remembered
    int *state, *chosen;                       // [n] free or at which bound; the free ones
    int factored;          // how many of them the factor is of, of the undamped matrix; 0: of none
};

template <class Team> XRF_FN int column_stride(int count) { return padded<Team>(count) + 2 * Team::BLOCK; }

// From a row of the factor of m variables, and the right side behind them, to the next: whole pieces of the team.
template <class Team> XRF_FN int factor_stride(int m) { return (m + Team::PIECE) / Team::PIECE * Team::PIECE; }

// `carver` hands out memory; see workspace.cuh.
template <class Team, class Carver, class T>
XRF_FN void carve_jacobian(int count, int lines, int linear, Carver &carver, Jacobian<T> &j) {
    const size_t most = linear + N_PARAMETERS, peaks = lines + 4;
    const size_t stride = column_stride<Team>(count), blocks = stride / Team::BLOCK;
    carver.take(most * stride, j.own);
    carver.take(stride, j.drift, j.slope, j.curvature, j.weighted);
    for (int i = 0; i < N_TERMS; ++i) carver.take(stride, j.basis[i]);
    carver.take(peaks * N_PARAMETERS * N_TERMS, j.term);
    carver.take(most * (blocks + 1), j.height);
    carver.take(stride, j.counted);
    carver.take(most, j.parameter, j.low, j.high, j.state, j.chosen);
    carver.take(most, j.gather, j.x, j.trial, j.lower, j.upper, j.step, j.gradient, j.scale, j.solution);
    carver.take(most, j.last_x, j.last_gradient);
    carver.take(most * most, j.moved);
    carver.take(4 * most, j.turned);
    carver.take(most * most, j.matrix);
    carver.take(most * factor_stride<Team>((int)most), j.factor);
    carver.take(most, j.row);
}
