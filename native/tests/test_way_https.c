/* TLS on the browser's leg of a short way, alone or on both, known to C or not: test_way_tls.c has the upstream's alone. */
#include "tls_road.h"

#define APPEND "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AAECAwQF\"}"
#define DELTA "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAECAwQF\"}"

static char behind[1 << 18];

/* Bits 1 << leg: who has TLS, and whose connection C knows. */
static struct road begin_shut(int tls, int known, int is_json) {
    struct road road = begin(24000, RELAY_S16LE, 24000, 0);
    begin_connections();
    road.ends.lead_ns = 100000000000, road.ends.is_json = is_json; /* all is due */
    for (int leg = 0; leg < 2; leg++) {
        road.ends.has_tls[leg] = tls >> leg & 1;
        road.ends.ssl[leg] = known >> leg & 1 ? &near[leg] : NULL;
    }
    begin_again(&road);
    return road;
}

static void open_leg(struct road *road, int leg) {
    const relay_way_item item = spoken(1);
    const int news = leg ? relay_way_open_down(road->way, &item, 0) : relay_way_open_up(road->way);
    CHECK(news == RELAY_NEWS_NONE, "leg %d: %d", leg, news);
    if (road->ends.has_tls[leg]) CHECK(hear_again(road, leg) == RELAY_NEWS_NONE, "leg %d: nothing was left", leg);
}

/* Both directions are open, and Python has nothing. */
static struct road begin_way(int tls, int known, int is_json) {
    struct road road = begin_shut(tls, known, is_json);
    for (int leg = 0; leg < 2; leg++) open_leg(&road, leg);
    return road;
}

/* A peer says it, in as few records as there can be. */
static void tell(struct road *road, int leg, const char *bytes, size_t n) {
    if (road->ends.has_tls[leg]) SSL_write(&far[leg], bytes, (int)n), come_all(road, leg);
    else say(road, leg, bytes, n), arrive(road->near[leg], n);
}

static size_t unsealed(int leg, char *records, size_t n, char *out, size_t room) {
    size_t have = 0;
    if (n) BIO_write(&far[leg].in, records, (int)n);
    for (int got; have < room && (got = SSL_read(&far[leg], out + have, (int)(room - have))) > 0;) have += (size_t)got;
    return have;
}

/* A peer hears `n` bytes in the clear, within two seconds, and nothing else. */
static void hears(struct road *road, int leg, size_t n) {
    static char records[1 << 18];
    size_t have = 0;
    for (int i = 0; i < 2000 && (have < n || i == 0); i++) {
        char *const to = road->ends.has_tls[leg] ? records : heard + have;
        const size_t came = hear(road, leg, to, sizeof heard - have), room = sizeof heard - have;
        have += road->ends.has_tls[leg] ? unsealed(leg, records, came, heard + have, room) : came;
        if (have < n) usleep(1000);
    }
    CHECK(have == n && !far[leg].has_failed, "leg %d: %zu of %zu bytes", leg, have, n);
}

/* A frame of audio from that leg, and how long it is when it has passed. */
static size_t audio(const struct road *road, int leg, char *out) {
    static const char samples[960];
    if (!road->ends.is_json) return leg ? delta("i", 480, out) : masked(RELAY_WS_OP_BINARY, samples, 960, out);
    if (!leg) return masked(RELAY_WS_OP_TEXT, APPEND, strlen(APPEND), out);
    return (size_t)relay_ws_build(RELAY_WS_OP_TEXT, DELTA, strlen(DELTA), NULL, out, strlen(DELTA) + RELAY_WS_HEAD_BYTES);
}

static size_t passed_bytes(const struct road *road, int leg) {
    if (!road->ends.is_json) return leg ? DOWN_BYTES : UP_BYTES;
    return leg ? 2 + strlen(DELTA) : 6 + strlen(APPEND);
}

/* A frame that is Python's. */
static size_t other(int leg, char *out) {
    return (size_t)relay_ws_build(RELAY_WS_OP_TEXT, "{}", 2, leg ? NULL : "\5\6\7\x08", out, 2 + RELAY_WS_HEAD_BYTES);
}

