// The stand-in driver: memory of devices and of the host, copies. New memory is full of 0xff; guards before and
// behind every allocation show who wrote beside it.
#include <stdlib.h>
#include <string.h>
#include <algorithm>
#include <vector>
#include "standin.h"

namespace standin {

namespace {

constexpr size_t GUARD = 512, ALIGNED = 512;
constexpr unsigned char GUARD_BYTE = 0xa5, UNWRITTEN = 0xff;

size_t rounded(size_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

bool is_guard(const char *p, size_t n) {
    return std::all_of(p, p + n, [](char c) { return (unsigned char)c == GUARD_BYTE; });
}

CUresult allocate(Device &device, CUdeviceptr *p, size_t bytes) {
    if (!bytes) return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "an allocation of 0 bytes");
    const size_t taken = rounded(bytes);
    const size_t others = device.unseen;
    const bool too_much = bytes > device.limit;
    if (!too_much && device.used + others + taken > device.limit) device.finish_all();  // what is about to be freed
    char *block = nullptr;
    if (!too_much && device.used + others + taken <= device.limit) block = (char *)aligned_alloc(ALIGNED, taken + 2 * GUARD);
    if (!block) {
        note(device.number, "alloc of %zu bytes refused, %zu of %zu in use", bytes, device.used, device.limit);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memset(block, GUARD_BYTE, taken + 2 * GUARD);
    memset(block + GUARD, UNWRITTEN, bytes);
    device.used += taken;
    *p = (CUdeviceptr)(block + GUARD);
    device.memory[*p] = {bytes, taken, block, false};
    return CUDA_SUCCESS;
}

// Gives memory back; it was allocated.
void release(Device &device, CUdeviceptr p) {
    const auto found = device.memory.find(p);
    if (found == device.memory.end()) return;
    const Allocation a = found->second;
    const size_t behind = a.taken - a.bytes + GUARD;
    if (!is_guard(a.block, GUARD) || !is_guard(a.block + GUARD + a.bytes, behind)) {
        refuse(device.number, CUDA_ERROR_ILLEGAL_ADDRESS, "something wrote beside an allocation of %zu bytes", a.bytes);
        lose(device.number);
    }
    device.used -= a.taken;
    free(a.block);
    device.memory.erase(found);
}

// Does `body` with the device whose memory is to be freed; addresses are unique among devices.
template <class Body> CUresult with_owner(CUdeviceptr p, Body body) {
    return with_context([&](Device &here) -> CUresult {
        for (Device &device : driver().devices) {
            const auto found = device.memory.find(p);
            if (found == device.memory.end() || found->second.freed) continue;
            return body(device, found->second);
        }
        return refuse(here.number, CUDA_ERROR_INVALID_VALUE, "freed, but not allocated: 0x%llx", p);
    });
}

CUresult check(const Device &device, const char *what, CUdeviceptr p, size_t bytes) {
    const Allocation *holder = device.holder(p, bytes);
    if (holder && !holder->freed) return CUDA_SUCCESS;
    return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "%s of %zu bytes at 0x%llx is outside of its allocations", what,
                  bytes, p);
}

// Some work with device memory whose turn has come; the memory may be gone by now.
void touch(Device &device, const char *what, CUdeviceptr p, size_t bytes, const std::function<void()> &work) {
    if (device.holder(p, bytes)) return work();
    refuse(device.number, CUDA_ERROR_ILLEGAL_ADDRESS, "%s of %zu bytes: the memory was freed before its turn", what, bytes);
    lose(device.number);
}

bool is_pinned(const void *p) {
    const auto &all = driver().host_memory;
    auto next = all.upper_bound((void *)p);
    if (next == all.begin()) return false;
    --next;
    return (const char *)p < (const char *)next->first + next->second.first;
}

// From memory that is not pinned the driver reads at once, from pinned memory when its turn comes.
CUresult copy_in(Device &device, Stream &stream, CUdeviceptr to, const void *from, size_t bytes) {
    if (const CUresult wrong = check(device, "a copy to the device", to, bytes)) return wrong;
    std::shared_ptr<std::vector<char>> kept;
    if (!is_pinned(from)) kept = std::make_shared<std::vector<char>>((const char *)from, (const char *)from + bytes);
    enqueue(stream, [=, &device] {
        touch(device, "a copy to the device", to, bytes, [&] { memcpy((void *)to, kept ? kept->data() : from, bytes); });
    });
    return CUDA_SUCCESS;
}

// Memory that is not pinned is written before the call returns.
CUresult copy_out(Device &device, Stream &stream, void *to, CUdeviceptr from, size_t bytes) {
    if (const CUresult wrong = check(device, "a copy from the device", from, bytes)) return wrong;
    enqueue(stream, [=, &device] {
        touch(device, "a copy from the device", from, bytes, [&] { memcpy(to, (void *)from, bytes); });
    });
    if (!is_pinned(to)) finish(stream);
    return CUDA_SUCCESS;
}

CUresult copy_within(Device &device, Stream &stream, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    if (const CUresult wrong = check(device, "a copy within the device", to, bytes)) return wrong;
    if (const CUresult wrong = check(device, "a copy within the device", from, bytes)) return wrong;
    enqueue(stream, [=, &device] {
        touch(device, "a copy within the device", to, bytes, [&] {
            touch(device, "a copy within the device", from, bytes, [&] { memmove((void *)to, (void *)from, bytes); });
        });
    });
    return CUDA_SUCCESS;
}

CUresult fill(Device &device, Stream &stream, CUdeviceptr p, unsigned char value, size_t bytes) {
    if (const CUresult wrong = check(device, "a fill", p, bytes)) return wrong;
    enqueue(stream, [=, &device] { touch(device, "a fill", p, bytes, [&] { memset((void *)p, value, bytes); }); });
    return CUDA_SUCCESS;
}

// Does `body` with this thread's device and one of its streams.
template <class Body> CUresult on_stream(CUstream handle, Body body) {
    return with_context([&](Device &device) -> CUresult {
        const std::shared_ptr<Stream> stream = device.stream(handle);
        return stream ? body(device, *stream) : CUDA_ERROR_INVALID_HANDLE;
    });
}

// The same, and waits for it.
template <class Body> CUresult at_once(Body body) {
    return on_stream(nullptr, [&](Device &device, Stream &stream) {
        const CUresult result = body(device, stream);
        finish(stream);
        return result;
    });
}

}  // namespace

const Allocation *Device::holder(CUdeviceptr p, size_t bytes) const {
    auto next = memory.upper_bound(p);
    if (next == memory.begin()) return nullptr;
    --next;
    const size_t offset = p - next->first;
    return offset <= next->second.bytes && bytes <= next->second.bytes - offset ? &next->second : nullptr;
}

void Device::forget() {
    while (!memory.empty()) release(*this, memory.begin()->first);
    streams.clear();
    events.clear();
    modules.clear();
}

}  // namespace standin

