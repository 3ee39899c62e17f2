/* The short way of one session: a frame of audio goes from one socket to the other within one call.
 *
 * Nothing is taken out of a socket before it is known to be a whole frame that may go this way: the bytes are looked at
 * where they lie in the kernel (MSG_PEEK), and what was passed on is then dropped there (MSG_TRUNC). So whatever is no
 * audio, or not whole, or not as it should be is still there for Python, in its place in the stream, and a way can be
 * shut between any two frames without losing a byte.
 *
 * What the other socket does not take at once is kept as the rest; both directions shut, and Python writes it, with a
 * deadline. With a rest nothing opens, so there is at most one.
 */
#define _GNU_SOURCE
#include "way.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "ws.h"

#define FRAMES 64 /* from one socket before others have their turn */
#define COUNT_DIGITS 15 /* below 2^53, as policy wants counts */
#define FINAL_TEXT (WS_FINAL | RELAY_WS_OP_TEXT)
#define FINAL_BINARY (WS_FINAL | RELAY_WS_OP_BINARY)

/* What becomes of the frame that is looked at. */
enum { NOT_WHOLE, PASSED, NOT_MINE, STUCK, TO_ENCRYPT };

struct frame {
    char *payload;
    size_t bytes, payload_bytes; /* of the whole frame, and of its payload */
    uint8_t first;               /* byte of the head */
    int is_masked;
};

static int read_head(char *at, size_t n, struct frame *frame) {
    const uint8_t *const bytes = (const uint8_t *)at;
    if (n < 2) return NOT_WHOLE;
    const size_t length_bytes = ws_length_bytes(bytes[1] & WS_LENGTH);
    if (length_bytes == 8) return NOT_MINE; /* longer than any frame of audio here */
    frame->first = bytes[0];
    frame->is_masked = (bytes[1] & WS_MASKED) != 0;
    const size_t head = 2 + length_bytes + (frame->is_masked ? 4 : 0);
    if (n < head) return NOT_WHOLE;
    frame->payload_bytes = length_bytes ? (size_t)ws_big_endian(bytes + 2, 2) : bytes[1] & WS_LENGTH;
    if (ws_bad_length(frame->payload_bytes, length_bytes)) return NOT_MINE;
    frame->payload = at + head;
    frame->bytes = head + frame->payload_bytes;
    return PASSED;
}

static void unmask(struct frame *frame) {
    const uint32_t key = ws_key(frame->payload - 4, 0);
    relay_kernels()->mask(frame->payload, frame->payload, frame->payload_bytes, key);
}

/* Sends; what the socket does not take now is the rest. A broken socket takes nothing either: whoever writes the rest
 * finds out. `n` is at most RELAY_WAY_REST_BYTES. */
static int put(relay_way *way, int leg, const char *bytes, size_t n) {
    const ssize_t sent = send(way->legs[leg].fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    const size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken == n) return PASSED;
    memcpy(way->pump->rest, bytes + taken, n - taken);
    way->pump->rest_of = way, way->rest_leg = leg, way->rest_bytes = n - taken;
    return STUCK;
}

/* Up: samples become an append event in a masked frame, in the socket or for Python to encrypt. */
static int take_samples(relay_way *way, struct frame *frame) {
    relay_pump *const pump = way->pump;
    const ptrdiff_t room = relay_uplink_frame_room(way->ends.uplink, frame->payload_bytes);
    if (room < 0 || room > RELAY_WAY_FRAME_BYTES) return NOT_MINE;
    const char *const key = pump_key(pump);
    if (!key) return NOT_MINE;
    unmask(frame);
    const ptrdiff_t n =
        relay_uplink_frame(way->ends.uplink, frame->payload, frame->payload_bytes, key, pump->out, sizeof pump->out);
    if (n < 0) return NOT_MINE;
    way->counts.up_bytes += frame->payload_bytes;
    if (n == 0) return PASSED; /* too few samples for one of the upstream's */
    way->counts.up_events++;
    if (!way->ends.has_tls) return put(way, RELAY_WAY_UPSTREAM, pump->out, (size_t)n);
    pump->out_bytes = (size_t)n;
    return TO_ENCRYPT;
}

/* Digits up to `close`. Returns what follows it, or NULL. */
static const char *read_count(const char *at, const char *end, char close, uint64_t *count) {
    const char *const start = at;
    *count = 0;
    for (; at < end && *at >= '0' && *at <= '9' && at - start < COUNT_DIGITS; at++)
        *count = *count * 10 + (uint64_t)(*at - '0');
    const int is_count = at > start && (*start != '0' || at - start == 1);
    return is_count && at < end && *at == close ? at + 1 : NULL;
}

