/* What a short way must do with a stream, said again: the rules of relay_native.h on bytes in memory, without sockets,
 * frames in place, turns or a pump. It shares with native/way.c the converters and relay_delta_find(), which have
 * fuzzers of their own, and nothing else. Whatever differs ends the program.
 */
#ifndef RELAY_WAY_MODEL_H
#define RELAY_WAY_MODEL_H

#include "../tests/check.h"

#define MUST(condition)                                                         \
    do                                                                          \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
            abort();                                                            \
        }                                                                       \
    while (0)

enum { BROWSER = RELAY_WAY_BROWSER, UPSTREAM = RELAY_WAY_UPSTREAM };
enum { SHUT, WATCHED, OPEN };

/* The next frame of a stream: there is none; it is not whole; it passes; it stays; it is so long that it may do either,
 * which depends on how much of it one look at the socket shows. */
enum { NOTHING, PART, PASSES, STAYS, EITHER };

#define SAID_BYTES 98304
#define OWED_BYTES (1 << 20)
#define BEHIND_MUCH 16384 /* passed in all: from there on, a part may be read */
#define LONGEST_PART 32768
#define LEAD_NS 1000000000000 /* so long that only an item that is opened far ahead is not due */

/* What goes from one peer, and what comes to it. */
struct leg {
    char said[SAID_BYTES];       /* by the peer, in the clear */
    size_t said_bytes, sent, at; /* ... of which so much is in the socket, and so much was taken from there */
    size_t sealed, decrypted;    /* TLS: in records, whose bytes `sent` counts; read of them, in the clear */
    int state, has_ended;
    size_t silent_at; /* what was sent when it was last known to be announced or looked at */
    char expected[OWED_BYTES], heard[OWED_BYTES]; /* by the peer: opcode, length and payload; frames */
    size_t expected_bytes, expected_at, heard_bytes, heard_at;
};

struct model {
    struct leg *legs; /* two */
    relay_uplink *uplink;
    relay_downlink *downlink;
    uint32_t rate_hz, sample_bytes, longest_delta_samples, longest_up_bytes, uncounted_up_bytes,
        uncounted_down_samples;
    relay_way_item item;
    relay_way_counts counts;
    int64_t earliest_ns, latest_ns; /* of the time at which all has been played */
};

/* ---- frames ---- */

struct head {
    size_t bytes, payload_bytes; /* of the whole frame */
    const char *payload;
    uint8_t first, is_masked;
};

/* PART, STAYS, or PASSES if it is a head like any other here. */
static int read_head_again(const char *text, size_t n, struct head *head) {
    const uint8_t *const at = (const uint8_t *)text;
    if (n < 2) return PART;
    const size_t code = at[1] & 127u, long_form = code == 126;
    if (code == 127) return STAYS;
    head->first = at[0], head->is_masked = at[1] >> 7;
    const size_t size = 2 + 2 * long_form + 4u * head->is_masked;
    if (n < size) return PART;
    head->payload_bytes = long_form ? at[2] * 256u + at[3] : code;
    if (long_form && head->payload_bytes < 126) return STAYS;
    head->payload = text + size;
    head->bytes = size + head->payload_bytes;
    return PASSES;
}

/* The payload in memory of its own, without its mask. */
static char *clear(const struct head *head) {
    char *const payload = exact_copy(head->payload, head->payload_bytes);
    for (size_t i = 0; head->is_masked && i < head->payload_bytes; i++) payload[i] ^= head->payload[(int)(i % 4) - 4];
    return payload;
}

static void expect(struct leg *to, int opcode, const char *payload, size_t n) {
    MUST(to->expected_bytes + n + 5 <= OWED_BYTES);
    char *const at = to->expected + to->expected_bytes;
    const uint32_t length = (uint32_t)n;
    at[0] = (char)opcode;
    memcpy(at + 1, &length, 4), memcpy(at + 5, payload, n);
    to->expected_bytes += n + 5;
}

