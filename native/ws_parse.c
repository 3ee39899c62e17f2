/* Received frames (RFC 6455, section 5): where we stand in the stream, byte for byte.
 *
 * A frame's head is collected in ws->head, in up to three steps: the two bytes that every head has, the bytes of a long
 * length, the masking key. Each step is judged as soon as it is there. A control frame's payload, at most 125 bytes, is
 * collected too, so that it comes out whole. A data frame's payload goes straight to the caller.
 *
 * What a stream of frames means does not depend on where it was cut: all state is in relay_ws, and a step that waits
 * for more bytes has already used those that were there.
 */
#include "ws.h"

_Static_assert(sizeof(relay_ws) <= 208, "as promised");

enum stage { HEAD_START, HEAD_LENGTH, HEAD_KEY, PAYLOAD, AFTER_CLOSE };

#define WAIT 1 /* of a step: there are not enough bytes yet; 0 means go on, below 0 is a verdict */

void relay_ws_init(relay_ws *ws, int role, uint64_t max_message_bytes, uint32_t max_fragments) {
    memset(ws, 0, sizeof *ws);
    ws->role = (uint8_t)role;
    ws->max_message_bytes = max_message_bytes;
    ws->max_fragments = max_fragments;
}

void relay_ws_skip(relay_ws *ws) {
    ws->skipping = 1;
    if (ws->verdict == RELAY_WS_E_TOO_LONG || ws->verdict == RELAY_WS_E_FRAGMENTS) ws->verdict = 0;
}

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

static inline int is_control(const relay_ws *ws) { return ws->opcode & WS_CONTROL; }

/* ---- UTF-8 (Unicode, table 3-7): how many bytes of a character are to come, where the next one lies ---- */

static int utf8_first(relay_ws *ws, uint8_t byte) {
    if (byte < 0x80) return 0;
    if (byte < 0xC2 || byte > 0xF4) return RELAY_WS_E_UTF8;
    ws->utf8_left = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    ws->utf8_low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;  /* below: a longer form than needed */
    ws->utf8_high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF; /* above: a surrogate, over U+10FFFF */
    return 0;
}

static int utf8_next(relay_ws *ws, uint8_t byte) {
    if (byte < ws->utf8_low || byte > ws->utf8_high) return RELAY_WS_E_UTF8;
    ws->utf8_left--;
    ws->utf8_low = 0x80;
    ws->utf8_high = 0xBF;
    return 0;
}

static int check_utf8(relay_ws *ws, const char *text, size_t n) {
    const struct kernels *const kernels = relay_kernels();
    for (size_t i = 0; i < n; i++) {
        if (ws->utf8_left == 0) i += kernels->ascii(text + i, n - i);
        if (i == n) break;
        const uint8_t byte = (uint8_t)text[i];
        if (ws->utf8_left ? utf8_next(ws, byte) : utf8_first(ws, byte)) return RELAY_WS_E_UTF8;
    }
    return 0;
}

/* ---- heads ---- */

/* Takes bytes of the head until there are `need` of them. */
static int collect(relay_ws *ws, const char *chunk, size_t n, size_t need) {
    const size_t step = least(need - ws->head_have, n - ws->at);
    memcpy(ws->head + ws->head_have, chunk + ws->at, step);
    ws->head_have = (uint8_t)(ws->head_have + step);
    ws->at += step;
    return ws->head_have < need ? WAIT : 0;
}

/* May this data frame come now? A continuation needs a message to continue, everything else that there is none. */
static int check_order(const relay_ws *ws, int opcode) {
    if (ws->skipping) return 0;
    return (ws->message == 0) == (opcode == 0) ? RELAY_WS_E_ORDER : 0;
}

static int judge_start(relay_ws *ws) {
    const uint8_t first = ws->head[0], second = ws->head[1];
    const int opcode = first & WS_OPCODE, control = opcode & WS_CONTROL;
    if (first & WS_RESERVED) return RELAY_WS_E_RESERVED;
    if (control ? opcode > RELAY_WS_OP_PONG : opcode > RELAY_WS_OP_BINARY) return RELAY_WS_E_OPCODE;
    if (control && (!(first & WS_FINAL) || (second & WS_LENGTH) > RELAY_WS_CONTROL_BYTES)) return RELAY_WS_E_CONTROL;
    if (!(second & WS_MASKED) != (ws->role == RELAY_WS_CLIENT)) return RELAY_WS_E_MASK;
    ws->opcode = (uint8_t)opcode;
    return control ? 0 : check_order(ws, opcode);
}

/* Is there room for all of this frame? message_bytes never exceeds the limit, so the subtraction cannot wrap. */
static int begin_frame(relay_ws *ws) {
    if (is_control(ws) || ws->skipping) return 0;
    if (ws->opcode) ws->message = ws->opcode;
    if (ws->fragments >= ws->max_fragments) return RELAY_WS_E_FRAGMENTS;
    if (ws->left > ws->max_message_bytes - ws->message_bytes) return RELAY_WS_E_TOO_LONG;
    ws->fragments++;
    ws->message_bytes += ws->left;
    return 0;
}

/* The stage moves on before the verdict: after TOO_LONG the frame may still be skipped. */
static int judge_length(relay_ws *ws) {
    const size_t length_bytes = ws_length_bytes(ws->head[1] & WS_LENGTH);
    ws->left = length_bytes ? ws_big_endian(ws->head + 2, length_bytes) : ws->head[1] & WS_LENGTH;
    ws->passed = 0;
    ws->stage = HEAD_KEY;
    return ws_bad_length(ws->left, length_bytes) ? RELAY_WS_E_LENGTH : begin_frame(ws);
}

