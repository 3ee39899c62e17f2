/* What relay_delta_find() takes, what it finds there, and the many things that it leaves. */
#include "check.h"

#define EVENT                                                                                               \
    "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_1\",\"response_id\":\"resp_22\","       \
    "\"item_id\":\"item_333\",\"output_index\":0,\"content_index\":12,\"delta\":\"AAECAwQF\"}"

static int find(const char *text, relay_delta *found) {
    const size_t n = strlen(text);
    char *copy = exact_copy(text, n);
    const int code = relay_delta_find(copy, n, found);
    free(copy);
    return code;
}

static void a_delta_is_found(void) {
    static const char *const same[] = {
        EVENT,
        "{\"delta\":\"AAECAwQF\",\"content_index\":12,\"item_id\":\"item_333\",\"response_id\":\"resp_22\","
        "\"type\":\"response.output_audio.delta\"}",
        " {\n\t\"type\" : \"response.output_audio.delta\" ,\r\n\"item_id\": \"item_333\", \"response_id\": \"resp_22\","
        " \"content_index\": 12 , \"obfuscation\":\"a1\" ,\"delta\" :\"AAECAwQF\" } \n",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        relay_delta found;
        CHECK(find(same[i], &found) == 0, "%s", same[i]);
        CHECK(found.item_id_chars == 8 && !memcmp(same[i] + found.item_id, "item_333", 8), "%zu", i);
        CHECK(found.response_id_chars == 7 && !memcmp(same[i] + found.response_id, "resp_22", 7), "%zu", i);
        CHECK(found.delta_chars == 8 && !memcmp(same[i] + found.delta, "AAECAwQF", 8), "%zu", i);
        CHECK(found.content_index == 12, "%u", found.content_index);
    }
    relay_delta found;
    CHECK(find("{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"\"}",
               &found) == 0 && found.delta_chars == 0 && found.content_index == 0, "empty");
}

#define HEAD "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\","

static void whatever_is_in_doubt_is_left(void) {
    static const char *const doubtful[] = {
        "", " ", "{", "{}", "[]", "null", "\"\"", "{\"delta\":\"AAAA\"}",
        HEAD "\"delta\":\"AAAA\"",
        HEAD "\"delta\":\"AAAA\"}}",
        HEAD "\"delta\":\"AAAA\"},",
        HEAD "\"delta\":\"AAAA\",}",
        HEAD "\"delta\":\"AAAA\"} x",
        HEAD "\"delta\":\"AAAA}",
        HEAD "\"delta\":\"AA\\/A\"}",
        HEAD "\"delta\":\"AA\\\"A\"}",
        HEAD "\"delta\":\"AA\nA\"}",
        HEAD "\"delta\":\"AA\xC3\xA4\"}",
        HEAD "\"delta\":\"AAAA\",\"delta\":\"BBBB\"}",
        HEAD "\"delta\":\"AAAA\",\"item_id\":\"j\"}",
        HEAD "\"delta\":\"AAAA\",\"type\":\"error\"}",
        HEAD "\"delta\":\"AAAA\",\"usage\":1}",
        HEAD "\"delta\":\"AAAA\",\"call_id\":\"c\"}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":-1}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":01}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1.0}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1e3}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":1234567890}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":\"1\"}",
        HEAD "\"delta\":\"AAAA\",\"content_index\":}",
        HEAD "\"delta\":null}",
        HEAD "\"delta\":12}",
        HEAD "\"delta\":{\"delta\":\"AAAA\"}}",
        HEAD "\"d\\u0065lta\":\"AAAA\"}",
        HEAD "\"delta\" \"AAAA\"}",
        HEAD "delta:\"AAAA\"}",
        HEAD "\"deltas\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta.\",\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"item_id\":\"i\",\"response_id\":\"r\",\"delta\":\"AAAA\"}",
        "{\"type\":\"response.output_audio.delta\",\"item_id\":\"i\",\"response_id\":\"r\"}",
        "\xEF\xBB\xBF" HEAD "\"delta\":\"AAAA\"}",
        HEAD "\"delta\":\"AAAA\"}\v",
    };
    relay_delta found;
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++)
        CHECK(find(doubtful[i], &found) == RELAY_E_NOT_MINE, "%s", doubtful[i]);
    char text[] = EVENT;
    for (size_t cut = 0; cut < sizeof EVENT - 1; cut++) {
        char *part = exact_copy(text, cut);
        CHECK(relay_delta_find(part, cut, &found) == RELAY_E_NOT_MINE, "cut to %zu", cut);
        free(part);
    }
    CHECK(relay_delta_find(HEAD "\"delta\":\"A\0AA\"}", sizeof HEAD + 14, &found) == RELAY_E_NOT_MINE, "a zero");
}

int main(void) {
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        a_delta_is_found(), whatever_is_in_doubt_is_left();
    }
    return report("delta");
}
