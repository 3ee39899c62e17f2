/* A frame of the short way through TLS without a word to Python, with an OpenSSL whose every record is known
 * (fake_openssl.h). tests/session has the real one. */
#include "road.h"

#include "fake_openssl.h"

enum { HEAD = FAKE_HEAD_BYTES, UP_BYTES = 1280 + 47 + 8, DOWN_BYTES = 4 + RELAY_AUDIO_HEAD_BYTES + 960 };

static const char TEXT[] = "\x81\2{}"; /* a frame that is Python's */
#define TEXT_BYTES (sizeof TEXT - 1)

static struct fake_ssl near, far;
static const int stranger; /* a connection whose errors are still in the queue */
static char frame[1 << 18], heard[1 << 18];

/* What was decrypted and did not pass: Python's. Read on, Python found `problem` of SSL_get_error(). */
static char left[1 << 18];
static size_t left_bytes;
static int problem;

static struct road begin_shut(void) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 1);
    fake_make(&near), fake_make(&far), ERR_clear_error();
    left_bytes = 0;
    road.ends.ssl[RELAY_WAY_UPSTREAM] = &near, road.ends.lead_ns = 100000000000; /* all is due */
    relay_way_free(road.way);
    road.way = relay_way_new(road.pump, &road.ends);
    return road;
}

static void open_down(struct road *road) {
    const relay_way_item item = spoken(1);
    CHECK(relay_way_open_down(road->way, &item, 0) == RELAY_NEWS_NONE, "what was left before comes first");
}

/* Both directions are open, and Python has nothing. */
static struct road begin_way(void) {
    struct road road = begin_shut();
    int news;
    open_down(&road);
    CHECK(relay_way_hear(road.way, RELAY_WAY_UPSTREAM, left, 0, &news) == 0 && news == RELAY_NEWS_NONE, "nothing was left");
    CHECK(relay_way_open_up(road.way) == RELAY_NEWS_NONE, "nothing yet");
    return road;
}

/* The first `n` bytes of what the upstream has to send come. */
static void come(struct road *road, size_t n) {
    static char bytes[1 << 18];
    if (BIO_read(&far.out, bytes, (int)n) != (int)n) abort();
    say(road, RELAY_WAY_UPSTREAM, bytes, n);
    arrive(road->near[RELAY_WAY_UPSTREAM], n);
}

static void come_all(struct road *road) { come(road, BIO_ctrl_pending(&far.out)); }

/* What there is to say. The first silence may be the end of a wait that began before the last news. */
static int pump(struct road *road) {
    uint64_t token;
    int leg, news = RELAY_NEWS_NONE;
    fake_error = &stranger;
    for (int i = 0; i < 2; i++)
        if (relay_pump_next(road->pump, 0, &token, &leg, &news) == RELAY_PUMP_NEWS) break;
    if (fake_error == &stranger) ERR_clear_error(); /* nobody asked the connection anything */
    return news;
}

/* Python's part at DECRYPT; returns what is news then. */
static int hear_left(struct road *road) {
    const relay_tls_work *const work = relay_pump_tls_work(road->pump);
    int got, news;
    CHECK(work->is_plain, "decrypted");
    memcpy(left + left_bytes, work->received, work->received_bytes);
    left_bytes += work->received_bytes;
    while ((got = SSL_read(&near, left + left_bytes, (int)(sizeof left - left_bytes))) > 0) left_bytes += (size_t)got;
    problem = SSL_get_error(&near, got);
    ERR_clear_error();
    char *const plain = exact_copy(left, left_bytes);
    const size_t passed = relay_way_hear(road->way, RELAY_WAY_UPSTREAM, plain, left_bytes, &news);
    free(plain);
    left_bytes -= passed;
    memmove(left, left + passed, left_bytes);
    return news;
}

static void check_left(const char *bytes, size_t n, const char *what) {
    CHECK(left_bytes == n && memcmp(left, bytes, n) == 0, "%s: %zu of %zu", what, left_bytes, n);
    CHECK(problem == FAKE_ERROR_WANT_READ, "%s: %d", what, problem);
}