static int take_head(relay_ws *ws, const char *chunk, size_t n) {
    int code = 0;
    const size_t key_bytes = ws->role == RELAY_WS_SERVER ? 4 : 0;
    if (ws->stage == HEAD_START) {
        if (collect(ws, chunk, n, 2)) return WAIT;
        if ((code = judge_start(ws))) return code;
        ws->stage = HEAD_LENGTH;
    }
    const size_t before_key = 2 + ws_length_bytes(ws->head[1] & WS_LENGTH);
    if (ws->stage == HEAD_LENGTH) {
        if (collect(ws, chunk, n, before_key)) return WAIT;
        if ((code = judge_length(ws))) return code;
    }
    if (ws->stage == HEAD_KEY) {
        if (collect(ws, chunk, n, before_key + key_bytes)) return WAIT;
        ws->stage = PAYLOAD;
    }
    return 0;
}

/* ---- payloads ---- */

static void end_frame(relay_ws *ws) {
    ws->stage = HEAD_START;
    ws->head_have = 0;
}

static void end_message(relay_ws *ws) {
    ws->message = 0;
    ws->fragments = 0;
    ws->message_bytes = 0;
}

/* Copies `n` bytes of this frame's payload, without its mask. */
static void unmask(relay_ws *ws, const char *from, size_t n, char *out) {
    if (ws->role == RELAY_WS_SERVER)
        relay_kernels()->mask(out, from, n, ws_key(ws->head + ws->head_have - 4, ws->passed % 4));
    else if (n > 0)
        memcpy(out, from, n);
}

static int take_control(relay_ws *ws, const char *chunk, size_t n, char *out) {
    const size_t step = least(ws->left, n - ws->at);
    if (step > 0) memcpy(ws->control + ws->passed, chunk + ws->at, step);
    ws->at += step;
    ws->left -= step;
    const size_t have = ws->passed + step;
    ws->passed = (uint32_t)have;
    if (ws->left > 0) return RELAY_WS_MORE;
    ws->passed = 0; /* the mask begins at the payload's first byte */
    unmask(ws, (const char *)ws->control, have, out);
    ws->length = have;
    end_frame(ws);
    if (ws->opcode == RELAY_WS_OP_CLOSE) ws->stage = AFTER_CLOSE;
    return ws->opcode; /* RELAY_WS_CLOSE, PING and PONG are their opcodes */
}

/* Where in the mask the next piece begins is all that `passed` is for here, so it may wrap. */
static int take_data(relay_ws *ws, const char *chunk, size_t n, char *out, size_t room) {
    const size_t step = least(least(ws->left, n - ws->at), room);
    if (step == 0 && ws->left > 0) return RELAY_WS_MORE;
    unmask(ws, chunk + ws->at, step, out);
    ws->at += step;
    ws->left -= step;
    ws->passed += (uint32_t)step;
    ws->length = step;
    const int text = ws->message == RELAY_WS_OP_TEXT, last = ws->left == 0 && (ws->head[0] & WS_FINAL);
    if (text && (check_utf8(ws, out, step) || (last && ws->utf8_left))) return RELAY_WS_E_UTF8;
    if (ws->left == 0) end_frame(ws);
    if (!last) return RELAY_WS_PIECE;
    end_message(ws);
    return text ? RELAY_WS_TEXT : RELAY_WS_BINARY;
}

/* A frame that nobody wants. Returns WAIT until it is over. */
static int skip_data(relay_ws *ws, size_t n) {
    const size_t step = least(ws->left, n - ws->at);
    ws->at += step;
    ws->left -= step;
    if (ws->left > 0) return WAIT;
    end_frame(ws);
    return 0;
}

static int take_frame(relay_ws *ws, const char *chunk, size_t n, char *out, size_t room) {
    for (;;) {
        if (ws->stage == AFTER_CLOSE) return RELAY_WS_MORE;
        const int code = take_head(ws, chunk, n);
        if (code) return code == WAIT ? RELAY_WS_MORE : code;
        if (is_control(ws)) return take_control(ws, chunk, n, out);
        if (!ws->skipping) return take_data(ws, chunk, n, out, room);
        if (skip_data(ws, n) == WAIT) return RELAY_WS_MORE;
    }
}

int relay_ws_next(relay_ws *ws, const char *chunk, size_t n, char *out, size_t room) {
    ws->length = 0;
    if (ws->verdict) return ws->verdict;
    if (room < RELAY_WS_CONTROL_BYTES) return RELAY_E_ROOM;
    if (ws->at > n) ws->at = n; /* not the same chunk: a mistake, which may cost bytes but never memory */
    const int kind = take_frame(ws, chunk, n, out, room);
    if (kind == RELAY_WS_MORE || ws->at == n) ws->at = 0;
    if (kind < 0) {
        ws->verdict = kind;
        ws->length = 0;
    }
    return kind;
}

int relay_ws_between_messages(const relay_ws *ws) {
    return ws->stage == HEAD_START && ws->head_have == 0 && ws->message == 0 && !ws->skipping && !ws->verdict &&
           ws->at == 0 && ws->max_fragments > 0;
}
