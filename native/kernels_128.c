/* Vectors of four floats in the compiler's own notation: SSE2 on x86-64, NEON on AArch64, from one text. base64 goes
 * group by group through the tables of base64.c: without a byte shuffle (SSE2 has none) vectors gain little. */
#if defined(__x86_64__) || defined(__aarch64__)

#include "pcm_body.h"

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_int __attribute__((vector_size(16)));

static inline four load(const float *src) {
    four x;
    memcpy(&x, src, sizeof x);
    return x;
}

static inline four all(float x) { return (four){x, x, x, x}; }

/* ---- PCM16 ---- */

struct level_lanes {
    uint64_t square;
    four most, least;
};

static inline four choose(four_int mask, four yes, four no) {
    return (four)((mask & (four_int)yes) | (~mask & (four_int)no));
}
static inline four greater_of(four a, four b) { return choose(a > b, a, b); }
static inline four lesser_of(four a, four b) { return choose(a < b, a, b); }

/* The nearest whole numbers, clipped, still as floats: 1.5 * 2^23 added and taken away, ties to even. */
static inline four whole(four x) {
    const four magic = all(12582912.0f);
    x = greater_of(lesser_of(x * all(32768.0f), all(32767.0f)), all(-32768.0f));
    four shifted = x + magic;
    __asm__("" : "+m"(shifted)); /* no compiler flag may simplify the pair away */
    return shifted - magic;
}

static inline void store_four(char *dst, const float *src, size_t count, struct level_lanes *lanes) {
    const four x = whole(load(src));
    lanes->most = greater_of(lanes->most, x);
    lanes->least = lesser_of(lanes->least, x);
    int16_t pcm[4];
    for (size_t i = 0; i < 4; i++) {
        pcm[i] = (int16_t)x[i];
        lanes->square += (uint64_t)((int32_t)pcm[i] * (int64_t)pcm[i]);
    }
    memcpy(dst, pcm, 2 * count);
}

static void store_s16(char *dst, const float *src, size_t n, struct level_sum *level) {
    struct level_lanes lanes = {0, all(0), all(0)};
    size_t k = 0;
    for (; k + 4 <= n; k += 4) store_four(dst + 2 * k, src + k, 4, &lanes);
    if (k < n) { /* zeros behind the rest do not raise a level */
        float rest[4] = {0};
        memcpy(rest, src + k, (n - k) * sizeof *rest);
        store_four(dst + 2 * k, rest, n - k, &lanes);
    }
    float peak = (float)level->peak;
    for (size_t i = 0; i < 4; i++) {
        peak = lanes.most[i] > peak ? lanes.most[i] : peak;
        peak = -lanes.least[i] > peak ? -lanes.least[i] : peak;
    }
    level->peak = (uint32_t)peak;
    level->square += lanes.square;
    level->count += (uint32_t)n;
}

/* ---- filters ---- */

#define WIDE 8 /* vectors of outputs held at once: 32 samples; KERNEL_PAD >= 32 */

static inline void fir_block(float *dst, const float *src, size_t stride, const float *taps, size_t planes,
                             size_t n_taps) {
    four sum[WIDE];
    for (size_t i = 0; i < WIDE; i++) sum[i] = all(0);
    for (size_t p = 0; p < planes; p++, src += stride)
        for (size_t t = 0; t < n_taps; t++, taps++) {
            const four tap = all(*taps);
            for (size_t i = 0; i < WIDE; i++) sum[i] += tap * load(src + t + 4 * i);
        }
    memcpy(dst, sum, sizeof sum);
}

static void fir(float *dst, const float *src, size_t stride, const float *taps, size_t planes, size_t n_taps,
                size_t n) {
    for (size_t k = 0; k < n; k += 4 * WIDE) fir_block(dst + k, src + k, stride, taps, planes, n_taps);
}

#define GROUP 4
#define ROW_GROUP 4

static inline float sum_of(four low, four high) {
    const four part = low + high;
    return (part[0] + part[1]) + (part[2] + part[3]);
}

static inline void dot_group(float *sum, const float *const *x, const float *const *h, uint32_t taps) {
    four low[GROUP], high[GROUP];
    for (size_t g = 0; g < GROUP; g++) low[g] = high[g] = all(0);
    for (uint32_t t = 0; t < taps; t += 8)
        for (size_t g = 0; g < GROUP; g++) {
            low[g] += load(x[g] + t) * load(h[g] + t);
            high[g] += load(x[g] + t + 4) * load(h[g] + t + 4);
        }
    for (size_t g = 0; g < GROUP; g++) sum[g] = sum_of(low[g], high[g]);
}

static inline __attribute__((always_inline)) void dot_row_of(float *sum, const float *x, size_t step, const float *h,
                                                             uint32_t taps, const size_t count) {
    four low[ROW_GROUP], high[ROW_GROUP];
    for (size_t g = 0; g < count; g++) low[g] = high[g] = all(0);
    for (uint32_t t = 0; t < taps; t += 8) {
        const four first = load(h + t), second = load(h + t + 4);
#pragma GCC unroll 4
        for (size_t g = 0; g < count; g++) {
            low[g] += load(x + g * step + t) * first;
            high[g] += load(x + g * step + t + 4) * second;
        }
    }
    for (size_t g = 0; g < count; g++) sum[g] = sum_of(low[g], high[g]);
}

static inline void dot_row(float *sum, const float *x, size_t step, const float *h, uint32_t taps, size_t count) {
    switch (count) { /* a constant count keeps the parts in registers */
    case 4: dot_row_of(sum, x, step, h, taps, 4); break;
    case 3: dot_row_of(sum, x, step, h, taps, 3); break;
    case 2: dot_row_of(sum, x, step, h, taps, 2); break;
    default: dot_row_of(sum, x, step, h, taps, 1);
    }
}
#include "poly_body.h"

static size_t no_bulk(char *out, const char *in, size_t n) {
    (void)out, (void)in, (void)n;
    return 0;
}

#if defined(__x86_64__)
const struct kernels relay_kernels_sse2 = {
    .simd = RELAY_SIMD_SSE2,
#else
const struct kernels relay_kernels_neon = {
    .simd = RELAY_SIMD_NEON,
#endif
    .load_f32 = load_f32,
    .load_s16 = load_s16,
    .store_s16 = store_s16,
    .split = split,
    .join = join,
    .fir = fir,
    .poly = poly,
    .encode_bulk = no_bulk,
    .decode_bulk = no_bulk,
};
#else
typedef int relay_no_128_here; /* a file must declare something */
#endif