/* The browser has heard `frames` since it was last asked, of 480 samples each, and nothing else. */
static void check_down(struct road *road, size_t frames) {
    if (frames) arrive(road->far[RELAY_WAY_BROWSER], frames * DOWN_BYTES);
    CHECK(hear(road, RELAY_WAY_BROWSER, heard, sizeof heard) == frames * DOWN_BYTES, "%zu frames", frames);
    relay_way_count(road->way, &road->counts);
    CHECK(road->counts.down_events == frames, "%d of %zu frames", (int)road->counts.down_events, frames);
}

/* The upstream can read `n` bytes now. */
static void check_up(struct road *road, size_t n) {
    const size_t got = hear(road, RELAY_WAY_UPSTREAM, heard, sizeof heard);
    size_t have = 0;
    if (got) BIO_write(&far.in, heard, (int)got);
    for (int more; (more = SSL_read(&far, heard + have, (int)(sizeof heard - have))) > 0;) have += (size_t)more;
    CHECK(have == n && !far.has_failed, "%zu of %zu bytes", have, n);
    if (n) CHECK((uint8_t)heard[0] == 0x81 && (uint8_t)heard[1] == (0x80 | 126), "a masked text");
}

static void say_samples(struct road *road, size_t n) {
    static char samples[1 << 16], made[1 << 17];
    const size_t bytes = masked(RELAY_WS_OP_BINARY, samples, n, made);
    say(road, RELAY_WAY_BROWSER, made, bytes);
    arrive(road->near[RELAY_WAY_BROWSER], bytes);
}

static void frames_go_both_ways_without_a_word(void) {
    struct road road = begin_way();
    for (size_t i = 1; i <= 3; i++) {
        const size_t n = delta("i", 480, frame);
        for (size_t k = 0; k < i; k++) SSL_write(&far, frame, (int)n);
        come_all(&road);
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
        SSL_write(&far, frame, (int)n);
        come(&road, cut);
        CHECK(pump(&road) == RELAY_NEWS_NONE && near.read_bytes == 0, "cut at %zu", cut);
        come_all(&road);
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
    SSL_write(&far, frame, (int)(n + n / 2));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "a part of the second");
    check_down(&road, 1);
    CHECK(hear_left(&road) == RELAY_NEWS_NONE, "a part");
    check_left(frame, n / 2, "the part");
    SSL_write(&far, frame + n / 2, (int)(n - n / 2 - 1));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road) == RELAY_NEWS_NONE, "still a part");
    check_left(frame, n - 1, "a larger part");
    SSL_write(&far, frame + n - 1, (int)(n + 1));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road) == RELAY_NEWS_NONE, "its end, and a third");
    check_left(frame, 0, "nothing");
    check_down(&road, 2);
    SSL_write(&far, frame, (int)n);
    come_all(&road);
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
    SSL_write(&far, around, (int)(size - n));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road) == RELAY_NEWS_NONE, "a head");
    SSL_write(&far, around + size - n, (int)(2 * n));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road) == RELAY_NEWS_CAREFUL, "a frame around a frame");
    check_left(around, size + n, "both, and what follows");
    check_down(&road, 0);
    free(around);
    end(&road);
}

static void what_does_not_pass_is_followed_by_what_comes_next(void) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    memcpy(frame + n, TEXT, TEXT_BYTES), memcpy(frame + n + TEXT_BYTES, frame, n);
    SSL_write(&far, frame, (int)(2 * n + TEXT_BYTES));
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road) == RELAY_NEWS_CAREFUL, "a text");
    check_left(frame + n, TEXT_BYTES + n, "a text and a frame");
    SSL_write(&far, frame, (int)n);
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "shut");
    check_down(&road, 1);
    end(&road);
}

/* ... which may be a part of what comes: nothing passes before Python has said what it has. */
static void what_comes_to_an_opened_direction_is_behind_what_was_left(void) {
    for (int is_part = 0; is_part < 2; is_part++) {
        struct road road = begin_shut();
        const size_t n = delta("i", 480, frame), kept = is_part ? n / 2 : 0;
        memcpy(left, frame, kept), left_bytes = kept;
        SSL_write(&far, frame + kept, (int)(n - kept));
        open_down(&road);
        come_all(&road);
        CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "%d: who knows what was left?", is_part);
        check_down(&road, 0);
        CHECK(hear_left(&road) == RELAY_NEWS_NONE && left_bytes == 0, "%d: whole", is_part);
        check_down(&road, 1);
        SSL_write(&far, frame, (int)n);
        come_all(&road);
        CHECK(pump(&road) == RELAY_NEWS_NONE, "%d: nothing is left", is_part);
        check_down(&road, 1);
        end(&road);
    }
}

