/* What browsers and upstreams say to each other once they talk: audio, reports of what was played, pongs. */
#include <string.h>

#include "load.h"

#define REPORT_FRAMES 12 /* relay.played every 240 ms */
#define AUDIO_BYTES 1000 /* a longer text is audio */

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static void pong(const load_span *span, load_conn *c, const uint8_t *payload, size_t bytes) {
    uint8_t frame[2 + 4 + 125];
    const size_t head = c->side == CLIENT ? 6 : 2;
    memset(frame, 0, head); /* a mask of zeros: the payload as it is */
    frame[0] = 0x80 | PONG;
    frame[1] = (uint8_t)((c->side == CLIENT ? 0x80 : 0) | bytes);
    memcpy(frame + head, payload, bytes);
    post(span, c, frame, head + bytes);
}

static void report(const load_span *span, load_session *s) {
    static const char before[] = "{\"type\":\"relay.played\",\"item\":1,\"samples\":";
    uint8_t frame[6 + 100];
    uint64_t rest = s->samples;
    char digits[24];
    size_t count = 0, bytes = sizeof before - 1;
    do digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    memcpy(frame + 6, before, bytes);
    while (count) frame[6 + bytes++] = (uint8_t)digits[--count];
    frame[6 + bytes++] = '}';
    memset(frame, 0, 6);
    frame[0] = 0x80 | TEXT;
    frame[1] = (uint8_t)(0x80 | bytes);
    post(span, s->client, frame, 6 + bytes);
}

static void came_back(load_session *s, load_result *result) {
    if (s->back == s->sent) return;
    const uint64_t delay = load_now_ns() - s->due_ns[s->back++ % OUTSTANDING];
    result->back++;
    if (result->delays < result->delay_room) result->delay_ns[result->delays++] = delay;
}

static void client_message(const load_span *span, load_session *s, int opcode, size_t bytes) {
    const size_t samples = span->work->samples;
    if (opcode == TEXT) {
        if (!samples && bytes > AUDIO_BYTES) came_back(s, result_of(span, s));
        return;
    }
    const uint64_t before = s->samples / samples;
    s->samples += (bytes - 16) / 4;
    for (uint64_t frames = s->samples / samples - before; frames; frames--) came_back(s, result_of(span, s));
    if (++s->since_report >= REPORT_FRAMES) {
        s->since_report = 0;
        report(span, s);
    }
}

static void upstream_message(
    const load_span *span, load_conn *c, const uint8_t *payload, size_t bytes, const uint8_t *mask
) {
    const load_work *work = span->work;
    size_t same = 0;
    if (bytes > AUDIO_BYTES)
        while (same < work->append_bytes && (payload[same] ^ mask[same & 3]) == work->append[same]) same++;
    if (bytes > AUDIO_BYTES && same == work->append_bytes)
        post(span, c, work->down, work->down_bytes);
    else
        result_of(span, c->session)->strange++;
}

size_t one_frame(const load_span *span, load_conn *c, const uint8_t *at, size_t len) {
    if (len < 2) return 0;
    const int opcode = at[0] & 15, masked = at[1] >> 7;
    size_t bytes = at[1] & 127, head = 2;
    if (bytes == 126) {
        if (len < 4) return 0;
        bytes = (size_t)at[2] << 8 | at[3];
        head = 4;
    } else if (bytes == 127) {
        if (len < 10) return 0;
        bytes = 0;
        for (int i = 2; i < 10; i++) bytes = bytes << 8 | at[i];
        head = 10;
    }
    const uint8_t *mask = at + head;
    head += masked ? 4 : 0;
    if (len < head + bytes) return 0;
    if (opcode == PING && bytes <= 125) {
        uint8_t plain[125];
        for (size_t i = 0; i < bytes; i++) plain[i] = at[head + i] ^ (masked ? mask[i & 3] : 0);
        pong(span, c, plain, bytes);
    } else if (opcode == CLOSE) {
        result_of(span, c->session)->broken++;
    } else if (opcode == TEXT || opcode == BINARY) {
        if (c->side == CLIENT)
            client_message(span, c->session, opcode, bytes);
        else
            upstream_message(span, c, at + head, bytes, mask);
    }
    return head + bytes;
}
