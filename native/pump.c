/* The sockets of all ways, waited for together.
 *
 * Edges, not levels: a socket that is readable while its direction is shut says so once, and not again and again until
 * Python has read it. What an edge might have announced is looked at when a direction opens, so none is missed.
 *
 * One wait serves many sessions. Whoever calls is an event loop to which each turn costs ten times what a frame does; so
 * relay_pump_next() waits in its place, with the frames served at the moment they come, and returns early only with
 * news, or when the loop's own descriptor, which is among those that are waited for, says that somebody else is ready.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "way.h"

/* Of an event, beside the way's address: malloc's addresses end with zeros. LOOP alone is the loop's descriptor. */
enum { LEG = 1, ENDED = 2, LOOP = 4, BITS = LEG | ENDED | LOOP };

static relay_way *way_of(uint64_t event) { return (relay_way *)(uintptr_t)(event & ~(uint64_t)BITS); }

#define LONGEST_MS 60000 /* of one wait: then whoever waits looks at the time again */

int64_t relay_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

relay_pump *relay_pump_new(void) {
    relay_pump *pump = calloc(1, sizeof *pump);
    if (!pump) return NULL;
    pump->epoll = epoll_create1(EPOLL_CLOEXEC);
    pump->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pump->work = (relay_tls_work){.received = pump->in, .frame = pump->out};
    if (pump->epoll >= 0 && pump->bell >= 0) return pump;
    relay_pump_free(pump);
    return NULL;
}

void relay_pump_free(relay_pump *pump) {
    if (!pump) return;
    close(pump->epoll);
    close(pump->bell);
    free(pump);
}

int relay_pump_fd(const relay_pump *pump) { return pump->epoll; }

int relay_pump_bell(const relay_pump *pump) { return pump->bell; }

const relay_tls_work *relay_pump_tls_work(const relay_pump *pump) { return &pump->work; }

int relay_pump_wait_for(relay_pump *pump, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = LOOP};
    return epoll_ctl(pump->epoll, EPOLL_CTL_ADD, fd, &event);
}

const char *pump_key(relay_pump *pump) {
    if (pump->keys_left == 0) {
        if (getrandom(pump->keys, sizeof pump->keys, GRND_NONBLOCK) != (ssize_t)sizeof pump->keys) return NULL;
        pump->keys_left = sizeof pump->keys;
    }
    pump->keys_left -= 4;
    return pump->keys + pump->keys_left;
}

/* Waits for at most `wait_ns`, rounded up to a millisecond, and notes who is ready. Returns 0 if the wait failed: a signal
 * came, as a rule. */
static int wait_ready(relay_pump *pump, int64_t wait_ns) {
    struct epoll_event ready[PUMP_EVENTS];
    const int64_t wait_ms = (wait_ns + 999999) / 1000000;
    const int n = epoll_wait(pump->epoll, ready, PUMP_EVENTS, (int)(wait_ms < LONGEST_MS ? wait_ms : LONGEST_MS));
    pump->next = 0;
    pump->count = n > 0 ? n : 0;
    for (int i = 0; i < pump->count; i++) {
        const int has_ended = (ready[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        pump->events[i] = ready[i].data.u64 | (has_ended ? ENDED : 0);
    }
    return n >= 0;
}

/* Serves those that are ready, up to the first news. Returns RELAY_PUMP_NEWS, _LOOP, or _TIME if it was neither. */
static int serve_ready(relay_pump *pump, uint64_t *token, int *leg, int *news) {
    while (pump->next < pump->count) {
        const uint64_t event = pump->events[pump->next++];
        relay_way *const way = way_of(event);
        if (event & LOOP) pump->loop_is_ready = 1;
        if (!way) continue;
        *leg = (int)(event & LEG);
        if (event & ENDED) way->legs[*leg].has_ended = 1;
        *token = way->ends.token;
        *news = way_turn(way, *leg);
        if (*news) return RELAY_PUMP_NEWS;
    }
    return pump->loop_is_ready ? RELAY_PUMP_LOOP : RELAY_PUMP_TIME;
}

/* The last wait stays the last, with however many news between: whoever floods with them does not keep the loop. */
int relay_pump_next(relay_pump *pump, int64_t until_ns, uint64_t *token, int *leg, int *news) {
    for (;;) {
        const int found = serve_ready(pump, token, leg, news);
        if (found == RELAY_PUMP_NEWS) return found;
        if (found == RELAY_PUMP_LOOP || pump->is_last_wait) {
            pump->loop_is_ready = pump->is_last_wait = 0;
            return found;
        }
        const int64_t left_ns = until_ns - relay_now_ns();
        pump->is_last_wait = left_ns <= 0;
        if (!wait_ready(pump, left_ns > 0 ? left_ns : 0)) {
            pump->is_last_wait = 0;
            return RELAY_PUMP_TIME;
        }
    }
}

static int watch(relay_way *way, int leg, int operation) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    event.data.u64 = (uint64_t)(uintptr_t)way | (uint64_t)leg;
    return epoll_ctl(way->pump->epoll, operation, way->legs[leg].fd, &event);
}

void pump_again(relay_way *way, int leg) { watch(way, leg, EPOLL_CTL_MOD); }

relay_way *relay_way_new(relay_pump *pump, const relay_way_ends *ends) {
    relay_way *way = calloc(1, sizeof *way);
    if (!way) return NULL;
    way->pump = pump;
    way->ends = *ends;
    for (int leg = 0; leg < 2; leg++) {
        way->legs[leg].fd = ends->fds[leg];
        if (watch(way, leg, EPOLL_CTL_ADD) == 0) continue;
        relay_way_free(way);
        return NULL;
    }
    return way;
}

void relay_way_free(relay_way *way) {
    if (!way) return;
    relay_pump *const pump = way->pump;
    for (int leg = 0; leg < 2; leg++) epoll_ctl(pump->epoll, EPOLL_CTL_DEL, way->legs[leg].fd, NULL);
    for (int i = pump->next; i < pump->count; i++)
        if (way_of(pump->events[i]) == way) pump->events[i] = 0;
    free(way);
}
