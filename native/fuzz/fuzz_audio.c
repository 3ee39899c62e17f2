/* Whatever the rates, the samples and the chunks: no push reads or writes outside its buffers, an uplink's event is
 * exactly as long as was said before, and one chunk or many, the PCM16 is the same. The first bytes choose the format,
 * the rest is audio; the same bytes go down as base64. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct choice {
    uint16_t rate, upstream; /* in 3 Hz, which covers 8 to 192 kHz */
    uint8_t encoding, simd, chunk;
};

static int rate_of(uint16_t value) {
    return RELAY_MIN_RATE_HZ + (int)(value * 3u % (RELAY_MAX_RATE_HZ - RELAY_MIN_RATE_HZ + 1));
}

/* Appends the PCM16 of one push to `pcm`. */
static size_t push(relay_uplink *up, const uint8_t *data, size_t n, char *pcm) {
    const ptrdiff_t room = relay_uplink_room(up, n);
    if (room < 0) abort();
    char *in = exact_copy(data, n), *out = exact((size_t)room);
    if (relay_uplink_push(up, in, n, out, (size_t)room) != room) abort();
    const ptrdiff_t got = room ? relay_base64_decode(out + 45, (size_t)room - 47, pcm) : 0;
    if (got < 0) abort();
    free(in), free(out);
    return (size_t)got;
}

static void up(const struct choice *choice, const uint8_t *data, size_t n) {
    const size_t width = choice->encoding % 2 == RELAY_F32LE ? 4 : 2, chunk = (choice->chunk + 1u) * width;
    n -= n % width;
    if (n == 0 || n > 8192) return;
    char *whole = exact(n * 24 + 64), *parts = exact(n * 24 + 64);
    int error;
    relay_uplink *one =
        relay_uplink_new(choice->encoding % 2, rate_of(choice->rate), rate_of(choice->upstream), &error);
    relay_uplink *many =
        relay_uplink_new(choice->encoding % 2, rate_of(choice->rate), rate_of(choice->upstream), &error);
    const size_t total = push(one, data, n, whole);
    size_t sum = 0;
    for (size_t at = 0; at < n; at += chunk) sum += push(many, data + at, n - at < chunk ? n - at : chunk, parts + sum);
    if (sum != total || memcmp(whole, parts, sum) != 0) abort();
    relay_uplink_free(one), relay_uplink_free(many);
    free(whole), free(parts);
}

static void down_push(relay_downlink *down, const char *text, size_t chars) {
    const ptrdiff_t room = relay_downlink_room(down, chars);
    char *out = exact((size_t)room), *copy = exact_copy(text, chars);
    const ptrdiff_t got = relay_downlink_push(down, copy, chars, out, (size_t)room);
    if (got > room) abort();
    free(out), free(copy);
}

static void down(const struct choice *choice, const uint8_t *data, size_t n) {
    int error;
    relay_downlink *down =
        relay_downlink_new(choice->encoding % 2, rate_of(choice->rate), rate_of(choice->upstream), &error);
    char *text = exact((n + 2) / 3 * 4);
    relay_base64_encode((const char *)data, n, text);
    down_push(down, text, (n + 2) / 3 * 4);
    down_push(down, (const char *)data, n); /* most likely no base64 */
    const ptrdiff_t room = relay_downlink_room(down, 0);
    char *out = exact((size_t)room);
    if (relay_downlink_finish(down, out, (size_t)room) > room) abort();
    relay_downlink_free(down);
    free(text), free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct choice choice;
    if (size < sizeof choice) return 0;
    memcpy(&choice, data, sizeof choice);
    relay_init(LEVELS[choice.simd % LEVEL_COUNT]);
    up(&choice, data + sizeof choice, size - sizeof choice);
    down(&choice, data + sizeof choice, size - sizeof choice);
    if (relay_live_handles() != 0 || relay_table_bytes() != 0) abort();
    return 0;
}