static void check_passed(struct road *road, int leg, size_t frames) {
    relay_way_count(road->way, &road->counts);
    const uint64_t events = leg ? road->counts.down_events : road->counts.up_events;
    CHECK(events == frames, "leg %d: %d of %zu frames", leg, (int)events, frames);
    hears(road, !leg, frames * passed_bytes(road, leg));
}

/* All that C and Python do, until there is something for a reader or a writer. */
static int do_all(struct road *road, int news) {
    const int leg = told_leg;
    while (news == RELAY_NEWS_ENCRYPT || news == RELAY_NEWS_DECRYPT) {
        if (news == RELAY_NEWS_ENCRYPT) {
            news = send_encrypted(road, leg);
            continue;
        }
        news = hear_left(road, leg);
        while (news == RELAY_NEWS_ENCRYPT && (news = send_encrypted(road, leg)) == RELAY_NEWS_NONE)
            news = hear_again(road, leg);
    }
    return news;
}

/* ---- frames ---- */

/* Without a word to Python if C knows all connections; else Python is asked for what C cannot do, and no more. */
static void frames_go_both_ways(int tls, int known, int is_json) {
    struct road road = begin_way(tls, known, is_json);
    const int asked = tls & ~known;
    for (int leg = 0; leg < 2; leg++) {
        const int first = asked >> leg & 1 ? RELAY_NEWS_DECRYPT : asked >> !leg & 1 ? RELAY_NEWS_ENCRYPT : RELAY_NEWS_NONE;
        const size_t n = audio(&road, leg, frame);
        for (int i = 0; i < 3; i++) {
            tell(&road, leg, frame, n);
            const int news = pump(&road);
            CHECK(news == first && (!news || told_leg == leg), "TLS %d, known %d, leg %d: %d", tls, known, leg, news);
            CHECK(do_all(&road, news) == RELAY_NEWS_NONE && left_bytes[leg] == 0, "TLS %d, known %d, leg %d", tls, known, leg);
            check_passed(&road, leg, 1);
            if (leg && is_json) CHECK(memcmp(heard, frame, n) == 0, "as it came");
        }
    }
    end(&road);
}

static void frames_go_both_ways_whoever_has_the_keys(void) {
    for (int tls = 0; tls < 4; tls++)
        for (int known = 0; known < 4; known++)
            for (int is_json = 0; is_json < 2; is_json++)
                if ((known & ~tls) == 0) frames_go_both_ways(tls, known, is_json);
}

/* Python keeps the part as it came, still masked, and all goes behind it until there is none. */
static void a_frame_of_two_records_passes_through_python(int known, int is_json) {
    struct road road = begin_way(3, known, is_json);
    const size_t n = audio(&road, BROWSER, frame);
    memcpy(frame + n, frame, n), memcpy(frame + 2 * n, frame, n);
    tell(&road, BROWSER, frame, n + n / 2);
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE, "a part of the second");
    check_left(BROWSER, frame, n / 2, "the part");
    check_passed(&road, BROWSER, 1);
    tell(&road, BROWSER, frame + n / 2, n - n / 2 - 1);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && do_all(&road, RELAY_NEWS_DECRYPT) == RELAY_NEWS_NONE, "still a part");
    check_left(BROWSER, frame, n - 1, "a larger part");
    tell(&road, BROWSER, frame + n - 1, n + 1);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && do_all(&road, RELAY_NEWS_DECRYPT) == RELAY_NEWS_NONE, "its end, and a third");
    check_left(BROWSER, frame, 0, "nothing");
    check_passed(&road, BROWSER, 2);
    tell(&road, BROWSER, frame, n);
    const int fourth = !(known & 1) ? RELAY_NEWS_DECRYPT : known == 1 ? RELAY_NEWS_ENCRYPT : RELAY_NEWS_NONE;
    CHECK(pump(&road) == fourth, "a fourth, and Python has nothing");
    end(&road);
}

