/* Frames to send: a head, and the payload behind it, masked if we are a client. */
#include "ws.h"

size_t ws_write_head(int opcode, size_t n, const char *key, char *out) {
    const size_t length_bytes = ws_head_bytes(n, 0) - 2;
    const size_t short_length = length_bytes == 0 ? n : length_bytes == 2 ? WS_LENGTH_2 : WS_LENGTH_8;
    out[0] = (char)(WS_FINAL | opcode);
    out[1] = (char)(short_length | (key ? WS_MASKED : 0));
    for (size_t i = 0; i < length_bytes; i++) out[2 + i] = (char)((uint64_t)n >> 8 * (length_bytes - 1 - i));
    if (key) memcpy(out + 2 + length_bytes, key, 4);
    return 2 + length_bytes + (key ? 4 : 0);
}

ptrdiff_t relay_ws_build(int opcode, const char *payload, size_t n, const char *key, char *out, size_t room) {
    const size_t head = ws_head_bytes(n, key != NULL);
    if (room < head || room - head < n) return RELAY_E_ROOM;
    ws_write_head(opcode, n, key, out);
    if (key)
        relay_kernels()->mask(out + head, payload, n, ws_key(key, 0));
    else if (n > 0)
        memmove(out + head, payload, n); /* it may be there already */
    return (ptrdiff_t)(head + n);
}
