// The peaks of one spectrum: every emission line and every scatter term becomes one or more peaks of
// the same kind, so that the passes over channels know nothing of elements or of Compton.
//
//   m(c) = peak_coef p(x) + step_coef erfc(x / sqrt 2) + tail_coef tau(x)
//   x(t) = x0 + t (x1 + t x2),   t = c - middle         channel c of the fit window
//
// A mirrored peak has its tail on the high side: x is negated.
#pragma once
#include "abi.h"
#include "lineshape.cuh"
#include "team.cuh"

enum { PEAK_TAIL = 1, PEAK_STEP = 2, PEAK_MIRRORED = 4 };

// Sets of kinds, whatever is mirrored: a bit for each.
XRF_FN int kind_bit(int kind) { return 1 << (kind & (PEAK_TAIL | PEAK_STEP)); }
XRF_FN int kinds_with(int part) { return kind_bit(part) | kind_bit(PEAK_TAIL | PEAK_STEP); }

// What the adjoint pass leaves per peak, sums over channels with the weights w(c) = dL/dm(c). The sum of
// w x dm/dx, which carries the width, is x0 SUM_D0 + x1 SUM_D1 + x2 SUM_D2.
enum {
    SUM_PEAK,   // w p
    SUM_D0,     // w dm/dx
    SUM_D1,     // w dm/dx t
    SUM_D2,     // w dm/dx t^2
    SUM_STEP,   // w erfc
    SUM_TAIL,   // w tau
    SUM_GAMMA,  // w r, see tail_dgamma_rest
    N_SUMS
};

template <class T> struct alignas(4 * sizeof(T)) PeakSums {
    T of[N_SUMS];
};

// x(t) of a peak. t counts from the middle of its window, so that no sum over t cancels.
template <class T> struct alignas(4 * sizeof(T)) PeakAxis {
    T middle, x0, x1, x2;
};

// Counts per channel, and 1/G.
template <class T> struct alignas(4 * sizeof(T)) PeakCoefs {
    T peak, step, tail, inv_gamma;
};

template <class T> struct PeakCurve {
    PeakAxis<T> axis;
    PeakCoefs<T> coefs;
};

// Arrays by peak. What is found once per peak is in f64 for both precisions: x at the middle of a window is a
// difference of large numbers, and 60 values cost nothing.
template <class T> struct Peaks {
    int n;
    double *energy, *inv_sigma, *gamma;  // keV, 1/keV, 1
    PeakCurve<T> *curve;
    T *twice_e2;                         // 2 exp(1/2G^2); of peaks with a tail
    int *first, *count;                  // window
    int *far_count;                      // channels of the far tail beyond the window
    int *kind, *offset;                  // PEAK_*; where the kept shapes start
    PeakSums<T> *sums;
};

// Channel energies of the fit window: e(c) = offset + slope c + quadratic c^2, c counted from the
// spectrum's first channel.
struct Axis {
    double offset, slope, quadratic;
    int first, count;
    double cut;  // Hypermet: infinity, MAPS: 0; see lineshape.cuh
};

XRF_FN double channel_energy(const Axis &a, double c) {
    return a.offset + c * (a.slope + c * a.quadratic);
}

template <class T> XRF_FN T clamped(T x, T lower, T upper) {
    x = x > lower ? x : lower;
    return x < upper ? x : upper;
}

// Where a peak is evaluated, in channels of the fit window. A peak that misses the fit window keeps a count of 0;
// its step and far tail may still reach it.
struct Window {
    int first, count, far;
};

// In single precision: what an edge is off by rounding is less than the channel that is added for it.
//
//   de/dc = sqrt(slope^2 + 4 quadratic (E - offset))     0 where the axis never reaches E
//   c(E)  = 2 (E - offset) / (slope + de/dc)             the root near the linear solution
template <bool SHAPED, class Team, class T>
XRF_FN Window window_of(Team, T, const Axis &a, double energy, double sigma, double gamma, int kind) {
    const float above_offset = (float)(energy - a.offset), slope = (float)a.slope, n = (float)a.count;
    const float square = slope * slope + 4 * (float)a.quadratic * above_offset;
    const float spacing = sqrtf(square > 0 ? square : 0.0f);
    const float center = 2 * above_offset / (slope + spacing) - (float)a.first;
    const float per_width = (float)sigma / spacing, peak = peak_reach(T());
    const int grain = Team::GRAIN;
    float below = peak * per_width + 1, above = below;
    // 0 or 1, as numbers: a choice by an integer's bit does not vectorise
    const int tail_bit = kind & PEAK_TAIL, mirrored_bit = (kind & PEAK_MIRRORED) / PEAK_MIRRORED;
    if (SHAPED) {
        const float mirrored = (float)mirrored_bit, longer = (float)tail_bit * (near_reach<T>((float)gamma) - peak);
        below += (1 - mirrored) * longer * per_width;
        above += mirrored * longer * per_width;
    }
    const int first = (int)clamped(center - below, 0.0f, n) / grain * grain;
    const int end = (int)clamped(center + above + 1, 0.0f, n);
    const int count = end > first ? (end - first + grain - 1) / grain * grain : 0;
    if (!SHAPED) return {first, count, 0};
    const float reach = (float)tail_bit * tail_reach(T()) * (float)gamma * per_width;
    const int far_low = first - (int)clamped(center - reach, 0.0f, (float)first);
    const int far_high = (int)clamped(center + reach + 1, 0.0f, n) - (first + count);
    const int far = tail_bit * (mirrored_bit ? far_high : far_low);
    return {first, count, far > 0 ? (far + grain - 1) / grain * grain : 0};
}

