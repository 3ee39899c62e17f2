/* Whatever bytes arrive: nothing is read or written outside the buffers, a message is never longer or in more pieces
 * than was allowed, texts are UTF-8, and however the stream is cut, it comes to the same. What was understood is built
 * again, and understood again. The first bytes choose role, limits and cuts, the rest is the stream. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct choice {
    uint8_t role, simd, chunk, fragments;
    uint16_t limit;
};

/* All that was said, in one row of bytes: of each message or control frame its kind, its length, its payload. */
struct told {
    char *bytes;
    size_t n;
};

static void tell(struct told *told, const void *bytes, size_t n) {
    if (n) memcpy(told->bytes + told->n, bytes, n);
    told->n += n;
}

static void tell_whole(struct told *told, int kind, const char *bytes, size_t n) {
    tell(told, &kind, sizeof kind), tell(told, &n, sizeof n), tell(told, bytes, n);
}

static int is_utf8(const char *text, size_t n) {
    relay_ws ws;
    char *frame = exact(n + RELAY_WS_HEAD_BYTES), *out = exact(n + RELAY_WS_CONTROL_BYTES);
    const ptrdiff_t built = relay_ws_build(RELAY_WS_OP_TEXT, text, n, NULL, frame, n + RELAY_WS_HEAD_BYTES);
    relay_ws_init(&ws, RELAY_WS_CLIENT, n, 1);
    const int kind = relay_ws_next(&ws, frame, (size_t)built, out, n + RELAY_WS_CONTROL_BYTES);
    const int same = kind == RELAY_WS_TEXT && ws.length == n && (n == 0 || memcmp(out, text, n) == 0);
    free(frame), free(out);
    return same;
}

static int hear(const struct choice *choice, const uint8_t *data, size_t n, size_t step, size_t room,
                struct told *told) {
    relay_ws ws;
    relay_ws_init(&ws, choice->role % 2, choice->limit, choice->fragments);
    char *message = exact(choice->limit), *out = exact(room);
    size_t have = 0;
    int kind = 0;
    for (size_t at = 0; at < n && kind >= 0; at += step) {
        const size_t some = n - at < step ? n - at : step;
        char *chunk = exact_copy(data + at, some);
        do {
            kind = relay_ws_next(&ws, chunk, some, out, room);
            if (ws.length > room || ws.at >= some) abort();
            if (kind <= 0) break;
            if (kind >= RELAY_WS_CLOSE) {
                tell_whole(told, kind, out, ws.length);
                continue;
            }
            if (ws.length > choice->limit - have) abort();
            if (ws.length) memcpy(message + have, out, ws.length);
            have += ws.length;
            if (kind == RELAY_WS_PIECE) continue;
            if (kind == RELAY_WS_TEXT && !is_utf8(message, have)) abort();
            tell_whole(told, kind, message, have);
            have = 0;
        } while (ws.at);
        if (kind < 0) { /* as wire.py does after a refusal: on to the Close, if it can be found */
            relay_ws_skip(&ws);
            while (relay_ws_next(&ws, chunk, some, out, room) > 0 && ws.at) {}
        }
        free(chunk);
    }
    free(message), free(out);
    return kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct choice choice;
    if (size < sizeof choice) return 0;
    memcpy(&choice, data, sizeof choice);
    relay_init(LEVELS[choice.simd % LEVEL_COUNT]);
    const size_t n = size - sizeof choice, most = (n + 1) * (1 + sizeof(int) + sizeof(size_t));
    struct told whole = {exact(most), 0}, cut = {exact(most), 0};
    const int verdict = hear(&choice, data + sizeof choice, n, n + 1, n + RELAY_WS_CONTROL_BYTES, &whole);
    if (hear(&choice, data + sizeof choice, n, choice.chunk % 16 + 1, RELAY_WS_CONTROL_BYTES, &cut) != verdict) abort();
    if (whole.n != cut.n || memcmp(whole.bytes, cut.bytes, cut.n) != 0) abort();
    free(whole.bytes), free(cut.bytes);
    return 0;
}
