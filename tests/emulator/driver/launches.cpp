// The stand-in driver: modules, functions, occupancy, launches.
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <algorithm>
#include <vector>
#include "standin.h"

namespace standin {

namespace {

using emulator::Arguments;
using emulator::Kernel;

// Is it an image at all: a cubin, a fat binary, or PTX? The kernels are this library's own.
bool is_image(const void *image) {
    const unsigned char *bytes = (const unsigned char *)image, elf[] = {0x7f, 'E', 'L', 'F'}, fat[] = {0x50, 0xed, 0x55, 0xba};
    if (!memcmp(bytes, elf, 4) || !memcmp(bytes, fat, 4)) return true;
    for (const unsigned char *c = bytes; *c; ++c)
        if (!isprint(*c) && !isspace(*c)) return false;
    return strstr((const char *)image, ".version");
}

// PTX can play an image of another version: `// another tile_bytes` names the word of XrfLayout that is another one.
std::string other_word(const void *image) {
    const char mark[] = "// another ", *found = strstr((const char *)image, mark);
    if (!found) return "";
    const char *word = found + strlen(mark);
    return std::string(word, strcspn(word, "\n"));
}

void say_otherwise(const std::string &word, XrfLayout &layout) {
    layout.problem_bytes += word == "problem_bytes";
    layout.tile_bytes += word == "tile_bytes";
    layout.parameters += word == "parameters";
}

CUresult load(Device &device, CUmodule *handle, const void *image) {
    if (!image) return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "the image is a null pointer");
    if (!is_image(image)) return refuse(device.number, CUDA_ERROR_INVALID_IMAGE, "the image is no cubin, fat binary or PTX");
    auto module = std::make_unique<Module>();
    module->other = other_word(image);
    *handle = module.get();
    device.modules[*handle] = std::move(module);
    return CUDA_SUCCESS;
}

// Does `body` with this thread's device and a function of one of its modules.
template <class Body> CUresult with_function(CUfunction handle, Body body) {
    return with_context([&](Device &device) -> CUresult {
        for (const auto &[key, module] : device.modules)
            for (const auto &[name, function] : module->functions)
                if (&function == handle) return body(device, *handle);
        return CUDA_ERROR_INVALID_HANDLE;
    });
}

int threads_at_most(const Function &function) { return function.kernel->threads ? function.kernel->threads : MAX_THREADS; }

// Blocks that a multiprocessor holds at once.
int occupancy(const Function &function, int threads, size_t dynamic) {
    if (threads < 1 || threads > threads_at_most(function)) return 0;
    const int whole_warps = (threads + 31) / 32 * 32;
    const size_t shared = SHARED_RESERVED + function.kernel->static_shared + dynamic;
    if (shared > SHARED_AT_MOST + SHARED_RESERVED) return 0;
    return std::min({BLOCKS_PER_MULTIPROCESSOR, THREADS_PER_MULTIPROCESSOR / whole_warps,
                     REGISTERS / (REGISTERS_OF_A_THREAD * whole_warps), (int)(SHARED_PER_MULTIPROCESSOR / shared)});
}

struct Launch {
    unsigned grid[3], block[3], shared;
};

CUresult wrong_shape(const Device &device, const Function &function, const Launch &launch) {
    const Kernel &kernel = *function.kernel;
    const unsigned threads = launch.block[0], *g = launch.grid, *b = launch.block;
    const auto no = [&](CUresult code, const char *why) {
        return refuse(device.number, code, "launch %s grid %u block %u shared %u refused: %s", kernel.name, g[0], threads,
                      launch.shared, why);
    };
    if (g[0] < 1 || g[0] > 0x7fffffff || b[0] < 1) return no(CUDA_ERROR_INVALID_VALUE, "an empty or too large grid");
    if (g[1] != 1 || g[2] != 1 || b[1] != 1 || b[2] != 1) return no(CUDA_ERROR_INVALID_VALUE, "more than one dimension");
    if (threads > (unsigned)MAX_THREADS) return no(CUDA_ERROR_INVALID_VALUE, "too many threads");
    if (kernel.threads && threads > kernel.threads)
        return no(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "more threads than its launch bounds");
    if (kernel.threads && threads < kernel.threads) return no(CUDA_ERROR_INVALID_VALUE, "fewer threads than its team has");
    if (kernel.static_shared + launch.shared > SHARED_AT_MOST) return no(CUDA_ERROR_INVALID_VALUE, "too much shared memory");
    if (launch.shared > function.dynamic_limit)
        return no(CUDA_ERROR_INVALID_VALUE, "more shared memory than the function's attribute allows");
    return CUDA_SUCCESS;
}

// A card meets wrong arrays while the kernel runs, and is lost.
bool arrays_are_right(const Device &device, const Kernel &kernel, const Arguments &arguments, const Launch &launch,
                      bool when_done) {
    const std::string wrong = wrong_arrays(device, kernel, arguments, launch.grid[0], launch.shared, when_done);
    if (wrong.empty()) return true;
    refuse(device.number, CUDA_ERROR_ILLEGAL_ADDRESS, "launch %s refused: %s", kernel.name, wrong.c_str());
    lose(device.number);
    return false;
}

// The faults that the environment asks for at this launch.
CUresult injected(const Device &device, const Launch &launch, bool &then_lost) {
    Driver &d = driver();
    if (shall_be_lost(d.fits)) lose(device.number);
    if (d.lost) return CUDA_ERROR_ILLEGAL_ADDRESS;
    ++d.fits;
    then_lost = shall_be_lost(d.fits);
    if (!shall_fail(d.fits)) return CUDA_SUCCESS;
    note(device.number, "fit launch %u of grid %u failed as asked", d.fits, launch.grid[0]);
    return CUDA_ERROR_LAUNCH_FAILED;
}

CUresult start(Device &device, Stream &stream, const Function &function, const Launch &launch, void **parameters) {
    if (const CUresult wrong = wrong_shape(device, function, launch)) return wrong;
    const Kernel &kernel = *function.kernel;
    if (!parameters) return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "launch %s without parameters", kernel.name);
    bool then_lost = false;
    if (kernel.task == emulator::FIT)
        if (const CUresult fault = injected(device, launch, then_lost)) return fault;
    Arguments arguments = {*(const XrfProblem *)parameters[0], {}, nullptr};
    if (kernel.task == emulator::LAYOUT) arguments.layout = *(XrfLayout **)parameters[1];
    else arguments.tile = *(const XrfTile *)parameters[1];
    if (!arrays_are_right(device, kernel, arguments, launch, false)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    note(device.number, "launch %s grid %u block %u shared %u", kernel.name, launch.grid[0], launch.block[0], launch.shared);
    enqueue(stream, [=, &device, &kernel, other = function.other] {
        if (!arrays_are_right(device, kernel, arguments, launch, true)) return;
        emulator::launch(launch.grid[0], launch.block[0], launch.shared, kernel.enter, &arguments);
        if (kernel.task == emulator::LAYOUT) say_otherwise(other, *arguments.layout);
    });
    if (then_lost) lose(device.number);
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace standin

using namespace standin;

API cuModuleLoadData(CUmodule *module, const void *image) {
    return with_context([&](Device &device) { return load(device, module, image); });
}

API cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, void *, void **) {
    return cuModuleLoadData(module, image);
}

API cuModuleLoad(CUmodule *module, const char *path) {
    std::vector<char> bytes;
    FILE *file = fopen(path, "rb");
    if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
    for (int c; (c = fgetc(file)) != EOF;) bytes.push_back((char)c);
    fclose(file);
    bytes.resize(bytes.size() + 4);
    return cuModuleLoadData(module, bytes.data());
}

API cuModuleUnload(CUmodule module) {
    return with_context([&](Device &device) -> CUresult {
        device.finish_all();
        return device.modules.erase(module) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    });
}

API cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    return with_context([&](Device &device) -> CUresult {
        if (!device.modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
        const Kernel *kernel = emulator::find_kernel(name);
        if (!kernel) return CUDA_ERROR_NOT_FOUND;
        const Function fresh = {kernel, module->other, SHARED_AT_HAND - kernel->static_shared};
        *function = &module->functions.emplace(name, fresh).first->second;
        return CUDA_SUCCESS;
    });
}

API cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *) {
    return with_context([](Device &) { return CUDA_ERROR_NOT_FOUND; });
}

