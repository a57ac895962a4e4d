// What one launch of fit.cu works on, or one fit of host.cpp: the spectra of a tile. Plain data, the same for Rust and
// the kernels; all pointers are to memory of the engine, and what a CPU does not need is null.
#pragma once
#include "abi.h"

struct XrfTile {
    int32_t n_spectra;
    int32_t start_stride;       // variables from one spectrum's start to the next one's; 0: all have the same
    const void *counts;         // [n_spectra, n_channels]
    const void *background;     // [n_spectra, count], or null
    const double *start;        // [variables] or [n_spectra, variables]

    // What the spectra of a problem share; xrf_prepare_* writes it.
    int32_t *snip_passes;       // [1]
    int32_t *snip_low, *snip_high;  // [64, count]
    void *columns;              // [K + templates, padded count], padded to XrfLayout's block
    int32_t *reach;             // [K + templates, 2]
    void *start_weight;         // [padded count]
    double *gram;               // [K + templates, K + templates]

    // Workspaces. Each CUDA block takes near_bytes of dynamic shared memory, or, where `near` is not null,
    // as many of that memory; and far_bytes of `far`. XrfLayout says how many.
    void *near, *far;
    uint64_t near_bytes, far_bytes;

    // Results of a fit.
    double *variables;          // [n_spectra, variables] shape parameters, then linear amplitudes [counts]
    double *sigma;              // [n_spectra, variables] their standard deviations
    double *signed_amplitudes;  // [n_spectra, K]
    double *limits;             // [n_spectra, 2, K] or null
    double *objective, *r_squared, *r_squared_log, *deviance, *background_counts;  // [n_spectra]
    int32_t *steps, *status;    // [n_spectra]
    int64_t *fitted_sum, *background_sum;  // [count] of the spectra that were fitted, in units of 2^-20 counts

    // Results of an evaluation, or of a background alone (in `total`).
    void *total;                // [n_spectra, count]
    void *components;           // [n_spectra, K, count], or null
    double *gradient;           // [n_spectra, variables], or null
};

// Bytes that a CUDA block needs; threads of a block, channels of a padded block; and what the kernels were made for,
// so that an image of another version is noticed.
struct XrfLayout {
    uint64_t near_bytes, far_bytes;
    int32_t threads, block;
    uint64_t problem_bytes, tile_bytes;
    int32_t parameters, snip_rows;
};
