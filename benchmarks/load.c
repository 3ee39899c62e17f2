/* Both ends of many voice sessions, on one core: browsers that speak every 20 ms, and an upstream that answers each
 * frame at once. Between the two stands the relay that is measured. Built and driven by load.py, which also does all
 * handshakes; here is only what happens fifty times a second.
 *
 * Rules: open loop. A frame is sent when it is due by the clock, whether or not earlier ones came back, and its delay
 * counts from that moment, so that a relay that stalls cannot make the load wait for it. Nothing is allocated while it
 * runs. What a socket does not take waits in its connection's buffer; a frame that does not fit there is counted.
 *
 * It does not sleep, unless it is told to: whoever sends to a process that sleeps on this machine pays for waking it,
 * and in the world outside the other end is on another machine. Setting a timer for each wait costs more than all the
 * rest. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define EVENTS 256
#define FRAME_NS 20000000ULL
#define DRAIN_NS 2000000000ULL

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

uint64_t load_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void readable(const load_span *span, load_conn *c) {
    for (;;) {
        const ssize_t n = load_read(c, c->in + c->in_len, IN_BYTES - c->in_len);
        if (n < 0) return;
        if (n == 0) {
            c->gone = 1;
            result_of(span, c->session)->broken++;
            epoll_ctl(span->epoll, EPOLL_CTL_DEL, c->fd, NULL);
            return;
        }
        const int was_full = (size_t)n == IN_BYTES - c->in_len;
        c->in_len += (size_t)n;
        size_t from = 0, used;
        while ((used = one_frame(span, c, c->in + from, c->in_len - from))) from += used;
        memmove(c->in, c->in + from, c->in_len - from);
        c->in_len -= from;
        if (!was_full && !c->tls) return;
    }
}

static void speak(const load_span *span, load_session *s, uint64_t due) {
    load_result *const result = result_of(span, s);
    if (s->sent - s->back >= OUTSTANDING || !post(span, s->client, span->work->up, span->work->up_bytes)) {
        result->unsent++;
        return;
    }
    s->due_ns[s->sent++ % OUTSTANDING] = due;
    result->sent++;
}

/* Returns how many sockets had something. */
static int handle(const load_span *span, uint64_t timeout_ns) {
    struct epoll_event events[EVENTS];
    const struct timespec timeout = {.tv_nsec = span->work->sleeps ? (long)timeout_ns : 0};
    const int n = epoll_pwait2(span->epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        load_conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) flush(span, c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(span, c);
    }
    return n;
}

/* Handle what comes until `due`; returns for how long there was nothing. */
static uint64_t handle_until(const load_span *span, uint64_t due) {
    uint64_t idle_ns = 0, now, then = load_now_ns();
    for (; (now = then) < due;) {
        const int n = handle(span, due - now);
        then = load_now_ns();
        if (n <= 0) idle_ns += then - now;
    }
    return idle_ns;
}

static void watch(int epoll, load_conn *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->wants_out = 0;
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void talk(const load_span *span, load_session *const *sessions, size_t count, uint64_t span_ns) {
    const uint64_t begin = load_now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t start = begin + 1000000, step = FRAME_NS / count;
    load_result *const result = &span->results[0];
    for (uint64_t tick = 0, due = start; due < start + span_ns; due = start + ++tick * step) {
        result->idle_ns += handle_until(span, due);
        speak(span, sessions[tick % count], due);
        if (tick % 16 == 15) handle(span, 0); /* also when it is late: answers must be read */
    }
    result->wall_ns = load_now_ns() - begin;
    if (span->work->sleeps) result->idle_ns = result->wall_ns - (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu);
}

/* Let `count` sessions talk for `span_ns`, evenly spread over the 20 ms, then wait for what the first group still has
 * under way. `results` has one for each group, with the room for its delays. */
void load_run(
    load_session *const *sessions, size_t count, uint64_t span_ns, const load_work *work, load_result *results
) {
    const load_span span = {epoll_create1(EPOLL_CLOEXEC), work, results};
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* the usual 50 us would make every frame late */
    for (size_t i = 0; i < count; i++) {
        watch(span.epoll, sessions[i]->client);
        watch(span.epoll, sessions[i]->upstream);
        sessions[i]->sent = sessions[i]->back = 0;
    }
    talk(&span, sessions, count, span_ns);
    for (const uint64_t end = load_now_ns() + DRAIN_NS; results[0].back < results[0].sent && load_now_ns() < end;)
        handle(&span, 1000000);
    close(span.epoll);
}

/* One end of a session. `tls` is an SSL that has shaken hands, or NULL. Blocking until load_run takes it. */
load_conn *load_conn_new(int fd, int side, void *tls) {
    load_conn *c = calloc(1, sizeof *c);
    if (c) c->fd = fd, c->side = side, c->tls = tls;
    return c;
}

load_session *load_session_new(load_conn *client, load_conn *upstream, size_t group) {
    load_session *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->client = client, s->upstream = upstream, s->group = group;
    client->session = upstream->session = s;
    return s;
}

void load_session_free(load_session *s) {
    if (s->upstream->tls) load_tls_free(s->upstream->tls);
    if (s->client->tls) load_tls_free(s->client->tls);
    free(s->client);
    free(s->upstream);
    free(s);
}
