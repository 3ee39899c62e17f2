/* Whatever two peers say, in whatever pieces, and whenever Python opens, shuts, reads or writes: the short way loses no
 * byte, doubles none, changes no order, leaves what it should leave, and counts what passed. The input is a program for
 * two sessions on one pump: here is what its bytes mean, and what must be true at its end. way_model.h says after each
 * step what should have come of it.
 */
#define _GNU_SOURCE
#include "way_python.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static unsigned take(struct input *input) { return input->at < input->end ? *input->at++ : 0; }

static const struct {
    int encoding, in_hz, out_hz;
} FORMATS[] = {{RELAY_F32LE, 48000, 48000}, {RELAY_S16LE, 24000, 24000}, {RELAY_S16LE, 8000, 8000},
               {RELAY_F32LE, 44100, 48000}};
#define FORMAT_COUNT (sizeof FORMATS / sizeof *FORMATS)

/* Handles that live for ever keep the filters, which take longer than all the rest. */
static void keep_filters(void) {
    static relay_uplink *ups[FORMAT_COUNT];
    static relay_downlink *downs[FORMAT_COUNT];
    int error;
    for (size_t i = 0; i < FORMAT_COUNT && !ups[i]; i++) {
        ups[i] = relay_uplink_new(RELAY_F32LE, FORMATS[i].in_hz, 24000, &error);
        downs[i] = relay_downlink_new(RELAY_F32LE, FORMATS[i].out_hz, 24000, &error);
    }
}

/* A frame, perhaps with another head than it should have. */
static void say_frame(struct session *session, int leg, int opcode, const char *payload, size_t n,
                      struct input *input) {
    static char frame[LARGE + RELAY_WS_HEAD_BYTES];
    const unsigned change = take(input);
    const char *const key = leg == BROWSER ? "\3\1\4\1" : NULL;
    const ptrdiff_t size = relay_ws_build(opcode, payload, n, key, frame, sizeof frame);
    MUST(size > 0);
    if (change >= 224) frame[change & 3] ^= (char)take(input);
    say(session, leg, frame, (size_t)size);
}

/* Few, or many. */
static size_t take_count(struct input *input) {
    const size_t n = take(input);
    return n < 192 ? n : (n - 191) * 250;
}

static void noise(char *bytes, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) bytes[i] = (char)next_random(&seed);
}

static void say_samples(struct session *session, int leg, struct input *input) {
    static char samples[LARGE];
    const size_t count = take_count(input), n = count * (session->ends.sample_bytes == 4 ? 4 : 2);
    noise(samples, n, (unsigned)count);
    say_frame(session, leg, RELAY_WS_OP_BINARY, samples, n, input);
}

static void say_delta(struct session *session, int leg, struct input *input) {
    static char pcm[LARGE / 2], text[LARGE];
    const unsigned choice = take(input);
    const size_t n = take_count(input) * 2 + (choice >> 6 == 1);
    const char *const space = choice & 8 ? " " : "";
    noise(pcm, n, (unsigned)n);
    int at = sprintf(text, "{%s\"type\":\"response.output_audio.delta\",", space);
    at += sprintf(text + at, "\"item_id\":\"%s\",", choice & 1 ? "i" : "item_1");
    at += sprintf(text + at, "\"response_id\":\"%s\",%s", choice & 1 ? "r" : "resp_1", space);
    if (choice & 2) at += sprintf(text + at, "\"content_index\":%u,", choice >> 2 & 1);
    at += sprintf(text + at, "\"delta\":\"");
    at += (int)relay_base64_encode(pcm, n, text + at);
    at += sprintf(text + at, "\"%s}", choice & 16 ? ",\"obfuscation\":\"x\"" : "");
    if (choice & 32) text[(take(input) * 256u + take(input)) % (unsigned)at] ^= 1;
    say_frame(session, leg, RELAY_WS_OP_TEXT, text, (size_t)at, input);
}

static void say_report(struct session *session, int leg, struct input *input) {
    char text[80];
    const unsigned choice = take(input), less = take(input);
    const uint64_t sent = session->model.item.sent_samples;
    const unsigned long long samples = choice & 4 ? less * 7 : sent - less;
    const int n = sprintf(text, "{\"type\":\"relay.played\",\"item\":%u,\"samples\":%llu}", choice & 3, samples);
    say_frame(session, leg, RELAY_WS_OP_TEXT, text, (size_t)n, input);
}

static void say_input(struct session *session, int leg, struct input *input) {
    char bytes[64];
    const unsigned choice = take(input), n = choice & 63;
    for (unsigned i = 0; i < n; i++) bytes[i] = (char)take(input);
    if (choice < 128) say(session, leg, bytes, n);
    else say_frame(session, leg, (int)take(input) & 15, bytes, n, input);
}

static void open_item(struct session *session, struct input *input) {
    const unsigned choice = take(input), sent = take(input) * 7;
    open_down(session, choice, sent);
}

