/* The short way, socket to socket: real TCP on loopback, and every outcome that relay_native.h names. */
#include "road.h"

#include <signal.h>

static char frame[1 << 18], heard[1 << 18], sound[1 << 17];

/* ---- up ---- */

static void samples_pass(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_NONE, "nothing is there");
    for (size_t piece = 1; piece <= n; piece += piece < 8 ? 1 : n) {
        for (size_t at = 0; at < n; at += piece) say(&road, 0, frame + at, n - at < piece ? n - at : piece);
        CHECK(hear_all(&road, 1, heard, 1280 + 47 + 8) == 0, "in pieces of %zu", piece);
        CHECK((uint8_t)heard[0] == 0x81 && (uint8_t)heard[1] == (0x80 | 126), "a masked text");
        relay_way_shut(road.way, &road.counts);
        CHECK(road.counts.up_events == 1 && road.counts.up_bytes == 960, "counted");
        relay_way_shut(road.way, &road.counts);
        CHECK(road.counts.up_events == 0, "and only once");
        relay_way_open_up(road.way);
    }
    end(&road);
}

/* A socket that holds more than one look does, cut inside a frame: nobody announces the rest of it again. */
static void a_frame_across_the_end_of_a_look_passes(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const int large = 1 << 20;
    setsockopt(road.near[0], SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 4800, frame);
    enum { COUNT = 20 };
    for (int i = 0; i < COUNT; i++) say(&road, 0, frame, n);
    arrive(road.near[0], COUNT * n);
    const int news = relay_way_open_up(road.way);
    CHECK(news == RELAY_NEWS_NONE, "%d", news);
    hear_all(&road, 1, heard, COUNT * (6400 + 47 + 8));
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.up_events == COUNT, "%d", (int)road.counts.up_events);
    end(&road);
}

/* One turn has a bound: whoever floods does not keep the others waiting, and is served again. */
static void a_flood_has_its_turn_and_no_more(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 2, frame);
    enum { COUNT = 300 };
    for (int i = 1; i < COUNT; i++) memcpy(frame + (size_t)i * n, frame, n);
    say(&road, 0, frame, COUNT * n);
    arrive(road.near[0], COUNT * n);
    relay_way_open_up(road.way);
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.up_events == 64, "%d", (int)road.counts.up_events);
    relay_way_open_up(road.way);
    uint64_t token;
    int leg, news;
    for (int i = 0; i < 10; i++) relay_pump_next(road.pump, 0, &token, &leg, &news);
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.up_events == COUNT - 64, "%d", (int)road.counts.up_events);
    end(&road);
}

/* ... so it is for Python, who reads it: the kernel may keep a whole segment for the sake of its end, and with it the
 * peer's window shut. */
static void a_part_behind_much_else_is_not_waited_for(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    enum { COUNT = 20 };
    for (int i = 1; i <= COUNT; i++) memcpy(frame + (size_t)i * n, frame, n);
    say(&road, 0, frame, COUNT * n + n / 2);
    arrive(road.near[0], COUNT * n + n / 2);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_CAREFUL, "a part");
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.up_events == COUNT, "%d", (int)road.counts.up_events);
    CHECK(recv(road.near[0], heard, sizeof heard, MSG_DONTWAIT) == (ssize_t)(n / 2), "left");
    end(&road);
}

static void a_part_that_stays_is_told_when_it_is_counted_again(void) {
    for (int leg = 0; leg < 2; leg++) {
        struct road road = begin(24000, RELAY_S16LE, 24000, 0);
        const relay_way_item item = spoken(1);
        const size_t n = leg ? delta("i", 480, frame) : masked(RELAY_WS_OP_BINARY, sound, 960, frame);
        say(&road, leg, frame, n / 2);
        arrive(road.near[leg], n / 2);
        CHECK(relay_way_open_up(road.way) + relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_NONE, "a part");
        relay_way_count(road.way, &road.counts);
        CHECK(road.counts.stalled == 0, "leg %d: new", leg);
        relay_way_count(road.way, &road.counts);
        CHECK(road.counts.stalled == 1u << leg, "leg %d: %u", leg, road.counts.stalled);
        say(&road, leg, frame + n / 2, n - n / 2);
        arrive(road.near[leg], n);
        uint64_t token;
        int from, news;
        CHECK(relay_pump_next(road.pump, 0, &token, &from, &news) == RELAY_PUMP_TIME, "whole");
        relay_way_count(road.way, &road.counts);
        CHECK(road.counts.stalled == 0 && road.counts.up_events + road.counts.down_events == 1, "leg %d: passed", leg);
        end(&road);
    }
}

