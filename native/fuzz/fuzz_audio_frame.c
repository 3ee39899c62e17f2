/* Whatever the samples, the base64 and the order of calls: a frame is what the calls make that it stands for, byte for
 * byte, and a call that fails has changed nothing. The first bytes choose the format, the rest is audio. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char KEY[4] = {1, 2, 3, 4};
static const int RATES[] = {48000, 24000, 8000, 44100, 192000};

#define RATE_COUNT (sizeof RATES / sizeof *RATES)

struct choice {
    uint8_t simd, encoding, rate, chunk;
};

/* A handle of each rate and direction lives for ever and keeps the filters, which take longer than all the rest. */
static void keep_filters(void) {
    static relay_uplink *ups[RATE_COUNT];
    static relay_downlink *downs[RATE_COUNT];
    int error;
    for (size_t i = 0; i < RATE_COUNT && !ups[i]; i++) {
        ups[i] = relay_uplink_new(RELAY_F32LE, RATES[i], 24000, &error);
        downs[i] = relay_downlink_new(RELAY_F32LE, RATES[i], 24000, &error);
    }
}

static void up(relay_uplink *joined, relay_uplink *apart, const char *samples, size_t n) {
    const ptrdiff_t needed = relay_uplink_frame_room(joined, n);
    const size_t room = needed < 0 ? 0 : (size_t)needed;
    char *frame = exact(room), *event = exact(room), *expected = exact(room);
    if (room > 0 && relay_uplink_frame(joined, samples, n, KEY, frame, room - 1) != RELAY_E_ROOM) abort();
    if (relay_uplink_frame(joined, samples, n, KEY, frame, room) != needed) abort();
    const ptrdiff_t chars = relay_uplink_push(apart, samples, n, event, room);
    if (needed <= 0 ? chars != needed : chars <= 0) abort();
    if (needed > 0) {
        if (relay_ws_build(RELAY_WS_OP_TEXT, event, (size_t)chars, KEY, expected, room) != needed) abort();
        if (memcmp(frame, expected, room) != 0) abort();
    }
    free(frame), free(event), free(expected);
}

/* The frame is in the shortest form that relay_ws_build() gives it, and says what was asked. */
static void check_frame(const char *frame, size_t n, const char *samples, size_t bytes, uint32_t item, uint64_t first) {
    const size_t payload_bytes = RELAY_AUDIO_HEAD_BYTES + bytes, room = payload_bytes + RELAY_WS_HEAD_BYTES;
    char *payload = exact(payload_bytes), *expected = exact(room);
    memcpy(payload, "\1\0\0\0", 4), memcpy(payload + 4, &item, sizeof item), memcpy(payload + 8, &first, sizeof first);
    memcpy(payload + RELAY_AUDIO_HEAD_BYTES, samples, bytes);
    const ptrdiff_t built = relay_ws_build(RELAY_WS_OP_BINARY, payload, payload_bytes, NULL, expected, room);
    if (built != (ptrdiff_t)n || memcmp(frame, expected, n) != 0) abort();
    free(payload), free(expected);
}

static void down(relay_downlink *joined, relay_downlink *apart, const char *text, size_t n) {
    const size_t room = (size_t)relay_downlink_frame_room(joined, n);
    char *frame = exact(room), *samples = exact(room);
    const uint64_t first = 0x100000000u + n;
    const ptrdiff_t made = relay_downlink_push(apart, text, n, samples, room);
    const ptrdiff_t got = relay_downlink_frame(joined, text, n, (uint32_t)n, first, frame, room);
    if (made <= 0 ? got != made : got <= made) abort();
    if (made > 0) check_frame(frame, (size_t)got, samples, (size_t)made, (uint32_t)n, first);
    free(frame), free(samples);
}

/* `text` is taken as base64 as it is, which it most likely is not, and encoded. */
static void down_both(relay_downlink *joined, relay_downlink *apart, const char *text, size_t n) {
    char *encoded = exact((n + 2) / 3 * 4);
    relay_base64_encode(text, n, encoded);
    down(joined, apart, encoded, (n + 2) / 3 * 4), down(joined, apart, text, n);
    free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct choice choice;
    if (size < sizeof choice) return 0;
    memcpy(&choice, data, sizeof choice);
    data += sizeof choice, size -= sizeof choice;
    keep_filters();
    relay_init(LEVELS[choice.simd % LEVEL_COUNT]);
    const int encoding = choice.encoding % 2, rate = RATES[choice.rate % RATE_COUNT];
    int error;
    relay_uplink *ups[2];
    relay_downlink *downs[2];
    for (int i = 0; i < 2; i++) {
        ups[i] = relay_uplink_new(encoding, rate, 24000, &error);
        downs[i] = relay_downlink_new(encoding, rate, 24000, &error);
    }
    const size_t step = 8 * (choice.chunk + 1u);
    for (size_t at = 0; at < size; at += step) {
        const size_t n = size - at < step ? size - at : step;
        char *part = exact_copy(data + at, n);
        up(ups[0], ups[1], part, n), down_both(downs[0], downs[1], part, n);
        free(part);
    }
    for (int i = 0; i < 2; i++) relay_uplink_free(ups[i]), relay_downlink_free(downs[i]);
    if (relay_live_handles() != 2 * RATE_COUNT) abort();
    return 0;
}
