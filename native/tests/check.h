/* The whole test harness: CHECK counts and prints, buffers come from malloc at their exact size so that one byte too
 * far is seen by ASan and valgrind. */
#ifndef RELAY_CHECK_H
#define RELAY_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static int failures;

#define CHECK(condition, ...)                                               \
    do {                                                                    \
        if (!(condition)) {                                                 \
            failures++;                                                     \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fputc('\n', stderr);                                            \
        }                                                                   \
    } while (0)

/* Exactly n bytes of heap, freed by the caller; never NULL, also for n = 0. */
static inline char *exact(size_t n) {
    char *bytes = malloc(n ? n : 1);
    if (!bytes) abort();
    return bytes;
}

static inline char *exact_copy(const void *from, size_t n) { return n ? memcpy(exact(n), from, n) : exact(0); }

/* The same numbers on every machine: a linear congruential generator, Knuth's constants. */
static inline unsigned next_random(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static const int LEVELS[] = {RELAY_SIMD_C, RELAY_SIMD_SSE2, RELAY_SIMD_NEON, RELAY_SIMD_AVX2};
#define LEVEL_COUNT (sizeof LEVELS / sizeof *LEVELS)

/* Under valgrind everything takes fifty times as long: RELAY_TEST_BRIEF=1 leaves out repetitions, no kind of test. */
static inline int brief(void) { return getenv("RELAY_TEST_BRIEF") != NULL; }

static inline int report(const char *name) {
    printf("%s: %s\n", name, failures ? "FAILED" : "ok");
    return failures != 0;
}

#endif
