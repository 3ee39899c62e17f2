/* A frame of the short way through TLS to the upstream without a word to Python; test_way_https.c has the browser's. */
#include "tls_road.h"

static const char TEXT[] = "\x81\2{}"; /* a frame that is Python's */
#define TEXT_BYTES (sizeof TEXT - 1)

static struct road begin_shut(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 1);
    begin_connections();
    road.ends.ssl[UPSTREAM] = &near[UPSTREAM], road.ends.lead_ns = 100000000000; /* all is due */
    begin_again(&road);
    return road;
}

static void open_down(struct road *road) {
    const relay_way_item item = spoken(1);
    CHECK(relay_way_open_down(road->way, &item, 0) == RELAY_NEWS_NONE, "what was left before comes first");
}

/* Both directions are open, and Python has nothing. */
static struct road begin_way(void) {
    struct road road = begin_shut();
    open_down(&road);
    CHECK(hear_again(&road, UPSTREAM) == RELAY_NEWS_NONE, "nothing was left");
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_NONE, "nothing yet");
    return road;
}

/* The browser has heard `frames` since it was last asked, of 480 samples each, and nothing else. */
static void check_down(struct road *road, size_t frames) {
    if (frames) arrive(road->far[BROWSER], frames * DOWN_BYTES);
    CHECK(hear(road, BROWSER, heard, sizeof heard) == frames * DOWN_BYTES, "%zu frames", frames);
    relay_way_count(road->way, &road->counts);
    CHECK(road->counts.down_events == frames, "%d of %zu frames", (int)road->counts.down_events, frames);
}

/* The upstream can read `n` bytes now. */
static void check_up(struct road *road, size_t n) {
    const size_t came = hear(road, UPSTREAM, heard, sizeof heard);
    size_t have = 0;
    if (came) BIO_write(&far[UPSTREAM].in, heard, (int)came);
    for (int got; (got = SSL_read(&far[UPSTREAM], heard + have, (int)(sizeof heard - have))) > 0;) have += (size_t)got;
    CHECK(have == n && !far[UPSTREAM].has_failed, "%zu of %zu bytes", have, n);
    if (n) CHECK((uint8_t)heard[0] == 0x81 && (uint8_t)heard[1] == (0x80 | 126), "a masked text");
}

static void say_samples(struct road *road, size_t n) {
    static char samples[1 << 16], made[1 << 17];
    const size_t bytes = masked(RELAY_WS_OP_BINARY, samples, n, made);
    say(road, BROWSER, made, bytes);
    arrive(road->near[BROWSER], bytes);
}

static void frames_go_both_ways_without_a_word(void) {
    struct road road = begin_way();
    for (size_t i = 1; i <= 3; i++) {
        const size_t n = delta("i", 480, frame);
        for (size_t k = 0; k < i; k++) SSL_write(&far[UPSTREAM], frame, (int)n);
        come_all(&road, UPSTREAM);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "down");
        check_down(&road, i);
        say_samples(&road, 960);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "up");
        check_up(&road, UP_BYTES);
    }
    CHECK(road.counts.up_events == 1 && road.counts.up_bytes == 960, "counted");
    end(&road);
}

/* Cut at any byte of what TLS puts around it, and at some of the rest. */
static void a_part_of_a_record_is_waited_for(void) {
    const size_t n = delta("i", 480, frame);
    for (size_t cut = 1; cut < HEAD + n; cut += cut <= HEAD || cut > n ? 1 : n / 3) {
        struct road road = begin_way();
        SSL_write(&far[UPSTREAM], frame, (int)n);
        come(&road, UPSTREAM, cut);
        CHECK(pump(&road) == RELAY_NEWS_NONE && near[UPSTREAM].read_bytes == 0, "cut at %zu", cut);
        come_all(&road, UPSTREAM);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "cut at %zu", cut);
        check_down(&road, 1);
        end(&road);
    }
}

/* Python keeps the part, and all goes behind it until there is none. */
static void a_frame_of_two_records_passes_through_python(void) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    memcpy(frame + n, frame, n), memcpy(frame + 2 * n, frame, n);
    SSL_write(&far[UPSTREAM], frame, (int)(n + n / 2));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "a part of the second");
    check_down(&road, 1);
    CHECK(hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE, "a part");
    check_left(UPSTREAM, frame, n / 2, "the part");
    SSL_write(&far[UPSTREAM], frame + n / 2, (int)(n - n / 2 - 1));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE, "still a part");
    check_left(UPSTREAM, frame, n - 1, "a larger part");
    SSL_write(&far[UPSTREAM], frame + n - 1, (int)(n + 1));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE, "its end, and a third");
    check_left(UPSTREAM, frame, 0, "nothing");
    check_down(&road, 2);
    SSL_write(&far[UPSTREAM], frame, (int)n);
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "a fourth, and Python has nothing");
    check_down(&road, 1);
    end(&road);
}