/* Whole frames that the peer has heard are those that were expected, in their order. */
static void check_heard(struct leg *to, int is_masked) {
    struct head head;
    for (;;) {
        const size_t n = to->heard_bytes - to->heard_at;
        const int is_head = read_head_again(to->heard + to->heard_at, n, &head);
        MUST(is_head != STAYS);
        if (is_head == PART || n < head.bytes) return;
        const char *const expected = to->expected + to->expected_at;
        uint32_t length;
        MUST(to->expected_at < to->expected_bytes);
        memcpy(&length, expected + 1, 4);
        MUST(head.first == (0x80 | expected[0]) && head.is_masked == is_masked && head.payload_bytes == length);
        char *const payload = clear(&head);
        MUST(memcmp(payload, expected + 5, length) == 0);
        free(payload);
        to->heard_at += head.bytes, to->expected_at += 5 + length;
    }
}

/* ---- judgement ---- */

static int judge_samples(const struct model *model, const struct head *head) {
    const ptrdiff_t room = relay_uplink_frame_room(model->uplink, head->payload_bytes);
    return room >= 0 && room <= RELAY_WAY_FRAME_BYTES ? PASSES : STAYS;
}

/* A report is what these numbers print as. */
static int read_report_again(const struct head *head, uint64_t *item, uint64_t *samples) {
    char text[128] = {0}, again[128];
    char *const payload = clear(head);
    if (head->payload_bytes < sizeof text) memcpy(text, payload, head->payload_bytes);
    free(payload);
    unsigned long long a = 0, b = 0;
    if (sscanf(text, "{\"type\":\"relay.played\",\"item\":%15llu,\"samples\":%15llu}", &a, &b) != 2) return 0;
    const int n = snprintf(again, sizeof again, "{\"type\":\"relay.played\",\"item\":%llu,\"samples\":%llu}", a, b);
    *item = a, *samples = b;
    return (size_t)n == head->payload_bytes && memcmp(text, again, (size_t)n) == 0;
}

static int judge_report(const struct model *model, const struct head *head) {
    uint64_t item, samples;
    if (model->legs[UPSTREAM].state != OPEN || !read_report_again(head, &item, &samples)) return STAYS;
    return item == model->item.number && samples <= model->item.sent_samples ? PASSES : STAYS;
}

static int same(const char *text, size_t n, const char *other, size_t other_n) {
    return n == other_n && memcmp(text, other, n) == 0;
}

static int judge_delta(const struct model *model, const struct head *head) {
    const relay_way_item *const item = &model->item;
    const char *const text = head->payload;
    relay_delta found;
    if (model->earliest_ns - LEAD_NS > relay_now_ns()) return STAYS;
    if (relay_delta_find(text, head->payload_bytes, &found) || found.content_index != item->content_index) return STAYS;
    if (!same(text + found.item_id, found.item_id_chars, item->item_id, item->item_id_chars)) return STAYS;
    if (!same(text + found.response_id, found.response_id_chars, item->response_id, item->response_id_chars))
        return STAYS;
    const ptrdiff_t pcm_bytes = relay_base64_check(text + found.delta, found.delta_chars);
    if (pcm_bytes <= 0 || pcm_bytes % 2 || pcm_bytes / 2 > model->longest_delta_samples) return STAYS;
    return relay_downlink_frame_room(model->downlink, found.delta_chars) <= RELAY_WAY_FRAME_BYTES ? PASSES : STAYS;
}

/* `n` bytes of the stream are there. */
static int judge(const struct model *model, int leg, size_t n) {
    struct head head;
    if (n == 0) return NOTHING;
    const int is_head = read_head_again(model->legs[leg].said + model->legs[leg].at, n, &head);
    if (is_head != PASSES) return is_head;
    if (head.is_masked != (leg == BROWSER) || !(head.first == 0x81 || (head.first == 0x82 && leg == BROWSER)))
        return STAYS;
    if (leg == BROWSER && head.payload_bytes > model->longest_up_bytes) return STAYS;
    if (leg == BROWSER && model->counts.up_bytes >= model->uncounted_up_bytes) return STAYS;
    if (leg == UPSTREAM && model->counts.down_samples >= model->uncounted_down_samples) return STAYS;
    if (n < head.bytes) return head.bytes <= LONGEST_PART ? PART : STAYS;
    const int verdict = leg == UPSTREAM ? judge_delta(model, &head)
                        : head.first == 0x82 ? judge_samples(model, &head)
                                             : judge_report(model, &head);
    return verdict == PASSES && head.bytes > LONGEST_PART ? EITHER : verdict;
}

/* ---- passing ---- */

