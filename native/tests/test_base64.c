/* base64: every level encodes the same text, decodes it back, and refuses everything else. */
#include "check.h"

/* A second implementation, as plain as can be. */
static size_t reference_encode(const unsigned char *in, size_t n, char *out) {
    static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t bit = 0; bit < n * 8; bit += 6) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 6; i++) value = value << 1 | (i < n * 8 ? in[i / 8] >> (7 - i % 8) & 1u : 0);
        out[at++] = abc[value];
    }
    while (at % 4) out[at++] = '=';
    return at;
}

static void round_trip(size_t n, unsigned seed) {
    char *bytes = exact(n);
    for (size_t i = 0; i < n; i++) bytes[i] = (char)next_random(&seed);
    const size_t chars = (n + 2) / 3 * 4;
    char *expected = exact(chars), *text = exact(chars), *back = exact(chars / 4 * 3);
    reference_encode((const unsigned char *)bytes, n, expected);
    CHECK(relay_base64_encode(bytes, n, text) == (ptrdiff_t)chars, "n=%zu", n);
    CHECK(memcmp(text, expected, chars) == 0, "n=%zu", n);
    CHECK(relay_base64_check(text, chars) == (ptrdiff_t)n, "n=%zu", n);
    CHECK(relay_base64_decode(text, chars, back) == (ptrdiff_t)n, "n=%zu", n);
    CHECK(memcmp(back, bytes, n) == 0, "n=%zu", n);
    free(bytes), free(expected), free(text), free(back);
}

static ptrdiff_t decode(const char *text, size_t n) {
    char *copy = exact_copy(text, n), *out = exact(n / 4 * 3);
    const ptrdiff_t got = relay_base64_decode(copy, n, out);
    CHECK(relay_base64_check(copy, n) == got, "check and decode disagree on %.*s", (int)n, text);
    free(copy), free(out);
    return got;
}

static int is_letter(int c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Each of the 256 characters at each place of a text that is long enough for the vector path and its rest. */
static void every_character_everywhere(void) {
    enum { CHARS = 108 };
    char text[CHARS];
    memset(text, 'A', CHARS);
    for (size_t at = 0; at < CHARS; at++) {
        for (int c = 0; c < 256; c += brief() ? 13 : 1) {
            text[at] = (char)c;
            const int fine = is_letter(c) || (c == '=' && at == CHARS - 1);
            CHECK((decode(text, CHARS) >= 0) == fine, "character %d at %zu", c, at);
        }
        text[at] = 'A';
    }
}

static void strict_rules(void) {
    static const struct {
        const char *text;
        ptrdiff_t bytes;
    } cases[] = {
        {"", 0},           {"AAAA", 3},      {"AAA=", 2},  {"AA==", 1},      {"A===", -4},        {"====", -4},
        {"A", -4},         {"AA", -4},       {"AAA", -4},  {"AAAA=", -4},    {"AA=A", -4},        {"=AAA", -4},
        {"AAB=", -4},      {"AB==", -4},     {"AAE=", 2},  {"AQ==", 1},      {"AA==AAAA", -4},    {"AAA=AAAA", -4},
        {"AAAA\nAAA", -4}, {"AAAA AAA", -4}, {"-_-_", -4}, {"AAAA.AAA", -4}, {"AAAAAAAAAAAA", 9}, {"AAAAAAAAAAA=", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        CHECK(decode(cases[i].text, n) == cases[i].bytes, "%s", cases[i].text);
    }
    char text[8192]; /* padding where relay_base64_check() changes pieces is still padding in the middle */
    memset(text, 'A', sizeof text);
    text[4095] = '=';
    CHECK(relay_base64_check(text, sizeof text) == RELAY_E_BASE64, "padding at a piece's end");
}

int main(void) {
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        for (size_t n = 0; n < (brief() ? 110 : 300); n++) round_trip(n, (unsigned)n);
        round_trip(9600, 1);
        every_character_everywhere();
        strict_rules();
    }
    return report("base64");
}
