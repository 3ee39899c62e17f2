/* Python's part in the short way's fuzzer, as relay/short_way.py plays it: a rest is taken at once and written before
 * anything opens again, nobody reads or writes a socket whose direction is open. After each call, what has gone out of
 * the sockets is passed through the model. way_tls.h has what belongs to TLS.
 */
#ifndef RELAY_WAY_PYTHON_H
#define RELAY_WAY_PYTHON_H

#include "way_tls.h"

static void write_owed(struct session *session, int leg) {
    if (session->is_gone[leg]) session->owed_bytes[leg] = 0;
    const size_t n = session->owed_bytes[leg];
    const ssize_t sent = n ? send(session->near[leg], session->owed[leg], n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent <= 0) return;
    session->owed_bytes[leg] -= (size_t)sent;
    memmove(session->owed[leg], session->owed[leg] + sent, session->owed_bytes[leg]);
}

static void owe(struct session *session, int leg, const char *bytes, size_t n) {
    MUST(n <= sizeof session->owed[leg] - session->owed_bytes[leg]);
    memcpy(session->owed[leg] + session->owed_bytes[leg], bytes, n);
    session->owed_bytes[leg] += n;
}

static void shut(struct session *session) {
    relay_way_counts counts;
    const int64_t from_ns = relay_now_ns();
    relay_way_shut(session->way, &counts);
    check_counts(&session->model, &counts, from_ns, relay_now_ns());
    for (int leg = 0; leg < 2; leg++) {
        struct leg *const from = &session->legs[leg];
        if (from->state == OPEN) from->state = WATCHED, from->silent_at = from->sent + (size_t)from->has_ended;
    }
}

static size_t account_leg(struct session *session, int leg, int64_t since_ns) {
    struct leg *const from = &session->legs[leg];
    if (session->asked_ns[leg]) return 0; /* how much passed is known when C has been answered */
    const size_t n =
        is_cipher(session, leg) ? passed_in_c(session, leg) : from->sent - from->at - unread(session->near[leg]);
    session->turn_frames[leg] = n ? pass(&session->model, leg, n, since_ns) : 0;
    return n;
}

/* What has gone out of the sockets since `since_ns` was passed on. Down first: a report may tell of what was just sent.
 * Returns how many bytes. */
static size_t account(int64_t since_ns) {
    size_t sum = 0;
    for (int i = 0; i < SESSIONS; i++) {
        check_records(&sessions[i]);
        for (int leg = 1; leg >= 0; leg--) sum += account_leg(&sessions[i], leg, since_ns);
    }
    return sum;
}

/* Bytes in the clear that are behind those that were passed on or read. */
static size_t there(const struct session *session, int leg) {
    const struct leg *const from = &session->legs[leg];
    return (is_cipher(session, leg) ? from->decrypted : from->sent) - from->at;
}

/* Nobody has anything to say of this leg: then there is nothing that should be said. Of an end only the pump knows. */
static void check_silence(const struct session *session, int leg, int is_pumped) {
    const struct leg *const from = &session->legs[leg];
    const size_t left = unread(session->near[leg]);
    const struct fake_ssl *const tls = &session->near_tls[leg];
    if (is_cipher(session, leg)) MUST(tls->has_failed || is_of_tls(&tls->out));
    if (from->state == SHUT) return;
    if (from->state == WATCHED) {
        MUST(from->silent_at == from->sent + (size_t)from->has_ended || (left == 0 && !from->has_ended));
        return;
    }
    MUST(!is_cipher(session, leg) || (left == 0 && is_read(session, leg)));
    const int next = judge(&session->model, leg, there(session, leg));
    MUST((next == NOTHING || next == PART) && !(is_pumped && from->has_ended));
}

static void take_careful(struct session *session, int leg) {
    struct leg *const from = &session->legs[leg];
    const size_t left = unread(session->near[leg]);
    if (from->state == WATCHED) MUST(from->has_ended || left > 0);
    else {
        const int next = judge(&session->model, leg, there(session, leg)), is_tls = is_cipher(session, leg);
        MUST(from->state == OPEN);
        const int is_behind_much = next == PART && !is_tls && from->at > BEHIND_MUCH;
        const int is_end = from->has_ended && (is_tls ? left == 0 : next != PASSES);
        MUST(next == STAYS || next == EITHER || is_behind_much || is_end || is_too_much(session, leg));
    }
    from->state = SHUT;
}

