// The stand-in driver: streams and events.
#include <chrono>
#include "standin.h"

namespace standin {

namespace {

double now() {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(since).count();
}

CUresult create_stream(Device &device, CUstream *handle) {
    const auto stream = std::make_shared<Stream>();
    device.streams[stream.get()] = stream;
    *handle = stream.get();
    return CUDA_SUCCESS;
}

// Does `body` with this thread's device and one of its events.
template <class Body> CUresult with_event(CUevent handle, Body body) {
    return with_context([&](Device &device) -> CUresult {
        return device.events.count(handle) ? body(device, *handle) : CUDA_ERROR_INVALID_HANDLE;
    });
}

bool is_done(const Event &event) { return !event.stream || event.stream->done >= event.place; }

}  // namespace

void enqueue(Stream &stream, std::function<void()> work) {
    stream.work.push_back(std::move(work));
    ++stream.queued;
}

void finish(Stream &stream, uint64_t place) {
    while (stream.done < place && !driver().lost) {
        const std::function<void()> work = std::move(stream.work.front());
        stream.work.pop_front();
        work();
        ++stream.done;
    }
}

void finish(Stream &stream) { finish(stream, stream.queued); }

void Device::finish_all() {
    for (const auto &stream : own_streams) finish(*stream);
    for (const auto &[handle, stream] : streams) finish(*stream);
}

// Handles 0, 1 and 2 are the default stream's.
std::shared_ptr<Stream> Device::stream(CUstream handle) {
    if ((uintptr_t)handle < 3) return own_streams[(uintptr_t)handle == 2];
    const auto found = streams.find(handle);
    return found == streams.end() ? nullptr : found->second;
}

}  // namespace standin

using namespace standin;

API cuStreamCreate(CUstream *handle, unsigned) {
    return with_context([&](Device &device) { return create_stream(device, handle); });
}

API cuStreamCreateWithPriority(CUstream *handle, unsigned, int) {
    return with_context([&](Device &device) { return create_stream(device, handle); });
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    return with_context([&](Device &) {
        *least = *greatest = 0;
        return CUDA_SUCCESS;
    });
}

API cuStreamDestroy_v2(CUstream handle) {
    return with_context([&](Device &device) -> CUresult {
        if ((uintptr_t)handle < 3 || !device.stream(handle)) return CUDA_ERROR_INVALID_HANDLE;
        finish(*handle);
        device.streams.erase(handle);
        return CUDA_SUCCESS;
    });
}

API cuStreamSynchronize(CUstream handle) {
    return with_context([&](Device &device) -> CUresult {
        const auto stream = device.stream(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        finish(*stream);
        return CUDA_SUCCESS;
    });
}

API cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    return with_event(event, [&](Device &device, Event &e) -> CUresult {
        const auto stream = device.stream(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (e.stream) enqueue(*stream, [other = e.stream, place = e.place] { finish(*other, place); });
        return CUDA_SUCCESS;
    });
}

API cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *data) {
    return with_context([&](Device &device) -> CUresult {
        const auto stream = device.stream(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        enqueue(*stream, [=] { function(data); });
        return CUDA_SUCCESS;
    });
}

API cuEventCreate(CUevent *handle, unsigned flags) {
    return with_context([&](Device &device) {
        const auto event = std::make_shared<Event>(Event{!(flags & CU_EVENT_DISABLE_TIMING), nullptr, 0, 0});
        *handle = event.get();
        device.events[*handle] = event;
        return CUDA_SUCCESS;
    });
}

API cuEventDestroy_v2(CUevent handle) {
    return with_event(handle, [&](Device &device, Event &) {
        device.events.erase(handle);
        return CUDA_SUCCESS;
    });
}

API cuEventRecord(CUevent handle, CUstream on) {
    return with_event(handle, [&](Device &device, Event &event) -> CUresult {
        const auto stream = device.stream(on);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        enqueue(*stream, [kept = device.events[handle]] { kept->milliseconds = now(); });
        event.stream = stream;
        event.place = stream->queued;
        return CUDA_SUCCESS;
    });
}

API cuEventSynchronize(CUevent handle) {
    return with_event(handle, [](Device &, Event &event) {
        if (event.stream) finish(*event.stream, event.place);
        return CUDA_SUCCESS;
    });
}

// Who asks in a loop is told the truth once, and the work is done before the next answer.
API cuEventQuery(CUevent handle) {
    return with_event(handle, [](Device &, Event &event) {
        const bool done = is_done(event);
        if (!done) finish(*event.stream, event.place);
        return done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    });
}

API cuEventElapsedTime(float *milliseconds, CUevent first, CUevent last) {
    return with_event(first, [&](Device &device, Event &a) -> CUresult {
        if (!device.events.count(last)) return CUDA_ERROR_INVALID_HANDLE;
        const Event &b = *last;
        if (!a.timed || !b.timed || !a.stream || !b.stream)
            return refuse(device.number, CUDA_ERROR_INVALID_HANDLE, "the time between events that take none");
        if (!is_done(a) || !is_done(b)) return CUDA_ERROR_NOT_READY;
        *milliseconds = (float)(b.milliseconds - a.milliseconds);
        return CUDA_SUCCESS;
    });
}

API cuEventElapsedTime_v2(float *milliseconds, CUevent first, CUevent last) {
    return cuEventElapsedTime(milliseconds, first, last);
}
