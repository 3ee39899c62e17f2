/* Both ends of many voice sessions, on one core: browsers that speak every 20 ms, and an upstream that answers each
 * frame at once. Between the two stands the relay that is measured. Built and driven by load.py, which also does all
 * handshakes; here is only what happens fifty times a second.
 *
 * Rules: open loop. A frame is sent when it is due by the clock, whether or not earlier ones came back, and its delay
 * counts from that moment, so that a relay that stalls cannot make the load wait for it. Nothing is allocated while it
 * runs. What a socket does not take waits in its connection's buffer; a frame that does not fit there is counted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef LOAD_TLS
#include <openssl/ssl.h>
#endif

#define IN_BYTES 65536
#define OUT_BYTES 262144
#define OUTSTANDING 1024 /* frames of one session under way: 20 s; more is a relay that is lost anyway */
#define EVENTS 256
#define FRAME_NS 20000000ULL
#define DRAIN_NS 2000000000ULL
#define REPORT_FRAMES 12 /* relay.played every 240 ms */

enum { CLIENT = 0, UPSTREAM = 1 };
enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

typedef struct load_conn {
    int fd, side;
    void *tls;
    struct load_session *session;
    size_t in_len, out_from, out_len;
    int wants_out, gone;
    uint8_t in[IN_BYTES], out[OUT_BYTES];
} load_conn;

typedef struct load_session {
    load_conn *client, *upstream;
    uint64_t due_ns[OUTSTANDING];
    uint64_t sent, back, samples, since_report;
} load_session;

typedef struct {
    uint64_t sent, back, unsent, strange, broken; /* frames; messages nobody expected; connections that ended */
    uint64_t delays;                              /* how many values were written to delay_ns */
    uint64_t wall_ns, cpu_ns;                     /* of the load itself, while frames were due */
} load_result;

typedef struct {
    const uint8_t *up;   /* finished frame of the browser */
    size_t up_bytes;
    const uint8_t *down; /* finished frame of the upstream */
    size_t down_bytes;
    size_t samples;      /* samples of a binary answer that make one frame; 0: a long text is one */
    const uint8_t *append; /* what an upstream's message must begin with */
    size_t append_bytes;
    uint64_t *delay_ns;  /* caller's, delay_room values */
    size_t delay_room;
} load_work;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Sockets: plain, or TLS where a connection has it. Both return bytes moved, 0 at the end, -1 for "later". */

