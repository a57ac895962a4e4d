// The one place where host and device differ.
//
// XRF_FN marks every function of kernels/. On the host it is a static inline: host.cpp is compiled
// once per instruction set, and internal linkage keeps one set's code out of the others.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define XRF_FN __device__ __forceinline__
#define XRF_METHOD __device__ __forceinline__
#define XRF_SIMD
#define XRF_RESTRICT __restrict__
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define XRF_FN static inline __attribute__((always_inline))
#define XRF_METHOD inline __attribute__((always_inline))
#define XRF_SIMD _Pragma("omp simd")
#define XRF_RESTRICT __restrict__
#endif