/* ... also while the upstream has no TLS, and whatever one leg has left, the other's frames pass in C. */
static void what_one_leg_has_left_does_not_hold_the_other(void) {
    struct road road = begin_way(3, 3, 0);
    const size_t n = audio(&road, BROWSER, frame);
    tell(&road, BROWSER, frame, n / 2);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, BROWSER) == RELAY_NEWS_NONE, "a part");
    tell(&road, UPSTREAM, behind, audio(&road, UPSTREAM, behind));
    CHECK(pump(&road) == RELAY_NEWS_NONE, "down");
    check_passed(&road, UPSTREAM, 1);
    tell(&road, BROWSER, frame + n / 2, n - n / 2);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, BROWSER) == RELAY_NEWS_NONE, "its end");
    check_passed(&road, BROWSER, 1);
    end(&road);
}

/* What one read brings passes whole, however many frames it is: of what Python kept nobody would say anything. */
static void many_frames_in_a_record_pass_at_once(int leg, int is_known) {
    struct road road = begin_way(1 << leg, is_known << leg, 0);
    enum { COUNT = 130 };
    const size_t n = leg ? delta("i", 4, frame) : masked(RELAY_WS_OP_BINARY, "\0\0", 2, frame);
    for (size_t i = 1; i < COUNT; i++) memcpy(frame + i * n, frame, n);
    SSL_write(&far[leg], frame, (int)(COUNT * n)), come_all(&road, leg);
    const int news = pump(&road);
    CHECK(news == (is_known ? RELAY_NEWS_NONE : RELAY_NEWS_DECRYPT), "leg %d: %d", leg, news);
    CHECK(do_all(&road, news) == RELAY_NEWS_NONE && left_bytes[leg] == 0, "leg %d: %zu left", leg, left_bytes[leg]);
    relay_way_count(road.way, &road.counts);
    CHECK(road.counts.up_events + road.counts.down_events == COUNT, "leg %d", leg);
    end(&road);
}

/* Of what comes while a direction is shut the socket speaks once, and nobody listens; so it is told again. */
static void what_came_before_a_direction_opened_is_told_then(int leg, int known) {
    struct road road = begin_shut(3, known, 0);
    tell(&road, leg, frame, audio(&road, leg, frame));
    CHECK(pump(&road) == RELAY_NEWS_NONE, "leg %d: shut", leg);
    open_leg(&road, leg);
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE && left_bytes[leg] == 0, "leg %d: told again", leg);
    check_passed(&road, leg, 1);
    end(&road);
}

/* Frame, what is told, frame, in one record: the first passes, the rest is Python's, byte for byte, with its own key. */
static void comes_back(const char *what, int tls, int known, int is_json, const char *payload, int opcode) {
    struct road road = begin_way(tls, known, is_json);
    const size_t n = audio(&road, BROWSER, frame);
    const size_t size = (size_t)relay_ws_build(opcode, payload, strlen(payload), "\x7F\0\x80\xFF", frame + n, 1000);
    memcpy(frame + n + size, frame, n);
    tell(&road, BROWSER, frame, 2 * n + size);
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_CAREFUL, "%s", what);
    check_left(BROWSER, frame + n, size + n, what);
    check_passed(&road, BROWSER, 1);
    tell(&road, BROWSER, frame, n);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "%s: shut", what);
    end(&road);
}

