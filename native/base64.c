/* base64 (RFC 4648, section 4): the whole groups that a SIMD level leaves over, the last group, and the strict rules.
 *
 * Strict means one text per byte string: length a multiple of 4, letters of the standard alphabet and nothing else, '='
 * only as the last one or two characters, unused bits zero (section 3.5). So decode(text) succeeds exactly when
 * encode(decode(text)) is text again.
 */
#include "base64.h"

/* Twelve bits to two letters, 8 KiB, written by the preprocessor: half the look-ups of a table of 64 letters. */
#define LETTER(v) ((v) < 26 ? 'A' + (v) : (v) < 52 ? 'a' + (v) - 26 : (v) < 62 ? '0' + (v) - 52 : (v) == 62 ? '+' : '/')
#define PAIR(n) {(char)LETTER((n) >> 6), (char)LETTER((n) & 63)}
#define PAIRS_4(n) PAIR(n), PAIR((n) + 1), PAIR((n) + 2), PAIR((n) + 3)
#define PAIRS_16(n) PAIRS_4(n), PAIRS_4((n) + 4), PAIRS_4((n) + 8), PAIRS_4((n) + 12)
#define PAIRS_64(n) PAIRS_16(n), PAIRS_16((n) + 16), PAIRS_16((n) + 32), PAIRS_16((n) + 48)
#define PAIRS_256(n) PAIRS_64(n), PAIRS_64((n) + 64), PAIRS_64((n) + 128), PAIRS_64((n) + 192)
#define PAIRS_1024(n) PAIRS_256(n), PAIRS_256((n) + 256), PAIRS_256((n) + 512), PAIRS_256((n) + 768)
static const char PAIRS[4096][2] = {PAIRS_1024(0), PAIRS_1024(1024), PAIRS_1024(2048), PAIRS_1024(3072)};

/* Letter to value + 1, so that what is no letter is 0 and becomes 0xFFFFFFFF when the 1 is taken off again. */
/* clang-format off */
static const uint8_t VALUES[256] = {
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
    ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
    ['+'] = 63, ['/'] = 64,
};
/* clang-format on */

static inline void encode_group(char *out, const unsigned char *in) {
    const uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    memcpy(out, PAIRS[bits >> 12], 2);
    memcpy(out + 2, PAIRS[bits & 4095], 2);
}

size_t base64_encode(const struct kernels *kernels, char *out, const char *bytes, size_t n) {
    const char *const start = out;
    size_t done = kernels->encode_bulk(out, bytes, n);
    out += done / 3 * 4;
    for (; done + 3 <= n; done += 3, out += 4) {
        unsigned char group[3]; /* copied first: the caller's text may run right behind its bytes (uplink.c) */
        memcpy(group, bytes + done, 3);
        encode_group(out, group);
    }
    if (done < n) {
        unsigned char group[3] = {0};
        memcpy(group, bytes + done, n - done);
        encode_group(out, group);
        out[3] = '=';
        if (n - done == 1) out[2] = '=';
        out += 4;
    }
    return (size_t)(out - start);
}

/* Bit 31 tells that one of the four was no letter: 0xFFFFFFFF has it, and no sum of values reaches it. */
#define NOT_LETTERS 0x80000000u

static inline uint32_t group_bits(const unsigned char *text) {
    const uint32_t a = VALUES[text[0]] - 1u, b = VALUES[text[1]] - 1u, c = VALUES[text[2]] - 1u,
                   d = VALUES[text[3]] - 1u;
    return ((a | b | c | d) & NOT_LETTERS) | a << 18 | b << 12 | c << 6 | d;
}

/* The last group, which may hold padding: bytes written (1..3), or RELAY_E_BASE64. */
static ptrdiff_t decode_last(char *out, const unsigned char *text) {
    unsigned char full[4];
    memcpy(full, text, 4);
    const int pad = full[3] != '=' ? 0 : full[2] != '=' ? 1 : 2;
    for (int i = 0; i < pad; i++) full[3 - i] = 'A';
    const uint32_t bits = group_bits(full);
    if ((bits & NOT_LETTERS) || (bits & ((1u << 8 * pad) - 1))) return RELAY_E_BASE64;
    out[0] = (char)(bits >> 16);
    if (pad < 2) out[1] = (char)(bits >> 8);
    if (pad < 1) out[2] = (char)bits;
    return 3 - pad;
}

ptrdiff_t base64_decode(const struct kernels *kernels, char *out, const char *text, size_t n) {
    if (n % 4) return RELAY_E_BASE64;
    if (n == 0) return 0;
    const unsigned char *const in = (const unsigned char *)text;
    size_t done = kernels->decode_bulk(out, text, n);
    size_t at = done / 4 * 3;
    for (; done + 4 < n; done += 4, at += 3) {
        const uint32_t bits = group_bits(in + done);
        if (bits & NOT_LETTERS) return RELAY_E_BASE64;
        out[at] = (char)(bits >> 16);
        out[at + 1] = (char)(bits >> 8);
        out[at + 2] = (char)bits;
    }
    const ptrdiff_t last = decode_last(out + at, in + done);
    return last < 0 ? last : (ptrdiff_t)at + last;
}

/* Decodes piece by piece into a small buffer that nobody reads. Only the last piece may hold padding. */
ptrdiff_t relay_base64_check(const char *text, size_t n) {
    enum { PIECE = 4096 };
    char waste[PIECE / 4 * 3];
    const struct kernels *const kernels = relay_kernels();
    ptrdiff_t total = 0;
    for (size_t done = 0; done < n; done += PIECE) {
        const size_t piece = n - done < PIECE ? n - done : PIECE;
        const ptrdiff_t bytes = base64_decode(kernels, waste, text + done, piece);
        if (bytes < 0 || (done + piece < n && bytes != (ptrdiff_t)sizeof waste)) return RELAY_E_BASE64;
        total += bytes;
    }
    return total;
}

ptrdiff_t relay_base64_encode(const char *bytes, size_t n, char *out) {
    return (ptrdiff_t)base64_encode(relay_kernels(), out, bytes, n);
}

ptrdiff_t relay_base64_decode(const char *text, size_t n, char *out) {
    return base64_decode(relay_kernels(), out, text, n);
}
