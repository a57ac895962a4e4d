// Entry points of the CPU engine, no formula. Compiled once per instruction set; XRF_LEVEL names it.
#include "abi.h"
#include "portable.cuh"
#include "parameters.cuh"

#define XRF_JOIN(a, b) a##_##b
#define XRF_NAME2(a, b) XRF_JOIN(a, b)
#define XRF_NAME(name) XRF_NAME2(name, XRF_LEVEL)

extern "C" const XrfParameterRow *XRF_NAME(xrf_parameters)(int32_t *count) {
    static const XrfParameterRow rows[] = {
#define XRF_ROW(name, unit, value, lower, upper, rate, meaning) \
    {#name, unit, meaning, value, lower, upper, rate},
        XRF_PARAMETERS(XRF_ROW)
#undef XRF_ROW
    };
    *count = N_PARAMETERS;
    return rows;
}
