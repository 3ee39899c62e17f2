/* Finding the audio in a delta event or in an append event, without decoding it: a reader for two kinds of JSON object,
 * and for nothing else.
 *
 * It takes less than JSON allows, and nothing that a JSON decoder would understand otherwise: an object of the known
 * fields, each once, with plain strings and small whole numbers for values. It never looks at a byte twice but for the
 * search for a closing quote, and never beyond text + n.
 */
#include "kernels.h"

struct reader {
    const char *at, *end;
};

struct span {
    const char *at;
    size_t n;
};

#define MAX_DIGITS 9 /* fits 32 bits */

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

/* White space, and then this character. */
static int take(struct reader *reader, char c) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != c) return 0;
    reader->at++;
    return 1;
}

/* A string of plain characters: the first '"' ends it, since there is no backslash that could say otherwise. */
static int take_string(struct reader *reader, struct span *string) {
    if (!take(reader, '"')) return 0;
    const char *const close = memchr(reader->at, '"', (size_t)(reader->end - reader->at));
    if (!close) return 0;
    *string = (struct span){reader->at, (size_t)(close - reader->at)};
    reader->at = close + 1;
    return relay_kernels()->plain(string->at, string->n);
}

static int take_number(struct reader *reader, uint32_t *number) {
    skip_space(reader);
    const char *const start = reader->at;
    uint32_t value = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9' && reader->at - start < MAX_DIGITS)
        value = value * 10 + (uint32_t)(*reader->at++ - '0');
    *number = value;
    return reader->at > start && (*start != '0' || reader->at - start == 1);
}

static int equals(const struct span *span, const char *text) {
    return span->n == strlen(text) && memcmp(span->at, text, span->n) == 0;
}

/* The fields of both events. Texts come first. */
enum field {
    TYPE,
    AUDIO,
    EVENT_ID,
    RESPONSE_ID,
    ITEM_ID,
    DELTA,
    OBFUSCATION,
    TEXTS,
    OUTPUT_INDEX = TEXTS,
    CONTENT_INDEX,
    FIELDS,
};

static const char *const NAMES[FIELDS] = {"type",  "audio",       "event_id",     "response_id",  "item_id",
                                          "delta", "obfuscation", "output_index", "content_index"};

struct event {
    struct span text[TEXTS];
    uint32_t number[FIELDS - TEXTS];
    unsigned seen; /* a bit for each field */
};

static int field_named(const struct span *name) {
    int field = 0;
    while (field < FIELDS && !equals(name, NAMES[field])) field++;
    return field;
}

/* `"name": value`, of a field that has not come before. */
static int take_field(struct reader *reader, struct event *event) {
    struct span name;
    if (!take_string(reader, &name)) return 0;
    const int field = field_named(&name);
    if (field == FIELDS || (event->seen & 1u << field) || !take(reader, ':')) return 0;
    event->seen |= 1u << field;
    if (field < TEXTS) return take_string(reader, &event->text[field]);
    return take_number(reader, &event->number[field - TEXTS]);
}

static int take_event(struct reader *reader, struct event *event) {
    if (!take(reader, '{')) return 0;
    do
        if (!take_field(reader, event)) return 0;
    while (take(reader, ','));
    if (!take(reader, '}')) return 0;
    skip_space(reader);
    return reader->at == reader->end;
}

static int has(const struct event *event, int field) { return (event->seen & 1u << field) != 0; }

/* A text that did not come has no characters, like an empty one; only the delta may be empty. */
static int is_delta(const struct event *event) {
    return equals(&event->text[TYPE], "response.output_audio.delta") && has(event, DELTA) && !has(event, AUDIO) &&
           event->text[ITEM_ID].n > 0 && event->text[RESPONSE_ID].n > 0;
}

static int is_append(const struct event *event) {
    return equals(&event->text[TYPE], "input_audio_buffer.append") && event->seen == (1u << TYPE | 1u << AUDIO);
}

/* Letters, digits and `_` alone. */
static int is_word(const struct span *span) {
    for (size_t i = 0; i < span->n; i++) {
        const char c = span->at[i], lower = (char)(c | 0x20);
        if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z') && c != '_') return 0;
    }
    return 1;
}

static int read_event(const char *text, size_t n, struct event *event) {
    struct reader reader = {text, text + n};
    memset(event, 0, sizeof *event);
    return n <= UINT32_MAX && take_event(&reader, event);
}

int relay_delta_find(const char *text, size_t n, relay_delta *found) {
    struct event event;
    if (!read_event(text, n, &event) || !is_delta(&event)) return RELAY_E_NOT_MINE;
    const struct span item = event.text[ITEM_ID], response = event.text[RESPONSE_ID], delta = event.text[DELTA];
    found->item_id = (uint32_t)(item.at - text), found->item_id_chars = (uint32_t)item.n;
    found->response_id = (uint32_t)(response.at - text), found->response_id_chars = (uint32_t)response.n;
    found->delta = (uint32_t)(delta.at - text), found->delta_chars = (uint32_t)delta.n;
    found->content_index = event.number[CONTENT_INDEX - TEXTS];
    found->has_words = is_word(&event.text[EVENT_ID]) && is_word(&event.text[OBFUSCATION]);
    return 0;
}

int relay_append_find(const char *text, size_t n, uint32_t *audio, uint32_t *audio_chars) {
    struct event event;
    if (!read_event(text, n, &event) || !is_append(&event)) return RELAY_E_NOT_MINE;
    *audio = (uint32_t)(event.text[AUDIO].at - text), *audio_chars = (uint32_t)event.text[AUDIO].n;
    return 0;
}
