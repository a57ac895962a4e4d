// The words of CUDA for a C++ compiler: after this header it compiles kernels/fit.cu for the CPU.
//
// A CUDA thread is a fiber; one OS thread runs a block's fibers in turn, each until it meets a barrier or a
// shuffle. Several OS threads share the blocks of a grid, and may launch grids of their own at the same time.
// EMULATED_ORDER=reverse runs them from the last to the first: what then differs lacks a barrier.
// Memory that a kernel has not written is NaN. A barrier that only some threads reach, or a shuffle whose lanes
// disagree, ends the program with a message.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#define XRF_EMULATED

struct uint3 {
    unsigned x, y, z;
};

namespace emulator {

constexpr unsigned WARP = 32;

// What the lanes of a warp show each other; two turns, so that no lane overwrites what another still reads.
struct WarpState {
    alignas(16) unsigned char shown[2][WARP][8];
    unsigned waiting, alive, mask;
};

// The fiber that runs now.
uint3 thread_index();
uint3 block_index();
uint3 block_size();
uint3 grid_size();
char *shared_memory();
// This lane's warp and its turn, which flips with every call.
WarpState &warp(unsigned *lane, unsigned *turn);
void meet_warp(unsigned mask);
void meet_block(const char *file, int line);

template <class T> T shuffle_xor(unsigned mask, T value, unsigned with) {
    static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    unsigned lane, turn;
    WarpState &w = warp(&lane, &turn);
    memcpy(w.shown[turn][lane], &value, sizeof value);
    meet_warp(mask);
    T other;
    memcpy(&other, w.shown[turn][(lane ^ with) % WARP], sizeof other);
    return other;
}

unsigned ballot(unsigned mask, int mine);
int any_in_block(int mine, const char *file, int line);

}  // namespace emulator

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())
#define __syncthreads() emulator::meet_block(__FILE__, __LINE__)
#define __syncthreads_or(mine) emulator::any_in_block(mine, __FILE__, __LINE__)
#define __syncwarp() emulator::meet_warp(0xffffffffu)
#define __ballot_sync(mask, mine) emulator::ballot(mask, mine)
#define __any_sync(mask, mine) (emulator::ballot(mask, mine) != 0)
#define __clz(x) __builtin_clz((unsigned)(x))
#define __shfl_xor_sync(mask, value, with) emulator::shuffle_xor(mask, value, with)

inline char *emulated_shared_memory() { return emulator::shared_memory(); }

inline unsigned long long atomicAdd(unsigned long long *sum, unsigned long long value) {
    return __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
}