API cuFuncGetAttribute(int *value, int which, CUfunction handle) {
    return with_function(handle, [&](Device &, Function &function) {
        switch (which) {
            case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = threads_at_most(function); break;
            case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = (int)function.kernel->static_shared; break;
            case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = REGISTERS_OF_A_THREAD; break;
            case CU_FUNC_ATTRIBUTE_PTX_VERSION:
            case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = 90; break;
            case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = (int)function.dynamic_limit; break;
            default: *value = 0;
        }
        return CUDA_SUCCESS;
    });
}

API cuFuncSetAttribute(CUfunction handle, int which, int value) {
    return with_function(handle, [&](Device &device, Function &function) -> CUresult {
        if (which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
        if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
        if (value < 0 || value + function.kernel->static_shared > SHARED_AT_MOST)
            return refuse(device.number, CUDA_ERROR_INVALID_VALUE, "%d bytes of dynamic shared memory for %s refused", value,
                          function.kernel->name);
        function.dynamic_limit = value;
        return CUDA_SUCCESS;
    });
}

API cuFuncSetCacheConfig(CUfunction handle, int) {
    return with_function(handle, [](Device &, Function &) { return CUDA_SUCCESS; });
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction handle, int threads, size_t dynamic) {
    return with_function(handle, [&](Device &, Function &function) {
        *blocks = occupancy(function, threads, dynamic);
        return CUDA_SUCCESS;
    });
}

API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction handle, int threads, size_t dynamic,
                                                         unsigned) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, handle, threads, dynamic);
}

API cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction handle, int blocks, int) {
    return with_function(handle, [&](Device &, Function &function) -> CUresult {
        if (blocks < 1 || blocks > BLOCKS_PER_MULTIPROCESSOR) return CUDA_ERROR_INVALID_VALUE;
        const size_t taken = SHARED_RESERVED + function.kernel->static_shared, each = SHARED_PER_MULTIPROCESSOR / blocks;
        *bytes = each > taken ? each - taken : 0;
        return CUDA_SUCCESS;
    });
}

API cuOccupancyMaxPotentialBlockSize(int *grid, int *threads, CUfunction handle, size_t (*shared_of)(int), size_t dynamic,
                                     int limit) {
    return with_function(handle, [&](Device &, Function &function) {
        *threads = threads_at_most(function);
        if (limit > 0) *threads = std::min(*threads, limit);
        *grid = MULTIPROCESSORS * occupancy(function, *threads, shared_of ? shared_of(*threads) : dynamic);
        return CUDA_SUCCESS;
    });
}

API cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *threads, CUfunction handle, size_t (*shared_of)(int),
                                              size_t dynamic, int limit, unsigned) {
    return cuOccupancyMaxPotentialBlockSize(grid, threads, handle, shared_of, dynamic, limit);
}

API cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared, CUstream on, void **parameters, void **) {
    return with_function(handle, [&](Device &device, Function &function) -> CUresult {
        const auto stream = device.stream(on);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        const Launch launch = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
        return start(device, *stream, function, launch, parameters);
    });
}
