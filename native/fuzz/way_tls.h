/* Python's part in TLS in the short way's fuzzer, as relay/tls_way.py and relay/tls_stream.py play it: with a
 * connection that C has too, or that C knows nothing of. Whoever reads of it, what it gives is what was said, once and
 * in its order.
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

/* Reads what can be read. Of a fault Python has to be told, also if C came upon it first. */
static void read_on(struct session *session) {
    static char piece[LARGE];
    struct fake_ssl *const tls = &session->near_tls;
    const struct leg *const from = &session->legs[UPSTREAM];
    int got;
    if (session->is_over) ERR_clear_error();
    if (session->is_over) return;
    while ((got = SSL_read(tls, piece, sizeof piece)) > 0)
        MUST(memcmp(piece, from->said + tls->read_bytes - got, (size_t)got) == 0);
    const int error = SSL_get_error(tls, got);
    MUST(error == (tls->has_failed ? FAKE_ERROR_SSL : tls->has_ended ? FAKE_ERROR_ZERO_RETURN : FAKE_ERROR_WANT_READ));
    session->is_over = error != FAKE_ERROR_WANT_READ;
    ERR_clear_error();
}

static void decrypt(struct session *session, const char *cipher, size_t n) {
    forget_error();
    if (!session->is_over) BIO_write(&session->near_tls.in, cipher, (int)n);
    read_on(session);
}

/* At DECRYPT, before anything else: what was received lies in memory that the next call uses. */
static void take_received(struct session *session, int news) {
    const relay_tls_work *const work = relay_pump_tls_work(pump);
    const struct leg *const from = &session->legs[UPSTREAM];
    const size_t read_bytes = session->near_tls.read_bytes, n = work->received_bytes;
    if (news != RELAY_NEWS_DECRYPT) return;
    MUST(session->ends.has_tls[UPSTREAM] && from->state == OPEN);
    MUST(judge(&session->model, UPSTREAM, from->decrypted - from->at) <= PART);
    MUST(work->is_plain == (session->ends.ssl[UPSTREAM] != NULL));
    if (!work->is_plain) {
        MUST(n > 0 && read_bytes == from->decrypted);
        decrypt(session, work->received, n);
        session->undone = session->near_tls.read_bytes - read_bytes;
        return;
    }
    MUST(n <= read_bytes - from->decrypted && memcmp(work->received, from->said + read_bytes - n, n) == 0);
    MUST(fake_error != &stranger);
    read_on(session);
    session->undone = n + session->near_tls.read_bytes - read_bytes;
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
static size_t passed_in_c(struct session *session) {
    struct leg *const from = &session->legs[UPSTREAM];
    const size_t fresh = session->near_tls.read_bytes - from->decrypted, undone = session->undone;
    MUST(fresh >= undone);
    MUST(fresh == undone || (session->ends.ssl[UPSTREAM] && from->decrypted == from->at));
    session->was_behind = from->decrypted - from->at;
    from->decrypted += fresh, session->undone = 0;
    return fresh - undone;
}

/* All that can be read has been, and Python knows of the end. */
static int is_read(const struct session *session) {
    const struct fake_ssl *const tls = &session->near_tls;
    if (tls->has_ended || tls->has_failed) return session->is_over;
    return tls->in.at == tls->in.end && tls->plain_at == tls->plain_end;
}

/* What Python has takes the short way as far as it may. */
static int hear_plain(struct session *session) {
    struct leg *const from = &session->legs[UPSTREAM];
    const size_t n = from->decrypted - from->at;
    char *const plain = exact_copy(from->said + from->at, n);
    const int64_t since_ns = relay_now_ns();
    int news;
    const size_t passed = relay_way_hear(session->way, UPSTREAM, plain, n, &news);
    MUST(passed <= n && memcmp(plain, from->said + from->at, n) == 0);
    free(plain);
    pass(&session->model, UPSTREAM, passed, since_ns);
    if (news == RELAY_NEWS_NONE) MUST(judge(&session->model, UPSTREAM, n - passed) <= PART);
    return news;
}

/* There is a reason for it: a frame that is whole and may pass has passed, unless the socket took no more. */
static int hear_undone(struct session *session) {
    const size_t n = session->legs[UPSTREAM].decrypted - session->legs[UPSTREAM].at;
    const int is_whole = judge(&session->model, UPSTREAM, n) == PASSES;
    const int news = hear_plain(session);
    if (session->ends.ssl[UPSTREAM] && !session->was_behind)
        MUST(news == RELAY_NEWS_STUCK || (!is_whole && (n > 0 || session->is_over)));
    if (session->is_over) session->ends.ssl[UPSTREAM] = NULL; /* C has given it back for good */
    return news;
}

/* Returns the bytes for the socket, with what TLS itself has to say before; 0 if nothing can be written any more, after
 * which Python does not read either. */
static size_t encrypted(struct session *session, const char *frame, size_t n, char *out, size_t room) {
    struct fake_ssl *const tls = &session->near_tls;
    size_t done = 0;
    forget_error();
    while (done < n) {
        const int got = SSL_write(tls, frame + done, (int)(n - done));
        if (got <= 0) session->is_mute = session->is_over = 1, ERR_clear_error();
        if (got <= 0) return 0;
        done += (size_t)got;
    }
    const int made = BIO_read(&tls->out, out, (int)room);
    MUST(made > 0 && BIO_ctrl_pending(&tls->out) == 0);
    return (size_t)made;
}

#endif