/* ... and no longer, when Python has read it. */
static void a_part_that_python_read_is_not_told_of(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    say(&road, 0, frame, n / 2);
    arrive(road.near[0], n / 2);
    relay_way_open_up(road.way);
    relay_way_count(road.way, &road.counts);
    relay_way_shut(road.way, &road.counts);
    CHECK(recv(road.near[0], heard, sizeof heard, MSG_DONTWAIT) == (ssize_t)(n / 2), "read");
    relay_way_open_up(road.way);
    relay_way_count(road.way, &road.counts);
    CHECK(road.counts.stalled == 0, "%u", road.counts.stalled);
    end(&road);
}

/* What is not mine stays in its socket, whole, and says so once. */
static void not_mine_up(const char *what, const char *bytes, size_t n) {
    struct road road = begin(48000, RELAY_F32LE, 48000, 0);
    uint64_t token = 0;
    int leg = -1, news = 0;
    relay_way_open_up(road.way);
    say(&road, 0, bytes, n);
    arrive(road.near[0], n);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news), "%s", what);
    CHECK(token == 7 && leg == RELAY_WAY_BROWSER && news == RELAY_NEWS_CAREFUL, "%s: %d", what, news);
    CHECK(!relay_pump_next(road.pump, 0, &token, &leg, &news), "%s: once", what);
    CHECK(recv(road.near[0], heard, sizeof heard, MSG_DONTWAIT) == (ssize_t)n && !memcmp(heard, bytes, n), "%s", what);
    CHECK(hear(&road, 1, heard, sizeof heard) == 0, "%s", what);
    end(&road);
}

static void what_is_not_mine_stays(void) {
    size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    frame[0] = 0x02, not_mine_up("not final", frame, n);
    frame[0] = (char)0xC2, not_mine_up("a reserved bit", frame, n);
    frame[0] = (char)0x82, frame[1] &= 0x7F, not_mine_up("no mask", frame, n);
    n = masked(RELAY_WS_OP_BINARY, sound, 961, frame), not_mine_up("no whole samples", frame, n);
    n = masked(RELAY_WS_OP_BINARY, sound, 0, frame), not_mine_up("empty", frame, n);
    n = masked(RELAY_WS_OP_BINARY, sound, 65535, frame), not_mine_up("long", frame, 100);
    n = masked(RELAY_WS_OP_BINARY, sound, 65536, frame), not_mine_up("longer", frame, 100);
    n = masked(RELAY_WS_OP_BINARY, sound, 32768, frame), not_mine_up("a part of more than half a look", frame, 100);
    n = masked(RELAY_WS_OP_PING, "x", 1, frame), not_mine_up("a ping", frame, n);
    n = masked(RELAY_WS_OP_CLOSE, "\3\xE8", 2, frame), not_mine_up("a Close", frame, n);
    n = masked(RELAY_WS_OP_TEXT, "{}", 2, frame), not_mine_up("a text", frame, n);
    static const char report[] = "{\"type\":\"relay.played\",\"item\":3,\"samples\":5}";
    n = masked(RELAY_WS_OP_TEXT, report, sizeof report - 1, frame), not_mine_up("a report of nothing", frame, n);
    static const char bad_length[] = "\x82\xFE\0\4\1\2\3\4abcd";
    not_mine_up("not the shortest length", bad_length, sizeof bad_length - 1);
}

/* Also when it comes behind frames, or part of one, before those were looked at or after. */
static void an_end_is_told(int leg, size_t n, size_t left, int is_looked_at) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    uint64_t token;
    int from = -1, news = 0;
    const relay_way_item item = spoken(1);
    relay_way_open_up(road.way);
    relay_way_open_down(road.way, &item, 0);
    if (n) say(&road, leg, frame, n), arrive(road.near[leg], n);
    if (is_looked_at) CHECK(!relay_pump_next(road.pump, 0, &token, &from, &news), "leg %d, %zu: nothing yet", leg, n);
    shutdown(road.far[leg], SHUT_WR);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &from, &news), "leg %d, %zu", leg, n);
    CHECK(from == leg && news == RELAY_NEWS_CAREFUL, "leg %d, %zu: %d", leg, n, news);
    CHECK(recv(road.near[leg], heard, sizeof heard, MSG_DONTWAIT) == (ssize_t)left, "leg %d, %zu: left", leg, n);
    end(&road);
}

