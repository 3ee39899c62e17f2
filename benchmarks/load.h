/* What the parts of the load share. load.c: sessions and the loop; load_messages.c: what is said; load_socket.c: bytes. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IN_BYTES 65536
#define OUT_BYTES 262144
#define OUTSTANDING 1024 /* frames of one session under way: 20 s; more is a relay that is lost anyway */

enum { CLIENT = 0, UPSTREAM = 1 };

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
    size_t group; /* whose result its frames count in */
    uint64_t due_ns[OUTSTANDING];
    uint64_t sent, back, samples, since_report;
} load_session;

typedef struct {
    uint64_t sent, back, unsent, strange, broken; /* frames; messages nobody expected; connections that ended */
    uint64_t delays;                              /* how many values were written to delay_ns */
    uint64_t *delay_ns;                           /* caller's, delay_room values */
    uint64_t delay_room;
    uint64_t wall_ns, idle_ns; /* of the load itself, while frames were due; in the first group's result */
} load_result;

typedef struct {
    const uint8_t *up;   /* finished frame of the browser */
    size_t up_bytes;
    const uint8_t *down; /* finished frame of the upstream */
    size_t down_bytes;
    size_t samples;      /* samples of a binary answer that make one frame; 0: a long text is one */
    const uint8_t *append; /* what an upstream's message must begin with */
    size_t append_bytes;
    size_t sleeps;       /* whether it gives its core to others while nothing is to be done */
} load_work;

typedef struct {
    int epoll;
    const load_work *work;
    load_result *results; /* one for each group */
} load_span;

static inline load_result *result_of(const load_span *span, const load_session *s) { return &span->results[s->group]; }

uint64_t load_now_ns(void);

/* load_socket.c: bytes moved, 0 at the end, -1 for "later". */
ssize_t load_read(load_conn *c, void *to, size_t room);
ssize_t load_write(load_conn *c, const void *from, size_t bytes);
void load_tls_free(void *tls);
/* Write what waits, as far as the socket takes it. */
void flush(const load_span *span, load_conn *c);
/* Write a frame, or keep it until the socket takes it; returns whether it fitted. */
int post(const load_span *span, load_conn *c, const uint8_t *frame, size_t bytes);

/* load_messages.c: do what the frame at `at` asks for; returns its bytes, or 0 if it is not whole yet. */
size_t one_frame(const load_span *span, load_conn *c, const uint8_t *at, size_t len);

#endif
