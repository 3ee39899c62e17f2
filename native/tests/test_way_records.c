/* Records of a browser that is not trusted, counted in front of OpenSSL (tls_records.c), and too many left for Python. */
#include "tls_road.h"

enum { MOST = RELAY_TLS_MOST_AT_ONCE, MOST_EMPTY = RELAY_TLS_MOST_EMPTY };

static relay_tls_records counted;

static void open_up(struct road *road) {
    CHECK(relay_way_open_up(road->way) == RELAY_NEWS_NONE, "what was left before comes first");
    CHECK(hear_again(road, BROWSER) == RELAY_NEWS_NONE, "nothing was left");
}

static struct road begin_way(relay_tls_records *records, int is_known) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    begin_connections();
    counted = (relay_tls_records){0};
    road.ends.has_tls[BROWSER] = 1, road.ends.records[BROWSER] = records;
    road.ends.ssl[BROWSER] = is_known ? &near[BROWSER] : NULL;
    begin_again(&road);
    open_up(&road);
    return road;
}

/* The browser will send a frame of so many bytes of samples, as a record of its own; records of nothing. */
static void put_audio(size_t bytes) {
    static const char samples[4096];
    SSL_write(&far[BROWSER], frame, (int)masked(RELAY_WS_OP_BINARY, samples, bytes, frame));
}

static void put_empty(size_t count) {
    for (size_t i = 0; i < count; i++) fake_put(&far[BROWSER], FAKE_DATA, NULL, 0);
}

static void check_up(struct road *road, size_t frames, const char *what) {
    relay_way_count(road->way, &road->counts);
    CHECK(road->counts.up_events == frames, "%s: %d of %zu", what, (int)road->counts.up_events, frames);
}

/* Python does what it is asked for until there is silence; returns what it was not asked for. */
static int pump_all(struct road *road) {
    int news = RELAY_NEWS_NONE;
    for (int i = 0; i < 100 && news == RELAY_NEWS_NONE; i++)
        if ((news = pump(road)) == RELAY_NEWS_DECRYPT) news = hear_left(road, BROWSER);
    return news;
}

/* All of it is in the socket, and nobody has counted or decrypted anything. */
static void stays(struct road *road, const char *what) {
    const size_t n = BIO_ctrl_pending(&far[BROWSER].out), before = near[BROWSER].read_bytes;
    const relay_tls_records uncounted = counted;
    come_all(road, BROWSER);
    CHECK(pump(road) == RELAY_NEWS_CAREFUL && told_leg == BROWSER, "%s", what);
    CHECK(recv(road->near[BROWSER], heard, sizeof heard, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)n, "%s: in the socket", what);
    CHECK(memcmp(&counted, &uncounted, sizeof counted) == 0, "%s: not counted", what);
    CHECK(near[BROWSER].read_bytes == before && BIO_ctrl_pending(&near[BROWSER].in) == 0, "%s: not decrypted", what);
    CHECK(pump(road) == RELAY_NEWS_NONE, "%s: once, and shut", what);
}

static void a_piece_of_many_records_stays_in_the_socket(int is_known) {
    struct road road = begin_way(&counted, is_known);
    for (int i = 0; i <= MOST; i++) put_audio(2);
    stays(&road, "one too many");
    check_up(&road, 0, "none passes");
    end(&road);
}

/* ... and one more, of which only a part has come, does not count yet. */
static void as_many_as_may_be_decrypted_at_once_pass(int is_known) {
    struct road road = begin_way(&counted, is_known);
    for (int i = 0; i <= MOST; i++) put_audio(96);
    come(&road, BROWSER, BIO_ctrl_pending(&far[BROWSER].out) - 1);
    CHECK(pump_all(&road) == RELAY_NEWS_NONE, "%d: all pass", is_known);
    check_up(&road, MOST, "a piece");
    CHECK(counted.empty == (is_known ? 0 : MOST) && counted.to_next_head == 1, "%u empty", counted.empty);
    come_all(&road, BROWSER);
    CHECK(pump_all(&road) == RELAY_NEWS_NONE, "%d: the last byte", is_known);
    check_up(&road, 1, "the last");
    CHECK(counted.empty == (is_known ? 0 : MOST + 1) && counted.to_next_head == 0, "%u empty", counted.empty);
    end(&road);
}

static void one_empty_record_too_many_stays_in_the_socket(int says_something) {
    struct road road = begin_way(&counted, 1);
    for (int i = 0; i < MOST_EMPTY / MOST; i++) {
        put_empty(MOST), come_all(&road, BROWSER);
        CHECK(pump(&road) == RELAY_NEWS_NONE && counted.empty == (uint32_t)(i + 1) * MOST, "%u empty", counted.empty);
    }
    if (says_something) put_audio(960);
    else put_empty(1);
    stays(&road, "after too many"); /* what it says is not known yet */
    end(&road);
}

