/* Python's part in TLS in the short way's fuzzer, as relay/tls_way.py and relay/tls_stream.py play it: with connections
 * that C has too, or that C knows nothing of. Whoever reads of one, what it gives is what was said, once and in its
 * order; and whoever reads from a browser that is not trusted, its records are counted.
 */
#ifndef RELAY_WAY_TLS_H
#define RELAY_WAY_TLS_H

#include "way_session.h"

/* A connection whose error somebody has left in the queue, before C is called. */
static const int stranger;

static void leave_error(void) { fake_error = &stranger; }

static void forget_error(void) {
    if (fake_error == &stranger) ERR_clear_error();
}

/* ---- records ---- */

/* How many records end in the first `n` bytes that the browser has sent. */
static size_t ended_records(const struct session *session, size_t n) {
    const uint8_t *const wire = (const uint8_t *)session->wire;
    size_t count = 0;
    for (size_t at = 0; at + FAKE_HEAD_BYTES <= n; count++) {
        at += FAKE_HEAD_BYTES + wire[at + 3] * 256u + wire[at + 4];
        if (at > n) break;
    }
    return count;
}

static size_t taken(const struct session *session) { return session->legs[BROWSER].sent - unread(session->near[BROWSER]); }

/* All that were read are counted, but for those in which something was. */
static void check_records(const struct session *session) {
    if (!session->ends.records[BROWSER]) return;
    const size_t ended = ended_records(session, taken(session));
    MUST(session->records.empty == ended - session->near_tls[BROWSER].records_said);
}

/* C has taken what was in the socket from there on: in two turns at most, for the wait that began before and the next. */
static void check_pieces(const struct session *session, size_t from, uint32_t empty) {
    if (!session->ends.records[BROWSER] || taken(session) == from) return;
    MUST(taken(session) - from <= 2 * RELAY_TLS_PIECE_BYTES);
    MUST(ended_records(session, taken(session)) - ended_records(session, from) <= 2 * RELAY_TLS_MOST_AT_ONCE);
    MUST(empty <= RELAY_TLS_MOST_EMPTY && session->records.empty <= RELAY_TLS_MOST_EMPTY);
}

/* What comes next of a browser that is not trusted is for Python. */
static int is_too_much(const struct session *session, int leg) {
    if (!session->ends.records[leg]) return 0;
    const size_t from = taken(session), left = unread(session->near[leg]);
    const size_t n = left < RELAY_TLS_PIECE_BYTES ? left : RELAY_TLS_PIECE_BYTES;
    const size_t ended = ended_records(session, from + n) - ended_records(session, from);
    return ended > RELAY_TLS_MOST_AT_ONCE || session->records.empty + ended > RELAY_TLS_MOST_EMPTY;
}

/* ---- reading ---- */

/* Reads what can be read. Of a fault Python has to be told, also if C came upon it first. */
static void read_on(struct session *session, int leg) {
    static char piece[LARGE];
    struct fake_ssl *const tls = &session->near_tls[leg];
    const struct leg *const from = &session->legs[leg];
    int got;
    forget_error();
    if (session->is_over[leg]) ERR_clear_error();
    if (session->is_over[leg]) return;
    while ((got = SSL_read(tls, piece, sizeof piece)) > 0) {
        MUST(memcmp(piece, from->said + tls->read_bytes - got, (size_t)got) == 0);
        if (session->ends.records[leg]) relay_tls_records_said(session->ends.records[leg], 1);
    }
    const int error = SSL_get_error(tls, got);
    MUST(error == (tls->has_failed ? FAKE_ERROR_SSL : tls->has_ended ? FAKE_ERROR_ZERO_RETURN : FAKE_ERROR_WANT_READ));
    session->is_over[leg] = error != FAKE_ERROR_WANT_READ;
    ERR_clear_error();
}

static void decrypt(struct session *session, int leg, const char *cipher, size_t n) {
    if (!session->is_over[leg]) BIO_write(&session->near_tls[leg].in, cipher, (int)n);
    read_on(session, leg);
}

