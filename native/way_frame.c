/* What becomes of one frame of the short way: whether it is audio and nothing else, and the frame that it becomes.
 *
 * What is taken here is what the careful way would have taken too, and made the same bytes of; whatever differs in the
 * least is FRAME_NOT_MINE, and stays where it is.
 */
#include "way.h"

#include <string.h>
#include <sys/socket.h>

#include "openssl.h"
#include "ws.h"

#define COUNT_DIGITS 15 /* below 2^53, as policy wants counts */
#define FINAL_TEXT (WS_FINAL | RELAY_WS_OP_TEXT)
#define FINAL_BINARY (WS_FINAL | RELAY_WS_OP_BINARY)

int way_read_head(char *at, size_t n, struct way_frame *frame) {
    const uint8_t *const bytes = (const uint8_t *)at;
    if (n < 2) return FRAME_NOT_WHOLE;
    const size_t length_bytes = ws_length_bytes(bytes[1] & WS_LENGTH);
    if (length_bytes == 8) return FRAME_NOT_MINE; /* longer than any frame of audio here */
    frame->first = bytes[0], frame->is_unmasked = 0;
    frame->is_masked = (bytes[1] & WS_MASKED) != 0;
    const size_t head = 2 + length_bytes + (frame->is_masked ? 4 : 0);
    if (n < head) return FRAME_NOT_WHOLE;
    frame->payload_bytes = length_bytes ? (size_t)ws_big_endian(bytes + 2, 2) : bytes[1] & WS_LENGTH;
    if (ws_bad_length(frame->payload_bytes, length_bytes)) return FRAME_NOT_MINE;
    frame->payload = at + head;
    frame->at = at, frame->bytes = head + frame->payload_bytes;
    return FRAME_PASSED;
}

/* The other way round it is the same. */
static void unmask(struct way_frame *frame) {
    const uint32_t key = ws_key(frame->payload - 4, 0);
    relay_kernels()->mask(frame->payload, frame->payload, frame->payload_bytes, key);
    frame->is_unmasked = !frame->is_unmasked;
}

int way_put(relay_way *way, int leg, const char *bytes, size_t n) {
    const ssize_t sent = send(way->legs[leg].fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    const size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken == n) return FRAME_PASSED;
    memcpy(way->pump->rest, bytes + taken, n - taken);
    way->pump->rest_of = way, way->rest_leg = leg, way->rest_bytes = n - taken;
    return FRAME_STUCK;
}

/* As a rule the socket gets it in one piece: three records at most, with less than 300 bytes around each. But OpenSSL may
 * have been told to fill its records up (RecordPadding), or have something of its own to say before (a new key). If the
 * socket takes no more, what is behind that piece stays in the connection, and Python finds it when it writes the rest. */
static int encrypt(relay_way *way, int leg, size_t n) {
    relay_pump *const pump = way->pump;
    void *const ssl = way->ends.ssl[leg];
    size_t made = openssl_encrypt(ssl, pump->out, n, sizeof pump->out);
    if (!made) return FRAME_TO_ENCRYPT;
    do
        if (way_put(way, leg, pump->out, made) == FRAME_STUCK) return FRAME_STUCK;
    while ((made = openssl_more(ssl, pump->out, sizeof pump->out)));
    return FRAME_PASSED;
}

/* A frame for the leg, in pump->out. */
static int send_frame(relay_way *way, int leg, size_t n) {
    way->pump->work.frame_bytes = n;
    if (way->ends.ssl[leg]) return encrypt(way, leg, n);
    return way->ends.has_tls[leg] ? FRAME_TO_ENCRYPT : way_put(way, leg, way->pump->out, n);
}

static int send_up(relay_way *way, size_t n) {
    way->counts.up_events++;
    return send_frame(way, RELAY_WAY_UPSTREAM, n);
}

/* Up: samples become an append event in a masked frame. */
static int take_samples(relay_way *way, struct way_frame *frame) {
    relay_pump *const pump = way->pump;
    const ptrdiff_t room = relay_uplink_frame_room(way->ends.uplink, frame->payload_bytes);
    if (room < 0 || room > RELAY_WAY_FRAME_BYTES) return FRAME_NOT_MINE;
    const char *const key = pump_key(pump);
    if (!key) return FRAME_NOT_MINE;
    unmask(frame);
    const ptrdiff_t n =
        relay_uplink_frame(way->ends.uplink, frame->payload, frame->payload_bytes, key, pump->out, sizeof pump->out);
    if (n < 0) return FRAME_NOT_MINE;
    way->counts.up_bytes += frame->payload_bytes;
    return n ? send_up(way, (size_t)n) : FRAME_PASSED; /* too few samples for one of the upstream's */
}

