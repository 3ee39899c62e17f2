/* Bytes of WebSocket payloads and of JSON texts, which every level includes. Vectors are in the compiler's own
 * notation, BYTES_AT_ONCE wide: as wide as a register, since wider ones go through memory and take eight times as long.
 * A vector is loaded before it is stored, so that source and target may be the same. */
#include "kernels.h"

#ifndef BYTES_AT_ONCE
#define BYTES_AT_ONCE 16
#endif

typedef uint8_t byte_vector __attribute__((vector_size(BYTES_AT_ONCE)));

static inline byte_vector load_bytes(const char *from) {
    byte_vector bytes;
    memcpy(&bytes, from, sizeof bytes);
    return bytes;
}

static inline int any_bit(byte_vector bytes) {
    uint64_t words[BYTES_AT_ONCE / 8], all = 0;
    memcpy(words, &bytes, sizeof words);
    for (size_t i = 0; i < BYTES_AT_ONCE / 8; i++) all |= words[i];
    return all != 0;
}

static void mask(char *dst, const char *src, size_t n, uint32_t key) {
    char keys[BYTES_AT_ONCE]; /* a multiple of 4: byte i meets byte i % 4 of the key, in every vector */
    for (size_t i = 0; i < sizeof keys; i += sizeof key) memcpy(keys + i, &key, sizeof key);
    const byte_vector all_keys = load_bytes(keys);
    size_t done = 0;
    for (; done + BYTES_AT_ONCE <= n; done += BYTES_AT_ONCE) {
        const byte_vector bytes = load_bytes(src + done) ^ all_keys;
        memcpy(dst + done, &bytes, sizeof bytes);
    }
    for (size_t i = 0; done + i < n; i++) dst[done + i] = (char)(src[done + i] ^ keys[i]);
}

static size_t ascii(const char *text, size_t n) {
    size_t done = 0;
    for (; done + 2 * BYTES_AT_ONCE <= n; done += 2 * BYTES_AT_ONCE)
        if (any_bit((load_bytes(text + done) | load_bytes(text + done + BYTES_AT_ONCE)) & 0x80)) break;
    while (done < n && !(text[done] & 0x80)) done++;
    return done;
}

static int plain(const char *text, size_t n) {
    byte_vector special = {0};
    size_t done = 0;
    for (; done + BYTES_AT_ONCE <= n; done += BYTES_AT_ONCE) {
        const byte_vector c = load_bytes(text + done);
        special |= (byte_vector)((c < 0x20) | (c >= 0x80) | (c == '"') | (c == '\\'));
    }
    int is_plain = !any_bit(special);
    for (; done < n; done++) {
        const uint8_t c = (uint8_t)text[done];
        is_plain &= c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
    }
    return is_plain;
}
