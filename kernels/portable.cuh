// The one place where host and device differ.
//
// XRF_FN marks every function of kernels/. On the host it is a static inline: host.cpp is compiled
// once per instruction set, and internal linkage keeps one set's code out of the others. XRF_DEVICE
// is defined where fit.cu is compiled: by NVRTC, by nvcc, or by the emulator of tests/emulator.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__) || defined(XRF_EMULATED)
#define XRF_DEVICE
#define XRF_FN __device__ __forceinline__
#define XRF_METHOD __device__ __forceinline__
#define XRF_CALL __device__ __noinline__
#define XRF_OUTLINE __device__ __noinline__
#define XRF_SIMD
#define XRF_UNROLL _Pragma("unroll")
#define XRF_ROLLED _Pragma("unroll 1")
#define XRF_PRAGMA(text) _Pragma(#text)
#define XRF_UNROLL_BY(n) XRF_PRAGMA(unroll n)
#else
#define XRF_FN static inline __attribute__((always_inline))
#define XRF_METHOD inline __attribute__((always_inline))
#define XRF_CALL XRF_FN
#define XRF_OUTLINE static __attribute__((noinline))
#define XRF_SIMD _Pragma("omp simd")
#define XRF_UNROLL _Pragma("GCC unroll 32")
#define XRF_ROLLED
#endif
#define XRF_RESTRICT __restrict__

#if defined(__CUDACC_RTC__)
// NVRTC has no headers of its own.
typedef signed int int32_t;
typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef signed long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#endif

// 2^x, of a GPU's own: its relative error is 2^-22.5 (PTX ISA, ex2.approx).
#if defined(XRF_EMULATED)
XRF_FN float power_of_two(float x) { return exp2f(x); }
#elif defined(XRF_DEVICE)
XRF_FN float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// A pointer to what a team has near. XRF_NEAR_SHARED says that this is a GPU's shared memory, so that loads and stores
// need not find out.
#if defined(XRF_NEAR_SHARED) && !defined(XRF_EMULATED)
template <class T> XRF_FN T *near_pointer(T *p) {
    __builtin_assume(__isShared(p));
    return p;
}
#else
template <class T> XRF_FN T *near_pointer(T *p) { return p; }
#endif

// Adds a value of 0 or more to what other teams may add to as well; on a CPU no further than there are numbers.
XRF_FN void add_together(int64_t *sum, int64_t value) {
#if defined(XRF_DEVICE)
    atomicAdd((unsigned long long *)sum, (unsigned long long)value);
#else
    const int64_t most = 0x7fffffffffffffff, all = (int64_t)((uint64_t)*sum + (uint64_t)value);
    *sum = ((*sum ^ all) & (value ^ all)) < 0 ? most : all;
#endif
}
