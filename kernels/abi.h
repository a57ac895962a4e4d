// The C ABI between kernels/ and src/kernels.rs. Plain data; both sides state the same layouts, and
// xrf_sizes() lets a test compare them. Arrays of counts are float or double by engine.
#pragma once
#include "portable.cuh"

// How a parameter is called and what it starts as: one row of parameters.cuh.
struct XrfParameterRow {
    const char *name, *unit, *meaning;
    double value, lower, upper, rate;
};

// A fit's fixed part. Arrays by line have n_lines entries; arrays by variable have
// N_PARAMETERS + n_components: the shape parameters, then log10 amplitudes by component.
struct XrfProblem {
    int32_t n_channels;    // of a spectrum as recorded
    int32_t first, count;  // the fit window
    int32_t n_components, elastic, compton;  // the last two: component index, or -1
    int32_t n_lines;
    const double *energy;     // [n_lines] keV
    const double *ratio;      // [n_lines] intensity over the component's first line
    const double *mu;         // [n_lines] mu_fraction of the step and tail terms
    const double *width;      // [n_lines] multiplier of the tail length
    const double *edge;       // [n_lines] keV; the line exists above this incident energy
    const int32_t *component; // [n_lines]
    const int32_t *family;    // [n_lines] XRF_ALPHA, XRF_BETA, XRF_M
    const double *start;      // [variables] first-pass values
    const double *lower, *upper, *rate;  // [variables]
    const double *prior, *prior_width;   // [variables] centre and standard deviation of a Gaussian prior; 0: none
    const uint8_t *free;      // [variables]
    double pair_energy_ev;
    double snip_width;
    double tolerance;         // relative decrease of the objective over 50 steps that ends Adam; 0 never
    int32_t tail, escape_shift, snip_order, background, objective, optimizer, steps;
    int32_t start_amplitudes; // 0: as given, 1: non-negative least squares with the start's shapes
    int32_t clip_net_counts;  // XRF-Maps' NNLS: counts below the background count as zero
    int32_t weights;          // of chi2
    float saturation;         // a channel at this count is saturated; infinity: never
};

enum { XRF_ALPHA = 0, XRF_BETA = 1, XRF_M = 2 };
enum { XRF_TAIL_NONE = 0, XRF_TAIL_MAPS = 1, XRF_TAIL_HYPERMET = 2 };
enum { XRF_SHIFT_LOCAL = 0, XRF_SHIFT_FIRST = 1, XRF_SHIFT_MEAN = 2 };
enum { XRF_SNIP_SIMULTANEOUS = 0, XRF_SNIP_IN_PLACE = 1 };
enum { XRF_BACKGROUND_NONE = 0, XRF_BACKGROUND_SNIP = 1, XRF_BACKGROUND_GIVEN = 2 };
enum { XRF_MSE = 0, XRF_POISSON = 1, XRF_CHI2 = 2 };
enum { XRF_WEIGHTS_NONE = 0, XRF_WEIGHTS_XRF_MAPS = 1, XRF_WEIGHTS_EXPECTED = 2 };
enum { XRF_ADAM = 0, XRF_NNLS = 1, XRF_NEWTON = 2 };
enum { XRF_EXPONENTIAL = 0, XRF_LOGARITHM = 1, XRF_SCALED_ERFC = 2, XRF_GAUSSIAN = 3 };
enum {
    XRF_CONVERGED = 0, XRF_STEP_LIMIT = 1, XRF_EMPTY = 2, XRF_NOT_FINITE = 3,
    XRF_SATURATED = 4, XRF_DIVERGED = 5, XRF_NO_DESCENT = 6, XRF_SINGULAR = 7
};

// One spectrum to work on.
struct XrfSpectrum {
    const void *counts;      // [n_channels]
    const void *background;  // [count], or null
    const double *start;     // [variables]
};

// What a fit gives back; the arrays are the caller's.
struct XrfFit {
    double *variables;  // [variables] shape parameters, then linear amplitudes [counts]
    double *sigma;      // [variables] their standard deviations; NaN where there is none
    double *signed_amplitudes;  // [n_components] what one step beyond the bound at 0 makes of them
    void *fitted;       // [count] model and background
    void *background;   // [count]
    double objective, r_squared, r_squared_log, deviance, counts;
    int32_t steps, status;
};

// What an evaluation gives back.
struct XrfEvaluation {
    void *total;       // [count] all components, escape included
    void *components;  // [n_components, count] without escape, or null
    double *gradient;  // [variables] of the objective, or null
    double objective;
};

// One precision of the CPU engine.
struct XrfEngine {
    void *(*new_shared)(const XrfProblem *);
    void (*drop_shared)(void *);
    void *(*new_workspace)(const XrfProblem *);
    void (*drop_workspace)(void *);
    void (*fit)(const XrfProblem *, const void *shared, void *workspace, const XrfSpectrum *, XrfFit *);
    void (*evaluate)(const XrfProblem *, void *workspace, const XrfSpectrum *, XrfEvaluation *);
    void (*background)(const XrfProblem *, const void *shared, void *workspace, const void *counts, void *out);
};
