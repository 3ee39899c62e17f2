/* The fast lane against the careful way: the same bytes, or "not mine" and nothing changed. */
#include "check.h"

#define LIMIT 65536

static const char KEY[4] = {0x37, (char)0xFA, 0x21, 0x3D}, OUR_KEY[4] = {0x01, (char)0x80, (char)0xFF, 0x55};

static relay_uplink *new_uplink(void) {
    int error;
    return relay_uplink_new(RELAY_F32LE, 48000, 24000, &error);
}

/* A client's frame with `n` random bytes. */
static size_t received(char *to, int opcode, size_t n, unsigned seed) {
    char *payload = exact(n);
    for (size_t i = 0; i < n; i++) payload[i] = (char)next_random(&seed);
    const ptrdiff_t size = relay_ws_build(opcode, payload, n, KEY, to, n + RELAY_WS_HEAD_BYTES);
    free(payload);
    return (size_t)size;
}

/* The careful way: unframe, convert, frame. Returns the bytes for the upstream. */
static size_t careful(relay_ws *ws, relay_uplink *uplink, const char *chunk, size_t n, char *out) {
    char *samples = exact(n + RELAY_WS_CONTROL_BYTES), *event = exact(2 * n + 64);
    CHECK(relay_ws_next(ws, chunk, n, samples, n + RELAY_WS_CONTROL_BYTES) == RELAY_WS_BINARY, "n=%zu", n);
    const ptrdiff_t chars = relay_uplink_push(uplink, samples, ws->length, event, 2 * n + 64);
    ptrdiff_t size = 0;
    if (chars > 0) size = relay_ws_build(RELAY_WS_OP_TEXT, event, (size_t)chars, OUR_KEY, out, (size_t)chars + 14);
    free(samples), free(event);
    return (size_t)size;
}

static void up_is_the_careful_way(void) {
    static const size_t sizes[] = {4, 8, 124, 128, 480, 3840, 3840, 12, 3528, 65532, 65536};
    relay_uplink *fast = new_uplink(), *slow = new_uplink();
    relay_ws ws, other;
    relay_ws_init(&ws, RELAY_WS_SERVER, LIMIT, 64), relay_ws_init(&other, RELAY_WS_SERVER, LIMIT, 64);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        char *frame = exact(n + 14);
        const size_t size = received(frame, RELAY_WS_OP_BINARY, n, (unsigned)i);
        char *chunk = exact_copy(frame, size);
        const size_t room = (size_t)relay_uplink_frame_room(fast, n) + n;
        char *out = exact(room), *expected = exact(2 * size + 128);
        CHECK(relay_lane_up(&ws, fast, chunk, size, OUR_KEY, out, room - 1) == RELAY_E_ROOM, "n=%zu", n);
        const ptrdiff_t got = relay_lane_up(&ws, fast, chunk, size, OUR_KEY, out, room);
        CHECK(ws.length == n, "%zu of %zu", ws.length, n);
        CHECK((size_t)got == careful(&other, slow, chunk, size, expected), "n=%zu: %td", n, got);
        CHECK(got >= 0 && memcmp(out, expected, (size_t)got) == 0, "n=%zu", n);
        free(frame), free(chunk), free(out), free(expected);
    }
    relay_uplink_free(fast), relay_uplink_free(slow);
}

static int not_mine(relay_ws *ws, relay_uplink *uplink, const char *frame, size_t n) {
    char *chunk = exact_copy(frame, n), out[4096];
    const ptrdiff_t got = relay_lane_up(ws, uplink, chunk, n, OUR_KEY, out, sizeof out);
    free(chunk);
    return got == RELAY_E_NOT_MINE;
}

