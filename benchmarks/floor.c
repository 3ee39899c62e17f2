/* The C frame by itself against the floor: as many multiply-adds as the filter has, and nothing else, at the speed at
 * which this processor can do them. Prints JSON with medians in nanoseconds, those of the stretch with the least ratio: who
 * shares the core (another machine's thread, as a rule) takes more from loads than from arithmetic, for seconds on end, and
 * slower code is slower in each stretch. Built and run by audio_path.py. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "relay_native.h"

#define STRETCHES 400
#define ROUNDS 41
#define CALLS 40
#define FILTER_MACS (480 * 96)

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#if defined(__x86_64__)
/* Ten chains that do not wait for each other: more than latency (4) times ports (2). */
__attribute__((target("avx2,fma"), noinline)) static void multiply_adds(void) {
    for (int i = 0; i < FILTER_MACS / 8 / 10; i++)
        __asm__ volatile(
            "vfmadd231ps %%ymm15,%%ymm15,%%ymm0\n vfmadd231ps %%ymm15,%%ymm15,%%ymm1\n"
            "vfmadd231ps %%ymm15,%%ymm15,%%ymm2\n vfmadd231ps %%ymm15,%%ymm15,%%ymm3\n"
            "vfmadd231ps %%ymm15,%%ymm15,%%ymm4\n vfmadd231ps %%ymm15,%%ymm15,%%ymm5\n"
            "vfmadd231ps %%ymm15,%%ymm15,%%ymm6\n vfmadd231ps %%ymm15,%%ymm15,%%ymm7\n"
            "vfmadd231ps %%ymm15,%%ymm15,%%ymm8\n vfmadd231ps %%ymm15,%%ymm15,%%ymm9\n" ::
                : "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9");
}
#else
static void multiply_adds(void) {}
#endif

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values) {
    qsort(values, ROUNDS, sizeof *values, ascending);
    return values[ROUNDS / 2];
}

struct stretch {
    double floor_ns, frame_ns, ratio;
};

static struct stretch measure(relay_uplink *up, const float *frame, size_t bytes) {
    static char out[4096];
    double floor_ns[ROUNDS], frame_ns[ROUNDS], ratio[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        const double start = now_ns();
        for (int i = 0; i < CALLS; i++) multiply_adds();
        const double between = now_ns();
        for (int i = 0; i < CALLS; i++) relay_uplink_push(up, (const char *)frame, bytes, out, sizeof out);
        floor_ns[r] = (between - start) / CALLS;
        frame_ns[r] = (now_ns() - between) / CALLS;
        ratio[r] = frame_ns[r] / floor_ns[r];
    }
    return (struct stretch){middle(floor_ns), middle(frame_ns), middle(ratio)};
}

int main(void) {
    static float frame[960];
    int error;
    for (int i = 0; i < 960; i++) frame[i] = (float)((i * 37) % 100) / 200.0f - 0.25f;
    const int simd = relay_init(RELAY_SIMD_AVX2);
    if (simd != RELAY_SIMD_AVX2) {
        puts("{}"); /* no floor known for other processors */
        return 0;
    }
    relay_uplink *up = relay_uplink_new(RELAY_F32LE, 48000, 24000, &error);
    struct stretch best = measure(up, frame, sizeof frame);
    for (int i = 1; i < STRETCHES; i++) {
        const struct stretch next = measure(up, frame, sizeof frame);
        if (next.ratio < best.ratio) best = next;
    }
    relay_uplink_free(up);
    printf("{\"floor_ns\": %.0f, \"frame_ns\": %.0f, \"ratio\": %.3f}\n", best.floor_ns, best.frame_ns, best.ratio);
    return 0;
}
