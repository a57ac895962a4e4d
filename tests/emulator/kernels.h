// The kernels of kernels/fit.cu by name, for whoever launches them without a card.
#pragma once
#include <stddef.h>
#include "tile.h"

namespace emulator {

enum Task { LAYOUT, PREPARE, FIT, ERRORS, EVALUATE, BACKGROUND };

// What a kernel is given: a problem and, for xrf_layout_*, where the layout goes, for all others a tile.
struct Arguments {
    XrfProblem problem;
    XrfTile tile;
    XrfLayout *layout;
};

struct Kernel {
    const char *name;
    Task task;
    unsigned threads;      // of a block, by the launch bounds; 0: any number
    size_t scalar;         // bytes of a count
    size_t static_shared;  // bytes
    XrfLayout (*layout)(const XrfProblem &);
    // One thread of a launch; an Arguments.
    void (*enter)(const void *);
};

// The kernel of a name, or null.
const Kernel *find_kernel(const char *name);

// Runs all blocks of a grid, on EMULATED_THREADS threads of the machine, or on all its cores.
void launch(unsigned blocks, unsigned threads, size_t shared_bytes, void (*kernel)(const void *), const void *arguments);

}  // namespace emulator