static void up_leaves_everything_else(void) {
    relay_uplink *uplink = new_uplink();
    relay_ws ws;
    char frame[2048], out[2048] = {0};
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64);
    const size_t n = received(frame, RELAY_WS_OP_BINARY, 480, 1);
    for (size_t less = 0; less < n; less++) CHECK(not_mine(&ws, uplink, frame, less), "cut to %zu", less);
    CHECK(not_mine(&ws, uplink, frame, n + 1), "another frame begins");
    for (int first = 0; first < 256; first++) {
        frame[0] = (char)first;
        CHECK(not_mine(&ws, uplink, frame, n) == (first != 0x82), "first byte %02x", first);
    }
    frame[0] = (char)0x82, frame[1] &= 0x7F;
    CHECK(not_mine(&ws, uplink, frame, n), "not masked");
    static const size_t wrong[] = {0, 1, 2, 3, 481, 482, 483, 504};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(not_mine(&ws, uplink, frame, received(frame, RELAY_WS_OP_BINARY, wrong[i], 1)), "%zu bytes", wrong[i]);
    static const char long_form[] = {(char)0x82, (char)0xFE, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0};
    CHECK(not_mine(&ws, uplink, long_form, sizeof long_form), "not the shortest length");
    static const char longest_form[] = {(char)0x82, (char)0xFF, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0};
    CHECK(not_mine(&ws, uplink, longest_form, sizeof longest_form), "not the shortest length");

    received(frame, RELAY_WS_OP_BINARY, 480, 1);
    relay_ws_next(&ws, "\x82", 1, out, sizeof out);
    CHECK(not_mine(&ws, uplink, frame, n), "inside a head");
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64);
    relay_ws_next(&ws, "\x02\x81\0\0\0\0x", 7, out, sizeof out);
    CHECK(not_mine(&ws, uplink, frame, n), "inside a message");
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64);
    relay_ws_next(&ws, "\x88\x80\0\0\0\0", 6, out, sizeof out);
    CHECK(not_mine(&ws, uplink, frame, n), "after a Close");
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64);
    relay_ws_next(&ws, "\xFF\xFF", 2, out, sizeof out);
    CHECK(not_mine(&ws, uplink, frame, n), "after a violation");
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64), relay_ws_skip(&ws);
    CHECK(not_mine(&ws, uplink, frame, n), "when messages are skipped");
    relay_ws_init(&ws, RELAY_WS_CLIENT, 500, 64);
    CHECK(not_mine(&ws, uplink, frame, n), "as a client");
    const ptrdiff_t plain = relay_ws_build(RELAY_WS_OP_BINARY, out, 480, NULL, frame, sizeof frame);
    CHECK(not_mine(&ws, uplink, frame, (size_t)plain), "as a client, from a server");
    received(frame, RELAY_WS_OP_BINARY, 480, 1);
    relay_ws_init(&ws, RELAY_WS_SERVER, 500, 64);
    CHECK(relay_lane_up(&ws, NULL, frame, n, OUR_KEY, out, sizeof out) == RELAY_E_CLOSED, "closed");
    CHECK(!not_mine(&ws, uplink, frame, n), "and now");
    relay_uplink_free(uplink);
}

/* ---- down ---- */

#define EVENT                                                                                               \
    "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_1\",\"response_id\":\"resp_22\","       \
    "\"item_id\":\"item_333\",\"output_index\":0,\"content_index\":12,\"delta\":\"AAECAwQF\"}"

static int find(const char *text, relay_delta *found) {
    const size_t n = strlen(text);
    char *copy = exact_copy(text, n);
    const int code = relay_delta_find(copy, n, found);
    free(copy);
    return code;
}

