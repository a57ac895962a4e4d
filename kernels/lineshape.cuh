// How the detector smears one emission line: peak, step and low-energy tail.
//
//   x = (e - E) / s                                     channel energy from the line, in peak widths
//   p(x) = exp(-x^2 / 2)
//   P = g / (s sqrt(2 pi)) p                            full-energy peak, sums to 1 over channels
//   S = g / (2 E) erfc(x / sqrt 2)                      step
//   T = g / (2 G s) tau(x)                              tail
//   tau(x) = exp(1 / 2G^2) h(x) erfc(u),  u = (x + 1/G) / sqrt 2,  h(x) = exp(x / G)
//
//   e, E  energy of the channel and of the line   [keV]
//   s     peak width (standard deviation)         [keV]
//   g     energy per channel                      [keV/channel]
//   G     tail length, in peak widths             [1]
//
// MAPS drops the exponential above the line: h(x) = 1 for x >= 0, so that the tail's area is below 1, by
// 1 % at G = 5, 3 % at 2.2 and 10 % at 1. The textbook Hypermet keeps it. Both are one formula here:
// h = exp(x / G) below `cut`, which is 0 for MAPS and infinity for Hypermet, and 1 above.
//
// Sources: Vogt, J. Phys. IV 104 (2003) 635 (MAPS); van Espen & Lemberge, Adv. X-Ray Anal. 43 (2000)
// 560; Campbell & Maxwell, Nucl. Instrum. Methods B 129 (1997) 297.
#pragma once
#include "special.cuh"

// p, erfc(x / sqrt 2), tau and q = sqrt(2/pi) p(x) h(x) exp(-x/G) at one channel; q carries the derivatives of tau.
// Functions of a shape take its numbers: a structure that a loop over channels hands on keeps GCC from making vectors.
template <class T> struct Shape {
    T peak, step, tail, slope;
};

template <class T, bool TAIL, bool STEP>
XRF_FN Shape<T> line_shape(T x, T inv_gamma, T twice_e2, T cut) {
    const T sqrt_half = T(0.70710678118654752440);
    Shape<T> f = {T(0), T(0), T(0), T(0)};
    const T ax = x < T(0) ? -x : x;
    f.peak = gaussian(x);
    if (STEP) {
        // erfc(x / sqrt 2) = p(x) erfcx(x / sqrt 2) for x >= 0, and 2 - erfc(-x / sqrt 2) below
        const T upper = f.peak * scaled_erfc(ax * sqrt_half);
        f.step = x < T(0) ? T(2) - upper : upper;
    }
    if (TAIL) {
        // exp(1/2G^2) exp(x/G) erfc(u) = p(x) erfcx(u), and for u < 0 erfc(u) = 2 - erfc(-u):
        // 2 exp(1/2G^2) exp(x/G) - p(x) erfcx(-u). No factor can overflow.
        const T decay = exponential(-ax * inv_gamma);  // exp(-|x| / G)
        const T u = (x + inv_gamma) * sqrt_half;
        const T scaled = f.peak * scaled_erfc(u < T(0) ? -u : u);
        const T below = u < T(0) ? twice_e2 * decay - scaled : scaled;
        const T drop = x < cut ? T(1) : decay;
        f.tail = (x < T(0) ? below : scaled * drop);
        // q = sqrt(2/pi) p(x) h(x) exp(-x/G)
        f.slope = T(0.79788456080286535588) * f.peak * (x < T(0) ? T(1) : drop);
    }
    return f;
}

// dp/dx = -x p
template <class T> XRF_FN T peak_dx(T x, T peak) { return -x * peak; }

// d erfc(x / sqrt 2) / dx = -sqrt(2/pi) p
template <class T> XRF_FN T step_dx(T peak) { return T(-0.79788456080286535588) * peak; }

// [x < cut] as a factor: a branch here would keep the compiler from vectorising the passes.
template <class T> XRF_FN T below(T x, T cut) { return x < cut ? T(1) : T(0); }

// d tau / dx = [x < cut] tau / G - q
template <class T> XRF_FN T tail_dx(T below_cut, T inv_gamma, T tail, T slope) {
    return below_cut * (tail * inv_gamma) - slope;
}

// d tau / dG = -tau / G^3 + r / G^2, and this is r = q - [x < cut] x tau; the caller adds the rest.
template <class T> XRF_FN T tail_dgamma_rest(T x, T below_cut, T tail, T slope) {
    return slope - below_cut * (x * tail);
}

// Beyond this many peak widths p(x) is below the truncation error: 1e-7 in f32, 1e-16 in f64.
XRF_FN float peak_reach(float) { return 5.7f; }
XRF_FN float peak_reach(double) { return 8.6f; }

// Beyond this many tail lengths exp(x / G) is below the same.
XRF_FN float tail_reach(float) { return 16.2f; }
XRF_FN float tail_reach(double) { return 36.9f; }

// Wide enough below the line that u < 0 and tau = 2 exp(1/2G^2) exp(x/G) up to the truncation.
template <class T> XRF_FN float near_reach(float gamma) {
    const float reach = peak_reach(T()), per_width = 1.0f / (gamma > 1e-3f ? gamma : 1e-3f);
    return per_width > reach ? per_width : reach;
}
