// The fibers behind cuda_words.h, and the launch of kernels.h.
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>
#include "cuda_words.h"
#include "kernels.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace emulator {
namespace {

constexpr size_t STACK = 128 * 1024;

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
    void *stack_pointer;
    State state;
    unsigned turn;
    const char *file;
    int line;
};

// A grid as one OS thread sees it, which runs some of its blocks.
struct Grid {
    unsigned n_threads, n_blocks;
    void (*kernel)(const void *);
    const void *arguments;
    bool reverse;

    unsigned block = 0, running = 0, in_block = 0;
    int any = 0;  // of any_in_block
    std::vector<Fiber> fibers;
    std::vector<WarpState> warps;
    std::vector<char> dynamic;
    std::unique_ptr<char[]> stacks;
    std::vector<ucontext_t> contexts;
    ucontext_t outside;
    void *scheduler = nullptr;

    Grid(unsigned n_threads, unsigned n_blocks, size_t shared_bytes, void (*kernel)(const void *), const void *arguments);
    void run_block(unsigned number);
    bool run_warp(unsigned w);
    void resume(unsigned t);
    void release_block();
    unsigned alive() const;
};

// The one whose fibers this OS thread runs now.
thread_local Grid *grid;

#if defined(__x86_64__)
// Saves the callee's registers on one stack and takes them from the other.
extern "C" void emulator_switch(void **save, void *load);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
void switch_to(void **save, void *load) { emulator_switch(save, load); }
void *new_stack(char *top, void (*entry)()) {
    void **s = (void **)((uintptr_t)top & ~(uintptr_t)15);
    *--s = nullptr;
    *--s = (void *)entry;
    for (int i = 0; i < 6; ++i) *--s = nullptr;
    return s;
}
#else
// Elsewhere the C library's contexts; a switch costs some ten times as much.
ucontext_t *context_of(void *p) { return p ? (ucontext_t *)p : &grid->outside; }
void switch_to(void **save, void *load) {
    const bool outside = save == &grid->scheduler;
    ucontext_t *from = outside ? &grid->outside : &grid->contexts[grid->running];
    *save = outside ? nullptr : (void *)from;
    swapcontext(from, context_of(load));
}
void *new_stack(char *top, void (*entry)()) {
    grid->contexts.resize(grid->n_threads);
    ucontext_t *c = &grid->contexts[(top - grid->stacks.get()) / STACK - 1];
    getcontext(c);
    c->uc_stack.ss_sp = top - STACK;
    c->uc_stack.ss_size = STACK;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    return c;
}
#endif

[[noreturn]] void die(const char *what) {
    fprintf(stderr, "emulator: %s (block %u, thread %u)\n", what, grid->block, grid->running);
    _Exit(3);
}

void leave(State state) {
    Fiber &fiber = grid->fibers[grid->running];
    fiber.state = state;
    switch_to(&fiber.stack_pointer, grid->scheduler);
}

void fiber_main() {
    grid->kernel(grid->arguments);
    leave(DONE);
    abort();
}

Grid::Grid(unsigned n_threads, unsigned n_blocks, size_t shared_bytes, void (*kernel)(const void *), const void *arguments)
    : n_threads(n_threads), n_blocks(n_blocks), kernel(kernel), arguments(arguments), fibers(n_threads),
      warps((n_threads + WARP - 1) / WARP), dynamic(shared_bytes + 64), stacks(new char[n_threads * STACK]) {
    const char *order = getenv("EMULATED_ORDER");
    reverse = order && !strcmp(order, "reverse");
}

void Grid::resume(unsigned t) {
    running = t;
    switch_to(&scheduler, fibers[t].stack_pointer);
    if (fibers[t].state == DONE) warps[t / WARP].alive &= ~(1u << t % WARP);
}

// Runs what is ready of a warp until nothing is; returns whether anything was.
bool Grid::run_warp(unsigned w) {
    bool any_ran = false, again = true;
    while (again) {
        again = false;
        for (unsigned k = 0; k < WARP; ++k) {
            const unsigned t = w * WARP + (reverse ? WARP - 1 - k : k);
            if (t >= n_threads || fibers[t].state != READY) continue;
            resume(t);
            any_ran = true;
        }
        if (warps[w].waiting && warps[w].waiting == warps[w].mask) {
            warps[w].waiting = 0;
            for (unsigned t = w * WARP; t < n_threads && t < (w + 1) * WARP; ++t)
                if (fibers[t].state == AT_WARP) fibers[t].state = READY;
            again = true;
        }
    }
    return any_ran;
}