static void a_delta_is_found(void) {
    static const char *const same[] = {
        EVENT,
        "{\"delta\":\"AAECAwQF\",\"content_index\":12,\"item_id\":\"item_333\",\"response_id\":\"resp_22\","
        "\"type\":\"response.output_audio.delta\"}",
        " {\n\t\"type\" : \"response.output_audio.delta\" ,\r\n\"item_id\": \"item_333\", \"response_id\": \"resp_22\","
        " \"content_index\": 12 , \"obfuscation\":\"a1\" ,\"delta\" :\"AAECAwQF\" } \n",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        relay_delta found;
        CHECK(find(same[i], &found) == 0, "%s", same[i]);
        CHECK(found.item_id_chars == 8 && !memcmp(same[i] + found.item_id, "item_333", 8), "%zu", i);
        CHECK(found.response_id_chars == 7 && !memcmp(same[i] + found.response_id, "resp_22", 7), "%zu", i);
        CHECK(found.delta_chars == 8 && !memcmp(same[i] + found.delta, "AAECAwQF", 8), "%zu", i);
        CHECK(found.content_index == 12, "%u", found.content_index);
    }
    relay_delta found;
    CHECK(find("{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"\"}",
               &found) == 0 && found.delta_chars == 0 && found.content_index == 0, "empty");
}

#define HEAD "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\","

static void whatever_is_in_doubt_is_left(void) {
    static const char *const doubtful[] = {
        "", " ", "{", "{}", "[]", "null", "\"\"", "{\"delta\":\"AAAA\"}",
        HEAD "\"delta\":\"AAAA\"",
        HEAD "\"delta\":\"AAAA\"}}",
        HEAD "\"delta\":\"AAAA\"},",
        HEAD "\"delta\":\"AAAA\",}",
        HEAD "\"delta\":\"AAAA\"} x",
        HEAD "\"delta\":\"AAAA}",
        HEAD "\"delta\":\"AA\\/A\"}",
        HEAD "\"delta\":\"AA\\\"A\"}",
        HEAD "\"delta\":\"AA\nA\"}",
        HEAD "\"delta\":\"AA\xC3\xA4\"}",
        HEAD "\"delta\":\"AAAA\",\"delta\":\"BBBB\"}",
        HEAD "\"delta\":\"AAAA\",\"item_id\":\"j\"}",
        HEAD "\"delta\":\"AAAA\",\"type\":\"error\"}",
        HEAD "\"delta\":\"AAAA\",\"usage\":1}",
        HEAD "\"delta\":\"AAAA\",\"call_id\":\"c\"}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":-1}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":01}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1.0}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1e3}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1234567890}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":\"1\"}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":}",
        HEAD "\"delta\":null}",
        HEAD "\"delta\":12}",
        HEAD "\"delta\":{\"delta\":\"AAAA\"}}",
        HEAD "\"d\\u0065lta\":\"AAAA\"}",
        HEAD "\"delta\" \"AAAA\"}",
        HEAD "delta:\"AAAA\"}",
        HEAD "\"deltas\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta.\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\"}",
        "\xEF\xBB\xBF" HEAD "\"delta\":\"AAAA\"}",
        HEAD "\"delta\":\"AAAA\"}\v",
    };
    relay_delta found;
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++)
        CHECK(find(doubtful[i], &found) == RELAY_E_NOT_MINE, "%s", doubtful[i]);
    char text[] = EVENT;
    for (size_t cut = 0; cut < sizeof EVENT - 1; cut++) {
        char *part = exact_copy(text, cut);
        CHECK(relay_delta_find(part, cut, &found) == RELAY_E_NOT_MINE, "cut to %zu", cut);
        free(part);
    }
    CHECK(relay_delta_find(HEAD "\"delta\":\"A\0AA\"}", sizeof HEAD + 14, &found) == RELAY_E_NOT_MINE, "a zero");
}