/* At DECRYPT, before anything else: what was received lies in memory that the next call uses. */
static void take_received(struct session *session, int leg, int news) {
    const relay_tls_work *const work = relay_pump_tls_work(pump);
    const struct leg *const from = &session->legs[leg];
    const size_t read_bytes = session->near_tls[leg].read_bytes, n = work->received_bytes;
    if (news != RELAY_NEWS_DECRYPT) return;
    MUST(is_cipher(session, leg) && from->state == OPEN);
    MUST(judge(&session->model, leg, from->decrypted - from->at) <= PART);
    MUST(work->is_plain == (session->ends.ssl[leg] != NULL));
    if (!work->is_plain) {
        MUST(n > 0 && read_bytes == from->decrypted);
        decrypt(session, leg, work->received, n);
        session->undone[leg] = session->near_tls[leg].read_bytes - read_bytes;
        return;
    }
    MUST(n <= read_bytes - from->decrypted && memcmp(work->received, from->said + read_bytes - n, n) == 0);
    MUST(fake_error != &stranger || session->asked_ns[leg]); /* C has asked OpenSSL, or had before it asked Python */
    read_on(session, leg);
    session->undone[leg] = n + session->near_tls[leg].read_bytes - read_bytes;
}

/* C leaves nothing of a frame in the buffer: what is in it TLS itself has to say, and Python sends it. */
static int is_of_tls(const struct fake_bio *out) {
    for (size_t at = out->at; at < out->end;) {
        const uint8_t *const head = (uint8_t *)out->bytes + at;
        if (head[0] != FAKE_ANSWER && head[0] != FAKE_END) return 0;
        at += FAKE_HEAD_BYTES + ((size_t)head[3] << 8 | head[4]);
    }
    return 1;
}

/* What C has read of the connection and Python was not given is what passed; nothing passes what Python has. */
static size_t passed_in_c(struct session *session, int leg) {
    struct leg *const from = &session->legs[leg];
    const size_t fresh = session->near_tls[leg].read_bytes - from->decrypted, undone = session->undone[leg];
    MUST(fresh >= undone);
    MUST(fresh == undone || (session->ends.ssl[leg] && from->decrypted == from->at));
    session->was_behind[leg] = from->decrypted - from->at;
    from->decrypted += fresh, session->undone[leg] = 0;
    return fresh - undone;
}

/* All that can be read has been, and Python knows of the end. */
static int is_read(const struct session *session, int leg) {
    const struct fake_ssl *const tls = &session->near_tls[leg];
    if (tls->has_ended || tls->has_failed) return session->is_over[leg];
    return tls->in.at == tls->in.end && tls->plain_at == tls->plain_end;
}

/* What passed is unmasked where it lies, and nothing else is changed. */
static void check_unmasked(const char *plain, const char *said, size_t n, size_t passed) {
    for (size_t at = 0; at < passed;) {
        struct head head;
        MUST(read_head_again(said + at, passed - at, &head) == PASSES && head.bytes <= passed - at);
        char *const payload = clear(&head);
        const size_t before = head.bytes - head.payload_bytes;
        MUST(memcmp(plain + at, said + at, before) == 0);
        MUST(memcmp(plain + at + before, payload, head.payload_bytes) == 0);
        free(payload);
        at += head.bytes;
    }
    MUST(memcmp(plain + passed, said + passed, n - passed) == 0);
}

/* What Python has takes the short way as far as it may, or to a frame that Python has to encrypt. */
static int hear_plain(struct session *session, int leg) {
    struct leg *const from = &session->legs[leg];
    const size_t n = from->decrypted - from->at;
    const char *const said = from->said + from->at;
    char *const plain = exact_copy(said, n);
    const int64_t since_ns = relay_now_ns();
    int news;
    leave_error();
    const size_t passed = relay_way_hear(session->way, leg, plain, n, &news);
    MUST(passed <= n);
    check_unmasked(plain, said, n, passed);
    free(plain);
    pass(&session->model, leg, passed, since_ns);
    if (from->state != OPEN) MUST(passed == 0 && news == RELAY_NEWS_NONE);
    else if (news == RELAY_NEWS_NONE) MUST(judge(&session->model, leg, n - passed) <= PART);
    if (news == RELAY_NEWS_ENCRYPT) MUST(passed > 0);
    return news;
}

/* ---- writing ---- */

/* Returns the bytes for the socket, with what TLS itself has to say before; 0 if nothing can be written any more, after
 * which Python does not read either. */
static size_t encrypted(struct session *session, int leg, const char *frame, size_t n, char *out, size_t room) {
    struct fake_ssl *const tls = &session->near_tls[leg];
    size_t done = 0;
    forget_error();
    while (done < n) {
        const int got = SSL_write(tls, frame + done, (int)(n - done));
        if (got <= 0) session->is_mute[leg] = session->is_over[leg] = 1, ERR_clear_error();
        if (got <= 0) return 0;
        done += (size_t)got;
    }
    const int made = BIO_read(&tls->out, out, (int)room);
    MUST(made > 0 && BIO_ctrl_pending(&tls->out) == 0);
    return (size_t)made;
}

#endif
