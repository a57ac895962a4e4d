// Fits or evaluates the spectra of one problem with the kernels of kernels/fit.cu on the emulator: numbers come
// in by standard input, little-endian, in the order of `read_problem` and `main`; results leave by standard
// output as f64.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <vector>
#include "kernels.h"
#include "parameters.cuh"

namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int32_t>;

template <class U> std::vector<U> read(size_t n) {
    std::vector<U> v(n);
    if (fread(v.data(), sizeof(U), n, stdin) != n) {
        fprintf(stderr, "emulate: the input ends early\n");
        exit(2);
    }
    return v;
}

int32_t read_int() { return read<int32_t>(1)[0]; }
double read_double() { return read<double>(1)[0]; }

void write(const Doubles &v) { fwrite(v.data(), sizeof(double), v.size(), stdout); }
void write(double x) { write(Doubles{x}); }

// A problem and the arrays its pointers lead to.
struct Problem {
    XrfProblem q = {};
    Doubles lines[5], variables[6], templates;
    Ints indices[2];
    std::vector<uint8_t> free;
};

void read_problem(Problem &p) {
    XrfProblem &q = p.q;
    for (int32_t *i : {&q.n_channels, &q.first, &q.count, &q.n_components, &q.n_templates, &q.elastic, &q.compton, &q.n_lines, &q.tail,
                       &q.escape_shift, &q.snip_order, &q.background, &q.objective, &q.optimizer, &q.steps,
                       &q.start_amplitudes, &q.clip_net_counts, &q.weights})
        *i = read_int();
    for (double *x : {&q.pair_energy_ev, &q.snip_width, &q.tolerance}) *x = read_double();
    q.saturation = (float)read_double();
    const double **lines[] = {&q.energy, &q.ratio, &q.mu, &q.width, &q.edge};
    for (int i = 0; i < 5; ++i) *lines[i] = (p.lines[i] = read<double>(q.n_lines)).data();
    const int32_t **indices[] = {&q.component, &q.family};
    for (int i = 0; i < 2; ++i) *indices[i] = (p.indices[i] = read<int32_t>(q.n_lines)).data();
    const size_t n = N_PARAMETERS + q.n_components + q.n_templates;
    const double **variables[] = {&q.start, &q.lower, &q.upper, &q.rate, &q.prior, &q.prior_width};
    for (int i = 0; i < 6; ++i) *variables[i] = (p.variables[i] = read<double>(n)).data();
    q.templates = (p.templates = read<double>((size_t)q.n_templates * q.count)).data();
    q.free = (p.free = read<uint8_t>(n)).data();
}

template <class T> std::vector<T> narrowed(const Doubles &v) { return std::vector<T>(v.begin(), v.end()); }
template <class T> Doubles widened(const std::vector<T> &v) { return Doubles(v.begin(), v.end()); }

// An array of the device that nobody has written yet.
template <class U> std::vector<U> unwritten(size_t n) {
    std::vector<U> v(n);
    memset((void *)v.data(), 0xff, n * sizeof(U));
    return v;
}

// Launches `xrf_TASK_KIND`.
void launch(const char *task, const std::string &kind, unsigned blocks, const XrfLayout &layout, const XrfProblem &q,
            const XrfTile &tile) {
    const emulator::Kernel *kernel = emulator::find_kernel(("xrf_" + (task + ("_" + kind))).c_str());
    const emulator::Arguments arguments = {q, tile, nullptr};
    emulator::launch(blocks, layout.threads, tile.near ? 0 : layout.near_bytes, kernel->enter, &arguments);
}

