// Entry points of the CPU engine and its memory; no formula. Compiled once per instruction set;
// XRF_LEVEL names it.
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#include "fit_tile.cuh"

#define XRF_JOIN(a, b) a##_##b
#define XRF_EXPAND(a, b) XRF_JOIN(a, b)
#define XRF_NAME(name) XRF_EXPAND(name, XRF_LEVEL)

namespace {

// Numbers too small for their type count as zero, as on a GPU; the former state returns at the end.
struct FlushTiny {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushTiny() { _mm_setcsr(before | 0x8040); }
    ~FlushTiny() { _mm_setcsr(before); }
#endif
};

template <class T> Workspace<T> laid_out(const XrfProblem &q, char *block, size_t &used) {
    Workspace<T> w = {};
    Carver carver = {block, sizeof(Workspace<T>)};
    carve<Thread>(q, carver, carver, w);
    used = (carver.used + 63) / 64 * 64;
    return w;
}

template <class T> uint64_t workspace_bytes(const XrfProblem *q) {
    size_t used;
    laid_out<T>(*q, nullptr, used);
    return used;
}

template <class T> void lay_out(const XrfProblem *q, void *block) {
    size_t used;
    const Workspace<T> w = laid_out<T>(*q, (char *)block, used);
    // columns and kept shapes, which come last, are written before they are read; pages that no fit touches stay the system's
    memset(block, 0, (char *)w.jacobian.own - (char *)block);
    *(Workspace<T> *)block = w;
}

// Distances of every pass, and the stretches over which they advance evenly.
SnipPlan new_snip_plan(const XrfProblem &q) {
    const int n = q.count, most = snip_max_passes();
    int32_t *lows = (int32_t *)malloc(sizeof(int32_t) * most * n), *highs = (int32_t *)malloc(sizeof(int32_t) * most * n);
    int32_t *run_start = (int32_t *)malloc(sizeof(int32_t) * (most + 1));
    SnipRun *run = (SnipRun *)malloc(sizeof(SnipRun) * most * n);
    if (!lows || !highs || !run_start || !run) abort();
    const int passes = snip_distances(Thread(), q, axis_of(q, q.start), lows, highs);
    int runs = 0;
    for (int pass = 0; pass < passes; ++pass) {
        const int32_t *low = lows + pass * n, *high = highs + pass * n;
        run_start[pass] = runs;
        for (int c = 0; c < n;) {
            SnipRun r = {c, 1, low[c], high[c], 1, 1};
            if (c + 1 < n) {
                const int dl = low[c + 1] - low[c], dh = high[c + 1] - high[c];
                if (dl >= 0 && dl <= 1 && dh >= 0 && dh <= 1) {
                    r.low_step = dl;
                    r.high_step = dh;
                    while (c + r.length < n && low[c + r.length] - low[c + r.length - 1] == dl &&
                           high[c + r.length] - high[c + r.length - 1] == dh)
                        ++r.length;
                }
            }
            run[runs++] = r;
            c += r.length;
        }
        run_start[pass + 1] = runs;
    }
    return {passes, lows, highs, run_start, run};
}

template <class T> void *new_shared(const XrfProblem *q) {
    FlushTiny flush;
    Shared<T> *s = (Shared<T> *)calloc(1, sizeof(Shared<T>));
    const size_t n = padded<Thread>(q->count), k = linear_variables(*q);
    s->columns = (T *)aligned_alloc(64, (sizeof(T) * n * k + 127) / 64 * 64);
    s->start_weight = (T *)aligned_alloc(64, (sizeof(T) * n + 63) / 64 * 64);
    s->gram = (double *)calloc(k * k + 1, sizeof(double));
    s->reach = (int32_t *)calloc(2 * k + 1, sizeof(int32_t));
    if (!s->columns || !s->start_weight || !s->gram || !s->reach) abort();
    s->snip = new_snip_plan(*q);
    void *w = aligned_alloc(64, workspace_bytes<T>(q));
    if (!w) abort();
    lay_out<T>(q, w);
    unit_components(Thread(), *q, *s, *(Workspace<T> *)w);
    free(w);
    return s;
}

template <class T> void drop_shared(void *p) {
    Shared<T> *s = (Shared<T> *)p;
    free(s->columns);
    free(s->start_weight);
    free(s->gram);
    free(s->reach);
    free((void *)s->snip.low);
    free((void *)s->snip.high);
    free((void *)s->snip.run_start);
    free((void *)s->snip.runs);
    free(s);
}

template <bool NEWTON, class T>
void fit_all(const XrfProblem &q, const XrfTile &tile, const Shared<T> &shared, Workspace<T> &w) {
    const Thread team;
    for (int i = 0; i < tile.n_spectra; ++i) {
        if (!has_errors(q, fit_nth<NEWTON>(team, q, tile, shared, i, w))) continue;
        if (!NEWTON) {  // Newton's columns are those of its end
            take_columns(team, q, shared, w);
            find_columns(team, q, w);
        }
        errors_of_fit(team, q, found_of(q, tile, i, w), w);
    }
}

template <class T> void fit(const XrfProblem *q, const void *shared_memory, void *workspace, const XrfTile *tile) {
    FlushTiny flush;
    const Shared<T> &shared = *(const Shared<T> *)shared_memory;
    Workspace<T> &w = *(Workspace<T> *)workspace;
    if (q->optimizer == XRF_NEWTON) fit_all<true>(*q, *tile, shared, w);
    else fit_all<false>(*q, *tile, shared, w);
}

template <class T>
void evaluate_at(const XrfProblem *q, void *workspace, const XrfSpectrum *s, XrfEvaluation *out) {
    FlushTiny flush;
    out->objective = evaluate_spectrum(Thread(), *q, (const T *)s->counts, (const T *)s->background, s->start,
                                       (T *)out->total, (T *)out->components, out->gradient, *(Workspace<T> *)workspace);
}

template <class T> void background_of(const XrfProblem *q, const void *shared, void *workspace, const void *counts, void *out) {
    FlushTiny flush;
    Workspace<T> &w = *(Workspace<T> *)workspace;
    snip(Thread(), *q, ((const Shared<T> *)shared)->snip, (const T *)counts, w.background, w.scratch);
    memcpy(out, w.background, sizeof(T) * q->count);
}

// One function of special.cuh at n places, in vectors as in the loops over channels.
template <class T> void special(int32_t function, int32_t n, const double *x, T *y) {
    FlushTiny flush;
    if (function == XRF_EXPONENTIAL) XRF_SIMD for (int i = 0; i < n; ++i) y[i] = exponential(T(x[i]));
    if (function == XRF_GAUSSIAN) XRF_SIMD for (int i = 0; i < n; ++i) y[i] = gaussian(T(x[i]));
    if (function == XRF_LOGARITHM) XRF_SIMD for (int i = 0; i < n; ++i) y[i] = logarithm(T(x[i]));
    if (function == XRF_SCALED_ERFC) XRF_SIMD for (int i = 0; i < n; ++i) y[i] = scaled_erfc(T(x[i]));
}

}  // namespace

