/* A small OpenSSL: what openssl.c uses of the real one, with its rules, between two peers in one process. The program
 * exports these functions (-rdynamic), and relay_openssl_load(NULL) finds them in it. Include it in one file of a
 * program.
 *
 * A record is its kind, a check, a version, the length of what it holds, and that, under an exclusive or; so its head is
 * as long as a real one, and its length in the same place. Check and key come of how many records went before, so that
 * one that is lost, doubled, or not in its place is a fault. As in OpenSSL, a
 * part of a record leaves the buffer for the connection, nothing behind that record does, and one read gives the rest
 * of one at most.
 *
 * Where the real one answers a wrong call in some way, this one ends the program.
 */
#ifndef FAKE_OPENSSL_H
#define FAKE_OPENSSL_H

#include "check.h"

/* Kinds of records. The peer of who says ASK or ASK_LATER has to send the same back: at once, as a handshake does, or
 * in front of what it writes next, as it does with a new key. */
enum { FAKE_END = 21, FAKE_ASK, FAKE_DATA, FAKE_ASK_LATER, FAKE_ANSWER };

enum { FAKE_HEAD_BYTES = 5, FAKE_RECORD_BYTES = 16384 };

/* What SSL_get_error() says. */
enum { FAKE_ERROR_SSL = 1, FAKE_ERROR_WANT_READ = 2, FAKE_ERROR_SYSCALL = 5, FAKE_ERROR_ZERO_RETURN = 6 };

struct fake_bio {
    char *bytes;
    size_t at, end, room;
};

struct fake_ssl {
    struct fake_bio in, out;
    uint8_t record[FAKE_HEAD_BYTES + FAKE_RECORD_BYTES]; /* that is being read */
    size_t record_have;
    char plain[FAKE_RECORD_BYTES]; /* of the last one */
    size_t plain_at, plain_end;
    uint8_t records_in, records_out;
    size_t records_said; /* that were read, and in which something was */
    size_t read_bytes, answered;   /* that SSL_read() has given, in all; answers to be sent, or sent */
    char later[FAKE_RECORD_BYTES]; /* what goes out in front of what is written next */
    size_t later_bytes;
    size_t record_bytes; /* the longest that it makes; 0: the longest there is */
    int has_ended, has_failed;
    int writes_one;  /* record with each call */
    int fails_after; /* so many records, if not 0 */
    int returned;    /* by the last call */
};

typedef void fake_when_made(void *object, void *slot, void *slots, int index, long number, void *pointer);

static fake_when_made *fake_made; /* who is told of a new connection */
static int fake_indexes;          /* that were given, or -1: none are */
static int fake_has_no_memory;    /* for buffers */
static const void *fake_error;    /* this thread's queue: whose error is in it, or NULL */
static const struct fake_ssl *fake_last;

int SSL_read(void *ssl, void *out, int room);
int SSL_write(void *ssl, const void *bytes, int n);
int SSL_get_error(const void *ssl, int returned);
void *SSL_get_rbio(const void *ssl);
void *SSL_get_wbio(const void *ssl);
int BIO_read(void *bio, void *out, int room);
int BIO_write(void *bio, const void *bytes, int n);
size_t BIO_ctrl_pending(void *bio);
void ERR_clear_error(void);
int CRYPTO_get_ex_new_index(int kind, long number, void *pointer, fake_when_made *made, void *copied, void *freed);

/* ---- buffers ---- */

size_t BIO_ctrl_pending(void *bio) {
    const struct fake_bio *const buffer = bio;
    return buffer->end - buffer->at;
}

int BIO_write(void *bio, const void *bytes, int n) {
    struct fake_bio *const buffer = bio;
    if (n <= 0) abort();
    if (fake_has_no_memory) return -1;
    if (buffer->end + (size_t)n > buffer->room) {
        buffer->room = 2 * (buffer->end + (size_t)n);
        buffer->bytes = realloc(buffer->bytes, buffer->room);
        if (!buffer->bytes) abort();
    }
    memcpy(buffer->bytes + buffer->end, bytes, (size_t)n);
    buffer->end += (size_t)n;
    return n;
}

int BIO_read(void *bio, void *out, int room) {
    struct fake_bio *const buffer = bio;
    const size_t there = BIO_ctrl_pending(bio), n = there < (size_t)room ? there : (size_t)room;
    if (room <= 0) abort();
    if (n == 0) return -1;
    memcpy(out, buffer->bytes + buffer->at, n);
    buffer->at += n;
    if (buffer->at == buffer->end) buffer->at = buffer->end = 0;
    return (int)n;
}

void *SSL_get_rbio(const void *ssl) { return &((struct fake_ssl *)ssl)->in; }

void *SSL_get_wbio(const void *ssl) { return &((struct fake_ssl *)ssl)->out; }

/* ---- records ---- */

static inline uint8_t fake_check(const char *plain, size_t n, uint8_t record) {
    for (size_t i = 0; i < n; i++) record = (uint8_t)(record * 31 + plain[i]);
    return record;
}

static inline void fake_cross(char *to, const char *from, size_t n, uint8_t record) {
    for (size_t i = 0; i < n; i++) to[i] = (char)(from[i] ^ 0x5A ^ record);
}

/* Makes a record, which waits to be sent. */
static inline void fake_put(struct fake_ssl *ssl, int kind, const char *plain, size_t n) {
    char record[FAKE_HEAD_BYTES + FAKE_RECORD_BYTES];
    if (n > FAKE_RECORD_BYTES) abort();
    record[0] = (char)kind, record[1] = (char)fake_check(plain, n, ssl->records_out);
    record[2] = 3, record[3] = (char)(n >> 8), record[4] = (char)n;
    fake_cross(record + FAKE_HEAD_BYTES, plain, n, ssl->records_out++);
    if (BIO_write(&ssl->out, record, (int)(FAKE_HEAD_BYTES + n)) < 0) abort();
}