static void an_end_is_told_wherever_it_comes(void) {
    for (int leg = 0; leg < 2; leg++) {
        const size_t n = leg ? delta("i", 480, frame) : masked(RELAY_WS_OP_BINARY, sound, 960, frame);
        memcpy(frame + n, frame, n);
        for (int is_looked_at = 0; is_looked_at < 2; is_looked_at++) {
            an_end_is_told(leg, 0, 0, is_looked_at), an_end_is_told(leg, 1, 1, is_looked_at);
            an_end_is_told(leg, n, 0, is_looked_at), an_end_is_told(leg, 2 * n - 1, n - 1, is_looked_at);
        }
    }
}

/* ---- down, and reports ---- */

static void a_delta_passes_when_it_is_due(void) {
    static const int formats[][3] = {{48000, RELAY_F32LE, 20}, {192000, RELAY_F32LE, 20}, {8000, RELAY_S16LE, 100}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const int rate = formats[i][0], ms = formats[i][2];
        struct road road = begin(rate, formats[i][1], rate, 0);
        const size_t samples = (size_t)rate * (size_t)ms / 1000, payload = samples * road.ends.sample_bytes + 16;
        relay_way_item item = spoken(77);
        say(&road, 1, frame, delta("i", (size_t)(24 * ms), frame));
        arrive(road.near[1], 100);
        relay_way_open_down(road.way, &item, 900000000);
        hear_all(&road, 0, heard, payload + 4);
        uint64_t first;
        memcpy(&first, heard + 4 + 8, sizeof first);
        CHECK((uint8_t)heard[0] == 0x82 && first == 77 && heard[4 + 4] == 3, "%d Hz", rate);
        relay_way_shut(road.way, &road.counts);
        CHECK(road.counts.down_events == 1 && road.counts.down_samples == (uint64_t)(24 * ms), "%d Hz", rate);
        CHECK(road.counts.sent_samples == 77 + samples, "%d", (int)road.counts.sent_samples);
        const int64_t expected_ns = 900000000 + (int64_t)ms * 1000000;
        CHECK(road.counts.heard_in_ns <= expected_ns && road.counts.heard_in_ns > expected_ns - 800000000, "lead");
        end(&road);
    }
}

static void a_delta_that_may_not_pass_waits(void) {
    static const struct {
        const char *item;
        size_t samples;
        int64_t heard_in_ns;
        int rate;
    } cases[] = {
        {"i", 480, 1500000000, 48000}, /* not due */
        {"j", 480, 0, 48000},          /* of another item */
        {"ii", 480, 0, 48000},
        {"i", 2401, 0, 24000},  /* longer than a frame for the browser */
        {"i", 2400, 0, 192000}, /* more than a rest holds */
        {"i", 0, 0, 48000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct road road = begin(48000, RELAY_F32LE, cases[i].rate, 0);
        const relay_way_item item = spoken(1);
        const size_t n = delta(cases[i].item, cases[i].samples, frame);
        say(&road, 1, frame, n);
        arrive(road.near[1], n);
        CHECK(relay_way_next_bytes(road.way, 1) == (ptrdiff_t)n, "%zu", i);
        CHECK(relay_way_open_down(road.way, &item, cases[i].heard_in_ns) == RELAY_NEWS_CAREFUL, "%zu", i);
        relay_way_shut(road.way, &road.counts);
        CHECK(road.counts.down_events == 0 && road.counts.sent_samples == 1, "%zu", i);
        arrive(road.near[1], n);
        end(&road);
    }
}

static void reports_are_kept(void) {
    static const struct {
        const char *text;
        uint64_t played;
        int news;
    } cases[] = {
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":40}", 40, RELAY_NEWS_NONE},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":0}", 0, RELAY_NEWS_NONE},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":101}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":2,\"samples\":40}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":03,\"samples\":40}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":-4}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":4}}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":4", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":0000000000000040}", 0, RELAY_NEWS_CAREFUL},
        {"{\"type\":\"relay.played\",\"item\":3,\"samples\":9999999999999999}", 0, RELAY_NEWS_CAREFUL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct road road = begin(48000, RELAY_F32LE, 48000, 0);
        const relay_way_item item = spoken(100);
        relay_way_open_down(road.way, &item, 0);
        const size_t n = masked(RELAY_WS_OP_TEXT, cases[i].text, strlen(cases[i].text), frame);
        say(&road, 0, frame, n);
        arrive(road.near[0], n);
        const int news = relay_way_open_up(road.way);
        relay_way_shut(road.way, &road.counts);
        CHECK(news == cases[i].news && road.counts.played_samples == cases[i].played, "%s: %d", cases[i].text, news);
        end(&road);
    }
}

