// The arrays of a launch, with the sizes that kernels/tile.h and abi.h state: are they in the device's memory?
#include <stdio.h>
#include <vector>
#include "standin.h"
#include "parameters.cuh"

namespace standin {

namespace {

using emulator::Arguments;
using emulator::Kernel;

constexpr size_t SNIP_PASSES = 64;

struct Array {
    const char *name;
    const void *p;
    size_t bytes;
    bool may_be_null;
};
using Arrays = std::vector<Array>;

struct Sizes {
    size_t n, channels, window, padded, lines, components, linear, variables, scalar;
};

Sizes sizes_of(const Kernel &kernel, const Arguments &a, const XrfLayout &layout) {
    const XrfProblem &q = a.problem;
    const size_t window = q.count, block = layout.block;
    return {(size_t)a.tile.n_spectra, (size_t)q.n_channels, window, (window + block - 1) / block * block, (size_t)q.n_lines,
            (size_t)q.n_components, (size_t)(q.n_components + q.n_templates),
            (size_t)(N_PARAMETERS + q.n_components + q.n_templates), kernel.scalar};
}

void add_problem(Arrays &to, const XrfProblem &q, const Sizes &s) {
    const size_t by_line = s.lines * sizeof(double), by_variable = s.variables * sizeof(double);
    to.insert(to.end(), {{"templates", q.templates, q.n_templates * s.window * sizeof(double), false},
                         {"energy", q.energy, by_line, false},
                         {"ratio", q.ratio, by_line, false},
                         {"mu", q.mu, by_line, false},
                         {"width", q.width, by_line, false},
                         {"edge", q.edge, by_line, false},
                         {"component", q.component, s.lines * sizeof(int32_t), false},
                         {"family", q.family, s.lines * sizeof(int32_t), false},
                         {"start", q.start, by_variable, false},
                         {"lower", q.lower, by_variable, false},
                         {"upper", q.upper, by_variable, false},
                         {"rate", q.rate, by_variable, false},
                         {"prior", q.prior, by_variable, false},
                         {"prior_width", q.prior_width, by_variable, false},
                         {"free", q.free, s.variables, false}});
}

// What xrf_prepare_* writes and the others read.
void add_shared(Arrays &to, const XrfTile &t, const Sizes &s) {
    const size_t snip = SNIP_PASSES * s.window * sizeof(int32_t);
    to.insert(to.end(), {{"snip_passes", t.snip_passes, sizeof(int32_t), false},
                         {"snip_low", t.snip_low, snip, false},
                         {"snip_high", t.snip_high, snip, false},
                         {"columns", t.columns, s.linear * s.padded * s.scalar, false},
                         {"reach", t.reach, 2 * s.linear * sizeof(int32_t), false},
                         {"start_weight", t.start_weight, s.padded * s.scalar, false},
                         {"gram", t.gram, s.linear * s.linear * sizeof(double), false}});
}

void add_spectra(Arrays &to, const XrfTile &t, const Sizes &s) {
    const size_t starts = t.start_stride && s.n ? (s.n - 1) * t.start_stride + s.variables : s.variables;
    to.insert(to.end(), {{"counts", t.counts, s.n * s.channels * s.scalar, false},
                         {"background", t.background, s.n * s.window * s.scalar, true},
                         {"start of spectra", t.start, starts * sizeof(double), false}});
}

void add_fits(Arrays &to, const XrfTile &t, const Sizes &s) {
    const size_t one = s.n * sizeof(double), code = s.n * sizeof(int32_t), sum = s.window * sizeof(int64_t);
    to.insert(to.end(), {{"variables", t.variables, s.n * s.variables * sizeof(double), false},
                         {"sigma", t.sigma, s.n * s.variables * sizeof(double), false},
                         {"signed_amplitudes", t.signed_amplitudes, s.n * s.components * sizeof(double), false},
                         {"limits", t.limits, 2 * s.n * s.components * sizeof(double), true},
                         {"objective", t.objective, one, false},
                         {"r_squared", t.r_squared, one, false},
                         {"r_squared_log", t.r_squared_log, one, false},
                         {"deviance", t.deviance, one, false},
                         {"background_counts", t.background_counts, one, false},
                         {"steps", t.steps, code, false},
                         {"status", t.status, code, false},
                         {"fitted_sum", t.fitted_sum, sum, false},
                         {"background_sum", t.background_sum, sum, false}});
}

void add_evaluations(Arrays &to, const XrfTile &t, const Sizes &s) {
    to.insert(to.end(), {{"objective", t.objective, s.n * sizeof(double), false},
                         {"total", t.total, s.n * s.window * s.scalar, false},
                         {"components", t.components, s.n * s.components * s.window * s.scalar, true},
                         {"gradient", t.gradient, s.n * s.variables * sizeof(double), true}});
}

Arrays arrays_of(const Kernel &kernel, const Arguments &a, const XrfLayout &layout, unsigned blocks) {
    if (kernel.task == emulator::LAYOUT) return {{"layout", a.layout, sizeof(XrfLayout), false}};
    const XrfTile &t = a.tile;
    const Sizes s = sizes_of(kernel, a, layout);
    Arrays all = {{"near", t.near, blocks * t.near_bytes, true}, {"far", t.far, blocks * t.far_bytes, false}};
    add_problem(all, a.problem, s);
    if (kernel.task != emulator::EVALUATE) add_shared(all, t, s);
    if (kernel.task != emulator::PREPARE) add_spectra(all, t, s);
    if (kernel.task == emulator::FIT || kernel.task == emulator::ERRORS) add_fits(all, t, s);
    if (kernel.task == emulator::EVALUATE) add_evaluations(all, t, s);
    if (kernel.task == emulator::BACKGROUND) all.push_back({"total", t.total, s.n * s.window * s.scalar, false});
    return all;
}

std::string text_of(const char *format, const char *name, size_t bytes, const void *p) {
    char text[256];
    snprintf(text, sizeof text, format, name, bytes, p);
    return text;
}

}  // namespace

std::string wrong_arrays(const Device &device, const Kernel &kernel, const Arguments &arguments, unsigned blocks,
                         size_t shared, bool when_done) {
    const XrfLayout layout = kernel.layout(arguments.problem);
    if (kernel.task != emulator::LAYOUT) {
        const XrfTile &t = arguments.tile;
        if (t.far_bytes < layout.far_bytes) return "far_bytes is less than the layout's";
        if (t.near && t.near_bytes < layout.near_bytes) return "near_bytes is less than the layout's";
        if (!t.near && shared < layout.near_bytes) return "the shared memory is less than the layout's near_bytes";
    }
    for (const Array &array : arrays_of(kernel, arguments, layout, blocks)) {
        if (!array.bytes || (array.may_be_null && !array.p)) continue;
        const Allocation *holder = device.holder((CUdeviceptr)array.p, array.bytes);
        if (!holder || (holder->freed && !when_done))
            return text_of("%s, %zu bytes at %p, is not in the device's memory", array.name, array.bytes, array.p);
    }
    return "";
}

}  // namespace standin