void Grid::release_block() {
    const Fiber *first = nullptr;
    for (Fiber &f : fibers) {
        if (f.state != AT_BLOCK) continue;
        if (!first) first = &f;
        if (f.line != first->line || strcmp(f.file, first->file)) die("threads meet at different barriers");
        f.state = READY;
    }
    in_block = 0;
}

unsigned Grid::alive() const {
    unsigned n = 0;
    for (const Fiber &f : fibers) n += f.state != DONE;
    return n;
}

void Grid::run_block(unsigned number) {
    block = number;
    std::fill(dynamic.begin(), dynamic.end(), (char)0xff);
    for (unsigned t = 0; t < n_threads; ++t)
        fibers[t] = {new_stack(stacks.get() + (t + 1) * STACK, fiber_main), READY, 0, "", 0};
    for (unsigned w = 0; w < warps.size(); ++w) {
        warps[w] = {};
        for (unsigned t = w * WARP; t < n_threads && t < (w + 1) * WARP; ++t) warps[w].alive |= 1u << t % WARP;
    }
    in_block = 0;
    while (alive()) {
        bool any_ran = false;
        for (unsigned k = 0; k < warps.size(); ++k) any_ran |= run_warp(reverse ? warps.size() - 1 - k : k);
        if (in_block && in_block == alive()) {
            release_block();
            any_ran = true;
        }
        if (!any_ran && alive()) die("threads wait for others that never come");
    }
}

unsigned os_threads(unsigned blocks) {
    const char *wanted = getenv("EMULATED_THREADS");
    const unsigned n = wanted ? (unsigned)atoi(wanted) : std::thread::hardware_concurrency();
    return std::max(1u, std::min(n, blocks));
}

}  // namespace

uint3 thread_index() { return {grid->running, 0, 0}; }
uint3 block_index() { return {grid->block, 0, 0}; }
uint3 block_size() { return {grid->n_threads, 1, 1}; }
uint3 grid_size() { return {grid->n_blocks, 1, 1}; }
char *shared_memory() { return (char *)(((uintptr_t)grid->dynamic.data() + 63) & ~(uintptr_t)63); }

WarpState &warp(unsigned *lane, unsigned *turn) {
    Grid &g = *grid;
    *lane = g.running % WARP;
    *turn = g.fibers[g.running].turn++ % 2;
    return g.warps[g.running / WARP];
}

void meet_warp(unsigned mask) {
    WarpState &w = grid->warps[grid->running / WARP];
    const unsigned bit = 1u << grid->running % WARP;
    if (!(mask & bit)) die("a lane is not in its own mask");
    if (mask & ~w.alive) die("a mask names a lane that has ended");
    if (w.waiting && w.mask != mask) die("lanes of a warp use different masks");
    w.mask = mask;
    w.waiting |= bit;
    leave(AT_WARP);
}

void meet_block(const char *file, int line) {
    Fiber &fiber = grid->fibers[grid->running];
    fiber.file = file;
    fiber.line = line;
    ++grid->in_block;
    leave(AT_BLOCK);
}

unsigned ballot(unsigned mask, int mine) {
    unsigned lane, turn;
    WarpState &w = warp(&lane, &turn);
    w.shown[turn][lane][0] = mine != 0;
    meet_warp(mask);
    unsigned lanes = 0;
    for (unsigned i = 0; i < WARP; ++i) lanes |= (mask & unsigned(w.shown[turn][i][0] != 0) << i);
    return lanes;
}

int any_in_block(int mine, const char *file, int line) {
    grid->any = 0;
    meet_block(file, line);
    if (mine) grid->any = 1;
    meet_block(file, line);
    const int result = grid->any;
    meet_block(file, line);
    return result;
}

void launch(unsigned blocks, unsigned threads, size_t shared_bytes, void (*kernel)(const void *), const void *arguments) {
    std::atomic<unsigned> next{0};
    const auto run_blocks = [&] {
        Grid mine(threads, blocks, shared_bytes, kernel, arguments);
        grid = &mine;
        for (unsigned number; (number = next++) < blocks;) mine.run_block(number);
        grid = nullptr;
    };
    std::vector<std::thread> helpers;
    for (unsigned i = 1; i < os_threads(blocks); ++i) helpers.emplace_back(run_blocks);
    run_blocks();
    for (std::thread &helper : helpers) helper.join();
}

}  // namespace emulator