using namespace standin;

API cuMemGetInfo_v2(size_t *free_bytes, size_t *all) {
    return with_context([&](Device &device) {
        *free_bytes = device.limit - device.used;
        *all = device.limit;
        return CUDA_SUCCESS;
    });
}

API cuMemAlloc_v2(CUdeviceptr *p, size_t bytes) {
    return with_context([&](Device &device) { return allocate(device, p, bytes); });
}

API cuMemAllocAsync(CUdeviceptr *p, size_t bytes, CUstream stream) {
    return on_stream(stream, [&](Device &device, Stream &) { return allocate(device, p, bytes); });
}

API cuMemFree_v2(CUdeviceptr p) {
    return with_owner(p, [&](Device &device, Allocation &allocation) {
        allocation.freed = true;
        device.finish_all();
        release(device, p);
        return CUDA_SUCCESS;
    });
}

API cuMemFreeAsync(CUdeviceptr p, CUstream handle) {
    return with_owner(p, [&](Device &device, Allocation &allocation) -> CUresult {
        const std::shared_ptr<Stream> stream = device.stream(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        allocation.freed = true;
        enqueue(*stream, [p, &device] { release(device, p); });
        return CUDA_SUCCESS;
    });
}

API cuMemHostAlloc(void **p, size_t bytes, unsigned) {
    return with_context([&](Device &device) -> CUresult {
        *p = aligned_alloc(4 * KIB, (bytes + 4 * KIB - 1) / (4 * KIB) * (4 * KIB));
        if (!*p) return CUDA_ERROR_OUT_OF_MEMORY;
        memset(*p, UNWRITTEN, bytes);
        driver().host_memory[*p] = {bytes, &device};
        return CUDA_SUCCESS;
    });
}

API cuMemFreeHost(void *p) {
    return with_context([&](Device &device) -> CUresult {
        if (!driver().host_memory.count(p))
            return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "freed, but no pinned memory: %p", p);
        device.finish_all();
        driver().host_memory.erase(p);
        free(p);
        return CUDA_SUCCESS;
    });
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream handle) {
    return on_stream(handle, [&](Device &device, Stream &stream) { return copy_in(device, stream, to, from, bytes); });
}

API cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
    return on_stream(handle, [&](Device &device, Stream &stream) { return copy_out(device, stream, to, from, bytes); });
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
    return on_stream(handle, [&](Device &device, Stream &stream) { return copy_within(device, stream, to, from, bytes); });
}

API cuMemsetD8Async(CUdeviceptr p, unsigned char value, size_t bytes, CUstream handle) {
    return on_stream(handle, [&](Device &device, Stream &stream) { return fill(device, stream, p, value, bytes); });
}

API cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return at_once([&](Device &device, Stream &stream) { return copy_in(device, stream, to, from, bytes); });
}

API cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    return at_once([&](Device &device, Stream &stream) { return copy_out(device, stream, to, from, bytes); });
}

API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return at_once([&](Device &device, Stream &stream) { return copy_within(device, stream, to, from, bytes); });
}

API cuMemsetD8_v2(CUdeviceptr p, unsigned char value, size_t bytes) {
    return at_once([&](Device &device, Stream &stream) { return fill(device, stream, p, value, bytes); });
}
