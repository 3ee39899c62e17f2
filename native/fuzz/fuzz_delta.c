/* Whatever the text: what relay_delta_find() takes, a reader of JSON understands in the same way, and every level takes
 * the same. That reader is the one below, which shares nothing with json_audio.c and is content with less. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One value of the object: between its quotes if it is a text. */
struct value {
    size_t at, n;
    int count; /* how often the name came */
};

static int is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The value of `name`, in an object of texts without escapes and of whole numbers: the pieces between quotes are names
 * when a ':' follows, and values when none does. */
static struct value value_of(const char *name, const char *text, size_t n) {
    struct value value = {0};
    int is_value = 0; /* of the name that was asked for */
    for (size_t at = 0; at < n; at++) {
        if (text[at] == ',') is_value = 0;
        if (is_value && text[at] >= '0' && text[at] <= '9') value = (struct value){at, 1, value.count}, is_value = 0;
        if (text[at] != '"') continue;
        const size_t start = ++at;
        while (at < n && text[at] != '"' && text[at] != '\\' && text[at] >= 0x20) at++;
        if (at == n || text[at] != '"') abort(); /* an escape, or no end: it should not have been taken */
        size_t next = at + 1;
        while (next < n && is_space(text[next])) next++;
        if (is_value) value = (struct value){start, at - start, value.count}, is_value = 0;
        else if (next < n && text[next] == ':' && at - start == strlen(name) && !memcmp(text + start, name, at - start))
            is_value = 1, value.count++;
    }
    return value;
}

static void check_text(const char *name, const char *text, size_t n, uint32_t at, uint32_t chars) {
    const struct value value = value_of(name, text, n);
    if (value.count != 1 || value.at != at || value.n != chars) abort();
}

static void check(const char *text, size_t n, const relay_delta *found) {
    static const char type[] = "response.output_audio.delta";
    const struct value said = value_of("type", text, n), index = value_of("content_index", text, n);
    if (said.count != 1 || said.n != sizeof type - 1 || memcmp(text + said.at, type, said.n) != 0) abort();
    check_text("item_id", text, n, found->item_id, found->item_id_chars);
    check_text("response_id", text, n, found->response_id, found->response_id_chars);
    check_text("delta", text, n, found->delta, found->delta_chars);
    if (found->item_id_chars == 0 || found->response_id_chars == 0) abort();
    if (index.count > 1 || (index.count ? strtoul(text + index.at, NULL, 10) : 0) != found->content_index) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = exact_copy(data, size);
    relay_delta first = {0}, found = {0};
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        const int code = relay_delta_find(text, size, i ? &found : &first);
        if (code != 0 && code != RELAY_E_NOT_MINE) abort();
        if (i && memcmp(&found, &first, sizeof found) != 0) abort();
    }
    if (first.delta != 0) check(text, size, &first);
    free(text);
    return 0;
}
