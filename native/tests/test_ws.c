/* Frames: what RFC 6455 asks of a receiver and a sender, on buffers of exactly the size that was promised. */
#include "check.h"

#define LIMIT 70000
#define FRAGMENTS 8

static const char KEY[4] = {0x37, (char)0xFA, 0x21, 0x3D};

/* What a stream of frames came to: messages and control frames behind each other, and the verdict. */
struct heard {
    char kinds[64];
    size_t sizes[64], count;
    char *bytes;
    size_t total;
    int verdict;
    size_t message_pieces;
};

/* Feeds `n` bytes in chunks of the sizes that `seed` draws (0: whole), with `room` bytes to write to. */
static struct heard hear(relay_ws *ws, const char *data, size_t n, unsigned seed, size_t room) {
    struct heard heard = {.bytes = exact(n + 1)};
    size_t open = 0; /* bytes of an unfinished message, which lie at bytes + total */
    for (size_t at = 0; at < n && !heard.verdict;) {
        size_t step = seed ? next_random(&seed) % 7 + 1 : n;
        if (step > n - at) step = n - at;
        char *chunk = exact_copy(data + at, step), *out = exact(room);
        int kind;
        do {
            kind = relay_ws_next(ws, chunk, step, out, room);
            CHECK(ws->at < step && ws->length <= room, "%zu of %zu", ws->at, step);
            if (kind <= 0) break;
            if (kind >= RELAY_WS_CLOSE) { /* between the pieces of a message: what there is of it moves on */
                memmove(heard.bytes + heard.total + ws->length, heard.bytes + heard.total, open);
                memcpy(heard.bytes + heard.total, out, ws->length);
            } else {
                memcpy(heard.bytes + heard.total + open, out, ws->length);
                open += ws->length;
                heard.message_pieces++;
            }
            if (kind == RELAY_WS_PIECE) continue;
            const size_t size = kind >= RELAY_WS_CLOSE ? ws->length : open;
            if (kind < RELAY_WS_CLOSE) open = 0;
            if (heard.count == sizeof heard.kinds) abort();
            heard.kinds[heard.count] = (char)kind;
            heard.sizes[heard.count++] = size;
            heard.total += size;
        } while (ws->at);
        if (kind < 0) {
            heard.verdict = kind;
            CHECK(relay_ws_next(ws, chunk, step, out, room) == kind, "a refusal stays");
        }
        free(chunk), free(out);
        at += step;
    }
    return heard;
}

/* A frame as its first byte says, masked as `role` expects it. Returns its end. */
static char *put(char *to, int role, int first, const char *payload, size_t n) {
    const ptrdiff_t size = relay_ws_build(first & 0x0F, payload, n, role == RELAY_WS_SERVER ? KEY : NULL, to, n + 14);
    CHECK(size > 0, "%zu bytes", n);
    to[0] = (char)first;
    return to + size;
}

static void same(const struct heard *a, const struct heard *b) {
    CHECK(a->verdict == b->verdict && a->count == b->count && a->total == b->total, "verdicts %d %d", a->verdict,
          b->verdict);
    CHECK(memcmp(a->kinds, b->kinds, a->count) == 0, "kinds");
    CHECK(memcmp(a->sizes, b->sizes, a->count * sizeof *a->sizes) == 0, "sizes");
    CHECK(memcmp(a->bytes, b->bytes, a->total) == 0, "bytes");
}

/* The same whole, in random cuts, and with the least room. */
static struct heard hear_every_way(int role, const char *data, size_t n) {
    relay_ws ws;
    relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
    struct heard whole = hear(&ws, data, n, 0, n + RELAY_WS_CONTROL_BYTES);
    for (unsigned seed = 0; seed < 4; seed++) {
        relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
        struct heard cut = hear(&ws, data, n, seed, RELAY_WS_CONTROL_BYTES);
        same(&whole, &cut);
        free(cut.bytes);
    }
    return whole;
}

