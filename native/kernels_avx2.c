/* AVX2 and FMA. Only dispatch.c may hand this table out, after asking the processor. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include <immintrin.h>

#define BYTES_AT_ONCE 32
#include "bytes_body.h"
#include "pcm_body.h"

/* ---- PCM16 ---- */

static inline __m256 clip_eight(__m256 x) {
    const __m256 number = _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q)); /* NaN to 0 */
    return _mm256_max_ps(_mm256_min_ps(number, _mm256_set1_ps(1.0f)), _mm256_set1_ps(-1.0f));
}

static void load_f32_avx2(float *dst, const char *src, size_t n) {
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        __m256 x;
        memcpy(&x, src + 4 * k, sizeof x);
        _mm256_storeu_ps(dst + k, clip_eight(x));
    }
    load_f32(dst + k, src + 4 * k, n - k);
}

static inline __m256i sixteen(const float *src) {
    const __m256 scale = _mm256_set1_ps(32768.0f);
    /* |src| stays below 16 (input is clipped to 1 and no filter's taps sum to 16), so neither conversion overflows; the
     * pack clips to 16 bits and leaves its four quarters in the order 0 2 1 3 */
    const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(src), scale));
    const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(src + 8), scale));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
}

struct level_lanes {
    __m256i square, most, least;
};

static inline void measure(struct level_lanes *lanes, __m256i pcm) {
    /* madd: 2 * 32768^2 = 2^31 still fits when read as unsigned, so widen with zeros */
    const __m256i pairs = _mm256_madd_epi16(pcm, pcm), low = _mm256_set1_epi64x(0xFFFFFFFF);
    lanes->square = _mm256_add_epi64(lanes->square, _mm256_and_si256(pairs, low));
    lanes->square = _mm256_add_epi64(lanes->square, _mm256_srli_epi64(pairs, 32));
    lanes->most = _mm256_max_epi16(lanes->most, pcm);
    lanes->least = _mm256_min_epi16(lanes->least, pcm);
}

static inline void collect(const struct level_lanes *lanes, struct level_sum *level) {
    uint64_t square[4];
    int16_t most[16], least[16];
    _mm256_storeu_si256((__m256i *)square, lanes->square);
    _mm256_storeu_si256((__m256i *)most, lanes->most);
    _mm256_storeu_si256((__m256i *)least, lanes->least);
    int32_t peak = (int32_t)level->peak;
    for (size_t i = 0; i < 16; i++) {
        peak = most[i] > peak ? most[i] : peak;
        peak = -least[i] > peak ? -least[i] : peak;
    }
    level->peak = (uint32_t)peak;
    level->square += square[0] + square[1] + square[2] + square[3];
}

static void store_s16(char *dst, const float *src, size_t n, struct level_sum *level) {
    struct level_lanes lanes = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        const __m256i pcm = sixteen(src + k);
        _mm256_storeu_si256((__m256i *)(dst + 2 * k), pcm);
        measure(&lanes, pcm);
    }
    /* the rest through a full vector, zeros behind it: the same rounding, and zeros do not raise a level */
    if (k < n) {
        float rest[16] = {0};
        char bytes[32];
        memcpy(rest, src + k, (n - k) * sizeof *rest);
        const __m256i pcm = sixteen(rest);
        _mm256_storeu_si256((__m256i *)bytes, pcm);
        memcpy(dst + 2 * k, bytes, 2 * (n - k));
        measure(&lanes, pcm);
    }
    collect(&lanes, level);
    level->count += (uint32_t)n;
}

/* ---- filters ---- */

/* The plain way: 48 outputs in registers, one load for each multiplication. Loads are what limits it. */
#define WIDE 6

static inline void fir_block(float *dst, const float *src, size_t stride, const float *taps, size_t planes,
                             size_t n_taps) {
    __m256 sum[WIDE];
    for (size_t i = 0; i < WIDE; i++) sum[i] = _mm256_setzero_ps();
    for (size_t p = 0; p < planes; p++, src += stride)
        for (size_t t = 0; t < n_taps; t++, taps++) {
            const __m256 tap = _mm256_broadcast_ss(taps);
            for (size_t i = 0; i < WIDE; i++) sum[i] = _mm256_fmadd_ps(tap, _mm256_loadu_ps(src + t + 8 * i), sum[i]);
        }
    for (size_t i = 0; i < WIDE; i++) _mm256_storeu_ps(dst + 8 * i, sum[i]);
}

