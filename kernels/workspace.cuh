// What one team holds while it works on one spectrum.
#pragma once
#include "parameters.cuh"
#include "jacobian.cuh"
#include "peaks.cuh"

// The Compton term between its forward and its adjoint.
struct Compton {
    double energy, d, sine, sigma, area, norm, step, tail, high, step_coef;
    int wide, low, up;  // its peaks: Gaussian; step and low tail; high tail; -1 where there is none
};

struct Scatter {
    int elastic;  // its peak, or -1
    Compton compton;
};

// Everything one spectrum needs while it is fitted.
template <class T> struct Workspace {
    Peaks<T> peaks;
    Scatter scatter;
    KeptShapes<T> kept;
    Jacobian<T> jacobian;
    T *counts, *background, *net, *model, *total, *weight, *scratch;  // [padded count + 2 BLOCK]
    T *trust;            // [padded count + 2 BLOCK] weight of each channel's square in chi2
    T floor;             // counts per channel that a likelihood adds to the model; see objective.cuh
    double prior_scale;  // see priors.cuh
    int *escaped_from;   // [padded count + 2 BLOCK] channel whose photons escape into this one
    T *step_height;      // [blocks + 1] steps that end at each block
    double *step_weight; // [blocks + 1] sum of the weights below each block

    // Lines above their edge, and what is switched on, decided once per fit from its start.
    int n_lines;
    double *line_energy, *line_ratio, *line_mu, *line_width, *area, *norm, *tail_fraction,
        *step_fraction, *pulled;
    int *line_component, *line_family;
    int *first_line;  // [K + 1] lines of a component
    bool alpha_tail, beta_tail, line_step, compton_step, compton_low, compton_high, si_escape, ge_escape;

    double *amplitude, *variables, *gradient, *best, *moment1, *moment2;  // [variables]
    double *linear, *factor;                                               // [K], [K, K]
    int *passive;
};

// Hands out aligned pieces of one block of memory; only measures while the block is null.
struct Carver {
    char *block;
    size_t used;
    template <class U> XRF_METHOD void take(size_t n, U *&p) {
        used = (used + 63) / 64 * 64;
        p = block ? (U *)(block + used) : nullptr;
        used += n * sizeof(U);
    }
    template <class U, class... More> XRF_METHOD void take(size_t n, U *&p, More *&...more) {
        take(n, p);
        take(n, more...);
    }
};

// Lays a workspace out. `near` holds what every peak or channel of a step touches, `far` the rest; they may
// be one.
template <class Team, class T> XRF_FN void carve(const XrfProblem &q, Carver &near, Carver &far, Workspace<T> &w) {
    const size_t n = padded<Team>(q.count) + 2 * Team::BLOCK, blocks = n / Team::BLOCK;
    const size_t peaks = q.n_lines + 4 + 8, vars = N_PARAMETERS + q.n_components + 8, k = q.n_components;
    Peaks<T> &p = w.peaks;
    far.take(n, w.counts, w.background, w.net, w.trust);
    near.take(n, w.model, w.weight);
    far.take(n, w.scratch);
    near.take(blocks + 1, w.step_height);
    near.take(blocks + 1, w.step_weight);
    near.take(peaks, p.energy, p.sigma, p.gamma, p.peak_coef, p.step_coef, p.tail_coef);
    near.take(peaks, p.first, p.count, p.far_count, p.kind, p.offset);
    near.take(peaks, p.x0, p.x1, p.x2, p.inv_gamma, p.twice_e2);
    for (int i = 0; i < N_SUMS; ++i) near.take(peaks, p.sums[i]);
    if (Team::KEEPS_SHAPES) far.take(peaks * n, w.kept.peak, w.kept.step, w.kept.tail, w.kept.slope);
    far.take(peaks, w.line_energy, w.line_ratio, w.line_mu, w.line_width, w.area, w.norm, w.tail_fraction,
             w.step_fraction, w.pulled);
    far.take(peaks, w.line_component, w.line_family);
    far.take(vars, w.amplitude, w.variables, w.gradient, w.best, w.moment1, w.moment2);
    far.take(k, w.linear);
    far.take(k * k, w.factor);
    far.take(k, w.passive);
    far.take(k + 1, w.first_line);
    far.take(n, w.escaped_from);
    carve_jacobian<Team>(q.count, q.n_lines, q.n_components, far, w.jacobian);
}
