/* The short way of one session: a frame of audio goes from one socket to the other within one call.
 *
 * Nothing is taken out of a socket before it is known to be a whole frame that may go this way: the bytes are looked at
 * where they lie in the kernel (MSG_PEEK), and what was passed on is then dropped there (MSG_TRUNC). So whatever is no
 * audio, or not whole, or not as it should be is still there for Python, in its place in the stream, and a way can be
 * shut between any two frames without losing a byte. With TLS what comes is taken and decrypted, here (openssl.c) or in
 * Python, and what did not pass is Python's. While Python has a part of a frame, all goes there, behind it.
 *
 * What the other socket does not take at once is kept as the rest; both directions shut, and Python writes it, with a
 * deadline. With a rest nothing opens, so there is at most one.
 */
#define _GNU_SOURCE
#include "way.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "openssl.h"

#define FRAMES 64 /* from one socket before others have their turn; with TLS, what one read brings */
#define TLS_READ_BYTES (PUMP_READ_BYTES - OPENSSL_RECORD_BYTES)

/* A part of a frame is left in its socket until the rest has come. Behind so much else it is not: it may be the end of a
 * segment of 64 KiB, which the kernel keeps whole, and counts whole, until the last byte of it is read. The peer's window
 * can be shut by that, and then the rest never comes. */
#define BACKLOG_BYTES 16384

/* What may pass of `n` bytes passes, up to *passed: at most *frames_left. */
static int take_frames(relay_way *way, int leg, char *at, size_t n, size_t *passed, size_t *frames_left) {
    int outcome = FRAME_PASSED;
    while (outcome == FRAME_PASSED && *passed < n && *frames_left) {
        struct way_frame frame;
        outcome = way_take_frame(way, leg, at + *passed, n - *passed, &frame);
        if (outcome == FRAME_NOT_MINE || outcome == FRAME_NOT_WHOLE) break;
        *passed += frame.bytes;
        --*frames_left;
    }
    return outcome;
}

/* Whether a part of a frame, which is all that is left in the socket, has to be read for the rest to come. */
static int note_part(struct way_leg *leg, size_t passed, int is_part) {
    leg->backlog = is_part ? leg->backlog + passed : 0;
    leg->part = !is_part ? 0 : leg->part && !passed ? leg->part : 1;
    return leg->backlog > BACKLOG_BYTES;
}

/* The same with what lies in the socket. The end behind it has been announced with it, and is not announced again. */
static int look(relay_way *way, int leg, int *is_drained) {
    const int fd = way->legs[leg].fd;
    const ssize_t n = recv(fd, way->pump->in, PUMP_READ_BYTES, MSG_PEEK | MSG_DONTWAIT);
    *is_drained = n < PUMP_READ_BYTES;
    if (n < 0 && errno == EAGAIN) note_part(&way->legs[leg], 0, 0); /* Python has read what was left of a frame */
    if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR) ? FRAME_NOT_WHOLE : FRAME_NOT_MINE;
    size_t passed = 0;
    const int outcome = take_frames(way, leg, way->pump->in, (size_t)n, &passed, &way->frames_left);
    way->is_done = *is_drained && passed == (size_t)n && !way->legs[leg].has_ended;
    if (passed) recv(fd, way->pump->in, passed, MSG_TRUNC | MSG_DONTWAIT); /* TCP drops them: nothing is written */
    const int is_stopped = note_part(&way->legs[leg], passed, passed < (size_t)n);
    const int is_all = outcome == FRAME_NOT_WHOLE || (outcome == FRAME_PASSED && passed == (size_t)n);
    return is_all && *is_drained && (way->legs[leg].has_ended || is_stopped) ? FRAME_NOT_MINE : outcome;
}

/* ---- news ---- */

static int careful(relay_way *way, int leg) {
    way->legs[leg].state = WAY_SHUT;
    return RELAY_NEWS_CAREFUL;
}

/* What has come already is announced again: the edge that told of it has been used. */
static int stuck(relay_way *way) {
    for (int leg = 0; leg < 2; leg++) {
        if (way->legs[leg].state != WAY_OPEN) continue;
        way->legs[leg].state = WAY_WATCHED;
        pump_again(way, leg);
    }
    return RELAY_NEWS_STUCK;
}