/* The fast way, when a plane has 8 * Q taps. Every eighth tap, Q of them, stays in a register, and the input streams
 * by, eight samples at a time: vector s is the first of output block s, the second of block s - 1, and so on, so that
 * one load serves Q multiplications. Block s lives in sum[s % Q] and is finished by vector s + Q - 1. Eight such
 * sweeps, one for each remainder of the tap's number, make a plane. */
static inline __attribute__((always_inline)) void sweep(float *dst, const float *src, const float *taps, const size_t Q,
                                                        size_t blocks, int add) {
    __m256 tap[WIDE], sum[WIDE];
#pragma GCC unroll 6
    for (size_t q = 0; q < Q; q++) {
        tap[q] = _mm256_broadcast_ss(taps + 8 * q);
        sum[q] = _mm256_setzero_ps();
    }
    for (size_t first = 0; first < blocks + Q - 1; first += Q) {
#pragma GCC unroll 6
        for (size_t j = 0; j < Q; j++) {
            const __m256 x = _mm256_loadu_ps(src + 8 * (first + j));
            sum[j] = _mm256_mul_ps(tap[0], x);
#pragma GCC unroll 6
            for (size_t q = 1; q < Q; q++) sum[(j + Q - q) % Q] = _mm256_fmadd_ps(tap[q], x, sum[(j + Q - q) % Q]);
            if (first + j + 1 < Q) continue; /* blocks before the first one */
            float *const out = dst + 8 * (first + j + 1 - Q);
            const __m256 done = sum[(j + 1) % Q];
            _mm256_storeu_ps(out, add ? _mm256_add_ps(_mm256_loadu_ps(out), done) : done);
        }
    }
}

/* Blocks are counted up to a multiple of Q twice (n to 8, then the stream): at most 7 + 8 * (Q - 1) floats too many are
 * written, and 8 * Q + 6 too many read: with Q <= 6 both within KERNEL_PAD. */
static inline __attribute__((always_inline)) void sweeps(float *dst, const float *src, size_t stride, const float *taps,
                                                         size_t planes, const size_t Q, size_t n) {
    for (size_t p = 0; p < planes; p++)
        for (size_t r = 0; r < 8; r++)
            sweep(dst, src + p * stride + r, taps + p * 8 * Q + r, Q, (n + 7) / 8, p + r > 0);
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
        for (size_t k = 0; k < n; k += 8 * WIDE) fir_block(dst + k, src + k, stride, taps, planes, n_taps);
}

#define GROUP 4
#define ROW_GROUP 6 /* 44.1 -> 24 kHz has six outputs a phase in 20 ms */

/* The sums of four vectors, side by side: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)) of each. */
static inline __m128 four_sums(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

static inline void dot_group(float *sum, const float *const *x, const float *const *h, uint32_t taps) {
    __m256 part[GROUP];
    for (size_t g = 0; g < GROUP; g++) part[g] = _mm256_setzero_ps();
    for (uint32_t t = 0; t < taps; t += 8)
        for (size_t g = 0; g < GROUP; g++)
            part[g] = _mm256_fmadd_ps(_mm256_loadu_ps(x[g] + t), _mm256_loadu_ps(h[g] + t), part[g]);
    _mm_storeu_ps(sum, four_sums(part[0], part[1], part[2], part[3]));
}

static inline __attribute__((always_inline)) void dot_row_of(float *sum, const float *x, size_t step, const float *h,
                                                             uint32_t taps, const size_t count) {
    __m256 part[8];
    for (size_t g = 0; g < 8; g++) part[g] = _mm256_setzero_ps();
    for (uint32_t t = 0; t < taps; t += 8) {
        const __m256 tap = _mm256_loadu_ps(h + t);
#pragma GCC unroll 6
        for (size_t g = 0; g < count; g++) part[g] = _mm256_fmadd_ps(_mm256_loadu_ps(x + g * step + t), tap, part[g]);
    }
    float all[8];
    _mm_storeu_ps(all, four_sums(part[0], part[1], part[2], part[3]));
    if (count > 4) _mm_storeu_ps(all + 4, four_sums(part[4], part[5], part[6], part[7]));
    memcpy(sum, all, count * sizeof *sum);
}

static inline void dot_row(float *sum, const float *x, size_t step, const float *h, uint32_t taps, size_t count) {
    switch (count) { /* a constant count keeps the parts in registers */
    case 6: dot_row_of(sum, x, step, h, taps, 6); break;
    case 5: dot_row_of(sum, x, step, h, taps, 5); break;
    case 4: dot_row_of(sum, x, step, h, taps, 4); break;
    case 3: dot_row_of(sum, x, step, h, taps, 3); break;
    case 2: dot_row_of(sum, x, step, h, taps, 2); break;
    default: dot_row_of(sum, x, step, h, taps, 1);
    }
}
#include "poly_body.h"

/* ---- base64, after Mula and Lemire, "Faster Base64 Encoding and Decoding using AVX2 Instructions" (2018) ---- */

/* 12 bytes at each half's start become sixteen 6-bit values. */
static inline __m256i six_bits(__m256i bytes) {
    const __m256i order = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0, 2, 1, 4, 3, 5, 4, 7,
                                           6, 8, 7, 10, 9, 11, 10);
    const __m256i in = _mm256_shuffle_epi8(bytes, order);
    const __m256i ac =
        _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0FC0FC00)), _mm256_set1_epi32(0x04000040));
    const __m256i bd =
        _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003F03F0)), _mm256_set1_epi32(0x01000010));
    return _mm256_or_si256(ac, bd);
}

