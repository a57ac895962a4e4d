// The fibers behind cuda_words.h.
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <vector>
#include "cuda_words.h"
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

unsigned n_threads, n_blocks, block, running, in_block;
std::vector<Fiber> fibers;
std::vector<WarpState> warps;
std::vector<char> stacks, dynamic;
void *scheduler;
void (*the_kernel)(void *);
void *the_arguments;

#if defined(__x86_64__)
// Saves the callee's registers on one stack and takes them from the other.
extern "C" void emulator_switch(void **save, void *load);
asm(R"(
.text
.globl emulator_switch
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
std::vector<ucontext_t> contexts;
ucontext_t outside;
ucontext_t *context_of(void *p) { return p ? (ucontext_t *)p : &outside; }
void switch_to(void **save, void *load) {
    ucontext_t *from = save == &scheduler ? &outside : &contexts[running];
    *save = save == &scheduler ? nullptr : (void *)from;
    swapcontext(from, context_of(load));
}
void *new_stack(char *top, void (*entry)()) {
    contexts.resize(n_threads);
    ucontext_t *c = &contexts[(top - stacks.data()) / STACK - 1];
    getcontext(c);
    c->uc_stack.ss_sp = top - STACK;
    c->uc_stack.ss_size = STACK;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    return c;
}
#endif

[[noreturn]] void die(const char *what) {
    fprintf(stderr, "emulator: %s (block %u, thread %u)\n", what, block, running);
    exit(3);
}

void leave(State state) {
    fibers[running].state = state;
    switch_to(&fibers[running].stack_pointer, scheduler);
}

void fiber_main() {
    the_kernel(the_arguments);
    leave(DONE);
    abort();
}

void resume(unsigned t) {
    running = t;
    switch_to(&scheduler, fibers[t].stack_pointer);
    if (fibers[t].state == DONE) warps[t / WARP].alive &= ~(1u << t % WARP);
}

// Runs what is ready of a warp until nothing is; returns whether anything was.
bool run_warp(unsigned w, bool reverse) {
    bool any = false, again = true;
    while (again) {
        again = false;
        for (unsigned k = 0; k < WARP; ++k) {
            const unsigned t = w * WARP + (reverse ? WARP - 1 - k : k);
            if (t >= n_threads || fibers[t].state != READY) continue;
            resume(t);
            any = true;
        }
        if (warps[w].waiting && warps[w].waiting == warps[w].mask) {
            warps[w].waiting = 0;
            for (unsigned t = w * WARP; t < n_threads && t < (w + 1) * WARP; ++t)
                if (fibers[t].state == AT_WARP) fibers[t].state = READY;
            again = true;
        }
    }
    return any;
}

void release_block() {
    const Fiber *first = nullptr;
    for (Fiber &f : fibers) {
        if (f.state != AT_BLOCK) continue;
        if (!first) first = &f;
        if (f.line != first->line || strcmp(f.file, first->file)) die("threads meet at different barriers");
        f.state = READY;
    }
    in_block = 0;
}

unsigned alive() {
    unsigned n = 0;
    for (const Fiber &f : fibers) n += f.state != DONE;
    return n;
}

void run_block(bool reverse) {
    for (char &b : dynamic) b = (char)0xff;
    for (unsigned t = 0; t < n_threads; ++t) fibers[t] = {new_stack(stacks.data() + (t + 1) * STACK, fiber_main), READY, 0, "", 0};
    for (unsigned w = 0; w < warps.size(); ++w) {
        warps[w] = {};
        for (unsigned t = w * WARP; t < n_threads && t < (w + 1) * WARP; ++t) warps[w].alive |= 1u << t % WARP;
    }
    in_block = 0;
    while (alive()) {
        bool any = false;
        for (unsigned k = 0; k < warps.size(); ++k) any |= run_warp(reverse ? warps.size() - 1 - k : k, reverse);
        if (in_block && in_block == alive()) {
            release_block();
            any = true;
        }
        if (!any && alive()) die("threads wait for others that never come");
    }
}

}  // namespace

uint3 thread_index() { return {running, 0, 0}; }
uint3 block_index() { return {block, 0, 0}; }
uint3 block_size() { return {n_threads, 1, 1}; }
uint3 grid_size() { return {n_blocks, 1, 1}; }
char *shared_memory() { return (char *)(((uintptr_t)dynamic.data() + 63) & ~(uintptr_t)63); }

WarpState &warp(unsigned *lane, unsigned *turn) {
    *lane = running % WARP;
    *turn = fibers[running].turn++ % 2;
    return warps[running / WARP];
}

void meet_warp(unsigned mask) {
    WarpState &w = warps[running / WARP];
    const unsigned bit = 1u << running % WARP;
    if (!(mask & bit)) die("a lane is not in its own mask");
    if (mask & ~w.alive) die("a mask names a lane that has ended");
    if (w.waiting && w.mask != mask) die("lanes of a warp use different masks");
    w.mask = mask;
    w.waiting |= bit;
    leave(AT_WARP);
}

void meet_block(const char *file, int line) {
    fibers[running].file = file;
    fibers[running].line = line;
    ++in_block;
    leave(AT_BLOCK);
}

int any_in_warp(unsigned mask, int mine) {
    unsigned lane, turn;
    WarpState &w = warp(&lane, &turn);
    w.shown[turn][lane][0] = mine != 0;
    meet_warp(mask);
    int any = 0;
    for (unsigned i = 0; i < WARP; ++i) any |= (mask >> i & 1) && w.shown[turn][i][0];
    return any;
}

int any_in_block(int mine, const char *file, int line) {
    static int any;
    any = 0;
    meet_block(file, line);
    if (mine) any = 1;
    meet_block(file, line);
    const int result = any;
    meet_block(file, line);
    return result;
}

void launch(unsigned blocks, unsigned threads, size_t shared_bytes, void (*kernel)(void *), void *arguments) {
    const char *order = getenv("EMULATED_ORDER");
    n_threads = threads;
    n_blocks = blocks;
    the_kernel = kernel;
    the_arguments = arguments;
    fibers.assign(threads, {});
    warps.assign((threads + WARP - 1) / WARP, {});
    stacks.resize(threads * STACK);
    dynamic.resize(shared_bytes + 64);
    for (block = 0; block < blocks; ++block) run_block(order && !strcmp(order, "reverse"));
}

}  // namespace emulator
