/* Whatever bytes arrive: the fast lane gives what the careful way gives, byte for byte, or leaves it and changes
 * nothing; and what it finds in a delta event are plain texts between quotes, behind their names. The first bytes
 * choose how the rest is used: as received bytes, as an event, as base64. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT 4096
static const char KEY[4] = {1, 2, 3, 4};

static relay_uplink *new_uplink(int encoding) {
    int error;
    return relay_uplink_new(encoding, 48000, 24000, &error);
}

/* One chunk, both ways, and then a frame that both must take in the same way. */
static void up(int encoding, const char *chunk, size_t n) {
    relay_uplink *fast = new_uplink(encoding), *slow = new_uplink(encoding);
    relay_ws ws, other;
    relay_ws_init(&ws, RELAY_WS_SERVER, LIMIT, 4), relay_ws_init(&other, RELAY_WS_SERVER, LIMIT, 4);
    const size_t room = 2 * n + 1024;
    char *out = exact(room), *samples = exact(room), *event = exact(room), *expected = exact(room);
    const ptrdiff_t got = relay_lane_up(&ws, fast, chunk, n, KEY, out, room);
    if (got != RELAY_E_NOT_MINE) {
        if (got < 0 || relay_ws_next(&other, chunk, n, samples, room) != RELAY_WS_BINARY || other.at) abort();
        if (other.length != ws.length) abort();
        const ptrdiff_t chars = relay_uplink_push(slow, samples, other.length, event, room);
        if (chars < 0 || !chars != !got) abort();
        if (chars && relay_ws_build(RELAY_WS_OP_TEXT, event, (size_t)chars, KEY, expected, room) != got) abort();
        if (memcmp(out, expected, (size_t)got) != 0) abort();
        other.length = ws.length;
    }
    ws.length = other.length = 0; /* what the last call has written is no state */
    if (memcmp(&ws, &other, offsetof(relay_ws, head)) != 0 && got == RELAY_E_NOT_MINE) abort();
    relay_uplink_free(fast), relay_uplink_free(slow);
    free(out), free(samples), free(event), free(expected);
}

static void check_span(const char *text, size_t n, uint32_t at, uint32_t chars) {
    if (at == 0 || (size_t)at + chars >= n || text[at - 1] != '"' || text[at + chars] != '"') abort();
    for (uint32_t i = at; i < at + chars; i++)
        if (text[i] < 0x20 || text[i] == '"' || text[i] == '\\') abort();
}

static void event(const char *text, size_t n) {
    relay_delta found;
    if (relay_delta_find(text, n, &found) != 0) return;
    check_span(text, n, found.item_id, found.item_id_chars);
    check_span(text, n, found.response_id, found.response_id_chars);
    check_span(text, n, found.delta, found.delta_chars);
    if (found.item_id_chars == 0 || found.response_id_chars == 0) abort();
}

static void down(int encoding, const char *text, size_t n) {
    int error;
    relay_downlink *fast = relay_downlink_new(encoding, 48000, 24000, &error);
    relay_downlink *slow = relay_downlink_new(encoding, 48000, 24000, &error);
    const size_t room = (size_t)relay_downlink_frame_room(fast, n);
    char *out = exact(room), *samples = exact(room);
    for (int i = 0; i < 2; i++) {
        const ptrdiff_t made = relay_downlink_push(slow, text, n, samples, room);
        const ptrdiff_t got = relay_downlink_frame(fast, text, n, 1, 2, out, room);
        if (made <= 0 ? got != made : got <= made || memcmp(out + got - made, samples, (size_t)made) != 0) abort();
    }
    relay_downlink_free(fast), relay_downlink_free(slow);
    free(out), free(samples);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    relay_init(LEVELS[data[0] % LEVEL_COUNT]);
    char *rest = exact_copy(data + 2, size - 2);
    up(data[1] % 2, rest, size - 2), event(rest, size - 2), down(data[1] % 2, rest, size - 2);
    free(rest);
    if (relay_live_handles() != 0) abort();
    return 0;
}