static void what_does_not_pass_comes_back_still_masked(void) {
    static const int cases[][2] = {{1, 1}, {1, 0}, {3, 3}, {3, 2}, {3, 1}, {3, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int tls = cases[i][0], known = cases[i][1], text = RELAY_WS_OP_TEXT, binary = RELAY_WS_OP_BINARY;
        comes_back("a text", tls, known, 0, "{\"type\":\"relay.bye\"}", text);
        comes_back("a wrong report", tls, known, 0, "{\"type\":\"relay.played\",\"item\":9,\"samples\":1}", text);
        comes_back("no whole samples", tls, known, 0, "abc", binary);
        comes_back("a ping", tls, known, 0, "abc", RELAY_WS_OP_PING);
        comes_back("another event", tls, known, 1, "{\"type\":\"input_audio_buffer.commit\"}", text);
        comes_back("half a sample", tls, known, 1, "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AA==\"}", text);
        comes_back("no text", tls, known, 1, APPEND, binary);
    }
}

/* What Python has told of it passes too, and is not news. */
static void reports_of_the_browser_are_kept(int known) {
    static const char text[] = "{\"type\":\"relay.played\",\"item\":3,\"samples\":200}";
    struct road road = begin_way(3, known, 0);
    tell(&road, UPSTREAM, frame, audio(&road, UPSTREAM, frame));
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE, "a delta");
    tell(&road, BROWSER, frame, masked(RELAY_WS_OP_TEXT, text, strlen(text), frame));
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE && left_bytes[BROWSER] == 0, "a report");
    relay_way_count(road.way, &road.counts);
    CHECK(road.counts.played_samples == 200 && road.counts.sent_samples == 481, "%d", (int)road.counts.played_samples);
    end(&road);
}

/* ---- what TLS itself has to say ---- */

static void ask(struct road *road, int leg, size_t n) {
    static const char question[FAKE_RECORD_BYTES];
    fake_put(&far[leg], FAKE_ASK, question, n);
    come_all(road, leg);
    CHECK(pump(road) == RELAY_NEWS_NONE, "nothing for Python");
}

/* Frames from a leg, then a text and another frame, all in one record, while an answer for the other peer waits: Python
 * says that with the first frame, C passes the second by itself, and the rest is Python's in its order. */
static void an_answer_goes_out_before_what_was_received(int leg, int frames, int has_other) {
    struct road road = begin_way(3, 3, 0);
    const relay_tls_work *const work = relay_pump_tls_work(road.pump);
    const size_t n = audio(&road, leg, behind);
    size_t all = 0, text = 0;
    ask(&road, !leg, 8);
    for (int i = 0; i < frames; i++, all += n) memcpy(frame + all, behind, n);
    if (has_other) text = other(leg, frame + all), memcpy(frame + all + text, behind, n);
    const size_t rest = has_other ? text + n : 0;
    tell(&road, leg, frame, all + rest);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && told_leg == leg, "leg %d: first the answer", leg);
    CHECK(work->frame_bytes == (leg ? DOWN_BYTES : UP_BYTES) && (uint8_t)work->frame[0] == (leg ? 0x82 : 0x81), "in the clear");
    CHECK(relay_way_send(road.way, leg, heard, RELAY_WAY_REST_BYTES + 1) == RELAY_E_ROOM, "leg %d: nothing is done", leg);
    const int is_more = frames > 1 || has_other, news = send_encrypted(&road, leg);
    CHECK(news == (is_more ? RELAY_NEWS_DECRYPT : RELAY_NEWS_NONE), "leg %d: %d with %d more", leg, news, is_more);
    if (is_more) CHECK(hear_left(&road, leg) == (has_other ? RELAY_NEWS_CAREFUL : RELAY_NEWS_NONE), "leg %d: the rest", leg);
    if (is_more) check_left(leg, frame + all, rest, "a text and a frame");
    check_passed(&road, leg, (size_t)frames);
    CHECK(near[!leg].answered == 1 && BIO_ctrl_pending(&near[!leg].out) == 0, "leg %d: answered", leg);
    end(&road);
}

static void an_answer_goes_out_before_all_that_was_received(void) {
    for (int leg = 0; leg < 2; leg++)
        for (int frames = 1; frames < 4; frames++)
            for (int has_other = 0; has_other < 2; has_other++)
                an_answer_goes_out_before_what_was_received(leg, frames, has_other);
}