/* `relay.played` as JSON.stringify writes it, and no other way. */
static int read_report(const char *at, size_t n, uint64_t *item, uint64_t *samples) {
    static const char before[] = "{\"type\":\"relay.played\",\"item\":", between[] = "\"samples\":";
    const char *const end = at + n;
    if (n < sizeof before || memcmp(at, before, sizeof before - 1) != 0) return 0;
    at = read_count(at + sizeof before - 1, end, ',', item);
    if (!at || (size_t)(end - at) < sizeof between || memcmp(at, between, sizeof between - 1) != 0) return 0;
    return read_count(at + sizeof between - 1, end, '}', samples) == end;
}

/* How far the browser is with the item that is being spoken: kept for Python, which asks when it matters. */
static int take_report(relay_way *way, struct frame *frame) {
    uint64_t item, samples;
    unmask(frame);
    if (way->legs[RELAY_WAY_UPSTREAM].state != WAY_OPEN) return NOT_MINE;
    if (!read_report(frame->payload, frame->payload_bytes, &item, &samples)) return NOT_MINE;
    if (item != way->item.number || samples > way->item.sent_samples) return NOT_MINE;
    if (samples > way->counts.played_samples) way->counts.played_samples = samples;
    const uint64_t unheard = way->item.sent_samples - way->counts.played_samples;
    const int64_t heard_at_ns = relay_now_ns() + (int64_t)(unheard * 1000000000 / way->ends.rate_hz);
    if (way->heard_at_ns < heard_at_ns) way->heard_at_ns = heard_at_ns; /* a player that stands still gets no more */
    return PASSED;
}

static size_t pcm_samples(const char *base64, size_t chars) {
    return (chars / 4 * 3 - (base64[chars - 1] == '=') - (base64[chars - 2] == '=')) / 2;
}

static int is_item(const relay_way_item *item, const char *text, const relay_delta *found) {
    return found->item_id_chars == item->item_id_chars && found->response_id_chars == item->response_id_chars &&
           found->content_index == item->content_index &&
           memcmp(text + found->item_id, item->item_id, item->item_id_chars) == 0 &&
           memcmp(text + found->response_id, item->response_id, item->response_id_chars) == 0;
}

static void sent(relay_way *way, uint64_t samples, int64_t now_ns) {
    way->item.sent_samples += samples;
    if (way->heard_at_ns < now_ns) way->heard_at_ns = now_ns;
    way->heard_at_ns += (int64_t)(samples * 1000000000 / way->ends.rate_hz);
}

/* Down: an audio delta of the item that is being spoken, if it is due. */
static int take_delta(relay_way *way, struct frame *frame) {
    relay_pump *const pump = way->pump;
    const int64_t now_ns = relay_now_ns();
    relay_delta found;
    if (way->heard_at_ns - way->ends.lead_ns > now_ns) return NOT_MINE;
    if (relay_delta_find(frame->payload, frame->payload_bytes, &found) || !is_item(&way->item, frame->payload, &found))
        return NOT_MINE;
    const char *const delta = frame->payload + found.delta;
    if (found.delta_chars < 4 || pcm_samples(delta, found.delta_chars) > way->ends.longest_delta_samples)
        return NOT_MINE;
    const ptrdiff_t room = relay_downlink_frame_room(way->ends.downlink, found.delta_chars);
    if (room < 0 || room > RELAY_WAY_REST_BYTES) return NOT_MINE; /* the frame is shorter than what making it takes */
    const ptrdiff_t n = relay_downlink_frame(way->ends.downlink, delta, found.delta_chars, way->item.number,
                                             way->item.sent_samples, pump->out, sizeof pump->out);
    if (n < 0) return NOT_MINE;
    way->counts.down_events++;
    way->counts.down_samples += pcm_samples(delta, found.delta_chars);
    if (n == 0) return PASSED;
    struct frame made = {0};
    read_head(pump->out, (size_t)n, &made);
    sent(way, (made.payload_bytes - RELAY_AUDIO_HEAD_BYTES) / way->ends.sample_bytes, now_ns);
    return put(way, RELAY_WAY_BROWSER, pump->out, (size_t)n);
}

static int take_frame(relay_way *way, int leg, char *at, size_t n, struct frame *frame) {
    const int head = read_head(at, n, frame);
    if (head != PASSED) return head;
    const int is_up = leg == RELAY_WAY_BROWSER;
    const int is_binary = frame->first == FINAL_BINARY, is_text = frame->first == FINAL_TEXT;
    if (frame->is_masked != is_up || !(is_text || (is_up && is_binary))) return NOT_MINE;
    if (n < frame->bytes) return frame->bytes <= PUMP_READ_BYTES / 2 ? NOT_WHOLE : NOT_MINE;
    if (!is_up) return take_delta(way, frame);
    return is_binary ? take_samples(way, frame) : take_report(way, frame);
}

/* What may pass of `n` bytes passes, up to *passed: at most *frames_left. */
static int take_frames(relay_way *way, int leg, char *at, size_t n, size_t *passed, size_t *frames_left) {
    int outcome = PASSED;
    while (outcome == PASSED && *passed < n && *frames_left) {
        struct frame frame;
        outcome = take_frame(way, leg, at + *passed, n - *passed, &frame);
        if (outcome == NOT_MINE || outcome == NOT_WHOLE) break;
        *passed += frame.bytes;
        --*frames_left;
    }
    return outcome;
}

