// Entry points of the CUDA engine; no formula. A CUDA block is a team and fits one spectrum after another:
// blockIdx.x, blockIdx.x + gridDim.x, ... A launch serves a whole tile.
//
// For each team (warp, block) and precision (f32, f64):
//   xrf_layout_*            how much memory a block needs; one thread
//   xrf_prepare_*           what the spectra of a problem share; one CUDA block
//   xrf_fit_*               fits every spectrum, by Adam or non-negative least squares
//   xrf_newton_*            the same by Newton
//   xrf_errors_*            deviations of what was fitted; after one of these, on the same tile
//   xrf_evaluate_*          the model, objective and gradient at every start
//   xrf_background_*        SNIP background of every spectrum
// All pointers of XrfProblem are the device's.
#include "device_teams.cuh"
#include "fit_tile.cuh"

#if defined(XRF_EMULATED)
#define XRF_DYNAMIC_SHARED(name) char *name = emulated_shared_memory()
#else
#define XRF_DYNAMIC_SHARED(name) extern __shared__ __align__(64) char name[]
#endif

// This block's workspace, laid out by its first thread.
template <class Team, class T>
XRF_FN void set_up(Team team, const XrfProblem &q, const XrfTile &tile, char *shared_memory, Workspace<T> &w) {
    if (team.leads()) {
        char *near = tile.near ? (char *)tile.near + blockIdx.x * tile.near_bytes : shared_memory;
        Carver close = {near, 0}, distant = {(char *)tile.far + blockIdx.x * tile.far_bytes, 0};
        carve<Team>(q, close, distant, w);
    }
    __syncthreads();
}

template <class T> XRF_FN Shared<T> shared_of(const XrfTile &tile) {
    SnipPlan plan = {*tile.snip_passes, tile.snip_low, tile.snip_high, nullptr, nullptr};
    return {plan, (T *)tile.columns, tile.reach, (T *)tile.start_weight, tile.gram};
}

template <class Team, class T> XRF_FN void measure(const XrfProblem &q, XrfLayout *layout) {
    Workspace<T> w;
    Carver near = {nullptr, 0}, far = {nullptr, 0};
    carve<Team>(q, near, far, w);
    *layout = {(near.used + 63) / 64 * 64, (far.used + 63) / 64 * 64, Team::MEMBERS, Team::BLOCK,
               sizeof(XrfProblem), sizeof(XrfTile), N_PARAMETERS, snip_max_passes()};
}

template <class Team, class T>
XRF_FN void prepare(Team team, const XrfProblem &q, const XrfTile &tile, Workspace<T> &w) {
    const int passes = snip_distances(team, q, axis_of(q, q.start), tile.snip_low, tile.snip_high);
    if (team.leads()) *tile.snip_passes = passes;
    team.sync();
    Shared<T> shared = shared_of<T>(tile);
    unit_components(team, q, shared, w);
}

template <bool NEWTON, class Team, class T>
XRF_FN void fit_tile(Team team, const XrfProblem &q, const XrfTile &tile, Workspace<T> &w) {
    const Shared<T> shared = shared_of<T>(tile);
    for (int i = blockIdx.x; i < tile.n_spectra; i += gridDim.x) fit_nth<NEWTON>(team, q, tile, shared, i, w);
}

template <class Team, class T>
XRF_FN void errors_tile(Team team, const XrfProblem &q, const XrfTile &tile, Workspace<T> &w) {
    const Shared<T> shared = shared_of<T>(tile);
    for (int64_t i = blockIdx.x; i < tile.n_spectra; i += gridDim.x) {
        if (!has_errors(q, tile.status[i])) continue;
        errors_of_spectrum(team, q, shared, counts_of<T>(q, tile, i), given_of<T>(q, tile, i), found_of(q, tile, i, w), w);
        team.sync();
    }
}

