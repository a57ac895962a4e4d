// SNIP: the background is what is left after every channel is clipped, again and again, to the mean of
// its neighbours at a shrinking distance (Ryan et al., Nucl. Instrum. Methods B 34 (1988) 396), in MAPS' form:
//
//   b = ln(ln(boxcar5(y) + 1) + 1)
//   w(c) = SNIP_WIDTH 2.35 sqrt((OFFSET / 2.3548)^2 + 3.58 e(c) SLOPE) / SLOPE      [channels]
//   b(c) <- min(b(c), (b(c - w) + b(c + w)) / 2)    twice at full width, then while max w >= 0.5 with
//                                                    w <- w / sqrt 2 after each pass
//   background = exp(exp(b) - 1) - 1
//
// MAPS takes the energy calibration where the detector's noise and Fano terms belong; SNIP_WIDTH is
// tuned to that. c - w and c + w are cut to whole channels and stop at the fit window, so the background
// of the window needs no channel outside it but for the boxcar.
//
// Order: MapsTorch updates all channels at once, XRF-Maps ascending and in place, which lies lower.
//
// The distances depend on the calibration alone, so a plan serves all spectra of a run. They are whole
// channels: the background's derivative with respect to calibration and SNIP_WIDTH is zero almost
// everywhere, and a fit keeps its background frozen.
#pragma once
#include "peaks.cuh"

// Where a stretch of channels looks: low(c) and high(c) advance by 0 or 1 per channel.
struct SnipRun {
    int start, length, low, high, low_step, high_step;
};

// By pass and channel of the window: the two neighbours, counted from the window's first channel; and the
// same as runs, which a single thread walks in vectors.
struct SnipPlan {
    int passes;
    const int32_t *low, *high;  // [passes, count]
    const int32_t *run_start;   // [passes + 1]
    const SnipRun *runs;
};

XRF_FN int snip_max_passes() { return 64; }

XRF_FN double snip_width_at(const XrfProblem &q, const Axis &a, double c) {
    const double noise = a.offset / 2.3548;
    const double square = noise * noise + 3.58 * channel_energy(a, c) * a.slope;
    return square > 0 ? q.snip_width * 2.35 * sqrt(square) / a.slope : 0.0;
}

XRF_FN int snip_low(int c, double w, int first, int last) { return (int)clamped<double>(c - w, first, last); }
XRF_FN int snip_high(int c, double w, int first, int last) { return (int)clamped<double>(c + w, first, last); }

// The tables of a plan, [snip_max_passes(), count] each; returns how many passes there are.
template <class Team>
XRF_FN int snip_distances(Team team, const XrfProblem &q, const Axis &a, int32_t *low, int32_t *high) {
    const int first = q.first, last = q.first + q.count - 1;
    double widest = 0, shrink = 1;
    for (int c = 0; c < q.n_channels; ++c) {
        const double w = snip_width_at(q, a, c);
        if (w > widest) widest = w;
    }
    int pass = 0;
    for (; pass < snip_max_passes() && (pass < 2 || widest * shrink >= 0.5); ++pass) {
        XRF_SHARE(team, c, q.count) {
            const double w = snip_width_at(q, a, first + c) * shrink;
            low[pass * q.count + c] = snip_low(first + c, w, first, last) - first;
            high[pass * q.count + c] = snip_high(first + c, w, first, last) - first;
        }
        if (pass >= 2) shrink /= sqrt(2.0);
    }
    return pass;
}

template <class T>
XRF_FN T snip_clip(T here, T low, T high) {
    const T mean = T(0.5) * (low + high);
    return mean < here ? mean : here;
}

