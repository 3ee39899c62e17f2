/* A short way with TLS on either leg, or both, with an OpenSSL whose every record is known (fake_openssl.h), and Python's
 * part in it. tests/session has the real one. Include it in one file of a program.
 */
#ifndef TLS_ROAD_H
#define TLS_ROAD_H

#include "road.h"

#include "fake_openssl.h"

enum { BROWSER = RELAY_WAY_BROWSER, UPSTREAM = RELAY_WAY_UPSTREAM };
enum { HEAD = FAKE_HEAD_BYTES, UP_BYTES = 1280 + 47 + 8, DOWN_BYTES = 4 + RELAY_AUDIO_HEAD_BYTES + 960 };

/* By leg, as the sockets: the connections that Python has, and those of the peers. */
static struct fake_ssl near[2], far[2];
static const int stranger; /* a connection whose errors are still in the queue */
static char frame[1 << 18], heard[1 << 18];

static int told_leg; /* that the last news were about */

/* What was decrypted and did not pass: Python's. Read on, Python found `problem` of SSL_get_error(). */
static char left[2][1 << 18];
static size_t left_bytes[2];
static int problem[2];

static size_t sent_bytes[2]; /* to the peers, encrypted by Python */

static inline void begin_connections(void) {
    for (int leg = 0; leg < 2; leg++) fake_make(&near[leg]), fake_make(&far[leg]), left_bytes[leg] = sent_bytes[leg] = 0;
    ERR_clear_error();
}

static inline void end_connections(void) {
    for (int leg = 0; leg < 2; leg++) fake_free(&near[leg]), fake_free(&far[leg]);
}

/* The way anew, with other ends. */
static inline void begin_again(struct road *road) {
    relay_way_free(road->way);
    road->way = relay_way_new(road->pump, &road->ends);
    if (!road->way) abort();
}

/* The first `n` bytes of what a peer has to send come. */
static inline void come(struct road *road, int leg, size_t n) {
    static char bytes[1 << 18];
    if (BIO_read(&far[leg].out, bytes, (int)n) != (int)n) abort();
    say(road, leg, bytes, n);
    arrive(road->near[leg], n);
}

static inline void come_all(struct road *road, int leg) { come(road, leg, BIO_ctrl_pending(&far[leg].out)); }

/* What there is to say. The first silence may be the end of a wait that began before the last news. */
static inline int pump(struct road *road) {
    uint64_t token;
    int news = RELAY_NEWS_NONE;
    fake_error = &stranger;
    for (int i = 0; i < 2; i++)
        if (relay_pump_next(road->pump, 0, &token, &told_leg, &news) == RELAY_PUMP_NEWS) break;
    if (fake_error == &stranger) ERR_clear_error(); /* nobody asked the connection anything */
    return news;
}

/* Reads what can be read. */
static inline void read_left(int leg) {
    char *const to = left[leg];
    int got;
    while ((got = SSL_read(&near[leg], to + left_bytes[leg], (int)(sizeof left[leg] - left_bytes[leg]))) > 0)
        left_bytes[leg] += (size_t)got;
    problem[leg] = SSL_get_error(&near[leg], got);
    ERR_clear_error();
}

/* What Python has takes the short way as far as it may; returns what is news then. What did not pass is as it was. */
static inline int hear_again(struct road *road, int leg) {
    int news;
    char *const plain = exact_copy(left[leg], left_bytes[leg]);
    fake_error = &stranger;
    const size_t passed = relay_way_hear(road->way, leg, plain, left_bytes[leg], &news);
    if (fake_error == &stranger) ERR_clear_error();
    left_bytes[leg] -= passed;
    memmove(left[leg], left[leg] + passed, left_bytes[leg]);
    CHECK(memcmp(plain + passed, left[leg], left_bytes[leg]) == 0, "what did not pass is as it was");
    free(plain);
    return news;
}

/* Python's part at DECRYPT; returns what is news then. */
static inline int hear_left(struct road *road, int leg) {
    const relay_tls_work *const work = relay_pump_tls_work(road->pump);
    CHECK(work->is_plain == (road->ends.ssl[leg] != NULL), "decrypted by whoever has the connection");
    if (work->is_plain) {
        memcpy(left[leg] + left_bytes[leg], work->received, work->received_bytes);
        left_bytes[leg] += work->received_bytes;
    } else if (work->received_bytes)
        BIO_write(&near[leg].in, work->received, (int)work->received_bytes);
    read_left(leg);
    return hear_again(road, leg);
}

/* Python's part at ENCRYPT, for news about a leg; returns what is news then. */
static inline int send_encrypted(struct road *road, int leg) {
    static char bytes[1 << 18];
    const relay_tls_work *const work = relay_pump_tls_work(road->pump);
    if (SSL_write(&near[!leg], work->frame, (int)work->frame_bytes) != (int)work->frame_bytes) abort();
    const int n = BIO_read(&near[!leg].out, bytes, sizeof bytes);
    char *const exactly = exact_copy(bytes, (size_t)n);
    sent_bytes[!leg] += (size_t)n;
    const int news = relay_way_send(road->way, leg, exactly, (size_t)n);
    free(exactly);
    return news;
}

static inline void check_left(int leg, const char *bytes, size_t n, const char *what) {
    CHECK(left_bytes[leg] == n && memcmp(left[leg], bytes, n) == 0, "%s: %zu of %zu", what, left_bytes[leg], n);
    CHECK(problem[leg] == FAKE_ERROR_WANT_READ, "%s: %d", what, problem[leg]);
}

/* Neither the socket nor whoever reads it takes much. */
static inline void make_small(struct road *road, int leg) {
    const int small = 4096;
    setsockopt(road->near[leg], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(road->far[leg], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
}

/* What was stuck on its way to a peer: `n` bytes, with the rest at their end. They are waited for, but not for ever. */
static inline void fetch(const struct road *road, int leg, char *out, size_t n) {
    static char rest[RELAY_WAY_REST_BYTES];
    const struct timeval limit = {.tv_sec = 5};
    CHECK(relay_way_rest(road->way, !leg, rest, sizeof rest) == 0, "not for the other leg");
    const ptrdiff_t owed = relay_way_rest(road->way, leg, rest, sizeof rest);
    if (owed <= 0 || (size_t)owed > n) abort();
    setsockopt(road->far[leg], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (recv(road->far[leg], out, n - (size_t)owed, MSG_WAITALL) != (ssize_t)n - owed) abort();
    memcpy(out + n - owed, rest, (size_t)owed);
}

#endif