static ssize_t take(load_conn *c, void *to, size_t room) {
#ifdef LOAD_TLS
    if (c->tls) {
        const int n = SSL_read(c->tls, to, (int)room);
        if (n > 0) return n;
        return SSL_get_error(c->tls, n) == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    const ssize_t n = recv(c->fd, to, room, 0);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

static ssize_t give(load_conn *c, const void *from, size_t bytes) {
#ifdef LOAD_TLS
    if (c->tls) {
        const int n = SSL_write(c->tls, from, (int)bytes);
        if (n > 0) return n;
        const int why = SSL_get_error(c->tls, n);
        return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    const ssize_t n = send(c->fd, from, bytes, MSG_NOSIGNAL);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

static void want_out(int epoll, load_conn *c, int wants) {
    if (c->wants_out == wants) return;
    struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_out = wants;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush(int epoll, load_conn *c, load_result *result) {
    while (c->out_len) {
        const ssize_t n = give(c, c->out + c->out_from, c->out_len);
        if (n < 0) break;
        if (n == 0) {
            c->gone = 1;
            result->broken++;
            c->out_len = 0;
            break;
        }
        c->out_from += (size_t)n;
        c->out_len -= (size_t)n;
    }
    if (!c->out_len) c->out_from = 0;
    want_out(epoll, c, c->out_len != 0);
}

/* Returns whether it fitted. */
static int post(int epoll, load_conn *c, const uint8_t *frame, size_t bytes, load_result *result) {
    if (c->gone) return 0;
    if (c->out_from + c->out_len + bytes > OUT_BYTES) {
        memmove(c->out, c->out + c->out_from, c->out_len);
        c->out_from = 0;
    }
    if (c->out_len + bytes > OUT_BYTES) return 0;
    memcpy(c->out + c->out_from + c->out_len, frame, bytes);
    c->out_len += bytes;
    flush(epoll, c, result);
    return 1;
}

/* Messages */

static void pong(int epoll, load_conn *c, const uint8_t *payload, size_t bytes, load_result *result) {
    uint8_t frame[2 + 4 + 125];
    const size_t head = c->side == CLIENT ? 6 : 2;
    memset(frame, 0, head); /* a mask of zeros: the payload as it is */
    frame[0] = 0x80 | PONG;
    frame[1] = (uint8_t)((c->side == CLIENT ? 0x80 : 0) | bytes);
    memcpy(frame + head, payload, bytes);
    post(epoll, c, frame, head + bytes, result);
}

static void report(int epoll, load_session *s, load_result *result) {
    static const char before[] = "{\"type\":\"relay.played\",\"item\":1,\"samples\":";
    uint8_t frame[6 + 100];
    uint64_t rest = s->samples;
    char digits[24];
    size_t count = 0, bytes = sizeof before - 1;
    do digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    memcpy(frame + 6, before, bytes);
    while (count) frame[6 + bytes++] = (uint8_t)digits[--count];
    frame[6 + bytes++] = '}';
    memset(frame, 0, 6);
    frame[0] = 0x80 | TEXT;
    frame[1] = (uint8_t)(0x80 | bytes);
    post(epoll, s->client, frame, 6 + bytes, result);
}

static void came_back(load_session *s, const load_work *work, load_result *result) {
    if (s->back == s->sent) return;
    const uint64_t delay = now_ns() - s->due_ns[s->back++ % OUTSTANDING];
    result->back++;
    if (result->delays < work->delay_room) work->delay_ns[result->delays++] = delay;
}

static void client_message(int epoll, load_conn *c, int opcode, size_t bytes, const load_work *work, load_result *result) {
    load_session *s = c->session;
    if (opcode == TEXT) {
        if (!work->samples && bytes > 1000) came_back(s, work, result);
        return;
    }
    const uint64_t before = s->samples / work->samples;
    s->samples += (bytes - 16) / 4;
    for (uint64_t frames = s->samples / work->samples - before; frames; frames--) came_back(s, work, result);
    if (++s->since_report >= REPORT_FRAMES) {
        s->since_report = 0;
        report(epoll, s, result);
    }
}

static void upstream_message(
    int epoll, load_conn *c, const uint8_t *payload, size_t bytes, const uint8_t *mask, const load_work *work,
    load_result *result
) {
    size_t same = 0;
    if (bytes > 1000)
        while (same < work->append_bytes && (payload[same] ^ mask[same & 3]) == work->append[same]) same++;
    if (bytes > 1000 && same == work->append_bytes)
        post(epoll, c, work->down, work->down_bytes, result);
    else
        result->strange++;
}

/* Returns the bytes of the frame at `at`, or 0 if it is not whole yet. */
static size_t one_frame(int epoll, load_conn *c, const uint8_t *at, size_t len, const load_work *work, load_result *result) {
    if (len < 2) return 0;
    const int opcode = at[0] & 15, masked = at[1] >> 7;
    size_t bytes = at[1] & 127, head = 2;
    if (bytes == 126) {
        if (len < 4) return 0;
        bytes = (size_t)at[2] << 8 | at[3];
        head = 4;
    } else if (bytes == 127) {
        if (len < 10) return 0;
        bytes = 0;
        for (int i = 2; i < 10; i++) bytes = bytes << 8 | at[i];
        head = 10;
    }
    const uint8_t *mask = at + head;
    head += masked ? 4 : 0;
    if (len < head + bytes) return 0;
    if (opcode == PING && bytes <= 125) {
        uint8_t plain[125];
        for (size_t i = 0; i < bytes; i++) plain[i] = at[head + i] ^ (masked ? mask[i & 3] : 0);
        pong(epoll, c, plain, bytes, result);
    } else if (opcode == CLOSE) {
        result->broken++;
    } else if (opcode == TEXT || opcode == BINARY) {
        if (c->side == CLIENT)
            client_message(epoll, c, opcode, bytes, work, result);
        else
            upstream_message(epoll, c, at + head, bytes, mask, work, result);
    }
    return head + bytes;
}

static void readable(int epoll, load_conn *c, const load_work *work, load_result *result) {
    for (;;) {
        const ssize_t n = take(c, c->in + c->in_len, IN_BYTES - c->in_len);
        if (n < 0) return;
        if (n == 0) {
            c->gone = 1;
            result->broken++;
            epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
            return;
        }
        const int was_full = (size_t)n == IN_BYTES - c->in_len;
        c->in_len += (size_t)n;
        size_t from = 0, used;
        while ((used = one_frame(epoll, c, c->in + from, c->in_len - from, work, result))) from += used;
        memmove(c->in, c->in + from, c->in_len - from);
        c->in_len -= from;
        if (!was_full && !c->tls) return;
    }
}

/* The loop */

static void speak(int epoll, load_session *s, uint64_t due, const load_work *work, load_result *result) {
    if (s->sent - s->back >= OUTSTANDING || !post(epoll, s->client, work->up, work->up_bytes, result)) {
        result->unsent++;
        return;
    }
    s->due_ns[s->sent++ % OUTSTANDING] = due;
    result->sent++;
}

static void handle(int epoll, int timeout_ns, const load_work *work, load_result *result) {
    struct epoll_event events[EVENTS];
    const struct timespec timeout = {.tv_nsec = timeout_ns};
    const int n = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        load_conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) flush(epoll, c, result);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(epoll, c, work, result);
    }
}

static void watch(int epoll, load_conn *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->wants_out = 0;
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

/* Let `count` sessions talk for `span_ns`, evenly spread over the 20 ms, then wait for what is under way. */
void load_run(load_session *const *sessions, size_t count, uint64_t span_ns, const load_work *work, load_result *result) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    memset(result, 0, sizeof *result);
    for (size_t i = 0; i < count; i++) {
        watch(epoll, sessions[i]->client);
        watch(epoll, sessions[i]->upstream);
        sessions[i]->sent = sessions[i]->back = 0;
    }
    const uint64_t start = now_ns() + 1000000, cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), step = FRAME_NS / count;
    for (uint64_t tick = 0, due = start; due < start + span_ns; due = start + ++tick * step) {
        uint64_t now;
        while ((now = now_ns()) < due) handle(epoll, (int)(due - now), work, result);
        speak(epoll, sessions[tick % count], due, work, result);
        if (tick % 16 == 15) handle(epoll, 0, work, result); /* also when it is late: answers must be read */
    }
    result->wall_ns = now_ns() - start;
    result->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    for (const uint64_t end = now_ns() + DRAIN_NS; result->back < result->sent && now_ns() < end;)
        handle(epoll, 1000000, work, result);
    close(epoll);
}

/* One end of a session. `tls` is an SSL that has shaken hands, or NULL. Blocking until load_run takes it. */
load_conn *load_conn_new(int fd, int side, void *tls) {
    load_conn *c = calloc(1, sizeof *c);
    if (c) c->fd = fd, c->side = side, c->tls = tls;
    return c;
}

load_session *load_session_new(load_conn *client, load_conn *upstream) {
    load_session *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->client = client, s->upstream = upstream;
    client->session = upstream->session = s;
    return s;
}

void load_session_free(load_session *s) {
#ifdef LOAD_TLS
    if (s->upstream->tls) SSL_free(s->upstream->tls);
#endif
    free(s->client);
    free(s->upstream);
    free(s);
}

/* For the handshakes, which Python does: bytes moved, 0 at the end. */
ssize_t load_read(load_conn *c, void *to, size_t room) { return take(c, to, room); }
ssize_t load_write(load_conn *c, const void *from, size_t bytes) { return give(c, from, bytes); }

#ifdef LOAD_TLS
/* A server's context for TLS 1.3 from PEM files, or NULL. */
void *load_tls_context(const char *certificate, const char *key) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* Shake hands on a blocking socket; NULL if that fails. */
void *load_tls_accept(void *context, int fd) {
    SSL *tls = SSL_new(context);
    if (!tls) return NULL;
    if (SSL_set_fd(tls, fd) == 1 && SSL_accept(tls) == 1) return tls;
    SSL_free(tls);
    return NULL;
}
#endif
