/* The frame paths: promises that C can check better than Python. Quality is measured in tests/native. */
#include "check.h"

#define TWO_PI 6.283185307179586

struct stream {
    char *bytes;
    size_t n;
};

/* Pushes samples in chunks of the sizes that `seed` draws (0: all at once as far as allowed), and collects the decoded
 * PCM16. */
static struct stream send(relay_uplink *up, const char *samples, size_t n_bytes, size_t width, unsigned seed) {
    struct stream sent = {exact(8 * n_bytes + 4096), 0};
    for (size_t at = 0; at < n_bytes;) {
        size_t chunk = seed ? (next_random(&seed) % 1500 + 1) * width : RELAY_MAX_FRAME_BYTES;
        if (chunk > n_bytes - at) chunk = n_bytes - at;
        const ptrdiff_t room = relay_uplink_room(up, chunk);
        char *in = exact_copy(samples + at, chunk), *out = exact((size_t)room);
        if (room > 0)
            CHECK(relay_uplink_push(up, in, chunk, out, (size_t)room - 1) == RELAY_E_ROOM, "chunk %zu", chunk);
        CHECK(relay_uplink_push(up, in, chunk, out, (size_t)room) == room, "chunk %zu", chunk);
        if (room > 0) {
            CHECK(out[room - 1] == '}' && out[room - 2] == '"' && out[0] == '{', "no event");
            const ptrdiff_t got = relay_base64_decode(out + 45, (size_t)room - 47, sent.bytes + sent.n);
            CHECK(got > 0, "event without base64");
            sent.n += (size_t)got;
        }
        free(in), free(out);
        at += chunk;
    }
    return sent;
}

static float *noise_and_tone(size_t n, unsigned seed) {
    float *x = (float *)(void *)exact(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(0.5 * sin(TWO_PI * 0.01 * (double)i) + next_random(&seed) / 16777216.0 - 0.5);
    return x;
}

static const int RATES[] = {8000,  11025, 16000, 22050, 24000,  24001,  37000,
                            44100, 48000, 72000, 96000, 143999, 184000, 192000};
#define RATE_COUNT (sizeof RATES / sizeof *RATES)

static void any_split_is_identical(int rate, int upstream) {
    const size_t n = brief() ? 3000 : 9000;
    float *x = noise_and_tone(n, (unsigned)rate);
    int error;
    struct stream streams[3];
    for (unsigned i = 0; i < 3; i++) {
        relay_uplink *up = relay_uplink_new(RELAY_F32LE, rate, upstream, &error);
        streams[i] = send(up, (const char *)x, n * sizeof *x, sizeof *x, i * 77);
        relay_uplink_free(up);
        CHECK(streams[i].n == streams[0].n, "%d -> %d", rate, upstream);
        CHECK(memcmp(streams[i].bytes, streams[0].bytes, streams[0].n) == 0, "%d -> %d differs by split", rate,
              upstream);
    }
    for (int i = 0; i < 3; i++) free(streams[i].bytes);
    free(x);
}

/* Every level against plain C: at most 1 LSB apart. */
static void levels_agree(int rate, int upstream) {
    const size_t n = brief() ? 2000 : 6000;
    float *x = noise_and_tone(n, (unsigned)rate + 1);
    int error;
    struct stream plain = {0};
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        relay_uplink *up = relay_uplink_new(RELAY_F32LE, rate, upstream, &error);
        struct stream sent = send(up, (const char *)x, n * sizeof *x, sizeof *x, 0);
        relay_uplink_free(up);
        if (i == 0) {
            plain = sent;
            continue;
        }
        CHECK(sent.n == plain.n, "%d -> %d", rate, upstream);
        for (size_t k = 0; k < plain.n; k += 2) {
            int16_t a, b;
            memcpy(&a, plain.bytes + k, 2), memcpy(&b, sent.bytes + k, 2);
            CHECK(abs(a - b) <= 1, "%d -> %d, sample %zu: %d, plain C %d", rate, upstream, k / 2, b, a);
        }
        free(sent.bytes);
    }
    free(plain.bytes), free(x);
}

/* Down, in PCM16 and float, in deltas of odd lengths, with buffers of exactly the size that was asked for. */
static void down(int rate, int upstream, int encoding) {
    int error;
    relay_downlink *downlink = relay_downlink_new(encoding, rate, upstream, &error);
    unsigned seed = (unsigned)rate;
    for (int i = 0; i < (brief() ? 4 : 12); i++) {
        const size_t n_bytes = 2 * (next_random(&seed) % 3000 + 1), chars = (n_bytes + 2) / 3 * 4;
        char *pcm = exact(n_bytes), *text = exact(chars);
        for (size_t k = 0; k < n_bytes; k++) pcm[k] = (char)next_random(&seed);
        relay_base64_encode(pcm, n_bytes, text);
        const ptrdiff_t room = relay_downlink_room(downlink, chars);
        char *out = exact((size_t)room);
        CHECK(relay_downlink_push(downlink, text, chars, out, (size_t)room - 1) == RELAY_E_ROOM, "room");
        text[chars / 2] = '!';
        CHECK(relay_downlink_push(downlink, text, chars, out, (size_t)room) == RELAY_E_BASE64, "broken");
        relay_base64_encode(pcm, n_bytes, text);
        const ptrdiff_t got = relay_downlink_push(downlink, text, chars, out, (size_t)room);
        CHECK(got >= 0 && got <= room, "%td of %td", got, room);
        free(pcm), free(text), free(out);
    }
    const ptrdiff_t room = relay_downlink_room(downlink, 0);
    char *out = exact((size_t)room);
    const ptrdiff_t got = relay_downlink_finish(downlink, out, (size_t)room);
    CHECK(got >= 0 && got <= room, "%td of %td", got, room);
    CHECK(relay_downlink_finish(downlink, out, (size_t)room) == 0, "a second finish has nothing");
    free(out);
    relay_downlink_free(downlink);
}

