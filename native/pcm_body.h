/* Sample conversion in plain loops, which every level includes and its compiler turns into its own instructions. */
#include "kernels.h"

static inline float clip_one(float x) {
    x = x == x ? x : 0.0f; /* NaN is the one value that differs from itself */
    x = x < 1.0f ? x : 1.0f;
    return x > -1.0f ? x : -1.0f;
}

static void load_f32(float *dst, const char *src, size_t n) {
    if ((const char *)dst != src) memcpy(dst, src, n * sizeof *dst);
    for (size_t k = 0; k < n; k++) dst[k] = clip_one(dst[k]);
}

static void load_s16(float *dst, const char *src, size_t n) {
    for (size_t k = 0; k < n; k++) {
        int16_t s;
        memcpy(&s, src + 2 * k, 2);
        dst[k] = (float)s * (1.0f / 32768.0f);
    }
}

/* Ways 2 and 3 on their own: with a constant stride the compiler shuffles vectors instead of picking floats. */
static void split(float *restrict dst, size_t stride, const float *restrict src, size_t n_each, size_t ways) {
    if (ways == 2) {
        float *restrict odd = dst + stride;
        for (size_t k = 0; k < n_each; k++) {
            dst[k] = src[2 * k];
            odd[k] = src[2 * k + 1];
        }
        return;
    }
    for (size_t p = 0; p < ways; p++)
        for (size_t k = 0; k < n_each; k++) dst[p * stride + k] = src[k * ways + p];
}

static void join(float *restrict dst, const float *restrict src, size_t stride, size_t n_each, size_t ways) {
    if (ways == 2) {
        const float *restrict odd = src + stride;
        for (size_t k = 0; k < n_each; k++) {
            dst[2 * k] = src[k];
            dst[2 * k + 1] = odd[k];
        }
        return;
    }
    for (size_t p = 0; p < ways; p++)
        for (size_t k = 0; k < n_each; k++) dst[k * ways + p] = src[p * stride + k];
}
