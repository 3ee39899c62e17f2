/* The inner loops, once per SIMD level, behind one table of functions. Internal to native/.
 *
 * The rule that makes any split of the input give the same bytes: within a level, one output sample is always the same
 * operations in the same order, wherever in a block it falls. So there are no scalar remainders: a kernel rounds its
 * work up to whole vectors, computes a little too much, and its caller leaves room for it.
 */
#ifndef RELAY_KERNELS_H
#define RELAY_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relay_native.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "relay reads and writes little-endian samples in place; a big-endian build would need byte swaps in pcm_body.h"
#endif

/* Floats that fir() may write past dst[n] and read past its last plane; poly() does neither. */
#define KERNEL_PAD 64

/* What store_s16() adds up: enough for 2^32 full-scale samples. */
struct level_sum {
    uint64_t square; /* sum of s * s */
    uint32_t count;
    uint32_t peak; /* largest |s|, 0..32768 */
};

/* Everything poly() needs to know: see resample.c for the geometry. */
struct poly_job {
    const float *coef; /* rows of `taps` floats */
    uint32_t taps;     /* a multiple of 8 */
    uint32_t up, down; /* one output every down/up inputs */
    uint32_t phase;    /* of the first output, in 1/up of an input */
    uint32_t rows;     /* 0: one row per phase; else phases rounded to `rows`, and interpolated */
};

struct kernels {
    int simd;
    /* n samples to float; NaN becomes 0, what lies outside -1..1 is clipped. src and dst may be the same. */
    void (*load_f32)(float *dst, const char *src, size_t n);
    void (*load_s16)(float *dst, const char *src, size_t n);
    /* n floats to PCM16, rounded to nearest, clipped; adds to the level. */
    void (*store_s16)(char *dst, const float *src, size_t n, struct level_sum *level);
    /* dst[p * stride + k] = src[k * ways + p] */
    void (*split)(float *dst, size_t stride, const float *src, size_t n_each, size_t ways);
    /* dst[k * ways + p] = src[p * stride + k] */
    void (*join)(float *dst, const float *src, size_t stride, size_t n_each, size_t ways);
    /* dst[k] = sum over planes p, taps t of taps[p * n_taps + t] * src[p * stride + k + t]; writes n + KERNEL_PAD */
    void (*fir)(float *dst, const float *src, size_t stride, const float *taps, size_t planes, size_t n_taps, size_t n);
    /* n outputs at the positions that `job` describes, from src[0] on. */
    void (*poly)(float *dst, const float *src, const struct poly_job *job, size_t n);
    /* Whole groups only, as many as the level likes; returns the input consumed (a multiple of 3 or 4). The decoder
     * stops at the first group that it does not like. */
    size_t (*encode_bulk)(char *out, const char *bytes, size_t n_bytes);
    size_t (*decode_bulk)(char *out, const char *text, size_t n_chars);
    /* dst[i] = src[i] ^ byte i % 4 of the key as it lies in memory; src and dst may be the same. */
    void (*mask)(char *dst, const char *src, size_t n, uint32_t key);
    /* How many bytes at the start are below 0x80. */
    size_t (*ascii)(const char *text, size_t n);
    /* Whether JSON lets all of it stand for itself inside quotes, and it is ASCII: no control, no '"', no '\\'. */
    int (*plain)(const char *text, size_t n);
};

extern const struct kernels relay_kernels_c;
#if defined(__x86_64__)
extern const struct kernels relay_kernels_sse2;
extern const struct kernels relay_kernels_avx2;
#elif defined(__aarch64__)
extern const struct kernels relay_kernels_neon;
#endif

/* The table that relay_init() chose. */
const struct kernels *relay_kernels(void);

/* PCM16 sums to dBFS; see relay_uplink_level(). */
ptrdiff_t relay_level_read(struct level_sum *sum, double level[2], int clear);

#endif