static uint64_t played_after(struct road *road, int samples) {
    char text[64];
    const int chars = sprintf(text, "{\"type\":\"relay.played\",\"item\":3,\"samples\":%d}", samples);
    const size_t n = masked(RELAY_WS_OP_TEXT, text, (size_t)chars, frame);
    say(road, 0, frame, n);
    arrive(road->near[0], n);
    uint64_t token;
    int leg, news;
    CHECK(relay_pump_next(road->pump, 0, &token, &leg, &news) == RELAY_PUMP_TIME, "%d: %d", samples, news);
    relay_way_count(road->way, &road->counts);
    return road->counts.played_samples;
}

static void a_report_that_goes_back_says_nothing_new(void) {
    struct road road = begin(48000, RELAY_F32LE, 48000, 0);
    relay_way_item item = spoken(480000);
    item.played_samples = 470000;
    relay_way_open_up(road.way);
    relay_way_open_down(road.way, &item, 0);
    CHECK(played_after(&road, 50) == 470000, "before what Python knew: %d", (int)road.counts.played_samples);
    CHECK(played_after(&road, 475000) == 475000, "on: %d", (int)road.counts.played_samples);
    CHECK(played_after(&road, 1000) == 475000, "back: %d", (int)road.counts.played_samples);
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.heard_in_ns < 210000000, "10,000 samples at most: %d ms", (int)(road.counts.heard_in_ns / 1000000));
    end(&road);
}

/* ---- a socket that is full, watching, freeing ---- */

static void a_rest_is_whole_and_given_once(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    const int small = 4096;
    setsockopt(road.near[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(road.far[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 16000, frame);
    int news = relay_way_open_up(road.way), leg;
    uint64_t token, frames = 0;
    for (; !news && frames < 200; frames++) {
        say(&road, 0, frame, n);
        arrive(road.near[0], n);
        relay_pump_next(road.pump, relay_now_ns() + 50000000, &token, &leg, &news);
    }
    CHECK(news == RELAY_NEWS_STUCK, "%d after %d", news, (int)frames);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_NONE, "with a rest nothing opens");
    CHECK(relay_way_rest(road.way, 0, heard, sizeof heard) == 0, "not for the browser");
    CHECK(relay_way_rest(road.way, 1, heard, 1) == RELAY_E_ROOM, "too small");
    static char rest[RELAY_WAY_REST_BYTES];
    const ptrdiff_t left = relay_way_rest(road.way, 1, rest, sizeof rest);
    CHECK(left > 0 && relay_way_rest(road.way, 1, rest + left, 1) == 0, "once: %td", left);
    relay_way_shut(road.way, &road.counts);
    const size_t each = (16000 + 2) / 3 * 4 + 47 + 8, sent = (size_t)road.counts.up_events * each - (size_t)left;
    CHECK(road.counts.up_events == frames, "%d of %d", (int)road.counts.up_events, (int)frames);
    relay_ws ws;
    relay_ws_init(&ws, RELAY_WS_SERVER, 65536, 1);
    static char all[1 << 22], out[1 << 16];
    for (size_t have = 0; have < sent;) {
        const ssize_t more = recv(road.far[1], all + have, sent - have, 0);
        if (more <= 0) abort();
        have += (size_t)more;
    }
    memcpy(all + sent, rest, (size_t)left);
    uint64_t whole = 0;
    do whole += relay_ws_next(&ws, all, sent + (size_t)left, out, sizeof out) == RELAY_WS_TEXT;
    while (ws.at);
    CHECK(whole == frames && relay_ws_between_messages(&ws), "%d frames", (int)whole);
    end(&road);
}

static void a_watched_leg_speaks_once(void) {
    struct road road = begin(48000, RELAY_F32LE, 48000, 0);
    uint64_t token;
    int leg, news;
    CHECK(relay_way_watch(road.way, 0) == RELAY_NEWS_NONE, "nothing yet");
    say(&road, 0, "x", 1);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) && leg == 0, "watched");
    say(&road, 0, "x", 1);
    arrive(road.near[0], 2);
    CHECK(!relay_pump_next(road.pump, 0, &token, &leg, &news), "shut now");
    CHECK(relay_way_watch(road.way, 0) == RELAY_NEWS_CAREFUL, "what is there is told at once");
    relay_way_open_up(road.way);
    end(&road);
}