static const size_t SIZES[] = {0, 1, 7, 8, 31, 63, 64, 65, 125, 126, 127, 200, 1000, 65535, 65536, LIMIT};
#define SIZE_COUNT (sizeof SIZES / sizeof *SIZES)

static void any_length_comes_through(int role) {
    unsigned seed = 1;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        const size_t n = SIZES[i];
        char *payload = exact(n), *stream = exact(2 * n + 28);
        for (size_t k = 0; k < n; k++) payload[k] = (char)(next_random(&seed) & 0x7F);
        char *end = put(stream, role, 0x82, payload, n);
        end = put(end, role, 0x81, payload, n);
        struct heard heard = hear_every_way(role, stream, (size_t)(end - stream));
        CHECK(heard.verdict == 0 && heard.count == 2, "n=%zu verdict %d", n, heard.verdict);
        CHECK(heard.kinds[0] == RELAY_WS_BINARY && heard.kinds[1] == RELAY_WS_TEXT, "n=%zu", n);
        CHECK(memcmp(heard.bytes, payload, n) == 0 && memcmp(heard.bytes + n, payload, n) == 0, "n=%zu", n);
        free(payload), free(stream), free(heard.bytes);
    }
}

static void control_frames_come_between_fragments(int role) {
    char stream[256], *end = stream;
    end = put(end, role, 0x01, "\xCE", 1);
    end = put(end, role, 0x89, "ping", 4);
    end = put(end, role, 0x00, "", 0);
    end = put(end, role, 0x8A, "", 0);
    end = put(end, role, 0x80, "\xBA", 1);
    end = put(end, role, 0x88, "\x03\xE8", 2);
    end = put(end, role, 0x83, "nobody looks at this", 20);
    struct heard heard = hear_every_way(role, stream, (size_t)(end - stream));
    static const char kinds[] = {RELAY_WS_PING, RELAY_WS_PONG, RELAY_WS_TEXT, RELAY_WS_CLOSE};
    CHECK(heard.verdict == 0 && heard.count == sizeof kinds, "%d, %zu frames", heard.verdict, heard.count);
    CHECK(memcmp(heard.kinds, kinds, sizeof kinds) == 0, "order");
    CHECK(heard.total == 8 && memcmp(heard.bytes, "ping\xCE\xBA\x03\xE8", 8) == 0, "bytes");
    free(heard.bytes);
}

