// What the stand-in driver takes from NVIDIA's cuda.h: the types and numbers of the driver API that it uses, by
// NVIDIA's names. Handles are pointers to its own objects.
#pragma once
#include <stddef.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;

namespace standin {
struct Device;
struct Stream;
struct Event;
struct Module;
struct Function;
}  // namespace standin
typedef standin::Device *CUcontext;
typedef standin::Stream *CUstream;
typedef standin::Event *CUevent;
typedef standin::Module *CUmodule;
typedef standin::Function *CUfunction;

struct CUuuid {
    unsigned char bytes[16];
};

//  X(name, number, meaning)
#define CUDA_RESULTS(X)                                                                 \
    X(CUDA_SUCCESS, 0, "no error")                                                      \
    X(CUDA_ERROR_INVALID_VALUE, 1, "invalid argument")                                  \
    X(CUDA_ERROR_OUT_OF_MEMORY, 2, "out of memory")                                     \
    X(CUDA_ERROR_NOT_INITIALIZED, 3, "initialization error")                            \
    X(CUDA_ERROR_NO_DEVICE, 100, "no CUDA-capable device is detected")                  \
    X(CUDA_ERROR_INVALID_DEVICE, 101, "invalid device ordinal")                         \
    X(CUDA_ERROR_INVALID_IMAGE, 200, "device kernel image is invalid")                  \
    X(CUDA_ERROR_INVALID_CONTEXT, 201, "invalid device context")                        \
    X(CUDA_ERROR_FILE_NOT_FOUND, 301, "file not found")                                 \
    X(CUDA_ERROR_INVALID_HANDLE, 400, "invalid resource handle")                        \
    X(CUDA_ERROR_ILLEGAL_STATE, 401, "the operation cannot be performed in the present state") \
    X(CUDA_ERROR_NOT_FOUND, 500, "named symbol not found")                              \
    X(CUDA_ERROR_NOT_READY, 600, "device not ready")                                    \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")      \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701, "too many resources requested for launch") \
    X(CUDA_ERROR_LAUNCH_FAILED, 719, "unspecified launch failure")                      \
    X(CUDA_ERROR_NOT_SUPPORTED, 801, "operation not supported")

enum {
#define CUDA_RESULT(name, number, meaning) name = number,
    CUDA_RESULTS(CUDA_RESULT)
#undef CUDA_RESULT
};

enum {
    CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
    CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X = 2,
    CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y = 3,
    CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z = 4,
    CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X = 5,
    CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y = 6,
    CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z = 7,
    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
    CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY = 9,
    CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10,
    CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK = 12,
    CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS = 31,
    CU_DEVICE_ATTRIBUTE_PCI_BUS_ID = 33,
    CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
    CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39,
    CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT = 40,
    CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING = 41,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED = 78,
    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
    CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR = 82,
    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
    CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR = 106,
    CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK = 111,
    CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115,
};

enum {
    CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
    CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
    CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES = 2,
    CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
    CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
    CU_FUNC_ATTRIBUTE_PTX_VERSION = 5,
    CU_FUNC_ATTRIBUTE_BINARY_VERSION = 6,
    CU_FUNC_ATTRIBUTE_CACHE_MODE_CA = 7,
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
};

enum { CU_EVENT_DISABLE_TIMING = 2 };

// Exported functions are named and typed as in cuda.h.
#define API extern "C" __attribute__((visibility("default"))) CUresult