/* News of a way that is freed between them is not told. */
static void a_way_may_be_freed_between_two_news(void) {
    struct road road = begin(48000, RELAY_F32LE, 48000, 0);
    uint64_t token;
    int leg, news;
    relay_way_watch(road.way, 0), relay_way_watch(road.way, 1);
    say(&road, 0, "x", 1), say(&road, 1, "x", 1);
    arrive(road.near[0], 1), arrive(road.near[1], 1);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news), "the first");
    relay_way_free(road.way);
    CHECK(!relay_pump_next(road.pump, 0, &token, &leg, &news), "no second");
    road.way = NULL;
    end(&road);
    relay_way_free(NULL), relay_pump_free(NULL);
    relay_pump *const pump = relay_pump_new();
    const relay_way_ends none = {.fds = {-1, -1}};
    CHECK(relay_way_new(pump, &none) == NULL, "no sockets");
    relay_pump_free(pump);
}

/* ---- TLS: "encrypted" here by taking the bytes as they are ---- */

static void frames_go_through_whoever_has_the_keys(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 1);
    size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    memcpy(frame + n, frame, n);
    say(&road, 0, frame, 2 * n);
    arrive(road.near[0], 2 * n);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_ENCRYPT, "first");
    const relay_tls_work *const work = relay_pump_tls_work(road.pump);
    CHECK(work->frame_bytes == 1280 + 47 + 8, "%zu", work->frame_bytes);
    CHECK(relay_way_send(road.way, 0, sound, RELAY_WAY_REST_BYTES + 1) == RELAY_E_ROOM, "too long");
    CHECK(relay_way_send(road.way, 0, work->frame, work->frame_bytes) == RELAY_NEWS_ENCRYPT, "second");
    CHECK(relay_way_send(road.way, 0, work->frame, work->frame_bytes) == RELAY_NEWS_NONE, "no third");
    const relay_way_item item = spoken(1);
    int news;
    n = delta("i", 480, frame);
    CHECK(relay_way_hear(road.way, 1, frame, n, &news) == 0 && news == RELAY_NEWS_NONE, "shut");
    say(&road, 1, frame, n);
    arrive(road.near[1], n);
    CHECK(relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_NONE, "what was left before comes first");
    uint64_t token;
    int leg;
    CHECK(relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_NEWS && leg == 1, "there is something");
    CHECK(news == RELAY_NEWS_DECRYPT && work->received_bytes == n && memcmp(work->received, frame, n) == 0, "all");
    memcpy(heard, frame, n);
    for (size_t cut = 0; cut < n; cut += 50)
        CHECK(relay_way_hear(road.way, 1, heard, cut, &news) == 0 && news == RELAY_NEWS_NONE, "cut to %zu", cut);
    memcpy(heard + n, "\x81\2{}", 4);
    CHECK(relay_way_hear(road.way, 1, heard, n + 4, &news) == n && news == RELAY_NEWS_CAREFUL, "up to the text");
    CHECK(relay_way_frame_bytes(heard, n) == (ptrdiff_t)n && relay_way_frame_bytes(heard, 1) == 0, "length");
    end(&road);
}

static void what_whoever_has_the_keys_reads_goes_up_to_the_end(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 1);
    const relay_tls_work *const work = relay_pump_tls_work(road.pump);
    const relay_way_item item = spoken(1);
    uint64_t token;
    int leg, news;
    CHECK(relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_NONE, "nothing yet");
    say(&road, 1, "last", 4);
    close(road.far[1]), road.far[1] = -1;
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) == RELAY_PUMP_NEWS, "it comes");
    CHECK(leg == 1 && news == RELAY_NEWS_DECRYPT && work->received_bytes == 4, "its last words: %d", news);
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) == RELAY_PUMP_NEWS, "it ends");
    CHECK(leg == 1 && news == RELAY_NEWS_CAREFUL, "its end: %d", news);
    CHECK(relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_TIME, "once");
    end(&road);
}