template <class T> void run(const std::string &kind, bool fits, bool near_in_global, unsigned blocks, const XrfProblem &q) {
    const size_t n = read_int(), k = q.n_components, linear = k + q.n_templates, variables = N_PARAMETERS + linear, window = q.count;
    std::vector<T> counts = narrowed<T>(read<double>(n * q.n_channels)), background = narrowed<T>(read<double>(n * window));
    Doubles start = read<double>(n * variables);
    const XrfLayout layout = emulator::find_kernel(("xrf_layout_" + kind).c_str())->layout(q);
    std::vector<char> near = unwritten<char>(blocks * layout.near_bytes + 64), far = unwritten<char>(blocks * layout.far_bytes + 64);
    const auto aligned = [](std::vector<char> &v) { return (void *)(((uintptr_t)v.data() + 63) & ~(uintptr_t)63); };
    const size_t padded = (window + layout.block - 1) / layout.block * layout.block;
    std::vector<T> columns = unwritten<T>(linear * padded), start_weight = unwritten<T>(padded), total = unwritten<T>(n * window), components = unwritten<T>(n * k * window);
    Ints passes(1), reach = unwritten<int32_t>(2 * linear), low = unwritten<int32_t>(64 * window), high = low, steps(n), status(n);
    Doubles gram = unwritten<double>(linear * linear), out = unwritten<double>(n * variables), gradient = out, sigma = out, signed_amplitudes = unwritten<double>(n * k), limits = unwritten<double>(2 * n * k), objective(n), r2(n), r2log(n), deviance(n), background_counts(n);
    std::vector<int64_t> fitted_sum(window), background_sum(window);
    XrfTile tile = {};
    tile.n_spectra = n;
    tile.start_stride = variables;
    tile.counts = counts.data();
    tile.background = background.data();
    tile.start = start.data();
    tile.snip_passes = passes.data();
    tile.snip_low = low.data();
    tile.snip_high = high.data();
    tile.columns = columns.data();
    tile.reach = reach.data();
    tile.start_weight = start_weight.data();
    tile.gram = gram.data();
    tile.near = near_in_global ? aligned(near) : nullptr;
    tile.far = aligned(far);
    tile.near_bytes = layout.near_bytes;
    tile.far_bytes = layout.far_bytes;
    tile.variables = out.data();
    tile.sigma = sigma.data();
    tile.signed_amplitudes = signed_amplitudes.data();
    tile.limits = limits.data();
    tile.objective = objective.data();
    tile.r_squared = r2.data();
    tile.r_squared_log = r2log.data();
    tile.deviance = deviance.data();
    tile.background_counts = background_counts.data();
    tile.steps = steps.data();
    tile.status = status.data();
    tile.fitted_sum = fitted_sum.data();
    tile.background_sum = background_sum.data();
    tile.total = total.data();
    tile.components = components.data();
    tile.gradient = gradient.data();
    if (!fits) {
        launch("evaluate", kind, blocks, layout, q, tile);
        for (const Doubles &v : {widened(total), widened(components), gradient, objective}) write(v);
        return;
    }
    launch("prepare", kind, 1, layout, q, tile);
    launch("background", kind, blocks, layout, q, tile);
    write(widened(total));
    launch(q.optimizer == XRF_NEWTON ? "newton" : "fit", kind, blocks, layout, q, tile);
    launch("errors", kind, blocks, layout, q, tile);
    for (const Doubles &v : {out, sigma, signed_amplitudes, limits, objective, r2, r2log, deviance, background_counts, widened(steps), widened(status)}) write(v);
    for (const std::vector<int64_t> *v : {&fitted_sum, &background_sum})
        for (int64_t s : *v) write((double)s / 1048576.0);
}

}  // namespace

// emulate (fit | evaluate) (warp_f32 | block_f32 | warp_f64 | block_f64) (shared | global) BLOCKS
int main(int count, char **words) {
    if (count != 5) return 2;
    const bool fits = words[1] == std::string("fit"), global = words[3] == std::string("global");
    const std::string kind = words[2];
    const unsigned blocks = atoi(words[4]);
    Problem p;
    read_problem(p);
    if (!emulator::find_kernel(("xrf_fit_" + kind).c_str())) return 2;
    if (kind.find("f32") != std::string::npos) run<float>(kind, fits, global, blocks, p.q);
    if (kind.find("f64") != std::string::npos) run<double>(kind, fits, global, blocks, p.q);
    return 0;
}