/* What is in the connection's buffer goes out with whatever is written. */
static void owe_written(struct session *session, int leg) {
    static char cipher[LARGE];
    const int n = BIO_read(&session->near_tls[leg].out, cipher, sizeof cipher);
    if (n > 0) owe(session, leg, cipher, (size_t)n);
}

static void take_stuck(struct session *session) {
    size_t sum = 0;
    for (int leg = 0; leg < 2; leg++) {
        struct leg *const from = &session->legs[leg];
        char *const rest = exact(RELAY_WAY_REST_BYTES);
        const ptrdiff_t n = relay_way_rest(session->way, leg, rest, RELAY_WAY_REST_BYTES);
        MUST(n >= 0 && relay_way_rest(session->way, leg, rest, 0) == 0);
        owe(session, leg, rest, (size_t)n);
        if (is_cipher(session, leg)) owe_written(session, leg);
        sum += (size_t)n;
        free(rest);
        if (from->state == OPEN) from->state = WATCHED, from->silent_at = (size_t)-1;
    }
    MUST(sum > 0);
}

/* What became of a frame is told, be it nothing: returns what is news then. */
static int tell_sent(struct session *session, int leg, const char *cipher, size_t n) {
    char *const exactly = exact_copy(cipher, n);
    const int64_t since_ns = session->asked_ns[leg] ? session->asked_ns[leg] : relay_now_ns();
    leave_error();
    const int news = relay_way_send(session->way, leg, exactly, n);
    free(exactly);
    if (news == RELAY_E_ROOM) return news;
    MUST(news != RELAY_NEWS_DECRYPT || session->asked_ns[leg]);
    take_received(session, leg, news);
    session->asked_ns[leg] = 0;
    account(since_ns);
    return news;
}

/* Nobody opens anything before it is written. What is in a socket C would go on with. */
static int write_itself(struct session *session, int leg, const char *cipher, size_t n) {
    MUST(n > RELAY_WAY_REST_BYTES);
    const int news = is_cipher(session, leg) ? tell_sent(session, leg, NULL, 0) : RELAY_NEWS_NONE;
    MUST(news == RELAY_NEWS_NONE || news == RELAY_NEWS_DECRYPT);
    shut(session);
    owe(session, !leg, cipher, n);
    write_owed(session, !leg);
    return news;
}

/* At ENCRYPT. If nothing can be written any more, the frame is lost. */
static int encrypt(struct session *session, int leg) {
    static char cipher[2 * LARGE];
    const relay_tls_work *const work = relay_pump_tls_work(pump);
    const struct fake_ssl *const tls = &session->near_tls[!leg];
    MUST(is_cipher(session, !leg) && session->legs[leg].state == OPEN);
    MUST(!session->ends.ssl[!leg] || tls->has_failed || BIO_ctrl_pending(SSL_get_wbio(tls)) > 0);
    const size_t n = encrypted(session, !leg, work->frame, work->frame_bytes, cipher, sizeof cipher);
    const int news = tell_sent(session, leg, cipher, n);
    return news == RELAY_E_ROOM ? write_itself(session, leg, cipher, n) : news;
}

/* All that Python has takes the short way as far as it may. */
static int let_through(struct session *session, int leg) {
    int news, sent;
    while ((news = hear_plain(session, leg)) == RELAY_NEWS_ENCRYPT)
        if ((sent = encrypt(session, leg)) != RELAY_NEWS_NONE) return sent;
    return news;
}

/* At DECRYPT. There is a reason for it: a frame that is whole and may pass has passed, unless the socket took no more, or
 * Python was asked to encrypt the one before, or has to know first what is wrong. */