/* What was encrypted by Python once is not told of again with the next frame. */
static void what_is_undone_is_told_once(void) {
    struct road road = begin_way(3, 3, 0);
    const size_t n = audio(&road, UPSTREAM, frame);
    memcpy(frame + n, frame, n);
    ask(&road, BROWSER, 8);
    tell(&road, UPSTREAM, frame, 2 * n);
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE, "two");
    ask(&road, BROWSER, 8);
    tell(&road, UPSTREAM, frame, n);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && send_encrypted(&road, UPSTREAM) == RELAY_NEWS_NONE, "a third");
    check_passed(&road, UPSTREAM, 3);
    end(&road);
}

/* The same while the upstream has no TLS: what is behind the frame is in its socket. */
static void an_answer_goes_out_before_what_is_in_the_socket(void) {
    struct road road = begin_way(1, 1, 0);
    const size_t n = audio(&road, UPSTREAM, frame);
    memcpy(frame + n, frame, n);
    ask(&road, BROWSER, 8);
    tell(&road, UPSTREAM, frame, 2 * n);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && told_leg == UPSTREAM, "first the answer");
    CHECK(send_encrypted(&road, UPSTREAM) == RELAY_NEWS_NONE, "the second goes by itself");
    check_passed(&road, UPSTREAM, 2);
    end(&road);
}

/* The answer and the frame are more than the socket takes, sooner or later; what was received behind it is not lost. */
static void stuck_with_what_python_encrypted_loses_nothing(int leg, int has_more) {
    static char all[1 << 22], clear[1 << 22];
    struct road road = begin_way(3, 3, 0);
    const size_t n = audio(&road, leg, frame), more = has_more ? other(leg, frame + n) : 0;
    size_t rounds = 0;
    make_small(&road, !leg);
    for (int news = RELAY_NEWS_NONE; news != RELAY_NEWS_STUCK && rounds < 100; rounds++) {
        ask(&road, !leg, 16000);
        tell(&road, leg, frame, n + more);
        CHECK(pump(&road) == RELAY_NEWS_ENCRYPT, "round %zu", rounds);
        news = send_encrypted(&road, leg);
        if (has_more) {
            CHECK(news == RELAY_NEWS_DECRYPT, "round %zu: %d", rounds, news);
            news = hear_left(&road, leg);
            check_left(leg, frame + n, more, "a text");
        }
        if (news == RELAY_NEWS_CAREFUL) left_bytes[leg] = 0, open_leg(&road, leg); /* read */
        else CHECK(news == RELAY_NEWS_STUCK || !has_more, "round %zu: %d", rounds, news);
    }
    fetch(&road, !leg, all, sent_bytes[!leg]);
    CHECK(unsealed(!leg, all, sent_bytes[!leg], clear, sizeof clear) == rounds * passed_bytes(&road, leg), "%zu", rounds);
    CHECK(!far[!leg].has_failed && rounds < 100, "in their order, after %zu", rounds);
    CHECK(pump(&road) == RELAY_NEWS_NONE, "and both are shut");
    end(&road);
}

/* ---- keys that C does not have ---- */

/* Frames in one piece, each told by itself, and then what is not for this way. */
static void each_frame_that_is_heard_is_encrypted_in_its_turn(int leg, int knows_first) {
    struct road road = begin_way(3, knows_first ? 1 << leg : 0, 0);
    const size_t n = audio(&road, leg, frame);
    for (size_t i = 1; i < 3; i++) memcpy(frame + i * n, frame, n);
    const size_t text = other(leg, frame + 3 * n);
    tell(&road, leg, frame, 3 * n + text);
    if (knows_first) CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && send_encrypted(&road, leg) == RELAY_NEWS_DECRYPT, "one");
    else CHECK(pump(&road) == RELAY_NEWS_DECRYPT, "what came");
    int news = hear_left(&road, leg);
    for (size_t i = knows_first ? 2 : 1; i <= 3; i++, news = hear_again(&road, leg)) {
        CHECK(news == RELAY_NEWS_ENCRYPT && left_bytes[leg] == (3 - i) * n + text, "leg %d, frame %zu: %d", leg, i, news);
        CHECK(send_encrypted(&road, leg) == RELAY_NEWS_NONE, "leg %d, frame %zu: sent", leg, i);
    }
    CHECK(news == RELAY_NEWS_CAREFUL, "leg %d: a text: %d", leg, news);
    check_left(leg, frame + 3 * n, text, "a text");
    check_passed(&road, leg, 3);
    end(&road);
}