extern "C" {

const XrfParameterRow *XRF_NAME(xrf_parameters)(int32_t *count) {
    static const XrfParameterRow rows[] = {
#define XRF_ROW(name, unit, value, lower, upper, rate, meaning) {#name, unit, meaning, value, lower, upper, rate},
        XRF_PARAMETERS(XRF_ROW)
#undef XRF_ROW
    };
    *count = N_PARAMETERS;
    return rows;
}

const XrfEngine *XRF_NAME(xrf_engine)(int32_t f64) {
    static const XrfEngine single = {new_shared<float>, drop_shared<float>, workspace_bytes<float>, lay_out<float>,
                                     fit<float>, evaluate_at<float>, background_of<float>};
    static const XrfEngine twice = {new_shared<double>, drop_shared<double>, workspace_bytes<double>, lay_out<double>,
                                    fit<double>, evaluate_at<double>, background_of<double>};
    return f64 ? &twice : &single;
}

// Layouts that src/kernels.rs states again; a test compares them.
void XRF_NAME(xrf_sizes)(uint64_t *sizes) {
    sizes[0] = sizeof(XrfProblem);
    sizes[1] = sizeof(XrfSpectrum);
    sizes[2] = sizeof(XrfEvaluation);
    sizes[3] = sizeof(XrfTile);
    sizes[4] = sizeof(XrfLayout);
}

// A function of special.cuh at x [n] in both precisions, for the test of their errors.
void XRF_NAME(xrf_special)(int32_t function, int32_t n, const double *x, float *single, double *twice) {
    special(function, n, x, single);
    special(function, n, x, twice);
}

// Nanoseconds are measured outside: sums `n` exponentials, the yardstick of the benchmarks.
float XRF_NAME(xrf_exponentials)(int32_t n) {
    alignas(64) float x[1024], y[1024];
    for (int i = 0; i < 1024; ++i) x[i] = -17.0f * i / 1024;
    float sum = 0;
    for (int done = 0; done < n; done += 1024) {
        for (int b = 0; b < 1024; b += Thread::BLOCK)
            XRF_EACH_LANE(Thread(), j) y[b + j] = exponential(x[b + j]);
        sum += y[done / 1024 % 1024];
        x[0] = -sum;
    }
    return sum;
}
}
