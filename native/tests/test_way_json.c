/* The short way of OpenAI's JSON: what passes as it came, and what does not. */
#include "road.h"

#define APPEND "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAECAwQF\"}"
#define DELTA "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAECAwQF\"}"

static char frame[1 << 18], heard[1 << 18];

static struct road begin_json(int has_tls) {
    return begin_with((relay_way_ends){
        .token = 7, .is_json = 1, .has_tls[RELAY_WAY_UPSTREAM] = has_tls, .longest_up_bytes = 65536,
        .uncounted_up_bytes = 1 << 20, .uncounted_down_samples = 1 << 20});
}

static size_t plain(const char *text, char *out) {
    return (size_t)relay_ws_build(RELAY_WS_OP_TEXT, text, strlen(text), NULL, out, strlen(text) + RELAY_WS_HEAD_BYTES);
}

/* ---- up ---- */

static void unmask(char *frame, size_t n) {
    const size_t head = (frame[1] & 0x7F) == 126 ? 8 : 6;
    for (size_t i = head; i < n; i++) frame[i] ^= frame[head - 4 + (i - head) % 4];
}

static void an_append_is_written_anew(void) {
    static const char *const same[] = {
        APPEND,
        " { \"audio\" : \"AAECAwQF\" ,\n\"type\": \"input_audio_buffer.append\" } ",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct road road = begin_json(0);
        const size_t n = masked(RELAY_WS_OP_TEXT, same[i], strlen(same[i]), frame), out = 6 + strlen(APPEND);
        relay_way_open_up(road.way);
        say(&road, 0, frame, n);
        CHECK(hear_all(&road, 1, heard, out) == 0, "%s", same[i]);
        CHECK((uint8_t)heard[0] == 0x81 && (uint8_t)heard[1] == (0x80 | strlen(APPEND)), "a masked text");
        unmask(heard, out);
        CHECK(!memcmp(heard + 6, APPEND, strlen(APPEND)), "%.*s", (int)(out - 6), heard + 6);
        relay_way_count(road.way, &road.counts);
        CHECK(road.counts.up_events == 1 && road.counts.up_bytes == 6, "counted");
        end(&road);
    }
}

static void stays(const char *what, int leg, const char *bytes, size_t n) {
    struct road road = begin_json(0);
    const relay_way_item item = spoken(0);
    uint64_t token = 0;
    int from = -1, news = 0;
    relay_way_open_up(road.way), relay_way_open_down(road.way, &item, 0);
    say(&road, leg, bytes, n);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &from, &news) == RELAY_PUMP_NEWS, "%s", what);
    CHECK(from == leg && news == RELAY_NEWS_CAREFUL, "%s: %d", what, news);
    CHECK(recv(road.near[leg], heard, sizeof heard, MSG_DONTWAIT) == (ssize_t)n && !memcmp(heard, bytes, n), "%s", what);
    CHECK(hear(&road, !leg, heard, sizeof heard) == 0, "%s", what);
    end(&road);
}

