/* A session's two connections, real TCP on loopback, with a short way between them. */
#ifndef ROAD_H
#define ROAD_H

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "way.h"

static const char KEY[4] = {1, 2, 3, 4};

/* One session: `far` is what the browser and the upstream hold, `near` what the way holds. */
struct road {
    int far[2], near[2];
    relay_pump *pump;
    relay_way *way;
    relay_way_ends ends;
    relay_way_counts counts;
};

static inline void tcp_pair(int pair[2]) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1)) abort();
    if (getsockname(listener, (struct sockaddr *)&at, &size)) abort();
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(pair[0], (struct sockaddr *)&at, size)) abort();
    pair[1] = accept(listener, NULL, NULL);
    setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

static inline struct road begin_with(relay_way_ends ends) {
    struct road road = {.ends = ends};
    for (int leg = 0; leg < 2; leg++) {
        int pair[2];
        tcp_pair(pair);
        road.far[leg] = pair[0], road.near[leg] = pair[1];
    }
    road.pump = relay_pump_new();
    for (int leg = 0; leg < 2; leg++) road.ends.fds[leg] = road.near[leg];
    road.way = relay_way_new(road.pump, &road.ends);
    if (!road.pump || !road.way || relay_pump_fd(road.pump) < 0) abort();
    return road;
}

static inline struct road begin(int in_hz, int encoding, int out_hz, int has_tls) {
    int error;
    return begin_with((relay_way_ends){
        .token = 7,
        .has_tls[RELAY_WAY_UPSTREAM] = has_tls,
        .uplink = relay_uplink_new(encoding, in_hz, 24000, &error),
        .downlink = relay_downlink_new(encoding, out_hz, 24000, &error),
        .lead_ns = 1000000000,
        .rate_hz = (uint32_t)out_hz,
        .sample_bytes = encoding == RELAY_F32LE ? 4 : 2,
        .longest_delta_samples = 2400,
        .longest_up_bytes = 65536,
        .uncounted_up_bytes = 1 << 20,
        .uncounted_down_samples = 1 << 20,
    });
}

static inline void end(struct road *road) {
    relay_way_free(road->way);
    relay_pump_free(road->pump);
    relay_uplink_free(road->ends.uplink), relay_downlink_free(road->ends.downlink);
    for (int leg = 0; leg < 2; leg++) close(road->far[leg]), close(road->near[leg]);
}

/* Waits until `n` bytes can be read from a socket, five seconds at most. */
static inline void arrive(int fd, size_t n) {
    static char bytes[1 << 20];
    for (int i = 0; i < 5000; i++) {
        if (recv(fd, bytes, n, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)n) return;
        usleep(1000);
    }
    CHECK(0, "%zu bytes did not arrive", n);
}

static inline void say(struct road *road, int leg, const char *bytes, size_t n) {
    if (send(road->far[leg], bytes, n, 0) != (ssize_t)n) abort();
}

static inline size_t hear(struct road *road, int leg, char *out, size_t room) {
    const ssize_t n = recv(road->far[leg], out, room, MSG_DONTWAIT);
    return n > 0 ? (size_t)n : 0;
}

/* Hears until `n` bytes are there, for two seconds at most, and pumps meanwhile. Returns the last news. */
static inline int hear_all(struct road *road, int leg, char *out, size_t n) {
    uint64_t token;
    int from, news = 0, last = 0;
    size_t have = 0;
    for (int i = 0; i < 2000 && have < n; i++) {
        while (relay_pump_next(road->pump, 0, &token, &from, &news)) last = news;
        const size_t more = hear(road, leg, out + have, n - have);
        have += more;
        if (!more) usleep(1000);
    }
    CHECK(have == n, "%zu of %zu bytes", have, n);
    return last;
}

static inline size_t masked(int opcode, const char *payload, size_t n, char *out) {
    return (size_t)relay_ws_build(opcode, payload, n, KEY, out, n + RELAY_WS_HEAD_BYTES);
}

/* A delta of `samples` of silence, as a frame of the upstream. */
static inline size_t delta(const char *item, size_t samples, char *out) {
    static char text[1 << 17], pcm[1 << 16];
    int at = sprintf(text, "{\"type\":\"response.output_audio.delta\",\"response_id\":\"r\",\"item_id\":\"%s\",\"delta\":\"",
                     item);
    at += (int)relay_base64_encode(pcm, 2 * samples, text + at);
    at += sprintf(text + at, "\"}");
    return (size_t)relay_ws_build(RELAY_WS_OP_TEXT, text, (size_t)at, NULL, out, sizeof text);
}

static inline relay_way_item spoken(uint64_t sent) {
    relay_way_item item = {.item_id_chars = 1, .response_id_chars = 1, .number = 3, .sent_samples = sent};
    item.item_id[0] = 'i', item.response_id[0] = 'r';
    return item;
}

#endif