/* ---- the loop ---- */

static void the_loop_ends_the_wait_after_those_who_are_ready(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    uint64_t token;
    int pipe_fds[2], leg, news;
    if (pipe(pipe_fds)) abort();
    CHECK(relay_pump_wait_for(road.pump, pipe_fds[0]) == 0 && relay_pump_wait_for(road.pump, -1) == -1, "a descriptor");
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 1000000, &token, &leg, &news) == RELAY_PUMP_TIME, "the time");
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    relay_way_open_up(road.way);
    say(&road, 0, frame, n);
    arrive(road.near[0], n);
    if (write(pipe_fds[1], "", 1) != 1) abort();
    for (int i = 0; i < 2; i++) /* it says so until somebody reads */
        CHECK(relay_pump_next(road.pump, INT64_MAX, &token, &leg, &news) == RELAY_PUMP_LOOP, "the loop");
    relay_way_count(road.way, &road.counts);
    CHECK(road.counts.up_events == 1, "%d", (int)road.counts.up_events);
    end(&road);
    close(pipe_fds[0]), close(pipe_fds[1]);
}

static void hear_signal(int number) { (void)number; }

static void a_signal_ends_the_wait(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    uint64_t token;
    int leg, news;
    struct sigaction nothing = {.sa_handler = hear_signal};
    sigaction(SIGALRM, &nothing, NULL);
    ualarm(20000, 0);
    CHECK(relay_pump_next(road.pump, INT64_MAX, &token, &leg, &news) == RELAY_PUMP_TIME, "a signal");
    end(&road);
}

/* News that come as fast as they are taken do not outlast the time. */
static void whoever_floods_with_news_does_not_keep_the_loop(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 1);
    const relay_way_item item = spoken(1);
    uint64_t token;
    int leg, news, count = 0;
    relay_way_open_down(road.way, &item, 0);
    do {
        say(&road, 1, "x", 1);
        arrive(road.near[1], 1);
    } while (++count < 100 && relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_NEWS);
    CHECK(count == 2, "%d", count);
    CHECK(relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_NEWS, "what came later is news then");
    CHECK(relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_TIME, "and that is all");
    end(&road);
}

/* What is too long for the careful way, or would pass before Python has counted enough of what did. */
static void what_may_go_up_has_bounds(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    road.ends.longest_up_bytes = 960, road.ends.uncounted_up_bytes = 1920;
    relay_way_free(road.way);
    road.way = relay_way_new(road.pump, &road.ends);
    const size_t n = masked(RELAY_WS_OP_BINARY, sound, 960, frame);
    for (int i = 0; i < 3; i++) say(&road, 0, frame, n);
    arrive(road.near[0], 3 * n);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_CAREFUL, "the third");
    relay_way_shut(road.way, &road.counts);
    CHECK(road.counts.up_bytes == 1920, "%d", (int)road.counts.up_bytes);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_NONE, "counted, it passes");
    say(&road, 0, frame, masked(RELAY_WS_OP_BINARY, sound, 962, frame));
    arrive(road.near[0], 1);
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_CAREFUL, "too long");
    end(&road);
}

int main(void) {
    relay_init(RELAY_SIMD_AVX2);
    samples_pass(), a_frame_across_the_end_of_a_look_passes(), a_flood_has_its_turn_and_no_more();
    a_part_behind_much_else_is_not_waited_for(), a_part_that_stays_is_told_when_it_is_counted_again();
    a_part_that_python_read_is_not_told_of();
    what_is_not_mine_stays();
    an_end_is_told_wherever_it_comes();
    a_delta_passes_when_it_is_due(), a_delta_that_may_not_pass_waits(), reports_are_kept();
    a_report_that_goes_back_says_nothing_new();
    a_rest_is_whole_and_given_once(), a_watched_leg_speaks_once(), a_way_may_be_freed_between_two_news();
    frames_go_through_whoever_has_the_keys(), what_whoever_has_the_keys_reads_goes_up_to_the_end();
    the_loop_ends_the_wait_after_those_who_are_ready(), a_signal_ends_the_wait();
    whoever_floods_with_news_does_not_keep_the_loop(), what_may_go_up_has_bounds();
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("way");
}
