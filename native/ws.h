/* What everything in native/ that reads or writes WebSocket frames has in common. Internal to native/. */
#ifndef RELAY_WS_H
#define RELAY_WS_H

#include "kernels.h"

/* The first byte of a head ... */
#define WS_FINAL 0x80
#define WS_RESERVED 0x70
#define WS_OPCODE 0x0F
#define WS_CONTROL 0x08 /* bit of the opcodes 8 to 15 */
/* ... and the second. */
#define WS_MASKED 0x80
#define WS_LENGTH 0x7F
#define WS_LENGTH_2 126 /* the length follows, in two bytes */
#define WS_LENGTH_8 127

/* Bytes of the length behind the first two. */
static inline size_t ws_length_bytes(size_t short_length) {
    return short_length < WS_LENGTH_2 ? 0 : short_length == WS_LENGTH_2 ? 2 : 8;
}

static inline uint64_t ws_big_endian(const uint8_t *bytes, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value = value << 8 | bytes[i];
    return value;
}

/* A length that a shorter form could have said, or one with the highest bit. */
static inline int ws_bad_length(uint64_t length, size_t length_bytes) {
    return length_bytes == 2 ? length < WS_LENGTH_2 : length_bytes == 8 && (length <= UINT16_MAX || length >> 63);
}

/* Bytes of the head of a frame that carries n bytes. */
static inline size_t ws_head_bytes(size_t n, int masked) {
    return 2 + (n < WS_LENGTH_2 ? 0 : n <= UINT16_MAX ? 2 : 8) + (masked ? 4 : 0);
}

/* Writes that head, of a whole, final frame. Returns its length. */
size_t ws_write_head(int opcode, size_t n, const char *key, char *out);

/* The key as the kernels' mask() wants it, for a payload that is continued after `passed` bytes. */
static inline uint32_t ws_key(const void *key, size_t passed) {
    uint8_t turned[4];
    for (size_t i = 0; i < 4; i++) turned[i] = ((const uint8_t *)key)[(passed + i) % 4];
    uint32_t word;
    memcpy(&word, turned, sizeof word);
    return word;
}

#endif