/* Whoever says what looks like a frame inside of one has it passed on as little. */
static void what_lies_in_a_part_is_no_frame(void) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    char *const around = exact(RELAY_WS_HEAD_BYTES + 2 * n);
    const size_t size = (size_t)relay_ws_build(RELAY_WS_OP_TEXT, frame, n, NULL, around, RELAY_WS_HEAD_BYTES + n);
    memcpy(around + size, frame, n);
    SSL_write(&far[UPSTREAM], around, (int)(size - n));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE, "a head");
    SSL_write(&far[UPSTREAM], around + size - n, (int)(2 * n));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, UPSTREAM) == RELAY_NEWS_CAREFUL, "a frame around a frame");
    check_left(UPSTREAM, around, size + n, "both, and what follows");
    check_down(&road, 0);
    free(around);
    end(&road);
}

static void what_does_not_pass_is_followed_by_what_comes_next(void) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    memcpy(frame + n, TEXT, TEXT_BYTES), memcpy(frame + n + TEXT_BYTES, frame, n);
    SSL_write(&far[UPSTREAM], frame, (int)(2 * n + TEXT_BYTES));
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, UPSTREAM) == RELAY_NEWS_CAREFUL, "a text");
    check_left(UPSTREAM, frame + n, TEXT_BYTES + n, "a text and a frame");
    SSL_write(&far[UPSTREAM], frame, (int)n);
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "shut");
    check_down(&road, 1);
    end(&road);
}

/* ... which may be a part of what comes: nothing passes before Python has said what it has. */
static void what_comes_to_an_opened_direction_is_behind_what_was_left(void) {
    for (int is_part = 0; is_part < 2; is_part++) {
        struct road road = begin_shut();
        const size_t n = delta("i", 480, frame), kept = is_part ? n / 2 : 0;
        memcpy(left[UPSTREAM], frame, kept), left_bytes[UPSTREAM] = kept;
        SSL_write(&far[UPSTREAM], frame + kept, (int)(n - kept));
        open_down(&road);
        come_all(&road, UPSTREAM);
        CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "%d: who knows what was left?", is_part);
        check_down(&road, 0);
        CHECK(hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE && left_bytes[UPSTREAM] == 0, "%d: whole", is_part);
        check_down(&road, 1);
        SSL_write(&far[UPSTREAM], frame, (int)n);
        come_all(&road, UPSTREAM);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "%d: nothing is left", is_part);
        check_down(&road, 1);
        end(&road);
    }
}

/* Whole frames that came at once, `each` with a record of its own, until one of them is stuck: behind it or not is
 * more. */
static void stuck_with_more_behind_it_loses_nothing(size_t each) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    static char all[1 << 20];
    size_t said = 0;
    make_small(&road, BROWSER);
    for (int news = RELAY_NEWS_NONE; !news && said < 500; said += each) {
        for (size_t i = 0; i < each; i++) SSL_write(&far[UPSTREAM], frame, (int)n);
        come_all(&road, UPSTREAM);
        news = pump(&road);
        CHECK(news == RELAY_NEWS_NONE || news == RELAY_NEWS_DECRYPT, "after %zu: %d", said, news);
    }
    CHECK(hear_left(&road, UPSTREAM) == RELAY_NEWS_STUCK, "%zu at once: stuck after %zu", each, said);
    relay_way_count(road.way, &road.counts);
    const size_t frames = (size_t)road.counts.down_events;
    const size_t kept = left_bytes[UPSTREAM];
    CHECK(frames * n + kept == said * n && kept % n == 0, "%zu of %zu and %zu", frames, said, kept);
    for (size_t at = 0; at < kept; at += n) CHECK(memcmp(left[UPSTREAM] + at, frame, n) == 0, "as it was at %zu", at);
    fetch(&road, BROWSER, all, frames * DOWN_BYTES);
    for (size_t i = 0; i < frames; i++) {
        uint64_t first;
        memcpy(&first, all + i * DOWN_BYTES + 4 + 8, sizeof first);
        CHECK(first == 1 + 480 * i, "frame %zu", i);
    }
    end(&road);
}

