// What the stand-in driver says, and the faults that the environment asks for.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "standin.h"

namespace standin {

namespace {

// One write, so that lines of several processes stay whole.
void log_line(int device, const char *text) {
    const char *path = getenv("XRF_STANDIN_LOG");
    if (!path || !*path) return;
    char line[640];
    const int n = snprintf(line, sizeof line, "%d %d %s\n", (int)getpid(), device, text);
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, line, n) != n) fprintf(stderr, "stand-in driver: cannot write to %s\n", path);
    if (file >= 0) close(file);
}

}  // namespace

void note(int device, const char *format, ...) {
    char text[512];
    va_list words;
    va_start(words, format);
    vsnprintf(text, sizeof text, format, words);
    va_end(words);
    log_line(device, text);
}

CUresult refuse(int device, CUresult code, const char *format, ...) {
    char text[512];
    va_list words;
    va_start(words, format);
    vsnprintf(text, sizeof text, format, words);
    va_end(words);
    fprintf(stderr, "stand-in device %d: %s\n", device, text);
    log_line(device, text);
    return code;
}

void lose(int device) {
    if (!driver().lost) note(device, "lost");
    driver().lost = true;
}

size_t setting(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 0) : otherwise;
}

// As with a card, a number that is none ends the list.
std::vector<int> visible(int all) {
    std::vector<int> numbers;
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (!list) {
        for (int i = 0; i < all; ++i) numbers.push_back(i);
        return numbers;
    }
    while (*list) {
        char *end;
        const long number = strtol(list, &end, 10);
        if (end == list || number < 0 || number >= all) break;
        numbers.push_back((int)number);
        list = *end ? end + 1 : end;
    }
    return numbers;
}

bool shall_fail(unsigned fit) {
    const char *list = getenv("XRF_STANDIN_FAIL_LAUNCH");
    if (!list) return false;
    if (!strcmp(list, "all")) return true;
    while (*list) {
        char *end;
        if (strtoul(list, &end, 10) == fit) return true;
        list = *end ? end + 1 : end;
    }
    return false;
}

bool shall_be_lost(unsigned fits) { return fits >= setting("XRF_STANDIN_LOST", SIZE_MAX); }

}  // namespace standin
