/* openssl.c on its own, with an OpenSSL whose every record is known (fake_openssl.h). tests/session has the real one. */
#include "check.h"

#include <pthread.h>

#include "fake_openssl.h"
#include "openssl.h"

enum { HEAD = FAKE_HEAD_BYTES };

static struct fake_ssl near, far;
static const int stranger; /* a connection whose errors are still in the queue */
static char frame[1 << 18], heard[1 << 18];
static size_t records; /* in which something was, of the last call */

/* ---- finding it ---- */

/* ... and nobody is told of a connection then. */
static void what_is_no_openssl_is_not_taken(void) {
    CHECK(relay_openssl_load("/nowhere/libssl.so") == -1, "no such file");
    CHECK(relay_openssl_load("libm.so.6") == -1, "a library without the functions");
    fake_indexes = -1;
    CHECK(relay_openssl_load(NULL) == -1, "one that tells nobody of its connections");
    fake_indexes = 0, fake_make(&near);
    CHECK(!fake_made && relay_openssl_newest() == NULL, "nothing was taken");
    CHECK(relay_openssl_load(NULL) == 0 && fake_made, "found");
    CHECK(relay_openssl_load("/nowhere/libssl.so") == 0 && fake_indexes == 1, "once is enough");
}

static void *make_another(void *mine) {
    CHECK(relay_openssl_newest() == NULL, "another thread's");
    fake_make(mine);
    CHECK(relay_openssl_newest() == mine, "its own");
    return NULL;
}

static void the_newest_is_told_once_to_the_thread_that_made_it(void) {
    pthread_t thread;
    fake_make(&far), fake_make(&near);
    if (pthread_create(&thread, NULL, make_another, &far) || pthread_join(thread, NULL)) abort();
    CHECK(relay_openssl_newest() == &near, "the last");
    CHECK(relay_openssl_newest() == NULL, "once");
}

/* ---- openssl.c alone: in memory that ends where the room does ---- */

/* What `far` has to send, in memory for `room`, decrypted by `near`. */
static size_t decrypted(size_t room, char **bytes, int *is_all) {
    const size_t n = BIO_ctrl_pending(&far.out);
    *bytes = exact(room > n ? room : n);
    if (n && BIO_read(&far.out, *bytes, (int)n) != (int)n) abort();
    fake_error = &stranger;
    return openssl_decrypt(&near, *bytes, n, room, &records, is_all);
}

static void begin_alone(void) {
    fake_make(&near), fake_make(&far), ERR_clear_error();
    unsigned seed = 1;
    for (size_t i = 0; i < 40000; i++) frame[i] = (char)next_random(&seed);
}

static void a_read_of_many_records_gives_all_that_there_is_room_for(void) {
    static const size_t rooms[] = {1, 16383, 16384, 16385, 40000, 40001, 65536};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        const size_t expected = rooms[i] < 40000 ? rooms[i] : 40000;
        char *bytes, more[40000];
        int is_all;
        begin_alone();
        SSL_write(&far, frame, 40000);
        const size_t n = decrypted(rooms[i], &bytes, &is_all);
        CHECK(n == expected && memcmp(bytes, frame, n) == 0, "%zu in %zu", n, rooms[i]);
        CHECK(records == (expected + FAKE_RECORD_BYTES - 1) / FAKE_RECORD_BYTES, "%zu: %zu records", rooms[i], records);
        CHECK(is_all == (rooms[i] > 40000), "%zu: all is all that can be known of", rooms[i]);
        for (size_t have = n; have < 40000;) {
            const int got = SSL_read(&near, more, sizeof more);
            CHECK(got > 0 && memcmp(more, frame + have, (size_t)got) == 0, "%zu: at %zu", rooms[i], have);
            have += got > 0 ? (size_t)got : 40000;
        }
        free(bytes);
    }
}

static void a_part_of_a_record_is_all_there_is(void) {
    for (int is_behind_another = 0; is_behind_another < 2; is_behind_another++) {
        int is_all;
        begin_alone();
        if (is_behind_another) SSL_write(&far, frame, 100);
        SSL_write(&far, frame + 100, 100);
        char *const bytes = exact(300);
        const int n = BIO_read(&far.out, bytes, (is_behind_another ? HEAD + 100 : 0) + HEAD + 99);
        const size_t plain = openssl_decrypt(&near, bytes, (size_t)n, 300, &records, &is_all);
        CHECK(plain == (is_behind_another ? 100 : 0) && is_all, "%zu, %d", plain, is_all);
        CHECK(records == (size_t)is_behind_another, "%zu: a part is none", records);
        BIO_read(&far.out, bytes, 1);
        CHECK(openssl_decrypt(&near, bytes, 1, 300, &records, &is_all) == 100 && is_all, "the rest");
        CHECK(memcmp(bytes, frame + 100, 100) == 0, "as it was");
        free(bytes);
    }
}