/* Neither the socket nor whoever reads it takes much. */
static void make_small(struct road *road, int leg) {
    const int small = 4096;
    setsockopt(road->near[leg], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(road->far[leg], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
}

/* What was stuck on its way to a peer: `n` bytes, with the rest at their end. They are waited for, but not for ever. */
static void fetch(const struct road *road, int leg, char *out, size_t n) {
    static char rest[RELAY_WAY_REST_BYTES];
    const struct timeval limit = {.tv_sec = 5};
    CHECK(relay_way_rest(road->way, !leg, rest, sizeof rest) == 0, "not for the other leg");
    const ptrdiff_t owed = relay_way_rest(road->way, leg, rest, sizeof rest);
    if (owed <= 0 || (size_t)owed > n) abort();
    setsockopt(road->far[leg], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (recv(road->far[leg], out, n - (size_t)owed, MSG_WAITALL) != (ssize_t)n - owed) abort();
    memcpy(out + n - owed, rest, (size_t)owed);
}

/* Whole frames that came at once, `each` with a record of its own, until one of them is stuck: behind it or not is
 * more. */
static void stuck_with_more_behind_it_loses_nothing(size_t each) {
    struct road road = begin_way();
    const size_t n = delta("i", 480, frame);
    static char all[1 << 20];
    size_t said = 0;
    make_small(&road, RELAY_WAY_BROWSER);
    for (int news = RELAY_NEWS_NONE; !news && said < 500; said += each) {
        for (size_t i = 0; i < each; i++) SSL_write(&far, frame, (int)n);
        come_all(&road);
        news = pump(&road);
        CHECK(news == RELAY_NEWS_NONE || news == RELAY_NEWS_DECRYPT, "after %zu: %d", said, news);
    }
    CHECK(hear_left(&road) == RELAY_NEWS_STUCK, "%zu at once: stuck after %zu", each, said);
    relay_way_count(road.way, &road.counts);
    const size_t frames = (size_t)road.counts.down_events;
    CHECK(frames * n + left_bytes == said * n && left_bytes % n == 0, "%zu of %zu and %zu", frames, said, left_bytes);
    for (size_t at = 0; at < left_bytes; at += n) CHECK(memcmp(left + at, frame, n) == 0, "left as it was at %zu", at);
    fetch(&road, RELAY_WAY_BROWSER, all, frames * DOWN_BYTES);
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
        SSL_write(&far, frame, (int)delta("i", 480, frame));
        if (is_fault)
            BIO_write(&far.out, "what?", 5);
        else
            fake_put(&far, FAKE_END, NULL, 0);
        come_all(&road);
        CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "%d: news", is_fault);
        CHECK(hear_left(&road) == RELAY_NEWS_NONE && left_bytes == 0, "%d: nothing is left", is_fault);
        CHECK(problem == (is_fault ? FAKE_ERROR_SSL : FAKE_ERROR_ZERO_RETURN), "%d: %d", is_fault, problem);
        check_down(&road, 1);
        say(&road, RELAY_WAY_UPSTREAM, "more", 4);
        arrive(road.near[RELAY_WAY_UPSTREAM], 4);
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
    SSL_write(&far, frame, (int)delta("i", 480, frame));
    come_all(&road);
    shutdown(road.far[RELAY_WAY_UPSTREAM], SHUT_WR);
    uint64_t token;
    int leg, news;
    CHECK(relay_pump_next(road.pump, relay_now_ns() + 2000000000, &token, &leg, &news) == RELAY_PUMP_NEWS, "it comes");
    CHECK(leg == RELAY_WAY_UPSTREAM && news == RELAY_NEWS_CAREFUL, "its end: %d", news);
    check_down(&road, 1);
    end(&road);
}

static void what_tls_has_to_say_makes_news_of_the_next_frame_up(void) {
    const relay_tls_work *work;
    struct road road = begin_way();
    fake_put(&far, FAKE_ASK, "new key?", 8);
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, 960), say_samples(&road, 960);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT, "first the answer");
    work = relay_pump_tls_work(road.pump);
    CHECK(work->frame_bytes == UP_BYTES && (uint8_t)work->frame[0] == 0x81, "the frame in the clear");
    SSL_write(&near, work->frame, (int)work->frame_bytes);
    const int made = BIO_read(&near.out, heard, sizeof heard);
    CHECK(made == HEAD + 8 + HEAD + UP_BYTES, "%d", made);
    CHECK(relay_way_send(road.way, RELAY_WAY_BROWSER, heard, (size_t)made) == RELAY_NEWS_NONE, "the second goes by itself");
    check_up(&road, 2 * UP_BYTES);
    end(&road);
}

