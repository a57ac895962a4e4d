// Entry points of the CPU engine and its memory; no formula. Compiled once per instruction set;
// XRF_LEVEL names it.
#include <stddef.h>
#include <initializer_list>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#include "fit_spectrum.cuh"

#define XRF_JOIN(a, b) a##_##b
#define XRF_EXPAND(a, b) XRF_JOIN(a, b)
#define XRF_NAME(name) XRF_EXPAND(name, XRF_LEVEL)

namespace {

// Hands out aligned pieces of one block; measures first, when the block is null.
struct Carver {
    char *block;
    size_t used;
    template <class U> void take(U *&p, size_t n) {
        used = (used + 63) / 64 * 64;
        p = block ? (U *)(block + used) : nullptr;
        used += n * sizeof(U);
    }
};

// Numbers too small for their type count as zero, as on a GPU; the former state returns at the end.
struct FlushTiny {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushTiny() { _mm_setcsr(before | 0x8040); }
    ~FlushTiny() { _mm_setcsr(before); }
#endif
};

template <class T> size_t carve(const XrfProblem &q, Workspace<T> &w, char *block) {
    Carver c = {block, 0};
    const size_t n = padded<Thread>(q.count) + 2 * Thread::BLOCK, blocks = n / Thread::BLOCK;
    const size_t peaks = q.n_lines + 4 + 8, vars = N_PARAMETERS + q.n_components + 8, k = q.n_components;
    for (T **a : {&w.counts, &w.background, &w.net, &w.model, &w.weight, &w.scratch}) c.take(*a, n);
    c.take(w.step_height, blocks + 1);
    c.take(w.step_weight, blocks + 1);
    Peaks<T> &p = w.peaks;
    for (double **a : {&p.energy, &p.sigma, &p.gamma, &p.peak_coef, &p.step_coef, &p.tail_coef}) c.take(*a, peaks);
    for (int **a : {&p.first, &p.count, &p.far_count, &p.kind, &p.offset}) c.take(*a, peaks);
    for (T **a : {&p.x0, &p.x1, &p.x2}) c.take(*a, peaks);
    for (double *&a : p.sums) c.take(a, peaks);
    for (T **a : {&w.kept.peak, &w.kept.step, &w.kept.tail, &w.kept.slope}) c.take(*a, peaks * n);
    for (double **a : {&w.line_energy, &w.line_ratio, &w.line_mu, &w.line_width, &w.area, &w.norm,
                       &w.tail_fraction, &w.step_fraction})
        c.take(*a, peaks);
    for (int **a : {&w.line_component, &w.line_family}) c.take(*a, peaks);
    for (double **a : {&w.amplitude, &w.variables, &w.gradient, &w.best, &w.moment1, &w.moment2}) c.take(*a, vars);
    for (double **a : {&w.linear, &w.solution}) c.take(*a, k);
    c.take(w.factor, k * k);
    c.take(w.passive, k);
    return c.used;
}

template <class T> void *new_workspace(const XrfProblem *q) {
    Workspace<T> measure = {};
    const size_t head = (sizeof(Workspace<T>) + 63) / 64 * 64, size = carve(*q, measure, nullptr);
    char *block = (char *)aligned_alloc(64, (head + size + 63) / 64 * 64);
    if (!block) abort();
    memset(block, 0, head + size);
    Workspace<T> *w = (Workspace<T> *)block;
    carve(*q, *w, block + head);
    return w;
}

// Distances of every pass, and the stretches over which they advance evenly.
SnipPlan new_snip_plan(const XrfProblem &q) {
    SnipPlan plan = {};
    const Axis a = axis_of(q, q.start);
    const int n = q.count, last = n - 1, most = snip_max_passes();
    double widest = 0;
    for (int c = 0; c < q.n_channels; ++c) {
        const double w = snip_width_at(q, a, c);
        if (w > widest) widest = w;
    }
    plan.low = (int32_t *)malloc(sizeof(int32_t) * most * n);
    plan.high = (int32_t *)malloc(sizeof(int32_t) * most * n);
    plan.run_start = (int32_t *)malloc(sizeof(int32_t) * (most + 1));
    plan.runs = (SnipRun *)malloc(sizeof(SnipRun) * most * n);
    int runs = 0;
    double shrink = 1;
    for (int pass = 0; pass < most && (pass < 2 || widest * shrink >= 0.5); ++pass) {
        int32_t *low = plan.low + pass * n, *high = plan.high + pass * n;
        for (int c = 0; c < n; ++c) {
            const double w = snip_width_at(q, a, q.first + c) * shrink;
            low[c] = snip_low(q.first + c, w, q.first, q.first + last) - q.first;
            high[c] = snip_high(q.first + c, w, q.first, q.first + last) - q.first;
        }
        plan.run_start[pass] = runs;
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
            plan.runs[runs++] = r;
            c += r.length;
        }
        plan.passes = pass + 1;
        plan.run_start[pass + 1] = runs;
        if (pass >= 2) shrink /= sqrt(2.0);
    }
    return plan;
}

