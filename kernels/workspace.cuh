// What one team holds while it works on one spectrum.
#pragma once
#include "parameters.cuh"
#include "jacobian.cuh"
#include "peaks.cuh"

// What every peak gives back, whatever it belongs to.
struct Pull {
    double value;     // sum of w m: dL/d log area
    double position;  // dL/dE of the channel axis: sum of w dm/de
    double sigma;     // dL/ds
};

enum { MOST_SCATTER_PEAKS = 4 };

// Variables that the model is linear in: amplitudes of components and of templates.
XRF_FN int linear_variables(const XrfProblem &q) { return q.n_components + q.n_templates; }
XRF_FN int all_variables(const XrfProblem &q) { return N_PARAMETERS + linear_variables(q); }

// The Compton term between its forward and its adjoint.
struct Compton {
    double energy, d, sine, sigma, area, norm, step, tail, high;
};

// The scatter's peaks, behind those of the lines: their numbers, -1 where there is none, and what they give back.
struct Scatter {
    int elastic;
    int wide, low, up;  // Compton: Gaussian; step and low tail; high tail
    Compton compton;
    Pull pull[MOST_SCATTER_PEAKS];
};

// Shapes kept from the forward pass, packed by peak: [sum of counts] each.
template <class T> struct KeptShapes {
    T *peak, *step, *tail, *slope;
};

// Everything one spectrum needs while it is fitted.
template <class T> struct Workspace {
    Peaks<T> peaks;
    Scatter scatter;
    KeptShapes<T> kept;
    Jacobian<T> jacobian;
    T *counts, *background, *net, *scratch;  // [padded count + 2 BLOCK]
    // The sum of all components; where there is no escape, `model` is `total`, and the objective puts its weights where
    // the total was, as nothing needs both.
    T *model, *total, *weight;
    T *unescaped;
    int *escaped_from[2];  // [padded count + 2 BLOCK] channel whose silicon or germanium photons escape into this one
    T *step_height;        // [blocks + 1] steps that end at each block; of a CPU thread
    T *weight_below;       // [grains + 1] sum of the weights below
    T *trust;            // [padded count + 2 BLOCK] weight of each channel's square in chi2
    T floor;             // counts per channel that a likelihood adds to the model; see objective.cuh
    double prior_scale;  // see priors.cuh

    // Lines above their edge, and what is switched on, decided once per fit from its start.
    int n_lines, kinds;
    double *line_ratio, *line_mu, *line_width, *area, *norm, *tail_fraction,
        *step_fraction, *pulled;
    int *line_component, *line_family;
    int *first_line;  // [K + 1] lines of a component
    bool alpha_tail, beta_tail, line_step, compton_step, compton_low, compton_high, si_escape, ge_escape;

    double *amplitude, *variables, *gradient, *best, *moment1, *moment2;  // [variables]
};

// Whether any peak has a tail or a step.
template <class T> XRF_FN bool is_shaped(const Workspace<T> &w) { return XRF_RUN_shaped && w.kinds != kind_bit(0); }

template <class T> XRF_FN bool has_escape(const Workspace<T> &w) { return XRF_RUN_escape && (w.si_escape || w.ge_escape); }

// The peaks, their pointers in hand.
template <class T> XRF_FN Peaks<T> peaks_of(const Workspace<T> &w) {
    Peaks<T> p = w.peaks;
    p.curve = near_pointer(p.curve);
    p.twice_e2 = near_pointer(p.twice_e2);
    p.first = near_pointer(p.first);
    p.count = near_pointer(p.count);
    p.far_count = near_pointer(p.far_count);
    p.kind = near_pointer(p.kind);
    p.sums = near_pointer(p.sums);
    return p;
}

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
    const size_t n = padded<Team>(q.count) + 2 * Team::BLOCK, grains = n / Team::GRAIN;
    const size_t peaks = q.n_lines + MOST_SCATTER_PEAKS + 8, vars = all_variables(q) + 8;
    Peaks<T> &p = w.peaks;
    near.take(n, w.total);
    near.take(peaks, p.curve);
    near.take(peaks, p.twice_e2);
    near.take(peaks, p.sums);
    near.take(peaks, p.first, p.count, p.far_count, p.kind);
    near.take(grains + 1, w.weight_below);
    far.take(n, w.counts, w.background, w.net, w.scratch, w.unescaped, w.trust);
    far.take(n, w.escaped_from[0], w.escaped_from[1]);
    far.take(peaks, p.energy, p.inv_sigma, p.gamma);
    far.take(peaks, w.line_ratio, w.line_mu, w.line_width, w.area, w.norm, w.tail_fraction,
             w.step_fraction, w.pulled);
    far.take(peaks, w.line_component, w.line_family);
    if (Team::KEEPS_SHAPES) {
        far.take(grains + 1, w.step_height);
        far.take(peaks, p.offset);
    }
    far.take(vars, w.amplitude, w.variables, w.gradient, w.best, w.moment1, w.moment2);
    far.take(q.n_components + 1, w.first_line);
    carve_jacobian<Team>(q.count, q.n_lines, linear_variables(q), far, w.jacobian);
    if (Team::KEEPS_SHAPES) far.take(peaks * n, w.kept.peak, w.kept.step, w.kept.tail, w.kept.slope);
    w.weight = w.total;
}
