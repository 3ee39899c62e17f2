/* Whatever the text: decode refuses it, or encoding what came out gives the text again; every level agrees. */
#include "../tests/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = exact_copy(data, size), *bytes = exact(size / 4 * 3), *again = exact(size),
         *plain = exact(size / 4 * 3);
    ptrdiff_t expected = 0;
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        relay_init(LEVELS[i]);
        const ptrdiff_t n = relay_base64_decode(text, size, bytes);
        if (i == 0) expected = n;
        if (n != expected || relay_base64_check(text, size) != n) abort();
        if (n < 0) continue;
        if (i == 0) memcpy(plain, bytes, (size_t)n);
        if (memcmp(plain, bytes, (size_t)n) != 0) abort();
        if (relay_base64_encode(bytes, (size_t)n, again) != (ptrdiff_t)size || memcmp(again, text, size) != 0) abort();
    }
    free(text), free(bytes), free(again), free(plain);
    return 0;
}