template <class T> void *new_shared(const XrfProblem *q) {
    FlushTiny flush;
    Shared<T> *s = (Shared<T> *)calloc(1, sizeof(Shared<T>));
    const size_t n = padded<Thread>(q->count), k = q->n_components;
    s->columns = (T *)aligned_alloc(64, (sizeof(T) * n * k + 127) / 64 * 64);
    s->gram = (double *)calloc(k * k + 1, sizeof(double));
    if (!s->columns || !s->gram) abort();
    s->snip = new_snip_plan(*q);
    Workspace<T> *w = (Workspace<T> *)new_workspace<T>(q);
    unit_components(Thread(), *q, *s, *w);
    free(w);
    return s;
}

template <class T> void drop_shared(void *p) {
    Shared<T> *s = (Shared<T> *)p;
    free(s->columns);
    free(s->gram);
    free(s->snip.low);
    free(s->snip.high);
    free(s->snip.run_start);
    free(s->snip.runs);
    free(s);
}

template <class T>
void fit(const XrfProblem *q, const void *shared, void *workspace, const XrfSpectrum *s, XrfFit *out) {
    FlushTiny flush;
    const Verdict v = fit_spectrum(Thread(), *q, *(const Shared<T> *)shared, (const T *)s->counts, (const T *)s->background,
                                   s->start, out->variables, (T *)out->fitted, (T *)out->background, *(Workspace<T> *)workspace);
    out->objective = v.objective;
    out->r_squared = v.r_squared;
    out->r_squared_log = v.r_squared_log;
    out->counts = v.counts;
    out->steps = v.steps;
    out->status = v.status;
}

// The model at given variables: total, every component, objective and gradient against given counts.
template <class T>
void evaluate_at(const XrfProblem *q, void *workspace, const XrfSpectrum *s, XrfEvaluation *out) {
    FlushTiny flush;
    Workspace<T> &w = *(Workspace<T> *)workspace;
    const Axis a = axis_of(*q, s->start);
    const int k_max = q->n_components;
    Scatter scatter;
    switch_on(*q, s->start, w);
    for (int c = 0; c < q->count; ++c) {
        w.counts[c] = s->counts ? ((const T *)s->counts)[q->first + c] : T(0);
        w.background[c] = s->background ? ((const T *)s->background)[c] : T(0);
    }
    for (int k = 0; out->components && k < k_max; ++k) {
        linear_amplitudes(*q, s->start, w);
        for (int i = 0; i < k_max; ++i) w.amplitude[i] = i == k ? w.amplitude[i] : 0.0;
        spectrum(Thread(), *q, a, s->start, w);
        memcpy((T *)out->components + (size_t)k * q->count, w.model, sizeof(T) * q->count);
    }
    linear_amplitudes(*q, s->start, w);
    out->objective = evaluate(Thread(), *q, a, s->start, &scatter, w);
    memcpy(out->total, w.total, sizeof(T) * q->count);
    if (out->gradient) {
        spectrum_adjoint(Thread(), *q, a, s->start, scatter, w);
        memcpy(out->gradient, w.gradient, sizeof(double) * (N_PARAMETERS + k_max));
    }
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
    static const XrfEngine single = {new_shared<float>, drop_shared<float>, new_workspace<float>, free,
                                     fit<float>, evaluate_at<float>, background_of<float>};
    static const XrfEngine twice = {new_shared<double>, drop_shared<double>, new_workspace<double>, free,
                                    fit<double>, evaluate_at<double>, background_of<double>};
    return f64 ? &twice : &single;
}

// Layouts that src/kernels.rs states again; a test compares them.
void XRF_NAME(xrf_sizes)(uint64_t *sizes) {
    sizes[0] = sizeof(XrfProblem);
    sizes[1] = sizeof(XrfSpectrum);
    sizes[2] = sizeof(XrfFit);
    sizes[3] = sizeof(XrfEvaluation);
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
