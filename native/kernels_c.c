/* Plain C: the path of every processor without one of its own, and the yardstick for the others in the tests. */
#include "bytes_body.h"
#include "pcm_body.h"

#define BLOCK 32 /* outputs held at once; KERNEL_PAD >= BLOCK */

static void store_s16(char *dst, const float *src, size_t n, struct level_sum *level) {
    /* 1.5 * 2^23: adding and taking it away leaves the nearest integer, ties to even, as the vector levels round */
    const float magic = 12582912.0f;
    uint64_t square = 0;
    int32_t peak = (int32_t)level->peak;
    for (size_t k = 0; k < n; k++) {
        float x = src[k] * 32768.0f;
        x = x < 32767.0f ? x : 32767.0f;
        x = x > -32768.0f ? x : -32768.0f;
        const volatile float shifted = x + magic; /* volatile: no compiler flag may simplify the pair away */
        const int32_t whole = (int32_t)(shifted - magic);
        const int16_t s = (int16_t)whole;
        memcpy(dst + 2 * k, &s, 2);
        square += (uint64_t)((int64_t)whole * whole);
        if (whole > peak) peak = whole;
        if (-whole > peak) peak = -whole;
    }
    level->square += square;
    level->count += (uint32_t)n;
    level->peak = (uint32_t)peak;
}

static inline void fir_block(float *dst, const float *src, size_t stride, const float *taps, size_t planes,
                             size_t n_taps) {
    float sum[BLOCK] = {0};
    for (size_t p = 0; p < planes; p++)
        for (size_t t = 0; t < n_taps; t++) {
            const float tap = taps[p * n_taps + t];
            const float *x = src + p * stride + t;
            for (size_t k = 0; k < BLOCK; k++) sum[k] += tap * x[k];
        }
    memcpy(dst, sum, sizeof sum);
}

static void fir(float *dst, const float *src, size_t stride, const float *taps, size_t planes, size_t n_taps,
                size_t n) {
    for (size_t k = 0; k < n; k += BLOCK) fir_block(dst + k, src + k, stride, taps, planes, n_taps);
}

#define GROUP 4
#define ROW_GROUP 4

/* Eight partial sums in names of their own: an array the compiler would keep in memory. */
static float dot(const float *restrict x, const float *restrict h, uint32_t taps) {
    float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, i = 0, j = 0;
    for (uint32_t t = 0; t < taps; t += 8) {
        a += x[t] * h[t];
        b += x[t + 1] * h[t + 1];
        c += x[t + 2] * h[t + 2];
        d += x[t + 3] * h[t + 3];
        e += x[t + 4] * h[t + 4];
        f += x[t + 5] * h[t + 5];
        i += x[t + 6] * h[t + 6];
        j += x[t + 7] * h[t + 7];
    }
    return ((a + b) + (c + d)) + ((e + f) + (i + j));
}

static inline void dot_group(float *sum, const float *const *x, const float *const *h, uint32_t taps) {
    for (size_t g = 0; g < GROUP; g++) sum[g] = dot(x[g], h[g], taps);
}

static inline void dot_row(float *sum, const float *x, size_t step, const float *h, uint32_t taps, size_t count) {
    for (size_t g = 0; g < count; g++) sum[g] = dot(x + g * step, h, taps);
}
#include "poly_body.h"

/* base64.c does the rest, one group at a time. */
static size_t no_bulk(char *out, const char *in, size_t n) {
    (void)out, (void)in, (void)n;
    return 0;
}

const struct kernels relay_kernels_c = {
    .simd = RELAY_SIMD_C,
    .load_f32 = load_f32,
    .load_s16 = load_s16,
    .store_s16 = store_s16,
    .split = split,
    .join = join,
    .fir = fir,
    .poly = poly,
    .encode_bulk = no_bulk,
    .decode_bulk = no_bulk,
    .mask = mask,
    .ascii = ascii,
    .plain = plain,
};