/* The same with what lies in the socket. The end behind it has been announced with it, and is not announced again. */
static int look(relay_way *way, int leg, int *is_drained) {
    const int fd = way->legs[leg].fd;
    const ssize_t n = recv(fd, way->pump->in, PUMP_READ_BYTES, MSG_PEEK | MSG_DONTWAIT);
    *is_drained = n < PUMP_READ_BYTES;
    if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR) ? NOT_WHOLE : NOT_MINE;
    size_t passed = 0;
    const int outcome = take_frames(way, leg, way->pump->in, (size_t)n, &passed, &way->frames_left);
    if (passed) recv(fd, way->pump->in, passed, MSG_TRUNC | MSG_DONTWAIT); /* TCP drops them: nothing is written */
    const int is_all = outcome == NOT_WHOLE || (outcome == PASSED && passed == (size_t)n);
    return is_all && *is_drained && way->legs[leg].has_ended ? NOT_MINE : outcome;
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
            case NOT_MINE: return careful(way, leg);
            case STUCK: return stuck(way);
            case TO_ENCRYPT: return RELAY_NEWS_ENCRYPT;
            default: break;
        }
        if (way->frames_left == 0) {
            pump_again(way, leg);
            break;
        }
    }
    return RELAY_NEWS_NONE;
}

int relay_way_serve(relay_way *way, int leg) {
    switch (way->legs[leg].state) {
        case WAY_WATCHED: return has_bytes(way->legs[leg].fd) ? careful(way, leg) : RELAY_NEWS_NONE;
        case WAY_OPEN:
            return leg == RELAY_WAY_UPSTREAM && way->ends.has_tls ? RELAY_NEWS_DECRYPT : serve_open(way, leg);
        default: return RELAY_NEWS_NONE;
    }
}

int way_turn(relay_way *way, int leg) {
    way->frames_left = FRAMES;
    return relay_way_serve(way, leg);
}

/* ---- what Python says ---- */

static int set_state(relay_way *way, int leg, int state) {
    way->legs[leg].state = way->rest_bytes ? WAY_WATCHED : state;
    return way_turn(way, leg);
}

int relay_way_watch(relay_way *way, int leg) { return set_state(way, leg, WAY_WATCHED); }

int relay_way_open_up(relay_way *way) { return set_state(way, RELAY_WAY_BROWSER, WAY_OPEN); }

int relay_way_open_down(relay_way *way, const relay_way_item *item, int64_t heard_in_ns) {
    way->item = *item;
    way->heard_at_ns = relay_now_ns() + heard_in_ns;
    return set_state(way, RELAY_WAY_UPSTREAM, WAY_OPEN);
}

void relay_way_shut(relay_way *way, relay_way_counts *counts) {
    for (int leg = 0; leg < 2; leg++)
        if (way->legs[leg].state == WAY_OPEN) way->legs[leg].state = WAY_WATCHED;
    *counts = way->counts;
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
    struct frame frame;
    if (n > sizeof head) n = sizeof head;
    memcpy(head, bytes, n);
    return read_head(head, n, &frame) == PASSED ? (ptrdiff_t)frame.bytes : 0;
}

ptrdiff_t relay_way_next_bytes(const relay_way *way, int leg) {
    char head[RELAY_WS_HEAD_BYTES];
    const ssize_t n = recv(way->legs[leg].fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 ? relay_way_frame_bytes(head, (size_t)n) : 0;
}

/* ---- TLS ---- */

ptrdiff_t relay_way_receive(relay_way *way, char *out, size_t room) {
    const ssize_t n = recv(way->legs[RELAY_WAY_UPSTREAM].fd, out, room, MSG_DONTWAIT);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : 0;
}

size_t relay_way_hear(relay_way *way, char *plain, size_t n, int *news) {
    size_t passed = 0, frames = n;
    *news = RELAY_NEWS_NONE;
    if (way->legs[RELAY_WAY_UPSTREAM].state != WAY_OPEN) return 0;
    const int outcome = take_frames(way, RELAY_WAY_UPSTREAM, plain, n, &passed, &frames);
    if (outcome == NOT_MINE) *news = careful(way, RELAY_WAY_UPSTREAM);
    if (outcome == STUCK) *news = stuck(way);
    return passed;
}

size_t relay_way_out(const relay_way *way, const char **frame) {
    *frame = way->pump->out;
    return way->pump->out_bytes;
}

int relay_way_send(relay_way *way, const char *bytes, size_t n) {
    if (n > sizeof way->pump->rest) return RELAY_E_ROOM;
    return put(way, RELAY_WAY_UPSTREAM, bytes, n) == STUCK ? stuck(way) : RELAY_NEWS_NONE;
}
