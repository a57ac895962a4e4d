// Inside the stand-in driver: devices, their memory, streams and events, and how a call begins.
//
// As on a card, work on a stream is done later: here when somebody waits for it, and one piece after another.
// Who reads a result without waiting reads memory that nobody has written yet. A lock is held during every call.
#pragma once
#include <stdint.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>
#include "cuda.h"
#include "kernels.h"

namespace standin {

constexpr size_t KIB = 1024;

// The device that it plays.
constexpr int MULTIPROCESSORS = 4, BLOCKS_PER_MULTIPROCESSOR = 32, THREADS_PER_MULTIPROCESSOR = 2048;
constexpr int MAX_THREADS = 1024, REGISTERS = 65536, REGISTERS_OF_A_THREAD = 64, DRIVER_VERSION = 12080;
constexpr size_t SHARED_AT_HAND = 48 * KIB, SHARED_AT_MOST = 227 * KIB, SHARED_PER_MULTIPROCESSOR = 228 * KIB;
constexpr size_t SHARED_RESERVED = KIB;

struct Allocation {
    size_t bytes, taken;  // as asked for; with guards and rounding
    char *block;          // the guard before the memory
    bool freed;           // by a call whose turn on its stream has not come
};

struct Stream {
    std::deque<std::function<void()>> work;
    uint64_t queued = 0, done = 0;
};

struct Event {
    bool timed;
    std::shared_ptr<Stream> stream;  // where it was recorded, or null
    uint64_t place;                  // as many pieces of the stream's work are before it
    double milliseconds;             // when its turn came
};

struct Function {
    const emulator::Kernel *kernel;
    std::string other;  // as its module
    size_t dynamic_limit;
};

struct Module {
    std::string other;  // the word of XrfLayout that its kernels say otherwise, or nothing
    std::map<std::string, Function> functions;
};

struct Device {
    CUdevice ordinal;  // among those that this process sees
    int number;        // of the machine
    size_t limit, used = 0;
    size_t unseen;  // what another process took; the device does not speak of it
    int retained = 0;
    std::map<CUdeviceptr, Allocation> memory;
    std::shared_ptr<Stream> own_streams[3];  // the default stream and its two other names
    std::map<Stream *, std::shared_ptr<Stream>> streams;
    std::map<Event *, std::shared_ptr<Event>> events;
    std::map<Module *, std::unique_ptr<Module>> modules;

    // The allocation that holds these bytes, or null.
    const Allocation *holder(CUdeviceptr p, size_t bytes) const;
    std::shared_ptr<Stream> stream(CUstream handle);
    void finish_all();
    // Frees everything, as the end of its context does.
    void forget();
};

// Everything, and the lock that guards it.
struct Driver {
    std::mutex lock;
    bool initialised = false;
    bool lost = false;
    unsigned fits = 0;  // launches of xrf_fit_*
    std::deque<Device> devices;
    std::map<void *, std::pair<size_t, Device *>> host_memory;  // pinned: bytes and whose
};
Driver &driver();

// Does the first `place` pieces of a stream's work.
void finish(Stream &stream, uint64_t place);
void finish(Stream &stream);
// Puts work on a stream.
void enqueue(Stream &stream, std::function<void()> work);

// What is wrong with the arrays of a launch; empty when nothing is. `when_done`: memory counts until its turn to be
// freed has come.
std::string wrong_arrays(const Device &device, const emulator::Kernel &kernel, const emulator::Arguments &arguments,
                         unsigned blocks, size_t shared, bool when_done);

// Says what happened: a line of XRF_STANDIN_LOG, by process and device.
void note(int device, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A mistake of the caller: such a line, and one on standard error. Gives `code` back.
CUresult refuse(int device, CUresult code, const char *format, ...) __attribute__((format(printf, 3, 4)));
// From now on every call fails.
void lose(int device);

// XRF_STANDIN_*, a number or what it is by default.
size_t setting(const char *name, size_t otherwise);
// Numbers of the devices that CUDA_VISIBLE_DEVICES leaves of so many.
std::vector<int> visible(int all);
// Does XRF_STANDIN_FAIL_LAUNCH name the fit launch of this number, which counts from 1?
bool shall_fail(unsigned fit);
// Does XRF_STANDIN_LOST say that the device goes after so many fit launches?
bool shall_be_lost(unsigned fits);

// The context of this thread.
extern thread_local Device *current;

// Does `body` under the lock, once the driver is initialised.
template <class Body> CUresult with_driver(Body body) {
    Driver &d = driver();
    const std::lock_guard<std::mutex> held(d.lock);
    return d.initialised ? body(d) : CUDA_ERROR_NOT_INITIALIZED;
}

// Does `body` under the lock, with this thread's device, unless that is lost.
template <class Body> CUresult with_context(Body body) {
    return with_driver([&](Driver &d) -> CUresult {
        if (d.lost) return CUDA_ERROR_ILLEGAL_ADDRESS;
        if (!current || !current->retained) return CUDA_ERROR_INVALID_CONTEXT;
        const CUresult result = body(*current);
        return d.lost ? CUDA_ERROR_ILLEGAL_ADDRESS : result;
    });
}

}  // namespace standin
