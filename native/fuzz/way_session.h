/* Sessions of the short way's fuzzer: two peers each, on real sockets, and what they say and hear. */
#ifndef RELAY_WAY_SESSION_H
#define RELAY_WAY_SESSION_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../tests/fake_openssl.h"
#include "way_model.h"

enum { SESSIONS = 2, TURN = 64, LARGE = 1 << 16, WIRE_BYTES = 1 << 20, MOST_STEPS = 250 };

struct session {
    struct model model;
    struct leg legs[2];
    int far[2], near[2], is_tcp, is_gone[2]; /* gone: the peer has closed, and hears nothing any more */
    char owed[2][2 * LARGE];                 /* what Python has to write to a leg before anything else */
    size_t owed_bytes[2];
    int turn_frames[2]; /* that passed in the last step */
    struct fake_ssl near_tls[2], far_tls[2];
    int says_no_more[2];             /* the peer, in TLS: it has ended that, or broken it */
    int is_over[2], is_mute[2];      /* Python knows that nothing can be read any more; that nothing can be written */
    size_t undone[2], was_behind[2]; /* of what was decrypted: did not pass at this DECRYPT; was left before */
    int64_t asked_ns[2];             /* C asks to encrypt, and will say how much was undone: since when, or 0 */
    size_t asked_bytes[2];           /* by the peer, of TLS itself */
    relay_tls_records records;       /* of the browser, if it is not trusted */
    char wire[WIRE_BYTES];           /* what it has sent, as records */
    relay_way_ends ends;
    relay_way *way;
};

static struct session sessions[SESSIONS];
static relay_pump *pump;

/* ---- sockets ---- */

/* libFuzzer's own alarm interrupts what waits, every ten minutes. */
#define WAITED(call)                              \
    ({                                            \
        int got;                                  \
        do got = (call);                          \
        while (got < 0 && errno == EINTR);        \
        got;                                      \
    })

static void tcp_pair(int pair[2]) {
    static int listener;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    const int one = 1;
    const struct linger no_wait = {.l_onoff = 1};
    if (!listener) {
        listener = socket(AF_INET, SOCK_STREAM, 0);
        MUST(bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, 4) == 0);
    }
    MUST(getsockname(listener, (struct sockaddr *)&at, &size) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    MUST(WAITED(connect(pair[0], (struct sockaddr *)&at, size)) == 0);
    pair[1] = WAITED(accept(listener, NULL, NULL));
    MUST(pair[1] >= 0);
    for (int i = 0; i < 2; i++) {
        setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(pair[i], SOL_SOCKET, SO_LINGER, &no_wait, sizeof no_wait); /* no port stays in TIME_WAIT */
    }
}

static size_t unread(int fd) {
    int n = 0;
    MUST(ioctl(fd, FIONREAD, &n) == 0);
    return (size_t)n;
}

/* All that was sent has come, which takes a moment with TCP. */
static void arrive(const struct session *session, int leg, size_t n) {
    for (int i = 0; unread(session->near[leg]) != n; i++) {
        MUST(i < 5000);
        poll(NULL, 0, i > 100);
    }
}

static int is_cipher(const struct session *session, int leg) { return session->ends.has_tls[leg]; }

/* ---- what the peers do ---- */

static void say(struct session *session, int leg, const char *bytes, size_t n) {
    struct leg *const from = &session->legs[leg];
    if (from->has_ended || n > SAID_BYTES - from->said_bytes) return;
    if (is_cipher(session, leg) && session->says_no_more[leg]) return;
    memcpy(from->said + from->said_bytes, bytes, n);
    from->said_bytes += n;
}

/* With TLS, what was said becomes records, whatever of them is sent now. */
static void seal(struct session *session, int leg) {
    struct leg *const from = &session->legs[leg];
    const size_t n = from->said_bytes - from->sealed;
    ERR_clear_error();
    if (n) MUST(SSL_write(&session->far_tls[leg], from->said + from->sealed, (int)n) == (int)n);
    from->sealed = from->said_bytes;
}