/* What passed before has passed, and Python finds the end. Then the connection is Python's alone. */
static void an_end_or_a_fault_comes_behind_what_passed_and_gives_the_connection_back(void) {
    for (int is_fault = 0; is_fault < 2; is_fault++) {
        struct road road = begin_way();
        SSL_write(&far[UPSTREAM], frame, (int)delta("i", 480, frame));
        if (is_fault)
            BIO_write(&far[UPSTREAM].out, "what?", 5);
        else
            fake_put(&far[UPSTREAM], FAKE_END, NULL, 0);
        come_all(&road, UPSTREAM);
        CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "%d: news", is_fault);
        CHECK(hear_left(&road, UPSTREAM) == RELAY_NEWS_NONE && left_bytes[UPSTREAM] == 0, "%d: nothing is left", is_fault);
        const int expected = is_fault ? FAKE_ERROR_SSL : FAKE_ERROR_ZERO_RETURN;
        CHECK(problem[UPSTREAM] == expected, "%d: %d", is_fault, problem[UPSTREAM]);
        check_down(&road, 1);
        say(&road, UPSTREAM, "more", 4);
        arrive(road.near[UPSTREAM], 4);
        const relay_tls_work *const work = relay_pump_tls_work(road.pump);
        CHECK(pump(&road) == RELAY_NEWS_DECRYPT && work->received_bytes == 4 && !work->is_plain, "%d: as it is", is_fault);
        say_samples(&road, 960);
        CHECK(pump(&road) == RELAY_NEWS_ENCRYPT, "%d: up", is_fault);
        end(&road);
    }
}

/* A socket's end needs no key. */
static void the_end_of_the_socket_is_told_behind_what_passed(void) {
    struct road road = begin_way();
    SSL_write(&far[UPSTREAM], frame, (int)delta("i", 480, frame));
    come_all(&road, UPSTREAM);
    shutdown(road.far[UPSTREAM], SHUT_WR);
    uint64_t token;
    int leg, news;
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) == RELAY_PUMP_NEWS, "it comes");
    CHECK(leg == UPSTREAM && news == RELAY_NEWS_CAREFUL, "its end: %d", news);
    check_down(&road, 1);
    end(&road);
}

static void what_tls_has_to_say_makes_news_of_the_next_frame_up(void) {
    const relay_tls_work *work;
    struct road road = begin_way();
    fake_put(&far[UPSTREAM], FAKE_ASK, "new key?", 8);
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, 960), say_samples(&road, 960);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT, "first the answer");
    work = relay_pump_tls_work(road.pump);
    CHECK(work->frame_bytes == UP_BYTES && (uint8_t)work->frame[0] == 0x81, "the frame in the clear");
    SSL_write(&near[UPSTREAM], work->frame, (int)work->frame_bytes);
    const int made = BIO_read(&near[UPSTREAM].out, heard, sizeof heard);
    CHECK(made == HEAD + 8 + HEAD + UP_BYTES, "%d", made);
    CHECK(relay_way_send(road.way, BROWSER, heard, (size_t)made) == RELAY_NEWS_NONE, "the second goes by itself");
    check_up(&road, 2 * UP_BYTES);
    end(&road);
}

static void what_tls_says_with_the_next_frame_goes_up_with_it(void) {
    struct road road = begin_way();
    fake_put(&far[UPSTREAM], FAKE_ASK_LATER, "new key?", 8);
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, 960);
    CHECK(pump(&road) == RELAY_NEWS_NONE && near[UPSTREAM].answered == 1 && !near[UPSTREAM].later_bytes, "answered");
    check_up(&road, UP_BYTES);
    end(&road);
}

static void a_frame_that_cannot_be_encrypted_is_news(void) {
    struct road road = begin_way();
    near[UPSTREAM].has_failed = 1;
    say_samples(&road, 960);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT, "it fails");
    const relay_tls_work *const work = relay_pump_tls_work(road.pump);
    CHECK(work->frame_bytes == UP_BYTES && (uint8_t)work->frame[0] == 0x81, "the frame is whole");
    check_up(&road, 0);
    end(&road);
}