static void what_is_no_plain_append_stays(void) {
    static const char *const other[] = {
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"\"}",
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAE=AAE=\"}",
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AA==\"}", /* half a sample */
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAECA\"}",
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAECAwQF\",\"event_id\":\"e\"}",
        "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAECAwQF\",\"audio\":\"AAECAwQF\"}",
        "{\"type\":\"input_audio_buffer.append\",\"delta\":\"AAECAwQF\"}",
        "{\"type\":\"input_audio_buffer.commit\",\"audio\":\"AAECAwQF\"}",
        "{\"audio\":\"AAECAwQF\"}",
        APPEND "}",
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        stays(other[i], 0, frame, masked(RELAY_WS_OP_TEXT, other[i], strlen(other[i]), frame));
    stays("binary", 0, frame, masked(RELAY_WS_OP_BINARY, APPEND, strlen(APPEND), frame));
    stays("unmasked", 0, frame, plain(APPEND, frame));
}

/* ---- down ---- */

static void a_delta_goes_on_as_it_came(void) {
    static const char *const same[] = {
        DELTA,
        "{ \"event_id\": \"event_1\", \"obfuscation\": \"aB3\", \"response_id\": \"r\", \"item_id\": \"i\","
        " \"output_index\": 0, \"content_index\": 0, \"delta\": \"AAE=\", \"type\": \"response.output_audio.delta\" }",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct road road = begin_json(0);
        const relay_way_item item = spoken(0);
        const size_t n = plain(same[i], frame);
        relay_way_open_down(road.way, &item, 0);
        say(&road, 1, frame, n);
        CHECK(hear_all(&road, 0, heard, n) == 0 && !memcmp(heard, frame, n), "%s", same[i]);
        relay_way_count(road.way, &road.counts);
        CHECK(road.counts.down_events == 1 && road.counts.down_samples == (i ? 1 : 3), "%d samples",
              (int)road.counts.down_samples);
        end(&road);
    }
}

static void what_may_hold_a_secret_or_is_another_item_stays(void) {
    static const char *const other[] = {
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"j\",\"response_id\":\"r\",\"delta\":\"AAECAwQF\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"s\",\"delta\":\"AAECAwQF\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"sk-AAAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AA==\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAECAwQF\","
        "\"event_id\":\"sk-1\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAECAwQF\","
        "\"obfuscation\":\"sk-1\"}",
        "{\"type\":\"response.output_audio.done\",\"item_id\":\"i\",\"response_id\":\"r\"}",
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) stays(other[i], 1, frame, plain(other[i], frame));
}

static void what_may_go_down_uncounted_has_a_bound(void) {
    struct road road = begin_with((relay_way_ends){.token = 7, .is_json = 1, .uncounted_down_samples = 6});
    const relay_way_item item = spoken(0);
    const size_t n = plain(DELTA, frame);
    for (int i = 0; i < 3; i++) say(&road, 1, frame, n);
    arrive(road.near[1], 3 * n);
    CHECK(relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_CAREFUL, "the third");
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.down_samples == 6, "%d", (int)road.counts.down_samples);
    CHECK(relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_NONE, "counted, it passes");
    CHECK(hear_all(&road, 0, heard, 3 * n) == 0, "all of it");
    end(&road);
}

static void the_longest_frame_that_passes_fits_into_a_rest(void) {
    static char text[1 << 17], pcm[1 << 16];
    const size_t before = (size_t)sprintf(text, "%.*s", (int)strlen(DELTA) - 10, DELTA);
    size_t samples = 2400;
    for (; samples < 20000; samples += 2400) {
        size_t at = before + (size_t)relay_base64_encode(pcm, 2 * samples, text + before);
        at += (size_t)sprintf(text + at, "\"}");
        const size_t n = plain(text, frame);
        if (n > 32768) break; /* half of a look: a longer one is not waited for */
        struct road road = begin_json(0);
        const relay_way_item item = spoken(0);
        relay_way_open_down(road.way, &item, 0);
        say(&road, 1, frame, n);
        CHECK(hear_all(&road, 0, heard, n) == 0 && !memcmp(heard, frame, n), "%zu samples", samples);
        end(&road);
    }
    CHECK(samples > 9600, "%zu", samples);
}

static void with_tls_both_go_through_whoever_has_the_keys(void) {
    struct road road = begin_json(1);
    const relay_way_item item = spoken(0);
    size_t n = masked(RELAY_WS_OP_TEXT, APPEND, strlen(APPEND), frame);
    int news;
    say(&road, 0, frame, n);
    arrive(road.near[0], n);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_ENCRYPT, "an append");
    CHECK(relay_pump_tls_work(road.pump)->frame_bytes == 6 + strlen(APPEND), "made");
    relay_way_open_down(road.way, &item, 0);
    n = plain(DELTA, frame);
    CHECK(relay_way_hear(road.way, RELAY_WAY_UPSTREAM, frame, n, &news) == n && news == RELAY_NEWS_NONE, "a delta");
    CHECK(hear_all(&road, 0, heard, n) == 0 && !memcmp(heard, frame, n), "as it came");
    end(&road);
}

int main(void) {
    relay_init(RELAY_SIMD_AVX2);
    an_append_is_written_anew(), what_is_no_plain_append_stays();
    a_delta_goes_on_as_it_came(), what_may_hold_a_secret_or_is_another_item_stays();
    what_may_go_down_uncounted_has_a_bound();
    the_longest_frame_that_passes_fits_into_a_rest(), with_tls_both_go_through_whoever_has_the_keys();
    return report("way_json");
}