static void what_tls_says_with_the_next_frame_goes_up_with_it(void) {
    struct road road = begin_way();
    fake_put(&far, FAKE_ASK_LATER, "new key?", 8);
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, 960);
    CHECK(pump(&road) == RELAY_NEWS_NONE && near.answered == 1 && !near.later_bytes, "answered");
    check_up(&road, UP_BYTES);
    end(&road);
}

static void a_frame_that_cannot_be_encrypted_is_news(void) {
    struct road road = begin_way();
    near.has_failed = 1;
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
    enum { SAMPLES = 36054, BYTES = SAMPLES / 3 * 4 + 47 + 8, MOST = 10 };
    static char all[MOST * (BYTES + 3 * HEAD)];
    CHECK(BYTES > RELAY_WAY_FRAME_BYTES - 4 && BYTES <= RELAY_WAY_FRAME_BYTES, "%d", BYTES);
    make_small(&road, RELAY_WAY_UPSTREAM);
    int news = RELAY_NEWS_NONE, frames = 0;
    for (; !news && frames < MOST; frames++) say_samples(&road, SAMPLES), news = pump(&road);
    CHECK(news == RELAY_NEWS_STUCK, "%d after %d", news, frames);
    fetch(&road, RELAY_WAY_UPSTREAM, all, (size_t)frames * (BYTES + 3 * HEAD));
    BIO_write(&far.in, all, frames * (BYTES + 3 * HEAD));
    size_t have = 0;
    for (int more; (more = SSL_read(&far, heard, sizeof heard)) > 0;) have += (size_t)more;
    CHECK(have == (size_t)frames * BYTES && !far.has_failed, "%zu of %d frames", have, frames);
    end(&road);
}

/* ... and it may be more than one piece, of which the socket takes all, or not. */
static void what_makes_a_frame_longer_than_the_room_goes_with_it(int is_small) {
    struct road road = begin_way();
    enum { SAMPLES = 36054, BYTES = SAMPLES / 3 * 4 + 47 + 8, ANSWER = 16000, ALL = HEAD + ANSWER + BYTES + 3 * HEAD };
    static char question[ANSWER], all[ALL];
    if (is_small) make_small(&road, RELAY_WAY_UPSTREAM);
    fake_put(&far, FAKE_ASK_LATER, question, sizeof question);
    come_all(&road);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "nothing for Python");
    say_samples(&road, SAMPLES);
    CHECK(pump(&road) == (is_small ? RELAY_NEWS_STUCK : RELAY_NEWS_NONE), "up");
    const size_t behind = BIO_ctrl_pending(&near.out);
    CHECK((behind > 0) == is_small, "%zu", behind);
    if (is_small) fetch(&road, RELAY_WAY_UPSTREAM, all, ALL - behind);
    else arrive(road.far[1], ALL), hear(&road, RELAY_WAY_UPSTREAM, all, ALL);
    if (is_small) BIO_read(&near.out, all + ALL - behind, (int)behind);
    BIO_write(&far.in, all, ALL);
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
    for (int i = 0; i < COUNT; i++) SSL_write(&far, frame, (int)n);
    come_all(&road);
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
    fake_free(&near), fake_free(&far);
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("way_tls");
}