static int has_bytes(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* A frame that is not whole at the end of all that is there: the socket says so when more comes. At the end of a full
 * look the rest of it may be there already, and the next look begins with it. */
static int serve_open(relay_way *way, int leg) {
    for (int is_drained = 0; !is_drained;) {
        switch (look(way, leg, &is_drained)) {
            case FRAME_NOT_MINE: return careful(way, leg);
            case FRAME_STUCK: return stuck(way);
            case FRAME_TO_ENCRYPT: return RELAY_NEWS_ENCRYPT;
            default: break;
        }
        if (way->frames_left == 0) {
            pump_again(way, leg);
            break;
        }
    }
    return RELAY_NEWS_NONE;
}

/* Decrypts what was received. Python is given what does not go the short way, behind what it has already; and the
 * connection for good when something is wrong, so that whatever OpenSSL says of it is said there. Then nothing passes before
 * Python has asked: to encrypt it is to ask OpenSSL about another connection, which forgets what it would say of this one. */
static int decrypt(relay_way *way, int leg) {
    relay_tls_work *const work = &way->pump->work;
    relay_tls_records *const records = way->ends.records[leg];
    size_t said, passed = 0;
    int is_all, outcome = FRAME_PASSED;
    const size_t n = openssl_decrypt(way->ends.ssl[leg], way->pump->in, work->received_bytes, PUMP_READ_BYTES, &said, &is_all);
    size_t frames = n;
    if (records) relay_tls_records_said(records, said);
    if (is_all && !way->legs[leg].is_behind) outcome = take_frames(way, leg, way->pump->in, n, &passed, &frames);
    work->received = way->pump->in + passed, work->received_bytes = n - passed, work->is_plain = 1;
    if (!is_all) way->ends.ssl[leg] = NULL;
    way->is_undone = outcome == FRAME_TO_ENCRYPT && passed < n;
    if (outcome == FRAME_TO_ENCRYPT) return RELAY_NEWS_ENCRYPT;
    return !is_all || passed < n || way->rest_bytes ? RELAY_NEWS_DECRYPT : RELAY_NEWS_NONE;
}

/* Takes what comes next out of the socket. A piece with too many records stays there: it is Python's, as the end is. Returns
 * what recv(2) does. */
static ssize_t take_piece(relay_way *way, int leg) {
    const int fd = way->legs[leg].fd;
    char *const in = way->pump->in;
    relay_tls_records *const records = way->ends.records[leg];
    if (!records) return recv(fd, in, TLS_READ_BYTES, MSG_DONTWAIT);
    const ssize_t n = recv(fd, in, RELAY_TLS_PIECE_BYTES, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) return n;
    relay_tls_records after = *records;
    if (relay_tls_records_read(&after, in, (size_t)n) > RELAY_TLS_MOST_AT_ONCE || after.empty > RELAY_TLS_MOST_EMPTY) return 0;
    *records = after;
    return recv(fd, in, (size_t)n, MSG_TRUNC | MSG_DONTWAIT);
}

/* What is behind a full read has its turn after the others', and so has the end, which is announced once, with what came
 * before it. */
static int receive(relay_way *way, int leg) {
    const ssize_t full = way->ends.records[leg] ? RELAY_TLS_PIECE_BYTES : TLS_READ_BYTES, n = take_piece(way, leg);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return RELAY_NEWS_NONE;
    if (n <= 0) return careful(way, leg);
    if (n == full || way->legs[leg].has_ended) pump_again(way, leg);
    relay_tls_work *const work = &way->pump->work;
    work->received = way->pump->in, work->received_bytes = (size_t)n, work->is_plain = 0;
    return way->ends.ssl[leg] ? decrypt(way, leg) : RELAY_NEWS_DECRYPT;
}

static int serve(relay_way *way, int leg) {
    switch (way->legs[leg].state) {
        case WAY_WATCHED: return has_bytes(way->legs[leg].fd) ? careful(way, leg) : RELAY_NEWS_NONE;
        case WAY_OPEN: return way->ends.has_tls[leg] ? receive(way, leg) : serve_open(way, leg);
        default: return RELAY_NEWS_NONE;
    }
}

int way_turn(relay_way *way, int leg) {
    way->frames_left = FRAMES;
    return serve(way, leg);
}

/* ---- what Python says ---- */

static void set_state(relay_way *way, int leg, int state) {
    way->legs[leg].state = way->rest_bytes ? WAY_WATCHED : state;
}

int relay_way_watch(relay_way *way, int leg) {
    set_state(way, leg, WAY_WATCHED);
    return way_turn(way, leg);
}

/* With TLS what is in the socket comes behind what Python has left, which may shut it again. */
static int open_leg(relay_way *way, int leg) {
    set_state(way, leg, WAY_OPEN);
    if (!way->ends.has_tls[leg]) return way_turn(way, leg);
    way->legs[leg].is_behind = 1; /* until Python says what it has left */
    pump_again(way, leg);
    return RELAY_NEWS_NONE;
}

int relay_way_open_up(relay_way *way) { return open_leg(way, RELAY_WAY_BROWSER); }

int relay_way_open_down(relay_way *way, const relay_way_item *item, int64_t heard_in_ns) {
    way->item = *item;
    way->heard_at_ns = relay_now_ns() + heard_in_ns;
    return open_leg(way, RELAY_WAY_UPSTREAM);
}

void relay_way_shut(relay_way *way, relay_way_counts *counts) {
    for (int leg = 0; leg < 2; leg++)
        if (way->legs[leg].state == WAY_OPEN) way->legs[leg].state = WAY_WATCHED;
    relay_way_count(way, counts);
}

/* Notes that a part of a frame is still there; returns whether it was at the last count. */
static uint32_t is_stalled(struct way_leg *leg) {
    const int was_there = leg->state == WAY_OPEN && leg->part == 2;
    if (leg->part) leg->part = 2;
    return (uint32_t)was_there;
}

void relay_way_count(relay_way *way, relay_way_counts *counts) {
    *counts = way->counts;
    counts->stalled = is_stalled(&way->legs[RELAY_WAY_BROWSER]) | is_stalled(&way->legs[RELAY_WAY_UPSTREAM]) << 1;
    counts->sent_samples = way->item.sent_samples;
    counts->heard_in_ns = way->heard_at_ns - relay_now_ns();
    memset(&way->counts, 0, sizeof way->counts);
}

ptrdiff_t relay_way_rest(relay_way *way, int leg, char *out, size_t room) {
    if (way->rest_bytes == 0 || way->rest_leg != leg) return 0;
    if (way->rest_bytes > room || way->pump->rest_of != way) return RELAY_E_ROOM;
    const size_t n = way->rest_bytes;
    memcpy(out, way->pump->rest, n);
    way->rest_bytes = 0;
    return (ptrdiff_t)n;
}

ptrdiff_t relay_way_frame_bytes(const char *bytes, size_t n) {
    char head[RELAY_WS_HEAD_BYTES];
    struct way_frame frame;
    if (n > sizeof head) n = sizeof head;
    memcpy(head, bytes, n);
    return way_read_head(head, n, &frame) == FRAME_PASSED ? (ptrdiff_t)frame.bytes : 0;
}

ptrdiff_t relay_way_next_bytes(const relay_way *way, int leg) {
    char head[RELAY_WS_HEAD_BYTES];
    const ssize_t n = recv(way->legs[leg].fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? relay_way_frame_bytes(head, (size_t)n) : 0;
}

/* ---- TLS ---- */

size_t relay_way_hear(relay_way *way, int leg, char *plain, size_t n, int *news) {
    size_t passed = 0, frames = n;
    int outcome = FRAME_STUCK;
    *news = RELAY_NEWS_NONE;
    if (way->legs[leg].state != WAY_OPEN) return 0;
    if (!way->rest_bytes) outcome = take_frames(way, leg, plain, n, &passed, &frames);
    way->legs[leg].is_behind = passed < n;
    if (outcome == FRAME_NOT_MINE) *news = careful(way, leg);
    if (outcome == FRAME_STUCK) *news = stuck(way);
    if (outcome == FRAME_TO_ENCRYPT) *news = RELAY_NEWS_ENCRYPT;
    return passed;
}

/* What was received behind the frame comes next, and with it that the socket is stuck. */
int relay_way_send(relay_way *way, int leg, const char *bytes, size_t n) {
    if (n > sizeof way->pump->rest) return RELAY_E_ROOM;
    const int is_stuck = way_put(way, !leg, bytes, n) == FRAME_STUCK, is_undone = way->is_undone;
    way->is_undone = 0;
    if (is_undone) return RELAY_NEWS_DECRYPT;
    if (is_stuck) return stuck(way);
    return way->ends.has_tls[leg] || way->is_done ? RELAY_NEWS_NONE : serve(way, leg);
}
