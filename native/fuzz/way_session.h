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

#include "way_model.h"

enum { SESSIONS = 2, CIPHER = 0x5A, TURN = 64, LARGE = 1 << 16, MOST_STEPS = 250 };

struct session {
    struct model model;
    struct leg legs[2];
    int far[2], near[2], is_tcp, is_gone[2]; /* gone: the peer has closed, and hears nothing any more */
    char owed[2][2 * LARGE];                 /* what Python has to write to a leg before anything else */
    size_t owed_bytes[2];
    int turn_frames[2]; /* that passed in the last step */
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

/* What was sent has come, which takes a moment with TCP. */
static void arrive(const struct session *session, int leg) {
    const struct leg *const from = &session->legs[leg];
    const size_t taken = leg == UPSTREAM && session->ends.has_tls ? from->decrypted : from->at;
    for (int i = 0; unread(session->near[leg]) != from->sent - taken; i++) {
        MUST(i < 5000);
        poll(NULL, 0, i > 100);
    }
}

/* ---- what the peers do ---- */

static void say(struct session *session, int leg, const char *bytes, size_t n) {
    struct leg *const from = &session->legs[leg];
    if (from->has_ended || n > SAID_BYTES - from->said_bytes) return;
    memcpy(from->said + from->said_bytes, bytes, n);
    from->said_bytes += n;
}

/* At most so much is under way that it fits into the socket, whatever the kernel counts it as. */
static void send_said(struct session *session, int leg, size_t n) {
    struct leg *const from = &session->legs[leg];
    static char cipher[SAID_BYTES];
    const size_t left = from->said_bytes - from->sent, waiting = unread(session->near[leg]);
    if (from->has_ended) return;
    if (n > left) n = left;
    if (waiting + n > LARGE) n = LARGE > waiting ? LARGE - waiting : 0;
    const int is_cipher = leg == UPSTREAM && session->ends.has_tls;
    for (size_t i = 0; i < n; i++) cipher[i] = (char)(from->said[from->sent + i] ^ (is_cipher ? CIPHER : 0));
    const ssize_t sent = send(session->far[leg], cipher, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) from->sent += (size_t)sent;
    arrive(session, leg);
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

static size_t listen_to(struct session *session, int leg, size_t most) {
    struct leg *const to = &session->legs[leg];
    const int is_cipher = leg == UPSTREAM && session->ends.has_tls;
    if (session->is_gone[leg]) return 0;
    if (most > OWED_BYTES - to->heard_bytes) most = OWED_BYTES - to->heard_bytes;
    const ssize_t n = recv(session->far[leg], to->heard + to->heard_bytes, most, MSG_DONTWAIT);
    if (n <= 0) return 0;
    for (ssize_t i = 0; is_cipher && i < n; i++) to->heard[to->heard_bytes + (size_t)i] ^= CIPHER;
    to->heard_bytes += (size_t)n;
    check_heard(to, leg == UPSTREAM);
    return (size_t)n;
}

#endif