/* 0..63 to its letter: five ranges, each a fixed distance from its letters. */
static inline __m256i letters(__m256i six) {
    const __m256i shift = _mm256_setr_epi8(65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0, 65, 71, -4,
                                           -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0);
    __m256i range = _mm256_subs_epu8(six, _mm256_set1_epi8(51));
    range = _mm256_sub_epi8(range, _mm256_cmpgt_epi8(six, _mm256_set1_epi8(25)));
    return _mm256_add_epi8(six, _mm256_shuffle_epi8(shift, range));
}

static size_t encode_bulk(char *out, const char *bytes, size_t n) {
    size_t done = 0;
    /* a round uses 24 bytes, but its second load starts at 12 and reads 16: to 28 */
    for (; done + 28 <= n; done += 24, out += 32) {
        const __m128i low = _mm_loadu_si128((const __m128i *)(bytes + done));
        const __m128i high = _mm_loadu_si128((const __m128i *)(bytes + done + 12));
        _mm256_storeu_si256((__m256i *)out, letters(six_bits(_mm256_set_m128i(high, low))));
    }
    return done;
}

/* Bit tables over the two nibbles of a character: a common bit means that it is no base64 letter. */
static inline int all_letters(__m256i text, __m256i high_nibble) {
    const __m256i of_low = _mm256_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1A,
                                            0x1B, 0x1B, 0x1B, 0x1A, 0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                            0x11, 0x11, 0x13, 0x1A, 0x1B, 0x1B, 0x1B, 0x1A);
    const __m256i of_high = _mm256_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10,
                                             0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
                                             0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
    const __m256i low_nibble = _mm256_and_si256(text, _mm256_set1_epi8(0x0F));
    return _mm256_testz_si256(_mm256_shuffle_epi8(of_low, low_nibble), _mm256_shuffle_epi8(of_high, high_nibble));
}

static inline __m256i values(__m256i text, __m256i high_nibble) {
    const __m256i roll = _mm256_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 19, 4, -65,
                                          -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('/')); /* shares its high nibble with '+' */
    return _mm256_add_epi8(text, _mm256_shuffle_epi8(roll, _mm256_add_epi8(slash, high_nibble)));
}

/* Thirty-two 6-bit values to 24 bytes at the vector's start. */
static inline __m256i join_bytes(__m256i six) {
    const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10,
                                           9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i twelve = _mm256_maddubs_epi16(six, _mm256_set1_epi32(0x01400140));
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_madd_epi16(twelve, _mm256_set1_epi32(0x00011000)), order);
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
}

static size_t decode_bulk(char *out, const char *text, size_t n) {
    size_t done = 0;
    /* a round writes 32 bytes of which 24 count, and '=' may stand in the last group: with 48 characters left at least
     * 34 bytes are still to come */
    for (; done + 48 <= n; done += 32, out += 24) {
        const __m256i in = _mm256_loadu_si256((const __m256i *)(text + done));
        const __m256i high_nibble = _mm256_and_si256(_mm256_srli_epi32(in, 4), _mm256_set1_epi8(0x0F));
        if (!all_letters(in, high_nibble)) break;
        _mm256_storeu_si256((__m256i *)out, join_bytes(values(in, high_nibble)));
    }
    return done;
}

const struct kernels relay_kernels_avx2 = {
    .simd = RELAY_SIMD_AVX2,
    .load_f32 = load_f32_avx2,
    .load_s16 = load_s16,
    .store_s16 = store_s16,
    .split = split,
    .join = join,
    .fir = fir,
    .poly = poly,
    .encode_bulk = encode_bulk,
    .decode_bulk = decode_bulk,
    .mask = mask,
    .ascii = ascii,
    .plain = plain,
};

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int relay_no_avx2_here; /* a file must declare something */
#endif
