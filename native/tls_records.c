/* TLS records by their heads: type, version, length (RFC 8446, 5.1). What is in them is known to whoever decrypts them. */
#include "relay_native.h"

#include <string.h>

#include "ws.h"

#define HEAD_BYTES 5
#define LENGTH_AT 3

/* A head that began in what was read before is put together; returns how many of the bytes are its end. */
static size_t complete_head(relay_tls_records *records, const char *bytes, size_t n) {
    size_t taken = HEAD_BYTES - records->split_bytes;
    if (taken > n) taken = n;
    memcpy(records->split + records->split_bytes, bytes, taken);
    records->split_bytes += (uint32_t)taken;
    if (records->split_bytes < HEAD_BYTES) return taken;
    records->split_bytes = 0;
    records->to_next_head = (uint32_t)ws_big_endian((const uint8_t *)records->split + LENGTH_AT, 2);
    return taken;
}

size_t relay_tls_records_read(relay_tls_records *records, const char *bytes, size_t n) {
    size_t ended = 0;
    for (size_t at = 0; at < n;) {
        if (records->to_next_head == 0) {
            at += complete_head(records, bytes + at, n - at);
            ended += records->split_bytes == 0 && records->to_next_head == 0; /* a record of nothing */
            continue;
        }
        const size_t left = n - at, body = records->to_next_head < left ? records->to_next_head : left;
        at += body;
        records->to_next_head -= (uint32_t)body;
        ended += records->to_next_head == 0;
    }
    records->empty += (uint32_t)ended;
    return ended;
}

void relay_tls_records_said(relay_tls_records *records, size_t count) {
    records->empty -= count < records->empty ? (uint32_t)count : records->empty;
}