static int hear_undone(struct session *session, int leg, int was_asked) {
    const struct leg *const from = &session->legs[leg];
    const size_t n = from->decrypted - from->at;
    const int is_whole = judge(&session->model, leg, n) == PASSES, is_open = from->state == OPEN;
    const int is_first = session->ends.ssl[leg] && !session->was_behind[leg] && is_open;
    const int news = let_through(session, leg);
    if (is_first && news != RELAY_NEWS_STUCK) {
        MUST(n > 0 || session->is_over[leg]);
        MUST(!is_whole || was_asked || session->is_over[leg]);
    }
    if (session->is_over[leg]) session->ends.ssl[leg] = NULL; /* C has given it back for good */
    return news;
}

static void take_news(struct session *session, int leg, int news) {
    for (int was_asked = 0; news == RELAY_NEWS_ENCRYPT || news == RELAY_NEWS_DECRYPT;) {
        const int asks = news == RELAY_NEWS_ENCRYPT;
        news = asks ? encrypt(session, leg) : hear_undone(session, leg, was_asked);
        was_asked = asks;
    }
    switch (news) {
        case RELAY_NEWS_NONE: break;
        case RELAY_NEWS_CAREFUL: take_careful(session, leg); break;
        case RELAY_NEWS_STUCK: take_stuck(session); break;
        default: abort();
    }
}

/* A direction was opened, or is watched: what was there already was looked at, as far as one turn goes; with TLS only
 * what had been decrypted, and the socket is announced. */
static void take_first_news(struct session *session, int leg, int news, int64_t since_ns) {
    account(since_ns);
    const int is_turn_over = session->turn_frames[leg] >= TURN;
    take_news(session, leg, news);
    const int is_announced = is_cipher(session, leg) && session->legs[leg].state == OPEN;
    if (is_announced) MUST(news == RELAY_NEWS_NONE);
    if (is_announced) take_news(session, leg, let_through(session, leg));
    if (news == RELAY_NEWS_NONE && !is_turn_over && !is_announced) check_silence(session, leg, 0);
}

static int may_open(const struct session *session, int leg) {
    return session->legs[leg].state != OPEN && session->owed_bytes[0] + session->owed_bytes[1] == 0;
}

static void open_up(struct session *session) {
    if (!may_open(session, BROWSER)) return;
    const int64_t since_ns = relay_now_ns();
    session->legs[BROWSER].state = OPEN;
    leave_error();
    take_first_news(session, BROWSER, relay_way_open_up(session->way), since_ns);
}

static void open_down(struct session *session, unsigned choice, unsigned sent) {
    if (!may_open(session, UPSTREAM)) return;
    struct model *const model = &session->model;
    relay_way_item item = {.item_id = "item_1", .response_id = "resp_1", .item_id_chars = 6, .response_id_chars = 6};
    item.number = choice & 3, item.content_index = choice >> 2 & 1, item.sent_samples = sent;
    item.played_samples = choice & 32 ? sent / 2 : 0;
    if (choice & 8) item.item_id_chars = item.response_id_chars = 1;
    const int64_t heard_in_ns = choice & 16 ? 5 * LEAD_NS : (int64_t)(choice >> 5) * 100000000 - 200000000;
    model->item = item, session->legs[UPSTREAM].state = OPEN;
    const int64_t since_ns = relay_now_ns();
    model->earliest_ns = since_ns + heard_in_ns;
    const int news = relay_way_open_down(session->way, &item, heard_in_ns);
    model->latest_ns = relay_now_ns() + heard_in_ns;
    take_first_news(session, UPSTREAM, news, since_ns);
}

static void watch(struct session *session, int leg) {
    if (session->legs[leg].state == OPEN) return;
    const int64_t since_ns = relay_now_ns();
    session->legs[leg].state = WATCHED, session->legs[leg].silent_at = (size_t)-1;
    take_first_news(session, leg, relay_way_watch(session->way, leg), since_ns);
}

