/* What pump.c, way.c and way_frame.c have in common. Internal to native/. */
#ifndef RELAY_WAY_H
#define RELAY_WAY_H

#include "relay_native.h"

#define PUMP_EVENTS 64
#define PUMP_READ_BYTES 65536
#define PUMP_OUT_BYTES RELAY_WAY_REST_BYTES /* also the scratch that making a frame takes */
#define PUMP_KEY_BYTES 4096

/* What is done about bytes in a socket: nothing; Python is told of them; or those that may take the short way do. */
enum { WAY_SHUT, WAY_WATCHED, WAY_OPEN };

struct way_leg {
    int fd, state;
    int has_ended;  /* nothing comes any more, but what has come may still be in the socket */
    int part;       /* of a frame lies in the socket: 1 since the last count, 2 since before, 0 not */
    int is_behind;  /* TLS: Python has something that comes before what is received next */
    size_t backlog; /* bytes that have passed since the socket was last empty */
};

struct relay_way {
    relay_pump *pump;
    relay_way_ends ends;
    struct way_leg legs[2];
    relay_way_item item;
    relay_way_counts counts;
    size_t frames_left;  /* of this turn */
    int is_done;         /* the last look at a socket left nothing in it */
    int is_undone;       /* TLS: behind the frame that Python encrypts there is more that was received */
    int64_t heard_at_ns; /* when the browser will have played all, by relay_now_ns() */
    size_t rest_bytes;   /* of the pump's `rest`, which is for the socket of rest_leg */
    int rest_leg;
};

/* Its buffers are shared by all its ways, for only one of them works at a time, and a rest is taken at once: 48 KiB in
 * each way would be nearly as much again as a session costs. */
struct relay_pump {
    int epoll, bell, next, count, loop_is_ready, is_last_wait;
    uint64_t events[PUMP_EVENTS]; /* a way's address, and bits (pump.c); 0 if it was freed meanwhile */
    size_t keys_left;
    relay_tls_work work;      /* in `in` and `out` */
    const relay_way *rest_of; /* whose rest that is */
    char keys[PUMP_KEY_BYTES], in[PUMP_READ_BYTES], out[PUMP_OUT_BYTES], rest[RELAY_WAY_REST_BYTES];
};

/* What becomes of a frame. */
enum { FRAME_NOT_WHOLE, FRAME_PASSED, FRAME_NOT_MINE, FRAME_STUCK, FRAME_TO_ENCRYPT };

struct way_frame {
    char *at, *payload;
    size_t bytes, payload_bytes; /* of the whole frame, and of its payload */
    uint8_t first;               /* byte of the head */
    int is_masked, is_unmasked;  /* it came masked; it no longer is, where it lies */
};

/* Reads the head of the frame that begins at `at`: FRAME_PASSED if it is all there. */
int way_read_head(char *at, size_t n, struct way_frame *frame);

/* Passes on the frame that begins at `at`, if it may; then it is unmasked where it lies. */
int way_take_frame(relay_way *way, int leg, char *at, size_t n, struct way_frame *frame);

/* Sends; what the socket does not take now is the rest. A broken socket takes nothing either: whoever writes the rest
 * finds out. `n` is at most RELAY_WAY_REST_BYTES. */
int way_put(relay_way *way, int leg, const char *bytes, size_t n);

/* Four bytes that nobody can foretell, from the kernel; NULL if it has none to give now. They are used once. */
const char *pump_key(relay_pump *pump);

/* Serves a leg for one turn, which has a bound: a peer that floods does not keep the others waiting. */
int way_turn(relay_way *way, int leg);

/* Has the leg's socket announced again, if something is in it. */
void pump_again(relay_way *way, int leg);

#endif