static void a_record_that_says_something_makes_up_for_one(void) {
    struct road road = begin_way(&counted, 1);
    for (int i = 0; i < MOST_EMPTY / MOST - 1; i++) put_empty(MOST), come_all(&road, BROWSER), pump(&road);
    for (uint32_t left_over = MOST_EMPTY - MOST; left_over > 0; left_over--) {
        CHECK(counted.empty == left_over, "%u of %u", counted.empty, left_over);
        counted.empty--; /* another was read by Python */
        put_audio(960), come_all(&road, BROWSER);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "%u empty", left_over);
    }
    check_up(&road, MOST_EMPTY - MOST, "all pass");
    CHECK(counted.empty == 0, "%u", counted.empty);
    end(&road);
}

/* A piece after the other: each is announced again, be it cut in a head, and nothing is lost. */
static void more_than_a_piece_passes_in_turns(int is_known, size_t bytes) {
    struct road road = begin_way(&counted, is_known);
    const int large = 1 << 20;
    enum { COUNT = 60 };
    setsockopt(road.near[BROWSER], SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    for (int i = 0; i < COUNT; i++) put_audio(bytes);
    come_all(&road, BROWSER);
    for (int i = 0; i < COUNT && !pump_all(&road); i++);
    check_up(&road, COUNT, "all pass");
    CHECK(counted.to_next_head == 0 && counted.split_bytes == 0, "all was counted");
    CHECK(counted.empty == (is_known ? 0 : COUNT), "%u", counted.empty);
    end(&road);
}

/* Its turn is over after a piece: whoever else has something is served before the next. */
static void a_turn_is_one_piece(void) {
    struct road road = begin_way(&counted, 1);
    uint64_t token;
    int leg, news;
    for (int i = 0; i < 12; i++) put_audio(960);
    come_all(&road, BROWSER);
    CHECK(relay_pump_next(road.pump, 0, &token, &leg, &news) == RELAY_PUMP_TIME, "no news");
    relay_way_count(road.way, &road.counts);
    CHECK(road.counts.up_events == RELAY_TLS_PIECE_BYTES / (HEAD + 8 + 960), "%d", (int)road.counts.up_events);
    end(&road);
}

static void the_end_is_told_behind_what_passed(void) {
    struct road road = begin_way(&counted, 1);
    for (int i = 0; i < 12; i++) put_audio(960);
    come_all(&road, BROWSER);
    shutdown(road.far[BROWSER], SHUT_WR);
    uint64_t token;
    int leg, news;
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) == RELAY_PUMP_NEWS, "it comes");
    CHECK(leg == BROWSER && news == RELAY_NEWS_CAREFUL, "its end: %d", news);
    check_up(&road, 12, "all pass");
    end(&road);
}

/* Whoever has no count may say as much as it likes. */
static void who_is_trusted_is_not_counted(void) {
    struct road road = begin_way(NULL, 1);
    for (int i = 0; i < 20; i++) put_audio(2), put_empty(10);
    come_all(&road, BROWSER);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "all at once");
    check_up(&road, 20, "all pass");
    end(&road);
}

/* With a connection that C does not know: what was received is counted, what it says is Python's to count. */
static void what_python_decrypts_is_counted_where_it_is_read(void) {
    struct road road = begin_way(&counted, 0);
    put_audio(960), come_all(&road, BROWSER);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && counted.empty == 1, "%u", counted.empty);
    relay_tls_records_said(&counted, 1);
    CHECK(hear_left(&road, BROWSER) == RELAY_NEWS_NONE && counted.empty == 0, "%u", counted.empty);
    end(&road);
}

int main(void) {
    relay_init(RELAY_SIMD_AVX2);
    CHECK(relay_openssl_load(NULL) == 0, "found");
    for (int is_known = 0; is_known < 2; is_known++) {
        a_piece_of_many_records_stays_in_the_socket(is_known), as_many_as_may_be_decrypted_at_once_pass(is_known);
        more_than_a_piece_passes_in_turns(is_known, 960), more_than_a_piece_passes_in_turns(is_known, 4096);
        more_than_a_piece_passes_in_turns(is_known, RELAY_TLS_PIECE_BYTES - 3 - 8 - HEAD);
    }
    one_empty_record_too_many_stays_in_the_socket(0), one_empty_record_too_many_stays_in_the_socket(1);
    a_record_that_says_something_makes_up_for_one(), a_turn_is_one_piece(), the_end_is_told_behind_what_passed();
    who_is_trusted_is_not_counted(), what_python_decrypts_is_counted_where_it_is_read();
    end_connections();
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("way_records");
}