static void read_plain(struct session *session, int leg, size_t n) {
    static char cipher[LARGE];
    struct leg *const from = &session->legs[leg];
    relay_tls_records *const records = session->ends.records[leg];
    const ssize_t came = there(session, leg) ? 0 : recv(session->near[leg], cipher, LARGE, MSG_DONTWAIT);
    if (came > 0 && records) relay_tls_records_read(records, cipher, (size_t)came);
    if (came > 0) decrypt(session, leg, cipher, (size_t)came);
    from->decrypted = session->near_tls[leg].read_bytes;
    from->at += n < there(session, leg) ? n : there(session, leg);
}

/* The socket has what the peer said, from where the way left it. */
static void read_socket(struct session *session, int leg, size_t n) {
    struct leg *const from = &session->legs[leg];
    if (from->state == OPEN) shut(session);
    if (is_cipher(session, leg)) {
        read_plain(session, leg, n);
        return;
    }
    char *const bytes = exact(n);
    const ssize_t got = recv(session->near[leg], bytes, n, MSG_DONTWAIT);
    MUST(got <= (ssize_t)(from->sent - from->at));
    MUST(got <= 0 || memcmp(bytes, from->said + from->at, (size_t)got) == 0);
    if (got > 0) from->at += (size_t)got;
    free(bytes);
}

static void write_message(struct session *session, int leg, unsigned n) {
    static char cipher[2 * LARGE];
    char payload[256] = {0}, frame[300];
    const char *const key = leg == UPSTREAM ? "\1\2\3\4" : NULL;
    shut(session);
    if (n > sizeof payload) n = sizeof payload;
    if (LARGE > sizeof session->owed[leg] - session->owed_bytes[leg]) return;
    const size_t size = (size_t)relay_ws_build(RELAY_WS_OP_TEXT, payload, n, key, frame, sizeof frame);
    if (!is_cipher(session, leg)) owe(session, leg, frame, size);
    else owe(session, leg, cipher, encrypted(session, leg, frame, size, cipher, sizeof cipher));
    expect(&session->legs[leg], RELAY_WS_OP_TEXT, payload, n);
    write_owed(session, leg);
}

static void renew(struct session *session) {
    shut(session);
    relay_way_free(session->way);
    session->way = relay_way_new(pump, &session->ends);
    MUST(session->way);
    for (int leg = 0; leg < 2; leg++) session->legs[leg].state = SHUT;
    memset(&session->model.item, 0, sizeof session->model.item);
    session->model.earliest_ns = session->model.latest_ns = 0;
}

/* The only place that knows how the pump waits: it does not. Returns whether it had news. */
static int pump_news(uint64_t *token, int *leg, int *news) {
    size_t from[SESSIONS];
    uint32_t empty[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) from[i] = taken(&sessions[i]), empty[i] = sessions[i].records.empty;
    leave_error();
    const int has_news = relay_pump_next(pump, 0, token, leg, news) == 1;
    MUST(!has_news || *token < SESSIONS);
    for (int i = 0; i < SESSIONS; i++) check_pieces(&sessions[i], from[i], empty[i]);
    return has_news;
}

static size_t all_taken(void) {
    size_t sum = 0;
    for (int i = 0; i < SESSIONS; i++) sum += taken(&sessions[i]);
    return sum;
}

/* Returns whether there was something to do, be it to read a part of a record. */
static int pump_once(void) {
    uint64_t token;
    int leg, news;
    const size_t from = all_taken();
    const int64_t since_ns = relay_now_ns();
    const int has_news = pump_news(&token, &leg, &news), was_read = all_taken() != from;
    struct session *const session = has_news ? &sessions[token] : NULL;
    if (session) take_received(session, leg, news);
    if (session && news == RELAY_NEWS_ENCRYPT && is_cipher(session, leg)) session->asked_ns[leg] = since_ns;
    const size_t passed = account(since_ns);
    if (session) take_news(session, leg, news);
    return has_news || passed > 0 || was_read;
}

/* Twice: the first silence may be the end of a wait that began before the last news. */
static void pump_until_silent(void) {
    for (int i = 0, silences = 0; silences < 2; i++) {
        MUST(i < 10000);
        silences = pump_once() ? 0 : silences + 1;
    }
    for (int i = 0; i < SESSIONS; i++)
        for (int leg = 0; leg < 2; leg++) check_silence(&sessions[i], leg, 1);
}

#endif
