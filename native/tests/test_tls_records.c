/* TLS records, counted by their heads however the bytes are cut. No OpenSSL is asked. */
#include "check.h"

enum { HEAD = 5, LONGEST = 65535 };

/* What a peer sends: records whose lengths are known, and after each byte, how many have ended. */
static const size_t LENGTHS[] = {0, 1, 0, 0, HEAD, HEAD - 1, LONGEST, 0, 17, 4091, 4096, 1, 0};
#define COUNT (sizeof LENGTHS / sizeof *LENGTHS)

static char stream[1 << 18];
static size_t ended[1 << 18], stream_bytes;

/* The last two bytes of a head matter: all others are noise. */
static void make_stream(void) {
    unsigned seed = 1;
    for (size_t i = 0; i < COUNT; i++) {
        const size_t head = stream_bytes;
        for (; stream_bytes < head + HEAD + LENGTHS[i]; stream_bytes++)
            stream[stream_bytes] = (char)next_random(&seed), ended[stream_bytes] = i;
        stream[head + 3] = (char)(LENGTHS[i] >> 8), stream[head + 4] = (char)LENGTHS[i];
    }
    ended[stream_bytes] = COUNT;
}

/* Reads the next `n` bytes, in memory of their own. */
static size_t read_next(relay_tls_records *records, size_t at, size_t n) {
    char *const bytes = exact_copy(stream + at, n);
    const size_t count = relay_tls_records_read(records, bytes, n);
    free(bytes);
    return count;
}

static size_t piece_of(size_t size, size_t at, unsigned *seed) {
    const size_t n = size ? size : next_random(seed) % 9, left = stream_bytes - at;
    return n < left ? n : left;
}

/* Size 0 is a few bytes, or none, by chance. */
static void what_ends_in_a_piece_is_counted_there(void) {
    static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 4095, RELAY_TLS_PIECE_BYTES, LONGEST, 1 << 17};
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        relay_tls_records records = {0};
        for (size_t at = 0, n; at < stream_bytes; at += n) {
            n = piece_of(sizes[i], at, &seed);
            const size_t count = read_next(&records, at, n), expected = ended[at + n] - ended[at];
            CHECK(count == expected, "%zu at %zu in pieces of %zu: %zu", expected, at, sizes[i], count);
            CHECK(records.empty == ended[at + n], "%u of %zu", records.empty, ended[at + n]);
        }
        CHECK(records.to_next_head == 0 && records.split_bytes == 0, "pieces of %zu: all has ended", sizes[i]);
    }
}

/* Three pieces around any two places of a head, of a record of nothing and of the longest. */
static void a_head_is_whole_wherever_it_was_split(void) {
    static const char heads[][HEAD] = {{23, 3, 3, 0, 0}, {23, 3, 3, (char)0xFF, (char)0xFF}, {23, 3, 3, 1, 2}};
    static const uint32_t lengths[] = {0, LONGEST, 258};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t first = 0; first < HEAD; first++)
            for (size_t second = first; second < HEAD; second++) {
                relay_tls_records records = {0};
                CHECK(relay_tls_records_read(&records, heads[i], first) == 0, "%zu", first);
                CHECK(relay_tls_records_read(&records, heads[i] + first, second - first) == 0, "%zu, %zu", first, second);
                CHECK(records.split_bytes == second && records.empty == 0, "%zu: %u", second, records.split_bytes);
                const size_t count = relay_tls_records_read(&records, heads[i] + second, HEAD - second);
                CHECK(count == (lengths[i] == 0) && records.empty == count, "%zu, %zu: %zu", first, second, count);
                CHECK(records.to_next_head == lengths[i] && records.split_bytes == 0, "%u", records.to_next_head);
            }
}

static void a_record_ends_with_its_last_byte(void) {
    static const char head[HEAD] = {23, 3, 3, (char)0xFF, (char)0xFF}, body[LONGEST];
    relay_tls_records records = {0};
    CHECK(relay_tls_records_read(&records, head, HEAD) == 0 && records.to_next_head == LONGEST, "a head");
    CHECK(relay_tls_records_read(&records, body, LONGEST - 1) == 0 && records.to_next_head == 1, "all but one");
    CHECK(relay_tls_records_read(&records, body, 0) == 0 && records.to_next_head == 1, "nothing changes nothing");
    CHECK(relay_tls_records_read(&records, body, 1) == 1 && records.to_next_head == 0, "the last");
}

/* ... and not for one that comes later. */
static void a_record_that_says_something_makes_up_for_one(void) {
    static const char nothing[3 * HEAD];
    relay_tls_records records = {0};
    relay_tls_records_said(&records, 1);
    CHECK(records.empty == 0, "never below 0: %u", records.empty);
    CHECK(relay_tls_records_read(&records, nothing, sizeof nothing) == 3 && records.empty == 3, "%u", records.empty);
    relay_tls_records_said(&records, 0);
    CHECK(records.empty == 3, "none said anything: %u", records.empty);
    relay_tls_records_said(&records, 2);
    CHECK(records.empty == 1, "%u", records.empty);
    relay_tls_records_said(&records, (size_t)1 << 32);
    CHECK(records.empty == 0, "as many as a number holds: %u", records.empty);
}

/* Whatever is said between, what is read next begins where the last ended. */
static void what_was_said_does_not_move_the_next_head(void) {
    relay_tls_records records = {0};
    unsigned seed = 2;
    size_t count = 0;
    for (size_t at = 0, n; at < stream_bytes; at += n) {
        n = piece_of(0, at, &seed);
        count += read_next(&records, at, n);
        relay_tls_records_said(&records, next_random(&seed) % 2);
        CHECK(records.empty <= count, "%u of %zu", records.empty, count);
    }
    CHECK(count == COUNT, "%zu", count);
}

int main(void) {
    make_stream();
    what_ends_in_a_piece_is_counted_there(), a_head_is_whole_wherever_it_was_split();
    a_record_ends_with_its_last_byte(), a_record_that_says_something_makes_up_for_one();
    what_was_said_does_not_move_the_next_head();
    return report("tls_records");
}
