// The peaks of one spectrum: every emission line and every scatter term becomes one or more peaks of
// the same kind, so that the passes over channels know nothing of elements or of Compton.
//
//   m(c) = peak_coef p(x) + step_coef erfc(x / sqrt 2) + tail_coef tau(x)
//   x(t) = x0 + t (x1 + t x2),   t = c - first          channel c of the fit window
//
// A mirrored peak has its tail on the high side: x is negated.
#pragma once
#include "abi.h"
#include "lineshape.cuh"
#include "team.cuh"

enum { PEAK_TAIL = 1, PEAK_STEP = 2, PEAK_MIRRORED = 4 };

// What the adjoint pass leaves per peak, sums over channels with the weights w(c) = dL/dm(c):
enum {
    SUM_PEAK,   // w p
    SUM_STEP,   // w erfc
    SUM_TAIL,   // w tau
    SUM_GAMMA,  // w r, see tail_dgamma_rest
    SUM_X,      // w x dm/dx
    SUM_D0,     // w dm/dx
    SUM_D1,     // w dm/dx t
    SUM_D2,     // w dm/dx t^2
    N_SUMS
};

// Arrays by peak. The set-up is in f64 for both precisions: x at the first channel of a window is a
// difference of large numbers, and 60 values cost nothing.
template <class T> struct Peaks {
    int n;
    double *energy, *sigma, *gamma;                  // keV, keV, 1
    double *peak_coef, *step_coef, *tail_coef;       // counts per channel
    int *first, *count;                              // window, whole blocks
    int *far_count;                                  // channels of the far tail beyond the window
    int *kind, *offset;                              // PEAK_*; where the kept shapes start
    T *x0, *x1, *x2;
    T *inv_gamma, *twice_e2;                         // 1/G, 2 exp(1/2G^2); of peaks with a tail
    double *sums[N_SUMS];
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

// de/dc where the axis reaches energy e: sqrt(slope^2 + 4 quadratic (e - offset)), 0 where it never does.
XRF_FN double spacing_at(const Axis &a, double e) {
    const double square = a.slope * a.slope + 4 * a.quadratic * (e - a.offset);
    return sqrt(square > 0 ? square : 0.0);
}

// Channel with energy e, the root of the quadratic near the linear solution: 2 (e - offset) / (slope + de/dc).
XRF_FN double channel_of(const Axis &a, double e, double spacing) {
    return 2 * (e - a.offset) / (a.slope + spacing);
}

XRF_FN double clamped(double x, double lower, double upper) {
    x = x > lower ? x : lower;
    return x < upper ? x : upper;
}

// Windows and x(t) of every peak. Peaks that miss the fit window keep a count of 0; their step and far tail
// may still reach it.
template <class Team, class T> XRF_FN void place_peaks(Team team, const Axis &a, Peaks<T> &p) {
    const double n = a.count;
    const int block = Team::BLOCK;
    XRF_SIMD XRF_SHARE(team, i, p.n) {
        const double spacing = spacing_at(a, p.energy[i]);
        const double center = channel_of(a, p.energy[i], spacing);
        const double per_width = p.sigma[i] / spacing;
        // 0 or 1, as numbers: a choice between doubles by an integer's bit does not vectorise
        const int tail_bit = p.kind[i] & PEAK_TAIL, mirrored_bit = (p.kind[i] & PEAK_MIRRORED) / PEAK_MIRRORED;
        const double tail = tail_bit, mirrored = mirrored_bit, sign = 1 - 2 * mirrored;
        const double longer = tail * (near_reach<T>(p.gamma[i]) - peak_reach(T()));
        const double below = (peak_reach(T()) + (1 - mirrored) * longer) * per_width + 1;
        const double above = (peak_reach(T()) + mirrored * longer) * per_width + 1;
        const double local = center - a.first;
        const int first = (int)clamped(local - below, 0, n) / block * block;
        const int end = (int)clamped(local + above + 1, 0, n);
        const int count = end > first ? (end - first + block - 1) / block * block : 0;
        const double reach = tail * tail_reach(T()) * p.gamma[i] * per_width;
        const int far_low = first - (int)clamped(local - reach, 0, first);
        const int far_high = (int)clamped(local + reach + 1, 0, n) - (first + count);
        const int far = tail_bit * (mirrored_bit ? far_high : far_low);
        p.first[i] = first;
        p.count[i] = count;
        p.far_count[i] = far > 0 ? (far + block - 1) / block * block : 0;
        const double c = a.first + first, scale = sign / p.sigma[i];
        p.x0[i] = T((channel_energy(a, c) - p.energy[i]) * scale);
        p.x1[i] = T((a.slope + 2 * a.quadratic * c) * scale);
        p.x2[i] = T(a.quadratic * scale);
        const double inv = tail / p.gamma[i];
        p.inv_gamma[i] = T(inv);
        p.twice_e2[i] = T(2.0 * exponential(0.5 * inv * inv));
    }
    if (Team::KEEPS_SHAPES) {
        int offset = 0;
        for (int i = 0; i < p.n; ++i) {
            p.offset[i] = offset;
            offset += p.count[i];
        }
    }
    team.sync();
}

// Shapes kept from the forward pass, packed by peak: [sum of counts] each.
template <class T> struct KeptShapes {
    T *peak, *step, *tail, *slope;
};

// Constants of one peak in the channel loops.
template <class T> struct PeakScalars {
    T x0, x1, x2, peak, step, tail, inv_gamma, twice_e2, cut;
};

template <class T> XRF_FN PeakScalars<T> scalars_of(const Peaks<T> &p, int i, double cut) {
    return {p.x0[i], p.x1[i], p.x2[i], T(p.peak_coef[i]), T(p.step_coef[i]), T(p.tail_coef[i]),
            p.inv_gamma[i], p.twice_e2[i], T(cut)};
}

// model(c) += m(c) in the peak's window.
template <bool TAIL, bool STEP, class Team, class T>
XRF_FN void add_window(Team team, const PeakScalars<T> &s, int count, T *XRF_RESTRICT model,
                       T *XRF_RESTRICT peak, T *XRF_RESTRICT step, T *XRF_RESTRICT tail,
                       T *XRF_RESTRICT slope) {
    for (int b = team.first(); b < count; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const T t = T(b + j);
            const T x = s.x0 + t * (s.x1 + t * s.x2);
            const Shape<T> f = line_shape<T, TAIL, STEP>(x, s.inv_gamma, s.twice_e2, s.cut);
            T m = s.peak * f.peak;
            if (STEP) m += s.step * f.step;
            if (TAIL) m += s.tail * f.tail;
            model[b + j] += m;
            if (Team::KEEPS_SHAPES) {
                peak[b + j] = f.peak;
                if (STEP) step[b + j] = f.step;
                if (TAIL) tail[b + j] = f.tail;
                if (TAIL) slope[b + j] = f.slope;
            }
        }
}

// The far tail, tau = 2 exp(1/2G^2) exp(x/G), walked away from the peak block by block. x is
// quadratic in t, so the ratio of two blocks changes by a constant factor: two products a channel
// instead of an exponential.
template <class Team, class T> struct FarTail {
    T value[Team::LANES], ratio[Team::LANES], curve;
    int t, stride;

    static XRF_METHOD FarTail begin(Team team, const PeakScalars<T> &s, int count, bool mirrored) {
        FarTail f;
        f.stride = mirrored ? Team::BLOCK : -Team::BLOCK;
        f.t = (mirrored ? count : -Team::BLOCK) + team.first();
        const T h = T(f.stride);
        XRF_SIMD for (int j = 0; j < Team::LANES; ++j) {
            const T t = T(f.t + j);
            f.value[j] = s.twice_e2 * exponential(s.inv_gamma * (s.x0 + t * (s.x1 + t * s.x2)));
            f.ratio[j] = exponential(s.inv_gamma * h * (s.x1 + s.x2 * (T(2) * t + h)));
        }
        f.curve = exponential(s.inv_gamma * T(2) * s.x2 * h * h);
        return f;
    }
    XRF_METHOD void next() {
        XRF_SIMD for (int j = 0; j < Team::LANES; ++j) {
            value[j] *= ratio[j];
            ratio[j] *= curve;
        }
        t += stride;
    }
};

template <class Team, class T>
XRF_FN void add_far_tail(Team team, const PeakScalars<T> &s, int count, int far, bool mirrored,
                         T *XRF_RESTRICT model) {
    FarTail<Team, T> f = FarTail<Team, T>::begin(team, s, count, mirrored);
    for (int b = 0; b < far; b += Team::BLOCK, f.next()) {
        T *XRF_RESTRICT m = model + f.t;
        XRF_EACH_LANE(team, j) m[j] += s.tail * f.value[j];
    }
}

// The peak's sums over its window.
template <bool TAIL, bool STEP, class Team, class T>
XRF_FN void sum_window(Team team, const PeakScalars<T> &s, int count, const T *XRF_RESTRICT weight,
                       const T *XRF_RESTRICT peak, const T *XRF_RESTRICT step,
                       const T *XRF_RESTRICT tail, const T *XRF_RESTRICT slope, T (&out)[N_SUMS]) {
    T acc[N_SUMS][Team::LANES] = {};
    for (int b = team.first(); b < count; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) {
            const T t = T(b + j);
            const T x = s.x0 + t * (s.x1 + t * s.x2);
            Shape<T> f = {T(0), T(0), T(0), T(0)};
            if (Team::KEEPS_SHAPES) {
                f.peak = peak[b + j];
                if (STEP) f.step = step[b + j];
                if (TAIL) f.tail = tail[b + j];
                if (TAIL) f.slope = slope[b + j];
            } else {
                f = line_shape<T, TAIL, STEP>(x, s.inv_gamma, s.twice_e2, s.cut);
            }
            const T w = weight[b + j];
            // dm/dx = peak_coef p' + step_coef erfc' + tail_coef tau'
            const T below_cut = below(x, s.cut);
            T dx = s.peak * peak_dx(x, f);
            if (STEP) dx += s.step * step_dx(f);
            if (TAIL) dx += s.tail * tail_dx(below_cut, s.inv_gamma, f);
            const T d0 = w * dx, d1 = d0 * t;
            acc[SUM_PEAK][j] += w * f.peak;
            if (STEP) acc[SUM_STEP][j] += w * f.step;
            if (TAIL) acc[SUM_TAIL][j] += w * f.tail;
            if (TAIL) acc[SUM_GAMMA][j] += w * tail_dgamma_rest(x, below_cut, f);
            acc[SUM_X][j] += d0 * x;
            acc[SUM_D0][j] += d0;
            acc[SUM_D1][j] += d1;
            acc[SUM_D2][j] += d1 * t;
        }
    for (int k = 0; k < N_SUMS; ++k) {
        const bool used = k == SUM_STEP ? STEP : (k == SUM_TAIL || k == SUM_GAMMA) ? TAIL : true;
        out[k] = used ? team.sum(acc[k]) : T(0);
    }
}

// And over its far tail, where tau' = tau / G and r = -x tau.
template <class Team, class T>
XRF_FN void sum_far_tail(Team team, const PeakScalars<T> &s, int count, int far, bool mirrored,
                         const T *XRF_RESTRICT weight, T (&out)[N_SUMS]) {
    FarTail<Team, T> f = FarTail<Team, T>::begin(team, s, count, mirrored);
    T v0[Team::LANES] = {}, v1[Team::LANES] = {}, v2[Team::LANES] = {}, vx[Team::LANES] = {};
    for (int b = 0; b < far; b += Team::BLOCK, f.next()) {
        const T *XRF_RESTRICT w = weight + f.t;
        XRF_EACH_LANE(team, j) {
            const T t = T(f.t + j);
            const T x = s.x0 + t * (s.x1 + t * s.x2);
            const T v = w[j] * f.value[j], vt = v * t;
            v0[j] += v;
            v1[j] += vt;
            v2[j] += vt * t;
            vx[j] += v * x;
        }
    }
    const T tau = team.sum(v0), tau_x = team.sum(vx), k = s.tail * s.inv_gamma;
    out[SUM_TAIL] += tau;
    out[SUM_GAMMA] -= tau_x;
    out[SUM_X] += k * tau_x;
    out[SUM_D0] += k * tau;
    out[SUM_D1] += k * team.sum(v1);
    out[SUM_D2] += k * team.sum(v2);
}
