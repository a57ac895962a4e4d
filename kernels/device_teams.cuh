// The teams of a GPU; see team.cuh. A team is all threads of its CUDA block.
#pragma once
#include "team.cuh"

XRF_FN unsigned whole_warp() { return 0xffffffffu; }

// Sum over a warp by a butterfly: at every level a lane adds its partner's value, so all lanes end with
// the same bits.
template <class T> XRF_FN T butterfly(T x) {
    XRF_UNROLL for (int partner = 16; partner > 0; partner /= 2) x += __shfl_xor_sync(whole_warp(), x, partner);
    return x;
}

// One warp per spectrum: sums cost no memory, and no member waits long for another.
struct Warp {
    static constexpr int MEMBERS = 32;
    static constexpr int LANES = 1;
    static constexpr int BLOCK = 32;
    static constexpr bool KEEPS_SHAPES = false;

    static XRF_METHOD int member() { return (int)threadIdx.x; }
    static XRF_METHOD bool leads() { return threadIdx.x == 0; }
    static XRF_METHOD int first() { return (int)threadIdx.x; }
    static XRF_METHOD void sync() { __syncwarp(); }
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) { return butterfly(lane[0]); }
    static XRF_METHOD double sum(double mine) { return butterfly(mine); }
    static XRF_METHOD bool any(bool mine) { return __any_sync(whole_warp(), mine) != 0; }
};

// Four warps per spectrum, for spectra of many channels, or too few to fill a device with warps.
struct Block {
    static constexpr int MEMBERS = 128;
    static constexpr int LANES = 1;
    static constexpr int BLOCK = 128;
    static constexpr bool KEEPS_SHAPES = false;

    static XRF_METHOD int member() { return (int)threadIdx.x; }
    static XRF_METHOD bool leads() { return threadIdx.x == 0; }
    static XRF_METHOD int first() { return (int)threadIdx.x; }
    static XRF_METHOD void sync() { __syncthreads(); }
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) { return over_warps(butterfly(lane[0])); }
    static XRF_METHOD double sum(double mine) { return over_warps(butterfly(mine)); }
    static XRF_METHOD bool any(bool mine) { return __syncthreads_or(mine) != 0; }

  private:
    // The sum of the warps' sums. A second barrier keeps the next call off the values that slow members still read.
    template <class T> static XRF_METHOD T over_warps(T of_warp) {
        __shared__ T part[MEMBERS / 32];
        if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = of_warp;
        __syncthreads();
        const T all = (part[0] + part[1]) + (part[2] + part[3]);
        __syncthreads();
        return all;
    }
};