/* What comes meanwhile has its turn when the pump says so, behind what was heard. */
static void what_is_heard_is_sent_before_more_is_taken(int leg) {
    struct road road = begin_way(3, 0, 0);
    const size_t n = audio(&road, leg, frame);
    memcpy(frame + n, frame, n);
    tell(&road, leg, frame, 2 * n);
    CHECK(pump(&road) == RELAY_NEWS_DECRYPT && hear_left(&road, leg) == RELAY_NEWS_ENCRYPT, "leg %d: one", leg);
    tell(&road, leg, frame, n);
    CHECK(send_encrypted(&road, leg) == RELAY_NEWS_NONE, "leg %d: and no more than that", leg);
    CHECK(hear_again(&road, leg) == RELAY_NEWS_ENCRYPT && left_bytes[leg] == 0, "leg %d: two", leg);
    CHECK(send_encrypted(&road, leg) == RELAY_NEWS_NONE, "leg %d: the socket waits", leg);
    CHECK(do_all(&road, pump(&road)) == RELAY_NEWS_NONE && left_bytes[leg] == 0, "leg %d: a third", leg);
    check_passed(&road, leg, 3);
    end(&road);
}

/* Down from a socket without TLS: one after the other out of relay_way_send(). */
static void what_is_in_the_socket_is_encrypted_in_its_turn(void) {
    struct road road = begin_way(1, 0, 0);
    const size_t n = audio(&road, UPSTREAM, frame);
    memcpy(frame + n, frame, n);
    tell(&road, UPSTREAM, frame, 2 * n);
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && told_leg == UPSTREAM, "one");
    CHECK(send_encrypted(&road, UPSTREAM) == RELAY_NEWS_ENCRYPT, "two");
    CHECK(send_encrypted(&road, UPSTREAM) == RELAY_NEWS_NONE, "no third");
    check_passed(&road, UPSTREAM, 2);
    end(&road);
}

/* ---- an end, a fault, and the longest frame ---- */

/* Also of a fault Python is told as OpenSSL found it, with whatever was to be encrypted on the other leg meanwhile. */
static void an_end_or_a_fault_is_told_behind_what_passed(int leg, int is_fault, int has_answer) {
    struct road road = begin_way(3, 3, 0);
    if (has_answer) ask(&road, !leg, 8);
    SSL_write(&far[leg], frame, (int)audio(&road, leg, frame));
    if (is_fault) BIO_write(&far[leg].out, "what?", 5);
    else fake_put(&far[leg], FAKE_END, NULL, 0);
    come_all(&road, leg);
    const int news = do_all(&road, pump(&road)), expected = is_fault ? FAKE_ERROR_SSL : FAKE_ERROR_ZERO_RETURN;
    CHECK(news == RELAY_NEWS_NONE && left_bytes[leg] == 0, "leg %d, fault %d: %d", leg, is_fault, news);
    CHECK(problem[leg] == expected, "leg %d, fault %d, answer %d: %d", leg, is_fault, has_answer, problem[leg]);
    check_passed(&road, leg, 1);
    tell(&road, !leg, frame, audio(&road, !leg, frame)); /* that connection is still as good as it was */
    CHECK(pump(&road) == RELAY_NEWS_ENCRYPT && told_leg == !leg, "leg %d, fault %d: the other", leg, is_fault);
    end(&road);
}

/* A delta of exactly `n` bytes as a frame: white space makes up what base64 does not. */
static void make_delta(size_t n, char *out) {
    static const char before[] =
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"";
    static char text[1 << 16];
    const size_t chars = (n - 4 - strlen(before) - 2) / 8 * 8;
    memset(text, ' ', sizeof text), memcpy(text, before, strlen(before));
    memset(text + strlen(before), 'A', chars), memcpy(text + strlen(before) + chars, "\"}", 2);
    if (relay_ws_build(RELAY_WS_OP_TEXT, text, n - 4, NULL, out, n + RELAY_WS_HEAD_BYTES) != (ptrdiff_t)n) abort();
}