/* A record of TLS itself, or, as kind 0, something that is none. Behind an end or a fault nothing is said. */
static void say_of_tls(struct session *session, int leg, int kind, const char *bytes, size_t n) {
    if (!is_cipher(session, leg) || session->legs[leg].has_ended) return;
    if (!session->says_no_more[leg]) seal(session, leg);
    if (kind) fake_put(&session->far_tls[leg], kind, bytes, n);
    else BIO_write(&session->far_tls[leg].out, "no record", 9);
    session->says_no_more[leg] |= !kind || kind == FAKE_END;
}

/* What can be sent to a leg now. */
static size_t to_send(struct session *session, int leg, const char **bytes) {
    const struct leg *const from = &session->legs[leg];
    const struct fake_bio *const records = &session->far_tls[leg].out;
    if (!is_cipher(session, leg)) return *bytes = from->said + from->sent, from->said_bytes - from->sent;
    seal(session, leg);
    *bytes = records->end ? records->bytes + records->at : NULL;
    return records->end - records->at;
}

/* At most so much is under way that it fits into the socket, whatever the kernel counts it as. */
static void send_said(struct session *session, int leg, size_t n) {
    static char gone[LARGE];
    const size_t waiting = unread(session->near[leg]);
    const char *bytes;
    if (session->legs[leg].has_ended) return;
    const size_t left = to_send(session, leg, &bytes), room = LARGE > waiting ? LARGE - waiting : 0;
    const size_t kept = session->legs[leg].sent;
    if (n > left) n = left;
    if (n > room) n = room;
    if (session->ends.records[leg] && n > WIRE_BYTES - kept) n = WIRE_BYTES - kept;
    const ssize_t sent = n ? send(session->far[leg], bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent <= 0) return;
    session->legs[leg].sent += (size_t)sent;
    if (session->ends.records[leg]) memcpy(session->wire + kept, bytes, (size_t)sent);
    if (is_cipher(session, leg)) BIO_read(&session->far_tls[leg].out, gone, (int)sent);
    arrive(session, leg, waiting + (size_t)sent);
}

static void end_said(struct session *session, int leg) {
    struct pollfd ended = {.fd = session->near[leg], .events = POLLRDHUP};
    if (session->legs[leg].has_ended) return;
    shutdown(session->far[leg], SHUT_WR);
    MUST(WAITED(poll(&ended, 1, 5000)) == 1);
    session->legs[leg].has_ended = 1;
}

static void hang_up(struct session *session, int leg) {
    if (session->is_tcp || session->is_gone[leg]) return; /* with TCP the kernel may drop what was said before */
    close(session->far[leg]);
    session->far[leg] = -1;
    session->legs[leg].has_ended = session->is_gone[leg] = 1;
}

/* Reads what the records say. There is nothing wrong with them, but one may say what is wrong with the peer's own. */
static size_t unseal(struct session *session, int leg, const char *records, size_t n, char *out, size_t room) {
    struct fake_ssl *const tls = &session->far_tls[leg];
    size_t have = 0;
    int got;
    ERR_clear_error();
    BIO_write(&tls->in, records, (int)n);
    while ((got = SSL_read(tls, out + have, (int)(room - have))) > 0) have += (size_t)got;
    const int is_told = session->near_tls[leg].has_failed && tls->has_ended;
    MUST(SSL_get_error(tls, got) == (is_told ? FAKE_ERROR_ZERO_RETURN : FAKE_ERROR_WANT_READ));
    return have;
}

static size_t listen_to(struct session *session, int leg, size_t most) {
    static char records[OWED_BYTES];
    struct leg *const to = &session->legs[leg];
    const size_t room = OWED_BYTES - to->heard_bytes;
    char *const heard = to->heard + to->heard_bytes;
    if (session->is_gone[leg]) return 0;
    if (most > room) most = room;
    const ssize_t n = recv(session->far[leg], is_cipher(session, leg) ? records : heard, most, MSG_DONTWAIT);
    if (n <= 0) return 0;
    to->heard_bytes += is_cipher(session, leg) ? unseal(session, leg, records, (size_t)n, heard, room) : (size_t)n;
    check_heard(to, leg == UPSTREAM);
    return (size_t)n;
}

#endif