static void refusals(void) {
    int error = 0;
    char byte[8] = {0};
    static const int bad_rates[] = {1, 7999, 192001, 10000000, -1, 0};
    for (size_t i = 0; i < sizeof bad_rates / sizeof *bad_rates; i++) {
        CHECK(!relay_uplink_new(RELAY_F32LE, bad_rates[i], 24000, &error) && error == RELAY_E_FORMAT, "in %d",
              bad_rates[i]);
        CHECK(!relay_downlink_new(RELAY_F32LE, 24000, bad_rates[i], &error) && error == RELAY_E_FORMAT, "out %d",
              bad_rates[i]);
    }
    CHECK(!relay_uplink_new(2, 48000, 24000, &error) && error == RELAY_E_FORMAT, "encoding");
    relay_uplink *up = relay_uplink_new(RELAY_F32LE, 48000, 24000, &error);
    for (size_t n = 0; n < 4; n++) CHECK(relay_uplink_push(up, byte, n, byte, 8) == RELAY_E_LENGTH, "%zu bytes", n);
    CHECK(relay_uplink_push(up, byte, RELAY_MAX_FRAME_BYTES + 4, byte, 8) == RELAY_E_LENGTH, "too long");
    CHECK(relay_uplink_push(up, byte, 4, byte, 0) == 0, "one sample of two");
    relay_uplink_free(up);
    relay_uplink_free(NULL), relay_downlink_free(NULL), relay_downlink_reset(NULL);
    CHECK(relay_uplink_push(NULL, byte, 4, byte, 8) == RELAY_E_CLOSED, "closed");
    CHECK(relay_downlink_push(NULL, byte, 4, byte, 8) == RELAY_E_CLOSED, "closed");
    CHECK(relay_downlink_finish(NULL, byte, 8) == RELAY_E_CLOSED, "closed");
}

/* The level is that of the PCM16 which came out, until it is cleared; a handle says what it holds. */
static void levels_and_sizes(void) {
    static const char full[] = {0, (char)0x80, 0, (char)0x80, 0, (char)0x80, 0, (char)0x80};
    char out[256];
    double level[2];
    int error;
    relay_uplink *up = relay_uplink_new(RELAY_S16LE, 24000, 24000, &error);
    relay_downlink *down = relay_downlink_new(RELAY_S16LE, 24000, 24000, &error);
    CHECK(relay_uplink_level(up, level, 0) == 0 && level[0] <= -120 && level[1] <= -120, "nothing is silence");
    CHECK(relay_uplink_push(up, full, sizeof full, out, sizeof out) > 0, "up");
    CHECK(relay_downlink_push(down, "AIAAgACAAIA=", 12, out, sizeof out) == sizeof full, "down");
    for (int clear = 0; clear < 2; clear++) {
        CHECK(relay_uplink_level(up, level, clear) == 4 && fabs(level[0]) < 0.01 && fabs(level[1]) < 0.01, "up");
        CHECK(relay_downlink_level(down, level, clear) == 4 && fabs(level[0]) < 0.01 && fabs(level[1]) < 0.01, "down");
    }
    CHECK(relay_uplink_level(up, level, 0) == 0 && relay_downlink_level(down, level, 0) == 0, "cleared");
    CHECK(relay_uplink_state_bytes(up) <= 1024 && relay_downlink_state_bytes(down) <= 1024, "as promised");
    CHECK(relay_uplink_level(NULL, level, 0) == RELAY_E_CLOSED, "closed");
    CHECK(relay_downlink_level(NULL, level, 0) == RELAY_E_CLOSED, "closed");
    relay_downlink_reset(NULL);
    relay_uplink_free(up), relay_downlink_free(down);
}

int main(void) {
    for (size_t i = 0; i < RATE_COUNT; i += brief() ? 5 : 1) {
        levels_agree(RATES[i], 24000), levels_agree(24000, RATES[i]), levels_agree(RATES[i], 8000);
        for (size_t l = 0; l < LEVEL_COUNT; l++) {
            relay_init(LEVELS[l]);
            any_split_is_identical(RATES[i], 24000), any_split_is_identical(RATES[i], 8000);
            down(RATES[i], 24000, RELAY_S16LE), down(RATES[i], 24000, RELAY_F32LE), down(RATES[i], 8000, RELAY_F32LE);
        }
    }
    refusals(), levels_and_sizes();
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    CHECK(relay_table_bytes() == 0, "%zu bytes of tables", relay_table_bytes());
    return report("audio");
}
