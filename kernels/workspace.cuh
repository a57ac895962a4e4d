// What one team holds while it works on one spectrum.
#pragma once
#include "parameters.cuh"
#include "peaks.cuh"

// Everything one spectrum needs while it is fitted.
template <class T> struct Workspace {
    Peaks<T> peaks;
    KeptShapes<T> kept;
    T *counts, *background, *net, *model, *total, *weight, *scratch;  // [padded count + 2 BLOCK]
    T *step_height;      // [blocks + 1] steps that end at each block
    double *step_weight; // [blocks + 1] sum of the weights below each block

    // Lines above their edge, and what is switched on, decided once per fit from its start.
    int n_lines;
    double *line_energy, *line_ratio, *line_mu, *line_width, *area, *norm, *tail_fraction,
        *step_fraction;
    int *line_component, *line_family;
    bool alpha_tail, beta_tail, line_step, compton_step, compton_low, compton_high, si_escape, ge_escape;

    double *amplitude, *variables, *gradient, *best, *moment1, *moment2;  // [variables]
    double *linear, *solution, *factor;                                    // [K], [K], [K, K]
    int *passive;
};
