/* Finding the audio in a delta event, without decoding it: a reader for one kind of JSON object, and for nothing else.
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

/* The fields of the event. Texts come first. */
enum field {
    TYPE,
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

static const char *const NAMES[FIELDS] = {"type",  "event_id",    "response_id",  "item_id",
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

/* A text that did not come has no characters, like an empty one; only the delta may be empty. */
static int is_audio(const struct event *event) {
    return equals(&event->text[TYPE], "response.output_audio.delta") && (event->seen & 1u << DELTA) &&
           event->text[ITEM_ID].n > 0 && event->text[RESPONSE_ID].n > 0;
}

int relay_delta_find(const char *text, size_t n, relay_delta *found) {
    struct reader reader = {text, text + n};
    struct event event;
    memset(&event, 0, sizeof event);
    if (n > UINT32_MAX || !take_event(&reader, &event) || !is_audio(&event)) return RELAY_E_NOT_MINE;
    const struct span item = event.text[ITEM_ID], response = event.text[RESPONSE_ID], delta = event.text[DELTA];
    found->item_id = (uint32_t)(item.at - text), found->item_id_chars = (uint32_t)item.n;
    found->response_id = (uint32_t)(response.at - text), found->response_id_chars = (uint32_t)response.n;
    found->delta = (uint32_t)(delta.at - text), found->delta_chars = (uint32_t)delta.n;
    found->content_index = event.number[CONTENT_INDEX - TEXTS];
    return 0;
}
