/* Bytes of WebSocket payloads and JSON texts in plain loops, which every level includes and its compiler turns into its own
 * instructions. A block goes through local words, so that source and target may be the same. */
#include "kernels.h"

enum { WORDS = 8 };
#define BLOCK_BYTES (WORDS * sizeof(uint64_t))

static void mask(char *dst, const char *src, size_t n, uint32_t key) {
    const uint64_t twice = (uint64_t)key << 32 | key;
    size_t done = 0;
    for (; done + BLOCK_BYTES <= n; done += BLOCK_BYTES) {
        uint64_t word[WORDS];
        memcpy(word, src + done, sizeof word);
        for (size_t i = 0; i < WORDS; i++) word[i] ^= twice;
        memcpy(dst + done, word, sizeof word);
    }
    /* byte i meets byte i % 4 of the key: BLOCK_BYTES is a multiple of 4, and so is 8 */
    for (; done + sizeof twice <= n; done += sizeof twice) {
        uint64_t word;
        memcpy(&word, src + done, sizeof word);
        word ^= twice;
        memcpy(dst + done, &word, sizeof word);
    }
    for (size_t i = 0; done + i < n; i++) dst[done + i] = (char)(src[done + i] ^ (char)(twice >> 8 * i));
}

static size_t ascii(const char *text, size_t n) {
    const uint64_t high_bits = 0x8080808080808080u;
    size_t done = 0;
    for (; done + BLOCK_BYTES <= n; done += BLOCK_BYTES) {
        uint64_t word[WORDS], all = 0;
        memcpy(word, text + done, sizeof word);
        for (size_t i = 0; i < WORDS; i++) all |= word[i];
        if (all & high_bits) break;
    }
    while (done < n && !(text[done] & 0x80)) done++;
    return done;
}

static inline uint8_t is_special(uint8_t c) { return (uint8_t)(c < 0x20) | (c >= 0x80) | (c == '"') | (c == '\\'); }

static int plain(const char *text, size_t n) {
    uint8_t special = 0;
    size_t done = 0;
    for (; done + BLOCK_BYTES <= n; done += BLOCK_BYTES) {
        uint8_t block[BLOCK_BYTES];
        memcpy(block, text + done, sizeof block);
        for (size_t i = 0; i < BLOCK_BYTES; i++) special |= is_special(block[i]);
    }
    for (; done < n; done++) special |= is_special((uint8_t)text[done]);
    return !special;
}
