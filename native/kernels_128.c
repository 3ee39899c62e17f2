/* Vectors of four floats, mostly in the compiler's own notation: SSE2 on x86-64, NEON on AArch64, from one text. base64
 * goes group by group through the tables of base64.c: without a byte shuffle (SSE2 has none) vectors gain little. */
#if defined(__x86_64__) || defined(__aarch64__)

#include "bytes_body.h"
#include "pcm_body.h"

typedef float four __attribute__((vector_size(16)));

static inline four load(const float *src) {
    four x;
    memcpy(&x, src, sizeof x);
    return x;
}

static inline four all(float x) { return (four){x, x, x, x}; }

/* What the common notation cannot say:
 *   number_or_0   NaN to 0
 *   lesser, greater
 *   eight         floats to the nearest integers, ties to even, clipped to 16 bits
 *   measure       adds up squares as unsigned 32-bit pairs (2 * 32768^2 = 2^31 fits) widened to 64; keeps extremes */
#if defined(__x86_64__)
#include <emmintrin.h>

typedef __m128i pcm_eight;
struct level_lanes {
    __m128i square, most, least;
};

static inline four number_or_0(four x) { return _mm_and_ps(x, _mm_cmpord_ps(x, x)); }
static inline four lesser(four a, four b) { return _mm_min_ps(a, b); }
static inline four greater(four a, four b) { return _mm_max_ps(a, b); }
static inline pcm_eight eight(four a, four b) { return _mm_packs_epi32(_mm_cvtps_epi32(a), _mm_cvtps_epi32(b)); }

static inline void measure(struct level_lanes *lanes, pcm_eight pcm) {
    const __m128i pairs = _mm_madd_epi16(pcm, pcm);
    lanes->square = _mm_add_epi64(lanes->square, _mm_and_si128(pairs, _mm_set_epi32(0, -1, 0, -1)));
    lanes->square = _mm_add_epi64(lanes->square, _mm_srli_epi64(pairs, 32));
    lanes->most = _mm_max_epi16(lanes->most, pcm);
    lanes->least = _mm_min_epi16(lanes->least, pcm);
}
#else
#include <arm_neon.h>

typedef int16x8_t pcm_eight;
struct level_lanes {
    uint64x2_t square;
    int16x8_t most, least;
};

static inline four number_or_0(four x) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vceqq_f32(x, x)));
}
static inline four lesser(four a, four b) { return vminq_f32(a, b); }
static inline four greater(four a, four b) { return vmaxq_f32(a, b); }
static inline pcm_eight eight(four a, four b) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
}

static inline void measure(struct level_lanes *lanes, pcm_eight pcm) {
    const int16x4_t low = vget_low_s16(pcm), high = vget_high_s16(pcm);
    lanes->square = vpadalq_u32(lanes->square, vreinterpretq_u32_s32(vmull_s16(low, low)));
    lanes->square = vpadalq_u32(lanes->square, vreinterpretq_u32_s32(vmull_s16(high, high)));
    lanes->most = vmaxq_s16(lanes->most, pcm);
    lanes->least = vminq_s16(lanes->least, pcm);
}
#endif

/* ---- PCM16 ---- */

static void load_f32_128(float *dst, const char *src, size_t n) {
    size_t k = 0;
    for (; k + 4 <= n; k += 4) {
        four x;
        memcpy(&x, src + 4 * k, sizeof x);
        x = greater(lesser(number_or_0(x), all(1.0f)), all(-1.0f));
        memcpy(dst + k, &x, sizeof x);
    }
    load_f32(dst + k, src + 4 * k, n - k);
}

static inline pcm_eight to_eight(const float *src, struct level_lanes *lanes) {
    /* |src| stays below 16 (input is clipped to 1 and no filter's taps sum to 16), so no conversion overflows */
    const pcm_eight pcm = eight(load(src) * all(32768.0f), load(src + 4) * all(32768.0f));
    measure(lanes, pcm);
    return pcm;
}

