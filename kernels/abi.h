// The C ABI between kernels/ and src/kernels.rs. Plain data; both sides state the same layouts, and
// xrf_sizes() lets a test compare them. Arrays of counts are float or double by engine.
#pragma once
#include "portable.cuh"

// How a parameter is called and what it starts as: one row of parameters.cuh.
struct XrfParameterRow {
    const char *name, *unit, *meaning;
    double value, lower, upper, rate;
};

// What is a constant in kernels that are compiled for one run (src/engine/cuda/constants.rs says which value): the
// field is still there, under another name.
#if defined(XRF_SPECIALISED)
#define XRF_FIXED(name)  \
    int32_t given_##name; \
    static constexpr int32_t name = XRF_RUN_##name
#else
#define XRF_FIXED(name) int32_t name
// 1 where a spectrum of the run may have tails or steps, escape peaks, a curved energy axis.
#define XRF_RUN_shaped 1
#define XRF_RUN_escape 1
#define XRF_RUN_curved 1
#endif

// A fit's fixed part. Arrays by line have n_lines entries; arrays by variable have
// N_PARAMETERS + n_components + n_templates: the shape parameters, then log10 amplitudes by component and template.
struct XrfProblem {
    XRF_FIXED(n_channels);  // of a spectrum as recorded
    XRF_FIXED(first);
    XRF_FIXED(count);       // the fit window
    XRF_FIXED(n_components);
    XRF_FIXED(n_templates);  // columns of the background that no parameter shapes
    XRF_FIXED(elastic);
    XRF_FIXED(compton);     // index of the component, or -1
    XRF_FIXED(n_lines);
    const double *templates;  // [n_templates, count] counts
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
    XRF_FIXED(tail);
    XRF_FIXED(escape_shift);
    XRF_FIXED(snip_order);
    XRF_FIXED(background);
    XRF_FIXED(objective);
    XRF_FIXED(optimizer);
    int32_t steps;
    XRF_FIXED(start_amplitudes);  // 0: as given, 1: non-negative least squares with the start's shapes
    XRF_FIXED(clip_net_counts);   // XRF-Maps' NNLS: counts below the background count as zero
    XRF_FIXED(weights);           // of chi2
    float saturation;         // a channel at this count is saturated; infinity: never
};

enum { XRF_ALPHA = 0, XRF_BETA = 1, XRF_M = 2 };
enum { XRF_TAIL_NONE = 0, XRF_TAIL_MAPS = 1, XRF_TAIL_HYPERMET = 2 };
enum { XRF_SHIFT_LOCAL = 0, XRF_SHIFT_FIRST = 1, XRF_SHIFT_MEAN = 2 };
enum { XRF_SNIP_SIMULTANEOUS = 0, XRF_SNIP_IN_PLACE = 1 };
enum { XRF_BACKGROUND_NONE = 0, XRF_BACKGROUND_SNIP = 1, XRF_BACKGROUND_GIVEN = 2, XRF_BACKGROUND_POOLED = 3, XRF_BACKGROUND_SNIP_SUM = 4 };
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

// What an evaluation gives back.
struct XrfEvaluation {
    void *total;       // [count] all components, escape included
    void *components;  // [n_components, count] without escape, or null
    double *gradient;  // [variables] of the objective, or null
    double objective;
};

struct XrfTile;

// One precision of the CPU engine.
struct XrfEngine {
    void *(*new_shared)(const XrfProblem *);
    void (*drop_shared)(void *);
    uint64_t (*workspace_bytes)(const XrfProblem *);
    void (*lay_out)(const XrfProblem *, void *workspace);  // makes a workspace of so many bytes, aligned to 64
    void (*fit)(const XrfProblem *, const void *shared, void *workspace, const XrfTile *);
    void (*evaluate)(const XrfProblem *, void *workspace, const XrfSpectrum *, XrfEvaluation *);
    void (*background)(const XrfProblem *, const void *shared, void *workspace, const void *counts, void *out);
};
