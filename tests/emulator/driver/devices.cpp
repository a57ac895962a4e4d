// The stand-in driver: start, devices, contexts, errors.
#include <stdio.h>
#include <string.h>
#include "standin.h"

namespace standin {

thread_local Device *current;

Driver &driver() {
    static Driver *const it = new Driver;  // threads may outlive the end of main
    return *it;
}

namespace {

constexpr size_t DEVICES = 1, MEMORY = 512 * KIB * KIB;

Device *device_of(Driver &d, CUdevice ordinal) {
    return ordinal >= 0 && (size_t)ordinal < d.devices.size() ? &d.devices[ordinal] : nullptr;
}

int attribute(const Device &device, int which) {
    switch (which) {
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return MAX_THREADS;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return SHARED_AT_HAND;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return SHARED_AT_MOST;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return SHARED_PER_MULTIPROCESSOR;
        case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return SHARED_RESERVED;
        case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 64 * KIB;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return REGISTERS;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1000000;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return MULTIPROCESSORS;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return THREADS_PER_MULTIPROCESSOR;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return BLOCKS_PER_MULTIPROCESSOR;
        case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return device.number;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 1024 * KIB;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return 0;
        case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
        case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
        default: return 0;
    }
}

// Memory that is still held when its context ends was forgotten.
CUresult leaks(const Device &device) {
    size_t n = 0, bytes = 0;
    for (const auto &[p, allocation] : device.memory) {
        if (allocation.freed) continue;
        ++n;
        bytes += allocation.bytes;
    }
    if (!n || driver().lost) return CUDA_SUCCESS;
    return refuse(device.number, CUDA_ERROR_ILLEGAL_STATE, "leak: %zu allocations of %zu bytes were not freed", n, bytes);
}

struct AtExit {
    ~AtExit() {
        for (Device &device : driver().devices)
            if (device.retained) leaks(device);
    }
} at_exit;

}  // namespace
}  // namespace standin

using namespace standin;

API cuInit(unsigned) {
    Driver &d = driver();
    const std::lock_guard<std::mutex> held(d.lock);
    if (d.initialised) return CUDA_SUCCESS;
    const std::vector<int> numbers = visible((int)setting("XRF_STANDIN_DEVICES", DEVICES));
    if (numbers.empty()) return CUDA_ERROR_NO_DEVICE;
    for (const int number : numbers) {
        Device &device = d.devices.emplace_back();
        device.ordinal = (CUdevice)d.devices.size() - 1;
        device.number = number;
        device.limit = setting("XRF_STANDIN_MEMORY", MEMORY);
        device.unseen = setting("XRF_STANDIN_UNSEEN", 0);
        for (auto &stream : device.own_streams) stream = std::make_shared<Stream>();
    }
    d.initialised = true;
    return CUDA_SUCCESS;
}

API cuDriverGetVersion(int *version) {
    *version = DRIVER_VERSION;
    return CUDA_SUCCESS;
}

API cuDeviceGetCount(int *count) {
    return with_driver([&](Driver &d) {
        *count = (int)d.devices.size();
        return CUDA_SUCCESS;
    });
}

// Does `body` with one of the devices that this process sees.
template <class Body> CUresult with_device(CUdevice ordinal, Body body) {
    return with_driver([&](Driver &d) -> CUresult {
        Device *device = device_of(d, ordinal);
        if (!device) return CUDA_ERROR_INVALID_DEVICE;
        body(*device);
        return CUDA_SUCCESS;
    });
}

API cuDeviceGet(CUdevice *found, int ordinal) {
    return with_device(ordinal, [&](Device &device) { *found = device.ordinal; });
}

API cuDeviceGetName(char *name, int size, CUdevice ordinal) {
    return with_device(ordinal, [&](Device &device) { snprintf(name, size, "stand-in device %d (no GPU)", device.number); });
}

API cuDeviceTotalMem_v2(size_t *bytes, CUdevice ordinal) {
    return with_device(ordinal, [&](Device &device) { *bytes = device.limit; });
}

API cuDeviceGetAttribute(int *value, int which, CUdevice ordinal) {
    return with_device(ordinal, [&](Device &device) { *value = attribute(device, which); });
}

API cuDeviceGetUuid(CUuuid *uuid, CUdevice ordinal) {
    return with_device(ordinal, [&](Device &device) {
        memcpy(uuid->bytes, "xrfit stand-in \0", 16);
        uuid->bytes[15] = (unsigned char)device.number;
    });
}

API cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice ordinal) { return cuDeviceGetUuid(uuid, ordinal); }

API cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice ordinal) {
    return with_driver([&](Driver &d) -> CUresult {
        Device *device = device_of(d, ordinal);
        if (!device) return CUDA_ERROR_INVALID_DEVICE;
        if (d.lost) return CUDA_ERROR_ILLEGAL_ADDRESS;
        if (!device->retained++) note(device->number, "context");
        *context = device;
        return CUDA_SUCCESS;
    });
}

API cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
    return with_driver([&](Driver &d) -> CUresult {
        Device *device = device_of(d, ordinal);
        if (!device) return CUDA_ERROR_INVALID_DEVICE;
        if (!device->retained)
            return refuse(device->number, CUDA_ERROR_INVALID_CONTEXT, "a context is released that nobody holds");
        if (device->retained > 1) {
            --device->retained;
            return CUDA_SUCCESS;
        }
        device->finish_all();
        device->retained = 0;
        const CUresult result = leaks(*device);
        device->forget();
        return result;
    });
}

API cuCtxSetCurrent(CUcontext context) {
    return with_driver([&](Driver &d) {
        current = context;
        return d.lost ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
    });
}

API cuCtxGetCurrent(CUcontext *context) {
    return with_driver([&](Driver &d) {
        *context = current;
        return d.lost ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
    });
}

API cuCtxSetFlags(unsigned) {
    return with_context([](Device &) { return CUDA_SUCCESS; });
}

API cuCtxSynchronize() {
    return with_context([](Device &device) {
        device.finish_all();
        return CUDA_SUCCESS;
    });
}

API cuGetErrorName(CUresult code, const char **name) {
    switch (code) {
#define CUDA_RESULT(word, number, meaning) \
    case number: *name = #word; return CUDA_SUCCESS;
        CUDA_RESULTS(CUDA_RESULT)
#undef CUDA_RESULT
        default: *name = nullptr; return CUDA_ERROR_INVALID_VALUE;
    }
}

API cuGetErrorString(CUresult code, const char **text) {
    switch (code) {
#define CUDA_RESULT(word, number, meaning) \
    case number: *text = meaning; return CUDA_SUCCESS;
        CUDA_RESULTS(CUDA_RESULT)
#undef CUDA_RESULT
        default: *text = nullptr; return CUDA_ERROR_INVALID_VALUE;
    }
}