static inline int fake_fault(struct fake_ssl *ssl) {
    ssl->has_failed = 1, fake_error = ssl;
    fake_put(ssl, FAKE_END, "why", 3);
    return -1;
}

/* Whether all `n` bytes of the record are here now. */
static inline int fake_fetch(struct fake_ssl *ssl, size_t n) {
    while (ssl->record_have < n) {
        const int got = BIO_read(&ssl->in, ssl->record + ssl->record_have, (int)(n - ssl->record_have));
        if (got <= 0) return 0;
        ssl->record_have += (size_t)got;
    }
    return 1;
}

static inline void fake_answer(struct fake_ssl *ssl, const char *plain, size_t n, int is_later) {
    ssl->answered++;
    if (!is_later)
        fake_put(ssl, FAKE_ANSWER, plain, n);
    else
        memcpy(ssl->later, plain, n), ssl->later_bytes = n;
}

/* Takes a record. Returns 1, or what SSL_read() returns if there is none. */
static inline int fake_take(struct fake_ssl *ssl) {
    if (ssl->has_failed) return -1;
    if (ssl->has_ended) return 0;
    if (!fake_fetch(ssl, FAKE_HEAD_BYTES)) return -1;
    const uint8_t kind = ssl->record[0];
    const size_t n = (size_t)ssl->record[3] << 8 | ssl->record[4];
    if (kind < FAKE_END || kind > FAKE_ANSWER || n > FAKE_RECORD_BYTES) return fake_fault(ssl);
    if (!fake_fetch(ssl, FAKE_HEAD_BYTES + n)) return -1;
    ssl->record_have = 0;
    fake_cross(ssl->plain, (char *)ssl->record + FAKE_HEAD_BYTES, n, ssl->records_in);
    if (ssl->record[1] != fake_check(ssl->plain, n, ssl->records_in++)) return fake_fault(ssl);
    if (kind == FAKE_END) ssl->has_ended = 1;
    if (kind == FAKE_ASK || kind == FAKE_ASK_LATER) fake_answer(ssl, ssl->plain, n, kind == FAKE_ASK_LATER);
    if (kind == FAKE_DATA) ssl->plain_at = 0, ssl->plain_end = n, ssl->records_said += n > 0;
    return 1;
}

/* ---- connections ---- */

/* An error of somebody else's that is still there would be taken for this connection's. */
static inline struct fake_ssl *fake_begin(void *ssl, int n) {
    if (n <= 0 || (fake_error && fake_error != ssl)) abort();
    fake_last = ssl;
    return ssl;
}

int SSL_read(void *connection, void *out, int room) {
    struct fake_ssl *const ssl = fake_begin(connection, room);
    for (int got = 1; ssl->plain_at == ssl->plain_end;)
        if ((got = fake_take(ssl)) <= 0) return ssl->returned = got;
    const size_t there = ssl->plain_end - ssl->plain_at, n = there < (size_t)room ? there : (size_t)room;
    memcpy(out, ssl->plain + ssl->plain_at, n);
    ssl->plain_at += n, ssl->read_bytes += n;
    return ssl->returned = (int)n;
}

int SSL_write(void *connection, const void *bytes, int n) {
    struct fake_ssl *const ssl = fake_begin(connection, n);
    const size_t longest = ssl->record_bytes ? ssl->record_bytes : FAKE_RECORD_BYTES;
    size_t done = 0;
    if (ssl->later_bytes && !ssl->has_failed) fake_put(ssl, FAKE_ANSWER, ssl->later, ssl->later_bytes);
    ssl->later_bytes = 0;
    while (done < (size_t)n && !(done && ssl->writes_one)) {
        if (ssl->fails_after && ssl->records_out >= ssl->fails_after) ssl->has_failed = 1, fake_error = ssl;
        if (ssl->has_failed) return ssl->returned = -1;
        const size_t left = (size_t)n - done, part = left < longest ? left : longest;
        fake_put(ssl, FAKE_DATA, (const char *)bytes + done, part);
        done += part;
    }
    return ssl->returned = (int)done;
}

/* Of the last call alone, and nothing else's. */
int SSL_get_error(const void *connection, int returned) {
    const struct fake_ssl *const ssl = connection;
    if (ssl != fake_last || returned != ssl->returned) abort();
    if (returned > 0) return 0;
    if (fake_error) return FAKE_ERROR_SSL;
    return ssl->has_failed ? FAKE_ERROR_SYSCALL : ssl->has_ended ? FAKE_ERROR_ZERO_RETURN : FAKE_ERROR_WANT_READ;
}

void ERR_clear_error(void) { fake_error = NULL; }

int CRYPTO_get_ex_new_index(int kind, long number, void *pointer, fake_when_made *made, void *copied, void *freed) {
    (void)number, (void)pointer;
    if (kind != 0 || copied || freed) abort();
    if (fake_indexes < 0) return -1;
    fake_made = made;
    return ++fake_indexes;
}

/* Makes a connection anew; its memory may have been one before. */
static inline void fake_make(struct fake_ssl *ssl) {
    struct fake_bio in = ssl->in, out = ssl->out;
    in.at = in.end = out.at = out.end = 0;
    *ssl = (struct fake_ssl){.in = in, .out = out};
    if (fake_made) fake_made(ssl, NULL, NULL, 1, 0, NULL);
}

static inline void fake_free(struct fake_ssl *ssl) { free(ssl->in.bytes), free(ssl->out.bytes); }

#endif