template <class Team, class T>
XRF_FN void evaluate_tile(Team team, const XrfProblem &q, const XrfTile &tile, Workspace<T> &w) {
    const int variables = all_variables(q);
    for (int64_t i = blockIdx.x; i < tile.n_spectra; i += gridDim.x) {
        T *components = (T *)tile.components;
        double *gradient = tile.gradient;
        const double objective = evaluate_spectrum(
            team, q, counts_of<T>(q, tile, i), given_of<T>(q, tile, i), tile.start + i * tile.start_stride,
            (T *)tile.total + i * q.count,
            components ? components + i * q.n_components * q.count : nullptr,
            gradient ? gradient + i * variables : nullptr, w);
        if (team.leads()) tile.objective[i] = objective;
    }
}

template <class Team, class T>
XRF_FN void background_tile(Team team, const XrfProblem &q, const XrfTile &tile, Workspace<T> &w) {
    const Shared<T> shared = shared_of<T>(tile);
    for (int64_t i = blockIdx.x; i < tile.n_spectra; i += gridDim.x) {
        snip(team, q, shared.snip, counts_of<T>(q, tile, i), w.background, w.scratch);
        XRF_SHARE(team, c, q.count) ((T *)tile.total)[i * q.count + c] = w.background[c];
        team.sync();
    }
}

// CUDA blocks that the registers of a multiprocessor hold: 16 warps in f32, 128 registers a thread; 8 in f64. Newton,
// whose steps are short and who keeps more at hand, has 12 and 168.
#define XRF_RESIDENT(Team, T) (2048 / (Team::MEMBERS * (int)sizeof(T)))
#define XRF_RESIDENT_NEWTON(Team, T) (XRF_RESIDENT(Team, T) * (sizeof(T) == 4 ? 3 : 4) / 4)

#define XRF_ENTRY(name, Team, T, ...) XRF_ENTRY_OF(name, Team, T, XRF_RESIDENT(Team, T), __VA_ARGS__)
#define XRF_ENTRY_OF(name, Team, T, resident, ...)                                              \
    extern "C" __global__ void __launch_bounds__(Team::MEMBERS, resident) name(const __grid_constant__ XrfProblem q, const __grid_constant__ XrfTile tile) { \
        XRF_DYNAMIC_SHARED(shared_memory);                                          \
        __shared__ Workspace<T> w;                                                  \
        const Team team;                                                            \
        set_up(team, q, tile, shared_memory, w);                                    \
        __VA_ARGS__;                                                                \
    }

#define XRF_ENTRIES(suffix, Team, T) XRF_ENTRIES_OF(suffix, Team, T)
#define XRF_ENTRIES_OF(suffix, Team, T)                                                                \
    extern "C" __global__ void xrf_layout_##suffix(const XrfProblem q, XrfLayout *layout) {           \
        measure<Team, T>(q, layout);                                                                  \
    }                                                                                                 \
    XRF_ENTRY(xrf_fit_##suffix, Team, T, if (q.optimizer != XRF_NEWTON) fit_tile<false>(team, q, tile, w)) \
    XRF_ENTRY_OF(xrf_newton_##suffix, Team, T, XRF_RESIDENT_NEWTON(Team, T), if (q.optimizer == XRF_NEWTON) fit_tile<true>(team, q, tile, w)) \
    XRF_ENTRY(xrf_errors_##suffix, Team, T, errors_tile(team, q, tile, w))                             \
    XRF_ENTRY(xrf_evaluate_##suffix, Team, T, evaluate_tile(team, q, tile, w))                         \
    XRF_ENTRY(xrf_background_##suffix, Team, T, background_tile(team, q, tile, w))                     \
    XRF_ENTRY(xrf_prepare_##suffix, Team, T, prepare(team, q, tile, w))

// Compiled at run time, only the kind that is needed: XRF_KIND names it. Ahead of time, all of them.
#if defined(XRF_KIND)
XRF_ENTRIES(XRF_KIND, XRF_TEAM, XRF_SCALAR)
#else
XRF_ENTRIES(warp_f32, Warp, float)
XRF_ENTRIES(warp_f64, Warp, double)
XRF_ENTRIES(block_f32, Block, float)
XRF_ENTRIES(block_f64, Block, double)
#endif