/* Heads alone, with a mask bit that suits a server (a client's is the same without), and what they are refused for. */
static void refusals(int role) {
    static const struct {
        const char *head;
        size_t n;
        int verdict;
    } cases[] = {
        {"\xC2\x80", 2, RELAY_WS_E_RESERVED},
        {"\xA2\x80", 2, RELAY_WS_E_RESERVED},
        {"\x92\x80", 2, RELAY_WS_E_RESERVED},
        {"\x83\x80", 2, RELAY_WS_E_OPCODE},
        {"\x87\x80", 2, RELAY_WS_E_OPCODE},
        {"\x8B\x80", 2, RELAY_WS_E_OPCODE},
        {"\x8F\x80", 2, RELAY_WS_E_OPCODE},
        {"\x09\x80", 2, RELAY_WS_E_CONTROL},
        {"\x89\xFE", 2, RELAY_WS_E_CONTROL},
        {"\x88\xFF", 2, RELAY_WS_E_CONTROL},
        {"\x80\x80", 2, RELAY_WS_E_ORDER},
        {"\x82\xFE\x00\x7D", 4, RELAY_WS_E_LENGTH},
        {"\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", 10, RELAY_WS_E_LENGTH},
        {"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00", 10, RELAY_WS_E_LENGTH},
        {"\x82\xFF\x00\x00\x00\x00\x00\x01\x11\x71", 10, RELAY_WS_E_TOO_LONG}, /* LIMIT + 1 */
        {"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10, RELAY_WS_E_TOO_LONG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char head[16];
        memcpy(head, cases[i].head, cases[i].n);
        if (role == RELAY_WS_CLIENT) head[1] &= 0x7F;
        struct heard heard = hear_every_way(role, head, cases[i].n);
        CHECK(heard.verdict == cases[i].verdict, "case %zu: %d", i, heard.verdict);
        free(heard.bytes);
        head[1] ^= (char)0x80;
        heard = hear_every_way(role, head, cases[i].n);
        CHECK(heard.verdict < 0, "case %zu with the other mask bit", i);
        free(heard.bytes);
    }
    char head[2] = {(char)0x82, role == RELAY_WS_SERVER ? 0 : (char)0x80};
    struct heard heard = hear_every_way(role, head, 2);
    CHECK(heard.verdict == RELAY_WS_E_MASK, "%d", heard.verdict);
    free(heard.bytes);
}

static void limits_count_all_fragments(int role) {
    char *zeros = exact(LIMIT), *stream = exact(LIMIT + 256), *end = stream;
    memset(zeros, 0, LIMIT);
    end = put(end, role, 0x02, zeros, LIMIT - 1);
    end = put(end, role, 0x00, zeros, 1);
    char *const full = end;
    end = put(end, role, 0x00, zeros, 1);
    struct heard heard = hear_every_way(role, stream, (size_t)(end - stream));
    CHECK(heard.verdict == RELAY_WS_E_TOO_LONG && heard.count == 0, "%d", heard.verdict);
    free(heard.bytes);
    end = full;
    for (int i = 0; i < FRAGMENTS - 2; i++) end = put(end, role, 0x00, zeros, 0);
    heard = hear_every_way(role, stream, (size_t)(end - stream));
    CHECK(heard.verdict == 0, "%d", heard.verdict);
    free(heard.bytes);
    end = put(end, role, 0x80, zeros, 0);
    heard = hear_every_way(role, stream, (size_t)(end - stream));
    CHECK(heard.verdict == RELAY_WS_E_FRAGMENTS, "%d", heard.verdict);
    free(heard.bytes), free(zeros), free(stream);
}

static int text_verdict(int role, const char *text, size_t n) {
    char *stream = exact(n + 14);
    const char *end = put(stream, role, 0x81, text, n);
    struct heard heard = hear_every_way(role, stream, (size_t)(end - stream));
    free(heard.bytes), free(stream);
    return heard.verdict;
}

/* A second implementation: the code point, and whether it may be written like that. */
static int reference_utf8(const uint8_t *text, size_t n) {
    for (size_t i = 0; i < n;) {
        const uint8_t first = text[i++];
        const size_t more = first < 0x80 ? 0 : first < 0xC0 ? 4 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        if (more == 4 || first >= 0xF8 || more > n - i) return 0;
        uint32_t point = more ? first & (0x3Fu >> more) : first;
        for (size_t k = 0; k < more; k++, i++) {
            if ((text[i] & 0xC0) != 0x80) return 0;
            point = point << 6 | (text[i] & 0x3F);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return 0;
    }
    return 1;
}

/* Every pair of bytes with every class of bytes behind it, alone and behind a block of ASCII. */
static void utf8(int role) {
    static const uint8_t behind[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    char text[68];
    memset(text, 'a', sizeof text);
    for (int pair = 0; pair < 65536; pair += brief() ? 97 : 1)
        for (size_t i = 0; i < sizeof behind; i += pair & 1 ? 3 : 1) {
            const uint8_t four[4] = {(uint8_t)(pair >> 8), (uint8_t)pair, behind[i], 0x80};
            for (size_t n = 1; n <= 4; n++) {
                relay_ws ws;
                char stream[96], out[RELAY_WS_CONTROL_BYTES];
                memcpy(text + 64, four, n);
                const char *const from = pair % 3 ? text + 64 : text;
                const size_t length = n + (size_t)(text + 64 - from);
                const char *end = put(stream, role, 0x81, from, length);
                relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
                const int kind = relay_ws_next(&ws, stream, (size_t)(end - stream), out, sizeof out);
                const int fine = reference_utf8(four, n);
                CHECK(kind == (fine ? RELAY_WS_TEXT : RELAY_WS_E_UTF8), "%02x %02x %02x 80, %zu", four[0], four[1],
                      four[2], n);
            }
        }
    char line[150];
    for (size_t at = 0; at + 1 < sizeof line; at++) { /* wherever in a block it stands */
        memset(line, ' ', sizeof line);
        memcpy(line + at, "\xC3\xA8", 2);
        CHECK(text_verdict(role, line, sizeof line) == 0, "at %zu", at);
        line[at] = ' ';
        CHECK(text_verdict(role, line, sizeof line) == RELAY_WS_E_UTF8, "at %zu", at);
    }
    CHECK(text_verdict(role, "\xF0\x9D\x84\x9E", 4) == 0, "whole");
    CHECK(text_verdict(role, "\xF0\x9D\x84", 3) == RELAY_WS_E_UTF8, "cut short");
}

/* A character that cannot become right is refused while the message is still open. */
static void wrong_utf8_is_found_at_once(int role) {
    char stream[32];
    const char *end = put(stream, role, 0x01, "ok\xED\xA0", 4);
    struct heard heard = hear_every_way(role, stream, (size_t)(end - stream));
    CHECK(heard.verdict == RELAY_WS_E_UTF8, "%d", heard.verdict);
    free(heard.bytes);
}

static void what_is_skipped_hides_no_close(int role) {
    char stream[512], *end = stream, out[RELAY_WS_CONTROL_BYTES];
    char zeros[100] = {0};
    end = put(end, role, 0x02, zeros, 100);
    end = put(end, role, 0x81, "\xFF", 1);
    end = put(end, role, 0x80, "", 0);
    end = put(end, role, 0x89, "still heard", 11);
    end = put(end, role, 0x88, "", 0);
    relay_ws ws;
    relay_ws_init(&ws, role, 99, FRAGMENTS);
    CHECK(relay_ws_next(&ws, stream, (size_t)(end - stream), out, sizeof out) == RELAY_WS_E_TOO_LONG, "limit");
    relay_ws_skip(&ws);
    CHECK(relay_ws_next(&ws, stream, (size_t)(end - stream), out, sizeof out) == RELAY_WS_PING, "ping");
    CHECK(ws.length == 11 && memcmp(out, "still heard", 11) == 0, "payload");
    CHECK(relay_ws_next(&ws, stream, (size_t)(end - stream), out, sizeof out) == RELAY_WS_CLOSE, "close");
    CHECK(ws.at == 0, "%zu of the chunk", ws.at);
    CHECK(relay_ws_next(&ws, stream, (size_t)(end - stream), out, sizeof out) == RELAY_WS_MORE, "closed");
    relay_ws_init(&ws, role, 99, FRAGMENTS);
    CHECK(relay_ws_next(&ws, "\xFF\xFF", 2, out, sizeof out) == RELAY_WS_E_RESERVED, "violation");
    relay_ws_skip(&ws);
    CHECK(relay_ws_next(&ws, "\xFF\xFF", 2, out, sizeof out) == RELAY_WS_E_RESERVED, "and nothing after it");
}

/* Where the stream may be left to somebody else: nothing of a frame or a message is under way. */
static void between_messages_nothing_is_under_way(int role) {
    char stream[64], out[RELAY_WS_CONTROL_BYTES];
    const size_t n = (size_t)(put(put(stream, role, 0x01, "a", 1), role, 0x80, "b", 1) - stream), half = n / 2;
    relay_ws ws;
    for (size_t cut = 1; cut <= n; cut++) {
        relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
        CHECK(relay_ws_between_messages(&ws), "at the start");
        relay_ws_next(&ws, stream, half < cut ? half : cut, out, sizeof out);
        if (half < cut) relay_ws_next(&ws, stream + half, cut - half, out, sizeof out);
        CHECK(relay_ws_between_messages(&ws) == (cut == n), "cut to %zu", cut);
    }
    relay_ws_skip(&ws);
    CHECK(!relay_ws_between_messages(&ws), "skipped messages are not looked at");
    put(put(stream, role, 0x89, "", 0), role, 0x88, "", 0);
    relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
    relay_ws_next(&ws, stream, n, out, sizeof out);
    CHECK(!relay_ws_between_messages(&ws), "the chunk is not used up");
    relay_ws_next(&ws, stream, n, out, sizeof out);
    CHECK(!relay_ws_between_messages(&ws), "after a Close");
    relay_ws_init(&ws, role, LIMIT, FRAGMENTS);
    relay_ws_next(&ws, "\xFF\xFF", 2, out, sizeof out);
    CHECK(!relay_ws_between_messages(&ws), "after a violation");
}

/* Built frames byte for byte, from another buffer and in place, and with a byte too little room. */
static void build(void) {
    for (size_t i = 0; i < SIZE_COUNT; i++)
        for (int masked = 0; masked < 2; masked++) {
            const size_t n = SIZES[i], length_bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
            const size_t head = 2 + length_bytes + (masked ? 4 : 0);
            char *payload = exact(n), *out = exact(head + n);
            for (size_t k = 0; k < n; k++) payload[k] = (char)(k * 7);
            const char *const key = masked ? KEY : NULL;
            CHECK(relay_ws_build(RELAY_WS_OP_BINARY, payload, n, key, out, head + n - 1) == RELAY_E_ROOM, "n=%zu", n);
            const ptrdiff_t size = relay_ws_build(RELAY_WS_OP_BINARY, payload, n, key, out, head + n);
            CHECK(size == (ptrdiff_t)(head + n), "n=%zu", n);
            size_t length = length_bytes ? 0 : (size_t)(out[1] & 0x7F);
            for (size_t k = 0; k < length_bytes; k++) length = length << 8 | (uint8_t)out[2 + k];
            CHECK((uint8_t)out[0] == 0x82 && length == n && !(out[1] & 0x80) == !masked, "head, n=%zu", n);
            for (size_t k = 0; k < n; k++)
                CHECK(out[head + k] == (char)(payload[k] ^ (masked ? KEY[k % 4] : 0)), "n=%zu, byte %zu", n, k);
            char *again = exact(head + n);
            memcpy(again + head, payload, n);
            relay_ws_build(RELAY_WS_OP_BINARY, again + head, n, key, again, head + n);
            CHECK(memcmp(again, out, head + n) == 0, "in place, n=%zu", n);
            free(payload), free(out), free(again);
        }
    char byte[1];
    CHECK(relay_ws_build(RELAY_WS_OP_TEXT, byte, SIZE_MAX - 4, NULL, byte, SIZE_MAX) == RELAY_E_ROOM, "no wrap");
    relay_ws ws;
    relay_ws_init(&ws, RELAY_WS_SERVER, 1, 1);
    CHECK(relay_ws_next(&ws, byte, 1, byte, RELAY_WS_CONTROL_BYTES - 1) == RELAY_E_ROOM, "room");
}

int main(void) {
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        build();
        for (int role = RELAY_WS_SERVER; role <= RELAY_WS_CLIENT; role++) {
            any_length_comes_through(role), control_frames_come_between_fragments(role), refusals(role);
            limits_count_all_fragments(role), wrong_utf8_is_found_at_once(role), what_is_skipped_hides_no_close(role);
            between_messages_nothing_is_under_way(role);
            if (i == 0 || i == LEVEL_COUNT - 1) utf8(role);
        }
    }
    return report("ws");
}