/* Three records around it, and the socket may take nothing: the rest has room for all of it. */
static void the_longest_frame_has_room(void) {
    struct road road = begin_way();
    enum { SAMPLES = 31446, BYTES = SAMPLES / 3 * 4 + 47 + 8, MOST = 10 };
    static char all[MOST * (BYTES + 3 * HEAD)];
    CHECK(BYTES > RELAY_WAY_FRAME_BYTES - 4 && BYTES <= RELAY_WAY_FRAME_BYTES, "%d", BYTES);
    make_small(&road, UPSTREAM);
    int news = RELAY_NEWS_NONE, frames = 0;
    for (; !news && frames < MOST; frames++) say_samples(&road, SAMPLES), news = pump(&road);
    CHECK(news == RELAY_NEWS_STUCK, "%d after %d", news, frames);
    fetch(&road, UPSTREAM, all, (size_t)frames * (BYTES + 3 * HEAD));
    BIO_write(&far[UPSTREAM].in, all, frames * (BYTES + 3 * HEAD));
    size_t have = 0;
    for (int more; (more = SSL_read(&far[UPSTREAM], heard, sizeof heard)) > 0;) have += (size_t)more;
    CHECK(have == (size_t)frames * BYTES && !far[UPSTREAM].has_failed, "%zu of %d frames", have, frames);
    end(&road);
}

/* ... and it may be more than one piece, of which the socket takes all, or not. */
static void what_makes_a_frame_longer_than_the_room_goes_with_it(int is_small) {
    struct road road = begin_way();
    enum { SAMPLES = 31446, BYTES = SAMPLES / 3 * 4 + 47 + 8, ANSWER = 16000, ALL = HEAD + ANSWER + BYTES + 3 * HEAD };
    static char question[ANSWER], all[ALL];
    if (is_small) make_small(&road, UPSTREAM);
    fake_put(&far[UPSTREAM], FAKE_ASK_LATER, question, sizeof question);
    come_all(&road, UPSTREAM);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, SAMPLES);
    CHECK(pump(&road) == (is_small ? RELAY_NEWS_STUCK : RELAY_NEWS_NONE), "up");
    const size_t behind = BIO_ctrl_pending(&near[UPSTREAM].out);
    CHECK((behind > 0) == is_small, "%zu", behind);
    if (is_small) fetch(&road, UPSTREAM, all, ALL - behind);
    else arrive(road.far[1], ALL), hear(&road, UPSTREAM, all, ALL);
    if (is_small) BIO_read(&near[UPSTREAM].out, all + ALL - behind, (int)behind);
    BIO_write(&far[UPSTREAM].in, all, ALL);
    check_up(&road, BYTES);
    end(&road);
}

/* More than one read takes, cut inside a record: the rest of it has been announced, and comes. */
static void a_flood_passes_in_several_reads(void) {
    struct road road = begin_way();
    const int large = 1 << 20;
    const size_t n = delta("i", 480, frame);
    enum { COUNT = 80 };
    setsockopt(road.near[1], SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    for (int i = 0; i < COUNT; i++) SSL_write(&far[UPSTREAM], frame, (int)n);
    come_all(&road, UPSTREAM);
    for (int i = 0; i < 5; i++) CHECK(pump(&road) == RELAY_NEWS_NONE, "round %d", i);
    check_down(&road, COUNT);
    end(&road);
}

int main(void) {
    relay_init(RELAY_SIMD_AVX2);
    CHECK(relay_openssl_load(NULL) == 0, "found");
    frames_go_both_ways_without_a_word(), a_part_of_a_record_is_waited_for();
    a_frame_of_two_records_passes_through_python(), what_does_not_pass_is_followed_by_what_comes_next();
    what_lies_in_a_part_is_no_frame(), what_comes_to_an_opened_direction_is_behind_what_was_left();
    stuck_with_more_behind_it_loses_nothing(1), stuck_with_more_behind_it_loses_nothing(8),
        an_end_or_a_fault_comes_behind_what_passed_and_gives_the_connection_back();
    the_end_of_the_socket_is_told_behind_what_passed(), what_tls_has_to_say_makes_news_of_the_next_frame_up();
    what_tls_says_with_the_next_frame_goes_up_with_it(), a_frame_that_cannot_be_encrypted_is_news();
    what_makes_a_frame_longer_than_the_room_goes_with_it(0), what_makes_a_frame_longer_than_the_room_goes_with_it(1);
    the_longest_frame_has_room(), a_flood_passes_in_several_reads();
    end_connections();
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("way_tls");
}