// Constants of one peak in the channel loops.
template <class T> struct PeakScalars {
    T middle, x0, x1, x2, peak, step, tail, inv_gamma, twice_e2, cut;

    XRF_METHOD T x(T t) const { return x0 + t * (XRF_RUN_curved ? x1 + t * x2 : x1); }
};

template <bool TAIL, bool STEP, class T> XRF_FN PeakScalars<T> scalars_of(const Peaks<T> &p, int i, double cut) {
    const PeakAxis<T> a = p.curve[i].axis;
    if (!TAIL && !STEP) return {a.middle, a.x0, a.x1, a.x2, p.curve[i].coefs.peak, T(0), T(0), T(0), T(0), T(0)};
    const PeakCoefs<T> k = p.curve[i].coefs;
    return {a.middle, a.x0, a.x1, a.x2, k.peak, k.step, k.tail, k.inv_gamma, TAIL ? p.twice_e2[i] : T(0), T(cut)};
}

template <bool TAIL, bool STEP, class T> XRF_FN Shape<T> shape_at(const PeakScalars<T> &s, T x) {
    return line_shape<T, TAIL, STEP>(x, s.inv_gamma, s.twice_e2, s.cut);
}

// The far tail, tau = 2 exp(1/2G^2) exp(x/G), walked away from the peak block by block. x is
// quadratic in t, so the ratio of two blocks changes by a constant factor: two products a channel
// instead of an exponential.
template <class Team, class T> struct FarTail {
    T value[Team::LANES], ratio[Team::LANES], curve;
    int c, t, stride;  // channel of the window, and from its middle

    static XRF_METHOD FarTail begin(Team team, const PeakScalars<T> &s, int before, int count, bool mirrored) {
        FarTail f;
        f.stride = mirrored ? Team::BLOCK : -Team::BLOCK;
        f.c = (mirrored ? count : -Team::BLOCK) + team.first();
        f.t = f.c - before;
        const T h = T(f.stride), inv_gamma = s.inv_gamma;
        XRF_SIMD for (int j = 0; j < Team::LANES; ++j) {
            const T t = T(f.t + j);
            f.value[j] = s.twice_e2 * exponential(inv_gamma * s.x(t));
            f.ratio[j] = exponential(inv_gamma * h * (s.x1 + s.x2 * (T(2) * t + h)));
        }
        f.curve = exponential(inv_gamma * T(2) * s.x2 * h * h);
        return f;
    }
    XRF_METHOD void next() {
        XRF_SIMD for (int j = 0; j < Team::LANES; ++j) {
            value[j] *= ratio[j];
            ratio[j] *= curve;
        }
        c += stride;
        t += stride;
    }
};

// m at one channel.
template <bool TAIL, bool STEP, class T> XRF_FN T counts_of(const PeakScalars<T> &s, T peak, T step, T tail) {
    T m = s.peak * peak;
    if (STEP) m += s.step * step;
    if (TAIL) m += s.tail * tail;
    return m;
}

// Adds to lane j of the sums what a channel at x(t) with weight w and these shapes has for them. Where the peak has
// neither tail nor step, the coefficient of dm/dx = -peak_coef x p waits until the sums are complete.
template <bool TAIL, bool STEP, int LANES, class T>
XRF_FN void add_terms(const PeakScalars<T> &s, T w, T t, T x, T peak, T step, T tail, T slope, int j,
                      T (&sums)[N_SUMS][LANES]) {
    const T wp = w * peak;
    T d0 = wp * x;
    if (TAIL || STEP) {
        // dm/dx = peak_coef p' + step_coef erfc' + tail_coef tau'
        const T below_cut = below(x, s.cut);
        T dx = s.peak * peak_dx(x, peak);
        if (STEP) dx += s.step * step_dx(peak);
        if (TAIL) dx += s.tail * tail_dx(below_cut, s.inv_gamma, tail, slope);
        if (STEP) sums[SUM_STEP][j] += w * step;
        if (TAIL) sums[SUM_TAIL][j] += w * tail;
        if (TAIL) sums[SUM_GAMMA][j] += w * tail_dgamma_rest(x, below_cut, tail, slope);
        d0 = w * dx;
    }
    const T d1 = d0 * t;
    sums[SUM_PEAK][j] += wp;
    sums[SUM_D0][j] += d0;
    sums[SUM_D1][j] += d1;
    if (XRF_RUN_curved) sums[SUM_D2][j] += d1 * t;
}

template <bool TAIL, bool STEP, class T> XRF_FN void complete_terms(const PeakScalars<T> &s, PeakSums<T> &sums) {
    const T height = TAIL || STEP ? T(1) : -s.peak;
    XRF_UNROLL for (int k = SUM_D0; k <= SUM_D2; ++k) sums.of[k] *= height;
}

// Adds the far tail's share, from its sums of w tau t^k: there tau' = tau / G and r = -x tau.
template <class T> XRF_FN void add_far_terms(const PeakScalars<T> &s, const T (&far)[3], PeakSums<T> &sums) {
    const T k = s.tail * s.inv_gamma;
    sums.of[SUM_TAIL] += far[0];
    sums.of[SUM_GAMMA] -= s.x0 * far[0] + s.x1 * far[1] + s.x2 * far[2];
    sums.of[SUM_D0] += k * far[0];
    sums.of[SUM_D1] += k * far[1];
    sums.of[SUM_D2] += k * far[2];
}