/* Behind what was said before it. */
static void an_end_or_a_fault_is_for_the_owner_to_find(void) {
    for (int is_fault = 0; is_fault < 2; is_fault++) {
        char *bytes;
        int is_all = 1;
        begin_alone();
        SSL_write(&far, frame, 10);
        if (is_fault)
            BIO_write(&far.out, "what?", 5);
        else
            fake_put(&far, FAKE_END, NULL, 0);
        CHECK(decrypted(1000, &bytes, &is_all) == 10 && !is_all && records == 1, "%d: before", is_fault);
        CHECK(fake_error == (is_fault ? &near : NULL), "%d: its error stays, and no other", is_fault);
        const int got = SSL_read(&near, bytes, 1000);
        CHECK(SSL_get_error(&near, got) == (is_fault ? FAKE_ERROR_SSL : FAKE_ERROR_ZERO_RETURN), "%d: found", is_fault);
        free(bytes);
    }
}

static void what_there_is_no_memory_for_is_for_the_owner_to_find(void) {
    char *bytes;
    int is_all = 1;
    begin_alone();
    SSL_write(&far, frame, 10);
    fake_has_no_memory = 1;
    CHECK(decrypted(1000, &bytes, &is_all) == 0 && !is_all && records == 0, "nothing");
    fake_has_no_memory = 0;
    free(bytes);
}

/* Encrypts `n` bytes in memory for `room`; returns what there is for the socket. */
static size_t encrypted(size_t n, size_t room, char **bytes) {
    *bytes = exact(room);
    memcpy(*bytes, frame, n);
    fake_error = &stranger;
    return openssl_encrypt(&near, *bytes, n, room);
}

static void a_message_of_many_records_is_encrypted_whole(void) {
    for (int writes_one = 0; writes_one < 2; writes_one++) {
        char *bytes;
        begin_alone();
        near.writes_one = writes_one;
        const size_t n = encrypted(40000, 40000 + 3 * HEAD, &bytes);
        CHECK(n == 40000 + 3 * HEAD && BIO_ctrl_pending(&near.out) == 0, "%zu", n);
        BIO_write(&far.in, bytes, (int)n);
        for (size_t have = 0; have < 40000;) {
            const int got = SSL_read(&far, heard, sizeof heard);
            CHECK(got > 0 && memcmp(heard, frame + have, (size_t)got) == 0, "at %zu", have);
            have += got > 0 ? (size_t)got : 40000;
        }
        free(bytes);
    }
}

/* Also when a part of it was encrypted: that goes nowhere. */
static void what_cannot_be_encrypted_stays_as_it_is(void) {
    for (int fails_after = 0; fails_after < 2; fails_after++) {
        char *bytes;
        begin_alone();
        near.writes_one = 1, near.has_failed = !fails_after, near.fails_after = fails_after;
        CHECK(encrypted(40000, 50000, &bytes) == 0 && memcmp(bytes, frame, 40000) == 0, "after %d", fails_after);
        CHECK(fake_error != &stranger, "nobody else's error");
        free(bytes);
    }
}

static void what_tls_has_to_say_first_is_for_the_owner_to_send(void) {
    char *bytes;
    begin_alone();
    fake_put(&near, FAKE_ANSWER, frame, 1000);
    CHECK(encrypted(100, 200, &bytes) == 0 && memcmp(bytes, frame, 100) == 0, "not before it");
    CHECK(BIO_ctrl_pending(&near.out) == HEAD + 1000, "and nothing behind it");
    free(bytes);
}

int main(void) {
    what_is_no_openssl_is_not_taken(), the_newest_is_told_once_to_the_thread_that_made_it();
    a_read_of_many_records_gives_all_that_there_is_room_for(), a_part_of_a_record_is_all_there_is();
    an_end_or_a_fault_is_for_the_owner_to_find(), what_there_is_no_memory_for_is_for_the_owner_to_find();
    a_message_of_many_records_is_encrypted_whole(), what_cannot_be_encrypted_stays_as_it_is();
    what_tls_has_to_say_first_is_for_the_owner_to_send();
    fake_free(&near), fake_free(&far);
    return report("openssl");
}
