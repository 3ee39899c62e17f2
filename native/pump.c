/* The sockets of all ways, waited for together.
 *
 * Edges, not levels: a socket that is readable while its direction is shut says so once, and not again and again until
 * Python has read it. What an edge might have announced is looked at when a direction opens, so none is missed.
 *
 * One wait serves many sessions. Whoever calls is a task of an event loop to which each turn costs ten times what a frame
 * does; so relay_pump_next() goes on waiting until `until_ns`, with the frames served at the moment they come, and
 * returns early only with news.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "way.h"

/* Of an event, beside the way's address: malloc's addresses end with zeros. */
enum { LEG = 1, ENDED = 2, BITS = LEG | ENDED };

static relay_way *way_of(uint64_t event) { return (relay_way *)(uintptr_t)(event & ~(uint64_t)BITS); }

int64_t relay_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

relay_pump *relay_pump_new(void) {
    relay_pump *pump = calloc(1, sizeof *pump);
    if (!pump) return NULL;
    pump->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (pump->epoll >= 0) return pump;
    free(pump);
    return NULL;
}

void relay_pump_free(relay_pump *pump) {
    if (!pump) return;
    close(pump->epoll);
    free(pump);
}

int relay_pump_fd(const relay_pump *pump) { return pump->epoll; }

const char *pump_key(relay_pump *pump) {
    if (pump->keys_left == 0) {
        if (getrandom(pump->keys, sizeof pump->keys, GRND_NONBLOCK) != (ssize_t)sizeof pump->keys) return NULL;
        pump->keys_left = sizeof pump->keys;
    }
    pump->keys_left -= 4;
    return pump->keys + pump->keys_left;
}

/* Waits for at most `wait_ns`, rounded up to a millisecond, and notes who is ready. */
static void wait_ready(relay_pump *pump, int64_t wait_ns) {
    struct epoll_event ready[PUMP_EVENTS];
    const int n = epoll_wait(pump->epoll, ready, PUMP_EVENTS, (int)((wait_ns + 999999) / 1000000));
    pump->next = 0;
    pump->count = n > 0 ? n : 0; /* interrupted is as good as nobody ready: the caller comes again */
    for (int i = 0; i < pump->count; i++) {
        const int has_ended = (ready[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        pump->events[i] = ready[i].data.u64 | (has_ended ? ENDED : 0);
    }
}

int relay_pump_next(relay_pump *pump, int64_t until_ns, uint64_t *token, int *leg, int *news) {
    for (int64_t left_ns = 1;;) {
        while (pump->next < pump->count) {
            const uint64_t event = pump->events[pump->next++];
            relay_way *const way = way_of(event);
            if (!way) continue;
            *leg = (int)(event & LEG);
            if (event & ENDED) way->legs[*leg].has_ended = 1;
            *token = way->ends.token;
            *news = way_turn(way, *leg);
            if (*news) return 1;
        }
        if (left_ns <= 0) return 0;
        left_ns = until_ns - relay_now_ns();
        wait_ready(pump, left_ns > 0 ? left_ns : 0);
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
