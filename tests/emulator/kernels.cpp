// The table of kernels.h, over kernels/fit.cu itself.
#include "cuda_words.h"
#include "kernels.h"
#include "fit.cu"

namespace emulator {
namespace {

template <class Team, class T> XrfLayout layout_of(const XrfProblem &q) {
    XrfLayout layout;
    measure<Team, T>(q, &layout);
    return layout;
}

template <void kernel(const XrfProblem, const XrfTile)> void enter(const void *p) {
    const Arguments &a = *(const Arguments *)p;
    kernel(a.problem, a.tile);
}

template <void kernel(const XrfProblem, XrfLayout *)> void enter_layout(const void *p) {
    const Arguments &a = *(const Arguments *)p;
    kernel(a.problem, a.layout);
}

#define ONE(name, task, Team, T) \
    { #name, task, Team::MEMBERS, sizeof(T), sizeof(Workspace<T>), layout_of<Team, T>, enter<name> }
#define ALL(kind, Team, T)                                                                          \
    {"xrf_layout_" #kind, LAYOUT, 0, sizeof(T), 0, layout_of<Team, T>, enter_layout<xrf_layout_##kind>}, \
        ONE(xrf_prepare_##kind, PREPARE, Team, T), ONE(xrf_fit_##kind, FIT, Team, T),                \
        ONE(xrf_newton_##kind, FIT, Team, T), ONE(xrf_errors_##kind, ERRORS, Team, T),                 \
        ONE(xrf_evaluate_##kind, EVALUATE, Team, T), ONE(xrf_background_##kind, BACKGROUND, Team, T)

#if defined(XRF_KIND)
#define ALL_OF(kind, Team, T) ALL(kind, Team, T)
const Kernel KERNELS[] = {ALL_OF(XRF_KIND, XRF_TEAM, XRF_SCALAR)};
#else
const Kernel KERNELS[] = {ALL(warp_f32, Warp, float), ALL(warp_f64, Warp, double), ALL(block_f32, Block, float),
                          ALL(block_f64, Block, double)};
#endif

}  // namespace

const Kernel *find_kernel(const char *name) {
    for (const Kernel &kernel : KERNELS)
        if (!strcmp(kernel.name, name)) return &kernel;
    return nullptr;
}

}  // namespace emulator