static void a_delta_is_found_in_its_frame(void) {
    char frame[512], out[512];
    const size_t n = (size_t)relay_ws_build(RELAY_WS_OP_TEXT, EVENT, sizeof EVENT - 1, NULL, frame, sizeof frame);
    relay_ws ws;
    relay_delta found;
    relay_ws_init(&ws, RELAY_WS_CLIENT, LIMIT, 64);
    CHECK(relay_lane_delta(&ws, frame, n, &found) == 0, "whole");
    CHECK(!memcmp(frame + found.delta, "AAECAwQF", 8) && !memcmp(frame + found.item_id, "item_333", 8), "offsets");
    CHECK(!memcmp(frame + found.response_id, "resp_22", 7) && ws.length == sizeof EVENT - 1, "offsets");
    for (size_t cut = 0; cut < n; cut++)
        CHECK(relay_lane_delta(&ws, frame, cut, &found) == RELAY_E_NOT_MINE, "cut to %zu", cut);
    CHECK(relay_ws_next(&ws, frame, n, out, sizeof out) == RELAY_WS_TEXT, "nothing has changed");
    frame[0] = (char)0x82;
    CHECK(relay_lane_delta(&ws, frame, n, &found) == RELAY_E_NOT_MINE, "binary");
    relay_ws_init(&ws, RELAY_WS_SERVER, LIMIT, 64);
    const char *const no_mask = "\0\0\0";
    const ptrdiff_t masked = relay_ws_build(RELAY_WS_OP_TEXT, EVENT, sizeof EVENT - 1, no_mask, frame, sizeof frame);
    CHECK(relay_lane_delta(&ws, frame, (size_t)masked, &found) == RELAY_E_NOT_MINE, "as a server");
}

/* A frame is what relay_ws_next() understands, and its payload the header and what relay_downlink_push() gives. */
static void down_is_the_careful_way(int encoding, int rate) {
    int error;
    relay_downlink *fast = relay_downlink_new(encoding, rate, 24000, &error);
    relay_downlink *slow = relay_downlink_new(encoding, rate, 24000, &error);
    unsigned seed = (unsigned)rate;
    uint64_t first_sample = 0;
    static const size_t sizes[] = {2, 4, 6, 40, 54, 56, 960, 4800, 4802, 24576, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t chars = (sizes[i] + 2) / 3 * 4;
        char *pcm = exact(sizes[i]), *text = exact(chars);
        for (size_t k = 0; k < sizes[i]; k++) pcm[k] = (char)next_random(&seed);
        relay_base64_encode(pcm, sizes[i], text);
        const size_t room = (size_t)relay_downlink_frame_room(fast, chars);
        char *out = exact(room), *samples = exact(room);
        const size_t payload_room = room + RELAY_WS_CONTROL_BYTES;
        char *payload = exact(payload_room);
        CHECK(relay_downlink_frame(fast, text, chars, 7, first_sample, out, room - 1) == RELAY_E_ROOM, "room");
        const char first_letter = text[0];
        text[0] = '!';
        CHECK(relay_downlink_frame(fast, text, chars, 7, first_sample, out, room) == RELAY_E_BASE64, "broken");
        text[0] = first_letter;
        const ptrdiff_t n = relay_downlink_push(slow, text, chars, samples, room);
        const ptrdiff_t got = relay_downlink_frame(fast, text, chars, 7, first_sample, out, room);
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
    CHECK(relay_downlink_frame(fast, "", 0, 1, 0, byte, 0) == 0, "empty");
    CHECK(relay_downlink_frame(fast, "AA", 2, 1, 0, byte, 0) == RELAY_E_BASE64, "half a group");
    CHECK(relay_downlink_frame(NULL, "AAAA", 4, 1, 0, byte, 1) == RELAY_E_CLOSED, "closed");
    relay_downlink_free(fast), relay_downlink_free(slow);
}

int main(void) {
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        up_is_the_careful_way(), up_leaves_everything_else();
        a_delta_is_found(), whatever_is_in_doubt_is_left(), a_delta_is_found_in_its_frame();
        down_is_the_careful_way(RELAY_F32LE, 48000), down_is_the_careful_way(RELAY_S16LE, 24000);
        down_is_the_careful_way(RELAY_S16LE, 8000), down_is_the_careful_way(RELAY_F32LE, 44100);
    }
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("lane");
}