static inline void collect(const struct level_lanes *lanes, struct level_sum *level) {
    uint64_t square[2];
    int16_t most[8], least[8];
    memcpy(square, &lanes->square, sizeof square);
    memcpy(most, &lanes->most, sizeof most);
    memcpy(least, &lanes->least, sizeof least);
    int32_t peak = (int32_t)level->peak;
    for (size_t i = 0; i < 8; i++) {
        peak = most[i] > peak ? most[i] : peak;
        peak = -least[i] > peak ? -least[i] : peak;
    }
    level->peak = (uint32_t)peak;
    level->square += square[0] + square[1];
}

static void store_s16(char *dst, const float *src, size_t n, struct level_sum *level) {
    struct level_lanes lanes;
    memset(&lanes, 0, sizeof lanes);
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        const pcm_eight pcm = to_eight(src + k, &lanes);
        memcpy(dst + 2 * k, &pcm, sizeof pcm);
    }
    /* the rest through a full vector, zeros behind it: the same rounding, and zeros do not raise a level */
    if (k < n) {
        float rest[8] = {0};
        memcpy(rest, src + k, (n - k) * sizeof *rest);
        const pcm_eight pcm = to_eight(rest, &lanes);
        memcpy(dst + 2 * k, &pcm, 2 * (n - k));
    }
    collect(&lanes, level);
    level->count += (uint32_t)n;
}

/* ---- filters ---- */

/* The plain way: 32 outputs in registers, one load for each multiplication. */
#define WIDE 8

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

/* The fast way, as in kernels_avx2.c, where it is explained: with vectors of four a plane of 8 * Q taps takes four
 * remainders in two halves of Q taps each. */
static inline __attribute__((always_inline)) void sweep(float *dst, const float *src, const float *taps, const size_t Q,
                                                        size_t blocks, int add) {
    four tap[6], sum[6];
#pragma GCC unroll 6
    for (size_t q = 0; q < Q; q++) {
        tap[q] = all(taps[4 * q]);
        sum[q] = all(0);
    }
    for (size_t first = 0; first < blocks + Q - 1; first += Q) {
#pragma GCC unroll 6
        for (size_t j = 0; j < Q; j++) {
            const four x = load(src + 4 * (first + j));
            sum[j] = tap[0] * x;
#pragma GCC unroll 6
            for (size_t q = 1; q < Q; q++) sum[(j + Q - q) % Q] += tap[q] * x;
            if (first + j + 1 < Q) continue; /* blocks before the first one */
            float *const out = dst + 4 * (first + j + 1 - Q);
            const four done = add ? load(out) + sum[(j + 1) % Q] : sum[(j + 1) % Q];
            memcpy(out, &done, sizeof done);
        }
    }
}

/* At most 3 + 4 * (Q - 1) floats too many are written, and fewer than KERNEL_PAD too many read. */
static inline __attribute__((always_inline)) void sweeps(float *dst, const float *src, size_t stride, const float *taps,
                                                         size_t planes, const size_t Q, size_t n) {
    for (size_t p = 0; p < planes; p++)
        for (size_t part = 0; part < 8; part++) {
            const size_t from = part / 4 * 4 * Q + part % 4;
            sweep(dst, src + p * stride + from, taps + p * 8 * Q + from, Q, (n + 3) / 4, p + part > 0);
        }
}

static void fir(float *dst, const float *src, size_t stride, const float *taps, size_t planes, size_t n_taps,
                size_t n) {
    if (n_taps == 48)
        sweeps(dst, src, stride, taps, planes, 6, n);
    else if (n_taps == 40)
        sweeps(dst, src, stride, taps, planes, 5, n);
    else if (n_taps == 32)
        sweeps(dst, src, stride, taps, planes, 4, n);
    else
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
    .load_f32 = load_f32_128,
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
#else
typedef int relay_no_128_here; /* a file must declare something */
#endif