// One pass by a single thread, all channels at once: in -> out. Runs are written in ascending order, each in whole
// blocks; what one writes beyond its end the next one overwrites.
template <class Team, class T>
XRF_FN void snip_runs(Team team, const SnipRun *run, int n_runs, const T *XRF_RESTRICT in, T *XRF_RESTRICT out) {
    for (int r = 0; r < n_runs; ++r) {
        const SnipRun s = run[r];
        for (int b = 0; b < s.length; b += Team::BLOCK) {
            const T *here = in + s.start + b, *low = in + s.low + b * s.low_step, *high = in + s.high + b * s.high_step;
            T *to = out + s.start + b;
            if (s.low_step && s.high_step) {
                XRF_EACH_LANE(team, j) to[j] = snip_clip(here[j], low[j], high[j]);
            } else if (s.high_step) {
                const T fixed = *low;
                XRF_EACH_LANE(team, j) to[j] = snip_clip(here[j], fixed, high[j]);
            } else if (s.low_step) {
                const T fixed = *high;
                XRF_EACH_LANE(team, j) to[j] = snip_clip(here[j], low[j], fixed);
            } else {
                const T fixed_low = *low, fixed_high = *high;
                XRF_EACH_LANE(team, j) to[j] = snip_clip(here[j], fixed_low, fixed_high);
            }
        }
    }
}

// One pass by many members, all channels at once: in -> out.
template <class Team, class T>
XRF_FN void snip_shares(Team team, int n, const int32_t *low, const int32_t *high, const T *in, T *out) {
    XRF_SHARE(team, c, n) out[c] = snip_clip(in[c], in[low[c]], in[high[c]]);
}

// One pass in ascending order and in place; every channel waits for those below it.
template <class Team, class T>
XRF_FN void snip_in_place(Team team, int n, const int32_t *low, const int32_t *high, T *b) {
    if (team.leads())
        for (int c = 0; c < n; ++c) b[c] = snip_clip(b[c], b[low[c]], b[high[c]]);
}

// Mean of five channels around c; beyond the spectrum there is nothing. XRF-Maps leaves the two
// outermost channels on each side at 0.
template <class T> XRF_FN T boxcar(const T *counts, int channels, int c, int order) {
    const bool inside = c >= 2 && c + 2 < channels;
    if (inside) return T(0.2) * (counts[c - 2] + counts[c - 1] + counts[c] + counts[c + 1] + counts[c + 2]);
    if (order == XRF_SNIP_IN_PLACE) return T(0);
    T sum = T(0);
    for (int k = c - 2; k <= c + 2; ++k) sum += k >= 0 && k < channels ? counts[k] : T(0);
    return T(0.2) * sum;
}

// Background of the fit window from a whole spectrum; `background` and `scratch` are [padded count + block].
template <class Team, class T>
XRF_CALL void snip(Team team, const XrfProblem &q, const SnipPlan &plan, const T *counts, T *background, T *scratch) {
    const int n = q.count;
    XRF_SHARE(team, c, n) scratch[c] = boxcar(counts, q.n_channels, q.first + c, q.snip_order);
    T *b = scratch, *other = background;
    for (int i = team.first(); i < n; i += Team::BLOCK)
        XRF_EACH_LANE(team, j) b[i + j] = logarithm(logarithm((b[i + j] > T(0) ? b[i + j] : T(0)) + T(1)) + T(1));
    for (int pass = 0; pass < plan.passes; ++pass) {
        const int32_t *low = plan.low + pass * n, *high = plan.high + pass * n;
        team.sync();
        if (q.snip_order == XRF_SNIP_IN_PLACE) {
            snip_in_place(team, n, low, high, b);
            continue;
        }
        if (Team::MEMBERS == 1) {
            const int first = plan.run_start[pass];
            snip_runs(team, plan.runs + first, plan.run_start[pass + 1] - first, b, other);
        } else {
            snip_shares(team, n, low, high, b, other);
        }
        T *swap = b;
        b = other;
        other = swap;
    }
    team.sync();
    for (int i = team.first(); i < n; i += Team::BLOCK)
        XRF_EACH_LANE(team, j) background[i + j] = exponential(exponential(b[i + j]) - T(1)) - T(1);
}
