/* Audio in frames against the calls that make the audio and the frame apart: the same bytes. */
#include "check.h"

static const char KEY[4] = {0x01, (char)0x80, (char)0xFF, 0x55};

static relay_uplink *new_uplink(int encoding, int rate) {
    int error;
    return relay_uplink_new(encoding, rate, 24000, &error);
}

/* A frame is, byte for byte, what the two calls make that it stands for: the event, and a frame around it. */
static void up_is_event_and_frame(int encoding, int rate) {
    static const size_t sizes[] = {4, 8, 124, 128, 480, 3840, 3840, 12, 3528, 65532, 65536};
    relay_uplink *joined = new_uplink(encoding, rate), *apart = new_uplink(encoding, rate);
    unsigned seed = (unsigned)rate;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        char *samples = exact(n);
        for (size_t k = 0; k < n; k++) samples[k] = (char)next_random(&seed);
        const size_t room = (size_t)relay_uplink_frame_room(joined, n);
        const size_t event_room = (size_t)relay_uplink_room(apart, n);
        char *out = exact(room), *event = exact(event_room), *expected = exact(room);
        if (room) CHECK(relay_uplink_frame(joined, samples, n, KEY, out, room - 1) == RELAY_E_ROOM, "n=%zu", n);
        const ptrdiff_t got = relay_uplink_frame(joined, samples, n, KEY, out, room);
        CHECK(got == (ptrdiff_t)room, "n=%zu: %td of %zu", n, got, room);
        const ptrdiff_t chars = relay_uplink_push(apart, samples, n, event, event_room);
        if (chars) relay_ws_build(RELAY_WS_OP_TEXT, event, (size_t)chars, KEY, expected, room);
        CHECK(!chars == !got && memcmp(out, expected, room) == 0, "n=%zu", n);
        free(samples), free(out), free(event), free(expected);
    }
    relay_uplink_free(joined), relay_uplink_free(apart);
}

static void what_is_no_audio_makes_no_frame_up(void) {
    relay_uplink *uplink = new_uplink(RELAY_F32LE, 48000);
    static char samples[RELAY_MAX_FRAME_BYTES + 4];
    char out[4];
    static const size_t wrong[] = {0, 1, 2, 3, 481, 482, 483, RELAY_MAX_FRAME_BYTES + 4};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(relay_uplink_frame_room(uplink, wrong[i]) == RELAY_E_LENGTH, "%zu bytes", wrong[i]);
        CHECK(relay_uplink_frame(uplink, samples, wrong[i], KEY, out, sizeof out) == RELAY_E_LENGTH, "%zu", wrong[i]);
    }
    CHECK(relay_uplink_frame_room(NULL, 4) == RELAY_E_CLOSED, "closed");
    CHECK(relay_uplink_frame(NULL, samples, 4, KEY, out, sizeof out) == RELAY_E_CLOSED, "closed");
    relay_uplink_free(uplink);
}

/* A frame is what relay_ws_next() understands, and its payload the header and what relay_downlink_push() gives. */
static void down_is_header_and_samples(int encoding, int rate) {
    int error;
    relay_downlink *joined = relay_downlink_new(encoding, rate, 24000, &error);
    relay_downlink *apart = relay_downlink_new(encoding, rate, 24000, &error);
    unsigned seed = (unsigned)rate;
    uint64_t first_sample = 0;
    static const size_t sizes[] = {2, 4, 6, 40, 54, 56, 960, 4800, 4802, 24576, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t chars = (sizes[i] + 2) / 3 * 4;
        char *pcm = exact(sizes[i]), *text = exact(chars);
        for (size_t k = 0; k < sizes[i]; k++) pcm[k] = (char)next_random(&seed);
        relay_base64_encode(pcm, sizes[i], text);
        const size_t room = (size_t)relay_downlink_frame_room(joined, chars);
        char *out = exact(room), *samples = exact(room);
        const size_t payload_room = room + RELAY_WS_CONTROL_BYTES;
        char *payload = exact(payload_room);
        CHECK(relay_downlink_frame(joined, text, chars, 7, first_sample, out, room - 1) == RELAY_E_ROOM, "room");
        const char first_letter = text[0];
        text[0] = '!';
        CHECK(relay_downlink_frame(joined, text, chars, 7, first_sample, out, room) == RELAY_E_BASE64, "broken");
        text[0] = first_letter;
        const ptrdiff_t n = relay_downlink_push(apart, text, chars, samples, room);
        const ptrdiff_t got = relay_downlink_frame(joined, text, chars, 7, first_sample, out, room);
        if (n == 0) {
            CHECK(got == 0, "%td", got);
        } else {
            relay_ws ws;
            relay_ws_init(&ws, RELAY_WS_CLIENT, 1 << 24, 1);
            const int kind = relay_ws_next(&ws, out, (size_t)got, payload, payload_room);
            CHECK(kind == RELAY_WS_BINARY && ws.at == 0, "kind %d", kind);
            CHECK(ws.length == (size_t)n + RELAY_AUDIO_HEAD_BYTES, "%zu for %td", ws.length, n);
            static const char head[] = {1, 0, 0, 0, 7, 0, 0, 0};
            uint64_t first;
            memcpy(&first, payload + 8, sizeof first);
            CHECK(memcmp(payload, head, 8) == 0 && first == first_sample, "header");
            CHECK(memcmp(payload + RELAY_AUDIO_HEAD_BYTES, samples, (size_t)n) == 0, "samples");
        }
        first_sample += 0x100000001u;
        free(pcm), free(text), free(out), free(samples), free(payload);
    }
    char byte[1];
    CHECK(relay_downlink_frame(joined, "", 0, 1, 0, byte, 0) == 0, "empty");
    CHECK(relay_downlink_frame(joined, "AA", 2, 1, 0, byte, 0) == RELAY_E_BASE64, "half a group");
    CHECK(relay_downlink_frame(NULL, "AAAA", 4, 1, 0, byte, 1) == RELAY_E_CLOSED, "closed");
    relay_downlink_free(joined), relay_downlink_free(apart);
}

int main(void) {
    static const int formats[][2] = {
        {RELAY_F32LE, 48000}, {RELAY_S16LE, 24000}, {RELAY_S16LE, 8000}, {RELAY_F32LE, 44100}};
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
            up_is_event_and_frame(formats[k][0], formats[k][1]);
            down_is_header_and_samples(formats[k][0], formats[k][1]);
        }
        what_is_no_audio_makes_no_frame_up();
    }
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("audio_frame");
}
