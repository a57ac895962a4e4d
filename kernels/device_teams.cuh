// The teams of a GPU; see team.cuh. A team is all threads of its CUDA block.
#pragma once
#include "team.cuh"

enum { WARP_LANES = 32 };

XRF_FN unsigned whole_warp() { return 0xffffffffu; }

// Sum over 32 lanes, or over the eight that stand together, by a butterfly: at every level a lane adds its
// partner's value, so all lanes end with the same bits.
template <int LANES, class T> XRF_FN T butterfly(T x) {
    XRF_UNROLL for (int partner = LANES / 2; partner > 0; partner /= 2) x += __shfl_xor_sync(whole_warp(), x, partner);
    return x;
}

// The last lane of a vote, and the vote without it.
XRF_FN int last_of(unsigned lanes) { return 31 - __clz((int)lanes); }
XRF_FN unsigned without_last(unsigned lanes) { return lanes ^ (1u << last_of(lanes)); }

// What teams of THREADS threads share. Eight lanes are a group, which walks one peak.
template <int THREADS> struct DeviceTeam {
    static constexpr int MEMBERS = THREADS, LANES = 1, BLOCK = THREADS, WARPS = THREADS / WARP_LANES;
    static constexpr int GROUP = 8, GROUPS = THREADS / GROUP, GRAIN = GROUP, PIECE = 1;
    static constexpr bool KEEPS_SHAPES = false;

    static XRF_METHOD int member() { return (int)threadIdx.x; }
    static XRF_METHOD bool leads() { return threadIdx.x == 0; }
    static XRF_METHOD int first() { return (int)threadIdx.x; }

    static XRF_METHOD int lane() { return (int)(threadIdx.x % WARP_LANES); }
    static XRF_METHOD int warp() { return WARPS == 1 ? 0 : (int)(threadIdx.x / WARP_LANES); }
    static XRF_METHOD int group() { return (int)(threadIdx.x / GROUP); }
    static XRF_METHOD int lane_of_group() { return (int)(threadIdx.x % GROUP); }
    // The lanes of this warp where it is true.
    static XRF_METHOD unsigned which(bool mine) { return __ballot_sync(whole_warp(), mine); }
    template <class T> static XRF_METHOD T group_sum(T mine) { return butterfly<GROUP>(mine); }
    template <class T> static XRF_METHOD T warp_sum(T mine) { return butterfly<WARP_LANES>(mine); }
};

// One warp per spectrum: sums cost no memory, and no member waits long for another.
struct Warp : DeviceTeam<WARP_LANES> {
    static XRF_METHOD void sync() { __syncwarp(); }
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) { return warp_sum(lane[0]); }
    static XRF_METHOD double sum(double mine) { return warp_sum(mine); }
    static XRF_METHOD bool any(bool mine) { return __any_sync(whole_warp(), mine) != 0; }
};

// Four warps per spectrum, for spectra of many channels, or too few to fill a device with warps.
struct Block : DeviceTeam<4 * WARP_LANES> {
    static XRF_METHOD void sync() { __syncthreads(); }
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) { return over_warps(warp_sum(lane[0])); }
    static XRF_METHOD double sum(double mine) { return over_warps(warp_sum(mine)); }
    static XRF_METHOD bool any(bool mine) { return __syncthreads_or(mine) != 0; }

  private:
    // The sum of the warps' sums. A second barrier keeps the next call off the values that slow members still read.
    template <class T> static XRF_METHOD T over_warps(T of_warp) {
        __shared__ T part[WARPS];
        if (lane() == 0) part[warp()] = of_warp;
        __syncthreads();
        const T all = (part[0] + part[1]) + (part[2] + part[3]);
        __syncthreads();
        return all;
    }
};