static void later(int64_t *heard_at_ns, int64_t ns) {
    if (*heard_at_ns < ns) *heard_at_ns = ns;
}

static int64_t duration_ns(const struct model *model, uint64_t samples) {
    return (int64_t)(samples * 1000000000 / model->rate_hz);
}

static void pass_samples(struct model *model, const struct head *head) {
    const ptrdiff_t room = relay_uplink_room(model->uplink, head->payload_bytes);
    char *const samples = clear(head), *const event = exact((size_t)room);
    MUST(relay_uplink_push(model->uplink, samples, head->payload_bytes, event, (size_t)room) == room);
    model->counts.up_bytes += head->payload_bytes;
    if (room > 0) model->counts.up_events++, expect(&model->legs[UPSTREAM], RELAY_WS_OP_TEXT, event, (size_t)room);
    free(samples), free(event);
}

static void pass_report(struct model *model, const struct head *head, int64_t since_ns) {
    uint64_t item, samples;
    MUST(read_report_again(head, &item, &samples));
    if (samples > model->item.played_samples) model->item.played_samples = samples;
    model->counts.played_samples = model->item.played_samples;
    const int64_t unheard_ns = duration_ns(model, model->item.sent_samples - model->item.played_samples);
    later(&model->earliest_ns, since_ns + unheard_ns), later(&model->latest_ns, relay_now_ns() + unheard_ns);
}

static void pass_delta(struct model *model, const struct head *head, int64_t since_ns) {
    relay_delta found;
    MUST(relay_delta_find(head->payload, head->payload_bytes, &found) == 0);
    const char *const delta = head->payload + found.delta;
    const size_t room = (size_t)relay_downlink_room(model->downlink, found.delta_chars);
    char *const payload = exact(RELAY_AUDIO_HEAD_BYTES + room);
    const ptrdiff_t n =
        relay_downlink_push(model->downlink, delta, found.delta_chars, payload + RELAY_AUDIO_HEAD_BYTES, room);
    MUST(n >= 0);
    model->counts.down_events++;
    model->counts.down_samples += (uint64_t)relay_base64_check(delta, found.delta_chars) / 2;
    if (n > 0) {
        memcpy(payload, "\1\0\0\0", 4);
        memcpy(payload + 4, &model->item.number, 4), memcpy(payload + 8, &model->item.sent_samples, 8);
        expect(&model->legs[BROWSER], RELAY_WS_OP_BINARY, payload, RELAY_AUDIO_HEAD_BYTES + (size_t)n);
        const uint64_t samples = (uint64_t)n / model->sample_bytes;
        model->item.sent_samples += samples;
        later(&model->earliest_ns, since_ns), later(&model->latest_ns, relay_now_ns());
        model->earliest_ns += duration_ns(model, samples), model->latest_ns += duration_ns(model, samples);
    }
    free(payload);
}

/* The way has taken `n` bytes of a leg since `since_ns`: whole frames, which may pass. Returns how many. */
static int pass(struct model *model, int leg, size_t n, int64_t since_ns) {
    int frames = 0;
    for (struct leg *const from = &model->legs[leg]; n > 0; frames++) {
        const int verdict = judge(model, leg, n);
        MUST(from->state == OPEN && (verdict == PASSES || verdict == EITHER));
        struct head head;
        read_head_again(from->said + from->at, n, &head);
        if (leg == UPSTREAM) pass_delta(model, &head, since_ns);
        else if (head.first == 0x82) pass_samples(model, &head);
        else pass_report(model, &head, since_ns);
        from->at += head.bytes, n -= head.bytes;
    }
    return frames;
}

/* What relay_way_shut() said between the two times is what passed; from here on it is counted anew. */
static void check_counts(struct model *model, const relay_way_counts *said, int64_t from_ns, int64_t to_ns) {
    relay_way_counts *const own = &model->counts;
    MUST(said->up_bytes == own->up_bytes && said->up_events == own->up_events);
    MUST(said->down_events == own->down_events && said->down_samples == own->down_samples);
    MUST(said->sent_samples == model->item.sent_samples && said->played_samples == own->played_samples);
    MUST(said->heard_in_ns >= model->earliest_ns - to_ns && said->heard_in_ns <= model->latest_ns - from_ns);
    memset(own, 0, sizeof *own);
}

#endif