/* Small sockets get stuck early. With TCP a small window would make seconds of what is a matter of order. */
static void shrink(struct session *session, int leg, unsigned n) {
    const int bytes = (int)n * 64;
    setsockopt(session->near[leg], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (!session->is_tcp && !session->is_gone[leg])
        setsockopt(session->far[leg], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static void check_next_bytes(const struct session *session, int leg) {
    const struct leg *const from = &session->legs[leg];
    struct head head;
    if (is_cipher(session, leg)) return;
    const int is_known = read_head_again(from->said + from->at, from->sent - from->at, &head) == PASSES;
    MUST(relay_way_next_bytes(session->way, leg) == (is_known ? (ptrdiff_t)head.bytes : 0));
}

/* Something that the other side of TLS has to answer, at the same length. Python has room for a few long ones. */
static void ask(struct session *session, int leg, int kind, unsigned choice) {
    static const char question[FAKE_RECORD_BYTES];
    const size_t n = choice < 192 ? choice : (choice - 191) * 256;
    if (session->asked_bytes[leg] + n > LARGE / 2) return;
    session->asked_bytes[leg] += n;
    say_of_tls(session, leg, kind, question, n);
}

/* Records that say nothing, or one that ends all, or breaks it. */
static void say_nothing_more(struct session *session, int leg, unsigned what, struct input *input) {
    if (what < 240) say_of_tls(session, leg, what & 8 ? 0 : FAKE_END, NULL, 0);
    else for (unsigned n = take(input) & 63; n > 0; n--) say_of_tls(session, leg, FAKE_DATA, NULL, 0);
}

static void change(struct session *session, int leg, struct input *input) {
    const unsigned what = take(input);
    const int tls = is_cipher(session, BROWSER) ? leg : UPSTREAM;
    struct fake_ssl *const near_tls = &session->near_tls[tls];
    switch (what & 7) {
        case 0: end_said(session, leg); break;
        case 1: hang_up(session, leg); break;
        case 2: renew(session); break;
        case 3: shrink(session, leg, take(input)); break;
        case 4: ask(session, tls, what & 8 ? FAKE_ASK_LATER : FAKE_ASK, take(input)); break;
        case 5: session->far_tls[tls].record_bytes = take(input) * 64 + 1; break;
        case 6: near_tls->fails_after = near_tls->records_out + (int)take(input) + 1; break;
        case 7: say_nothing_more(session, tls, what, input); break;
    }
    check_next_bytes(session, leg);
}

/* One step. The upper half of its byte says for whom it is, and whether what was said is sent at once. */
static void step(struct input *input) {
    const unsigned op = take(input);
    struct session *const session = &sessions[op >> 4 & 1];
    const int leg = (int)(op >> 5 & 1);
    switch (op & 15) {
        case 0: say_samples(session, leg, input); break;
        case 1: say_delta(session, leg, input); break;
        case 2: say_report(session, leg, input); break;
        case 3: say_input(session, leg, input); break;
        case 4: send_said(session, leg, take_count(input)); break;
        case 5: open_up(session); break;
        case 6: open_item(session, input); break;
        case 7: open_item(session, input), open_up(session); break;
        case 8: shut(session); break;
        case 9: watch(session, leg); break;
        case 10: pump_until_silent(); break;
        case 11: pump_once(); break;
        case 12: read_socket(session, leg, take_count(input)); break;
        case 13: write_message(session, leg, take(input)); break;
        case 14: listen_to(session, leg, LARGE), write_owed(session, leg); break;
        default: change(session, leg, input); break;
    }
    if ((op & 15) < 4 && op & 64) send_said(session, leg, SAID_BYTES);
}

/* Python's connections, which C is told of or not. Bits of `browser`: it has TLS, C is told, nobody trusts it. */
static void begin_tls(struct session *session, unsigned choice, unsigned browser) {
    const int is_known[] = {browser >> 1 & 1, choice >> 6 & 1};
    session->ends.has_tls[BROWSER] = browser & 1, session->ends.has_tls[UPSTREAM] = choice >> 2 & 1;
    memset(&session->records, 0, sizeof session->records);
    if (session->ends.has_tls[BROWSER] && browser & 4) session->ends.records[BROWSER] = &session->records;
    for (int leg = 0; leg < 2; leg++) {
        session->says_no_more[leg] = session->is_over[leg] = session->is_mute[leg] = 0;
        session->undone[leg] = session->was_behind[leg] = session->asked_bytes[leg] = 0, session->asked_ns[leg] = 0;
        fake_make(&session->far_tls[leg]), fake_make(&session->near_tls[leg]);
        session->near_tls[leg].writes_one = choice >> 7 & 1;
        MUST(relay_openssl_newest() == &session->near_tls[leg]);
        if (is_cipher(session, leg) && is_known[leg]) session->ends.ssl[leg] = &session->near_tls[leg];
    }
}

static void begin(struct session *session, uint64_t token, unsigned choice, unsigned browser) {
    const size_t format = choice & 3;
    const int encoding = FORMATS[format].encoding, in_hz = FORMATS[format].in_hz, out_hz = FORMATS[format].out_hz;
    int error;
    memset(&session->model, 0, sizeof session->model);
    session->is_tcp = (choice >> 3 & 3) == 3;
    for (int leg = 0; leg < 2; leg++) {
        struct leg *const fresh = &session->legs[leg];
        int pair[2];
        if (session->is_tcp) tcp_pair(pair);
        else MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        session->far[leg] = pair[0], session->near[leg] = pair[1], session->is_gone[leg] = 0;
        session->owed_bytes[leg] = 0;
        fresh->said_bytes = fresh->sent = fresh->at = fresh->sealed = fresh->decrypted = 0;
        fresh->state = SHUT, fresh->has_ended = 0;
        fresh->expected_bytes = fresh->expected_at = fresh->heard_bytes = fresh->heard_at = 0;
    }
    session->ends = (relay_way_ends){
        .token = token, .fds = {session->near[0], session->near[1]}, .lead_ns = LEAD_NS,
        .uplink = relay_uplink_new(encoding, in_hz, 24000, &error),
        .downlink = relay_downlink_new(encoding, out_hz, 24000, &error), .rate_hz = (uint32_t)out_hz,
        .sample_bytes = encoding == RELAY_F32LE ? 4 : 2, .longest_delta_samples = choice & 32 ? 2400 : 1 << 20,
        .longest_up_bytes = choice & 32 ? 512 : 1 << 20, .uncounted_up_bytes = choice & 32 ? 2048 : 1 << 20,
        .uncounted_down_samples = choice & 32 ? 1024 : 1 << 20};
    session->model = (struct model){
        .legs = session->legs, .uplink = relay_uplink_new(encoding, in_hz, 24000, &error),
        .downlink = relay_downlink_new(encoding, out_hz, 24000, &error), .rate_hz = session->ends.rate_hz,
        .sample_bytes = session->ends.sample_bytes, .longest_delta_samples = session->ends.longest_delta_samples,
        .longest_up_bytes = session->ends.longest_up_bytes, .uncounted_up_bytes = session->ends.uncounted_up_bytes,
        .uncounted_down_samples = session->ends.uncounted_down_samples};
    begin_tls(session, choice, browser);
    session->way = relay_way_new(pump, &session->ends);
    MUST(session->way);
}

/* Nothing has been lost: what did not pass is in its socket, and what passed is with the other peer. */
static void check_end(struct session *session, int leg) {
    struct leg *const to = &session->legs[leg];
    const int is_lost = session->is_gone[leg] || session->is_mute[leg];
    for (int i = 0; i < 5000 && !is_lost && to->expected_at < to->expected_bytes; i++) {
        write_owed(session, leg);
        if (!listen_to(session, leg, OWED_BYTES)) poll(NULL, 0, i > 100);
    }
    MUST(is_lost || (to->heard_at == to->heard_bytes && to->expected_at == to->expected_bytes));
    while (unread(session->near[leg]) + there(session, leg) > 0) {
        const size_t before = unread(session->near[leg]) + there(session, leg);
        read_socket(session, leg, LARGE);
        MUST(unread(session->near[leg]) + there(session, leg) < before);
    }
    const int is_unread = session->is_mute[leg] || BIO_ctrl_pending(&session->far_tls[leg].out) > 0;
    if (is_cipher(session, leg)) MUST(is_unread || to->at == to->sealed);
    else MUST(to->at == to->sent);
}

static void end(struct session *session) {
    shut(session);
    for (int leg = 0; leg < 2; leg++) check_end(session, leg);
    relay_way_free(session->way);
    relay_uplink_free(session->ends.uplink), relay_downlink_free(session->ends.downlink);
    relay_uplink_free(session->model.uplink), relay_downlink_free(session->model.downlink);
    for (int leg = 0; leg < 2; leg++) {
        if (!session->is_gone[leg]) close(session->far[leg]);
        close(session->near[leg]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, data + size};
    keep_filters();
    MUST(relay_openssl_load(NULL) == 0);
    const unsigned first = take(&input); /* two bits are the level, three of each session are about its browser */
    relay_init(LEVELS[first % LEVEL_COUNT]);
    pump = relay_pump_new();
    MUST(pump && relay_pump_fd(pump) >= 0);
    for (uint64_t i = 0; i < SESSIONS; i++) begin(&sessions[i], i, take(&input), first >> (2 + 3 * i) & 7);
    for (int steps = 0; input.at < input.end && steps < MOST_STEPS; steps++) step(&input);
    for (int i = 0; i < SESSIONS; i++) end(&sessions[i]);
    relay_pump_free(pump);
    MUST(relay_live_handles() == 2 * FORMAT_COUNT);
    return 0;
}
