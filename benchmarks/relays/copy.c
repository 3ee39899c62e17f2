/* What no relay can be cheaper than: one epoll, and for every piece that comes one recv and one send. Reads no byte of it,
 * and knows neither limits nor TLS: `copy PORT UPSTREAM_PORT`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define PIECE_BYTES 65536

enum { CLOSED = -1, UNOPENED = -2 };

typedef struct end {
    int fd;
    struct end *other;
} end;

static struct sockaddr_in loopback(const char *port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(int epoll, end *one) {
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event);
}

static void browser(int epoll, int listener) {
    end *pair = calloc(2, sizeof *pair);
    if (!pair) exit(1);
    pair[0] = (end){accept(listener, NULL, NULL), &pair[1]};
    pair[1] = (end){UNOPENED, &pair[0]};
    watch(epoll, &pair[0]);
}

/* Only when a browser has said something: who just looks whether anybody listens is no session. */
static void upstream(int epoll, end *one, const char *port) {
    const struct sockaddr_in address = loopback(port);
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(one->fd, (const struct sockaddr *)&address, sizeof address)) exit(1);
    watch(epoll, one);
}

/* Blocks in send() if the other side does not read: this load always reads. */
static void pass(int epoll, end *one, const char *upstream_port) {
    static char piece[PIECE_BYTES];
    const ssize_t n = recv(one->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n > 0 && one->other->fd == UNOPENED) upstream(epoll, one->other, upstream_port);
    if (n > 0 && one->other->fd >= 0 && send(one->other->fd, piece, (size_t)n, MSG_NOSIGNAL) == n) return;
    if (one->other->fd >= 0) shutdown(one->other->fd, SHUT_RDWR);
    close(one->fd);
    one->fd = CLOSED;
}

int main(int count, char **values) {
    if (count != 3) return 2;
    const struct sockaddr_in address = loopback(values[1]);
    const int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        const int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr)
                pass(epoll, events[i].data.ptr, values[2]);
            else
                browser(epoll, listener);
        }
    }
}