/* ... of the socket and the rest; a longer one is Python's. */
static void the_longest_frame_down_has_room(int tls, int known) {
    for (size_t more = 0; more < 2; more++) {
        const size_t n = RELAY_WAY_FRAME_BYTES + more;
        struct road road = begin_way(tls, known, 1);
        const int large = 1 << 20;
        make_delta(n, frame);
        setsockopt(road.near[UPSTREAM], SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
        tell(&road, UPSTREAM, frame, n);
        const int news = do_all(&road, pump(&road));
        CHECK(news == (more ? RELAY_NEWS_CAREFUL : RELAY_NEWS_NONE), "TLS %d, known %d, %zu: %d", tls, known, n, news);
        if (!more) hears(&road, BROWSER, n);
        if (!more) CHECK(memcmp(heard, frame, n) == 0, "as it came");
        end(&road);
    }
}

/* The same of samples: what making the frame takes decides. */
static void the_longest_samples_down_have_room(void) {
    for (size_t more = 0; more < 2; more++) {
        struct road road = begin(24000, RELAY_F32LE, 192000, 0);
        size_t samples = 1200;
        while (relay_downlink_frame_room(road.ends.downlink, (2 * samples + 2) / 3 * 4) <= RELAY_WAY_FRAME_BYTES) samples++;
        begin_connections();
        road.ends.has_tls[BROWSER] = 1, road.ends.ssl[BROWSER] = &near[BROWSER];
        begin_again(&road);
        const relay_way_item item = spoken(1);
        CHECK(relay_way_open_down(road.way, &item, 0) == RELAY_NEWS_NONE, "nothing yet");
        tell(&road, UPSTREAM, frame, delta("i", samples - 3 + 3 * more, frame));
        CHECK(pump(&road) == (more ? RELAY_NEWS_CAREFUL : RELAY_NEWS_NONE), "%zu samples", samples - 3 + 3 * more);
        end(&road);
    }
}

int main(void) {
    relay_init(RELAY_SIMD_AVX2);
    CHECK(relay_openssl_load(NULL) == 0, "found");
    frames_go_both_ways_whoever_has_the_keys(), what_one_leg_has_left_does_not_hold_the_other();
    for (int known = 0; known < 4; known++)
        for (int is_json = 0; is_json < 2; is_json++) a_frame_of_two_records_passes_through_python(known, is_json);
    what_does_not_pass_comes_back_still_masked(), reports_of_the_browser_are_kept(0), reports_of_the_browser_are_kept(3);
    an_answer_goes_out_before_all_that_was_received(), what_is_undone_is_told_once();
    an_answer_goes_out_before_what_is_in_the_socket();
    for (int leg = 0; leg < 2; leg++)
        for (int yes = 0; yes < 2; yes++) {
            stuck_with_what_python_encrypted_loses_nothing(leg, yes);
            each_frame_that_is_heard_is_encrypted_in_its_turn(leg, yes);
            what_came_before_a_direction_opened_is_told_then(leg, yes ? 3 : 0);
            many_frames_in_a_record_pass_at_once(leg, yes);
            an_end_or_a_fault_is_told_behind_what_passed(leg, 0, yes);
            an_end_or_a_fault_is_told_behind_what_passed(leg, 1, yes);
        }
    what_is_in_the_socket_is_encrypted_in_its_turn();
    what_is_heard_is_sent_before_more_is_taken(BROWSER), what_is_heard_is_sent_before_more_is_taken(UPSTREAM);
    the_longest_frame_down_has_room(0, 0), the_longest_frame_down_has_room(1, 0), the_longest_frame_down_has_room(1, 1);
    the_longest_samples_down_have_room();
    end_connections();
    CHECK(relay_live_handles() == 0, "%d handles", relay_live_handles());
    return report("way_https");
}