/* Up, in OpenAI's JSON: base64 of whole samples, in an event that says nothing else, which is written anew. */
static int take_append(relay_way *way, struct way_frame *frame) {
    relay_pump *const pump = way->pump;
    uint32_t audio, chars;
    unmask(frame);
    if (relay_append_find(frame->payload, frame->payload_bytes, &audio, &chars)) return FRAME_NOT_MINE;
    const ptrdiff_t pcm_bytes = relay_base64_check(frame->payload + audio, chars);
    const char *const key = pump_key(pump);
    if (pcm_bytes <= 0 || pcm_bytes % 2 || !key) return FRAME_NOT_MINE;
    const ptrdiff_t n = relay_append_frame(frame->payload + audio, chars, key, pump->out, RELAY_WAY_FRAME_BYTES);
    if (n < 0) return FRAME_NOT_MINE;
    way->counts.up_bytes += (size_t)pcm_bytes;
    return send_up(way, (size_t)n);
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

/* How far the browser is with the item that is being spoken: kept for Python, which asks when it matters. A report that
 * goes back says nothing new. */
static int take_report(relay_way *way, struct way_frame *frame) {
    uint64_t item, samples;
    unmask(frame);
    if (way->legs[RELAY_WAY_UPSTREAM].state != WAY_OPEN) return FRAME_NOT_MINE;
    if (!read_report(frame->payload, frame->payload_bytes, &item, &samples)) return FRAME_NOT_MINE;
    if (item != way->item.number || samples > way->item.sent_samples) return FRAME_NOT_MINE;
    if (samples > way->item.played_samples) way->item.played_samples = samples;
    way->counts.played_samples = way->item.played_samples;
    const uint64_t unheard = way->item.sent_samples - way->item.played_samples;
    const int64_t heard_at_ns = relay_now_ns() + (int64_t)(unheard * 1000000000 / way->ends.rate_hz);
    if (way->heard_at_ns < heard_at_ns) way->heard_at_ns = heard_at_ns; /* a player that stands still gets no more */
    return FRAME_PASSED;
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
static int take_delta(relay_way *way, struct way_frame *frame) {
    relay_pump *const pump = way->pump;
    const int64_t now_ns = relay_now_ns();
    relay_delta found;
    if (way->heard_at_ns - way->ends.lead_ns > now_ns) return FRAME_NOT_MINE;
    if (relay_delta_find(frame->payload, frame->payload_bytes, &found) || !is_item(&way->item, frame->payload, &found))
        return FRAME_NOT_MINE;
    const char *const delta = frame->payload + found.delta;
    if (found.delta_chars < 4 || pcm_samples(delta, found.delta_chars) > way->ends.longest_delta_samples)
        return FRAME_NOT_MINE;
    const ptrdiff_t room = relay_downlink_frame_room(way->ends.downlink, found.delta_chars);
    if (room < 0 || room > RELAY_WAY_FRAME_BYTES) return FRAME_NOT_MINE; /* the frame is shorter than what making it takes */
    const ptrdiff_t n = relay_downlink_frame(way->ends.downlink, delta, found.delta_chars, way->item.number,
                                             way->item.sent_samples, pump->out, sizeof pump->out);
    if (n < 0) return FRAME_NOT_MINE;
    way->counts.down_events++;
    way->counts.down_samples += pcm_samples(delta, found.delta_chars);
    if (n == 0) return FRAME_PASSED;
    struct way_frame made = {0};
    way_read_head(pump->out, (size_t)n, &made);
    sent(way, (made.payload_bytes - RELAY_AUDIO_HEAD_BYTES) / way->ends.sample_bytes, now_ns);
    return send_frame(way, RELAY_WAY_BROWSER, (size_t)n);
}

/* Down, in OpenAI's JSON: a delta of that item goes on as it came. It consists of letters, digits, `_` and base64, so none
 * of the secrets that Python looks for is in it (way->ends.is_json). */
static int take_event(relay_way *way, const struct way_frame *frame) {
    relay_delta found;
    if (relay_delta_find(frame->payload, frame->payload_bytes, &found) || !is_item(&way->item, frame->payload, &found))
        return FRAME_NOT_MINE;
    const ptrdiff_t pcm_bytes = relay_base64_check(frame->payload + found.delta, found.delta_chars);
    if (!found.has_words || pcm_bytes <= 0 || pcm_bytes % 2 || frame->bytes > RELAY_WAY_FRAME_BYTES) return FRAME_NOT_MINE;
    way->counts.down_events++;
    way->counts.down_samples += (size_t)pcm_bytes / 2;
    if (!way->ends.has_tls[RELAY_WAY_BROWSER]) return way_put(way, RELAY_WAY_BROWSER, frame->at, frame->bytes);
    memcpy(way->pump->out, frame->at, frame->bytes);
    return send_frame(way, RELAY_WAY_BROWSER, frame->bytes);
}

/* Whether the careful way would take it too, and has been told of enough of what passed before: limits are kept there. */
static int may_pass(const relay_way *way, int leg, const struct way_frame *frame) {
    if (leg == RELAY_WAY_UPSTREAM) return way->counts.down_samples < way->ends.uncounted_down_samples;
    return frame->payload_bytes <= way->ends.longest_up_bytes && way->counts.up_bytes < way->ends.uncounted_up_bytes;
}

/* A frame that is whole, and of a kind that may pass. */
static int take_whole(relay_way *way, int is_up, struct way_frame *frame) {
    const int is_binary = frame->first == FINAL_BINARY;
    if (way->ends.is_json) return is_binary ? FRAME_NOT_MINE : is_up ? take_append(way, frame) : take_event(way, frame);
    if (!is_up) return take_delta(way, frame);
    return is_binary ? take_samples(way, frame) : take_report(way, frame);
}

int way_take_frame(relay_way *way, int leg, char *at, size_t n, struct way_frame *frame) {
    const int head = way_read_head(at, n, frame);
    if (head != FRAME_PASSED) return head;
    const int is_up = leg == RELAY_WAY_BROWSER;
    const int is_binary = frame->first == FINAL_BINARY, is_text = frame->first == FINAL_TEXT;
    if (frame->is_masked != is_up || !(is_text || (is_up && is_binary))) return FRAME_NOT_MINE;
    if (!may_pass(way, leg, frame)) return FRAME_NOT_MINE;
    if (n < frame->bytes) return frame->bytes <= PUMP_READ_BYTES / 2 ? FRAME_NOT_WHOLE : FRAME_NOT_MINE;
    const int outcome = take_whole(way, is_up, frame);
    if (outcome == FRAME_NOT_MINE && frame->is_unmasked) unmask(frame);
    return outcome;
}
