/* OpenSSL for a connection that Python owns: Python's ssl makes it, shakes hands, verifies, and goes on with it whenever a
 * frame is not for the short way. Here it is only read and written, between its two memory buffers, which waits for nothing.
 *
 * Nothing is compiled or linked against OpenSSL, or relay would have to be built for the one that Python has. The functions
 * are found by name in the library that Python has loaded; none has changed since OpenSSL 1.1.0. How does a connection come
 * here? Whoever asks OpenSSL for room in its objects is told of each one that it makes (CRYPTO_get_ex_new_index(3)). So the
 * address comes from the library at work, and not out of Python's memory; if Python works with another library than the
 * one that was found, none ever comes, and Python goes on alone.
 *
 * Errors stay in OpenSSL's queue of this thread. The owner reads or writes again and is told of them as of its own.
 */
#define _GNU_SOURCE
#include "openssl.h"

#include <dlfcn.h>

#include "relay_native.h"

/* As OpenSSL's headers have them. */
#define CRYPTO_EX_INDEX_SSL 0
#define SSL_ERROR_WANT_READ 2

typedef void when_made(void *object, void *slot, void *slots, int index, long number, void *pointer);

struct functions {
    int (*read)(void *ssl, void *out, int room);
    int (*write)(void *ssl, const void *bytes, int n);
    int (*get_error)(const void *ssl, int returned);
    void *(*get_rbio)(const void *ssl);
    void *(*get_wbio)(const void *ssl);
    int (*bio_read)(void *bio, void *out, int room);
    int (*bio_write)(void *bio, const void *bytes, int n);
    size_t (*bio_pending)(void *bio);
    void (*clear_errors)(void);
    int (*new_index)(int kind, long number, void *pointer, when_made *made, void *copied, void *freed);
};

static struct functions openssl;
static int is_loaded;
static _Thread_local void *newest;

static void note(void *ssl, void *slot, void *slots, int index, long number, void *pointer) {
    (void)slot, (void)slots, (void)index, (void)number, (void)pointer;
    newest = ssl;
}

/* As Python's calls are bound: somebody who was loaded before all others may stand in front of the library. */
static void *find(void *library, const char *name) {
    void *const own = dlsym(library, name), *const first = dlsym(RTLD_DEFAULT, name);
    return own && first ? first : own;
}

static int find_all(void *library, struct functions *found) {
    const struct {
        const char *name;
        void *pointer; /* to the function's; POSIX says that it has the size of one to an object */
    } wanted[] = {
        {"SSL_read", &found->read},
        {"SSL_write", &found->write},
        {"SSL_get_error", &found->get_error},
        {"SSL_get_rbio", &found->get_rbio},
        {"SSL_get_wbio", &found->get_wbio},
        {"BIO_read", &found->bio_read},
        {"BIO_write", &found->bio_write},
        {"BIO_ctrl_pending", &found->bio_pending},
        {"ERR_clear_error", &found->clear_errors},
        {"CRYPTO_get_ex_new_index", &found->new_index},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *const function = find(library, wanted[i].name);
        if (!function) return 0;
        *(void **)wanted[i].pointer = function;
    }
    return 1;
}

int relay_openssl_load(const char *path) {
    if (is_loaded) return 0;
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    struct functions found;
    if (!library || !find_all(library, &found)) return -1;
    if (found.new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, note, NULL, NULL) < 0) return -1;
    openssl = found;
    is_loaded = 1;
    return 0;
}

void *relay_openssl_newest(void) {
    void *const ssl = newest;
    newest = NULL;
    return ssl;
}

/* One read gives the rest of one record at most: if it gives less than there is room for, that record is done. The buffer
 * takes all or, without memory, nothing: what is lost then breaks the connection at its next record. */
size_t openssl_decrypt(void *ssl, char *bytes, size_t n, size_t room, size_t *records, int *is_all) {
    void *const bio = openssl.get_rbio(ssl);
    size_t plain = 0;
    openssl.clear_errors();
    *records = 0, *is_all = 0;
    if (openssl.bio_write(bio, bytes, (int)n) != (int)n) return 0;
    while (plain < room && !*is_all) {
        const int got = openssl.read(ssl, bytes + plain, (int)(room - plain));
        if (got <= 0) {
            *is_all = openssl.get_error(ssl, got) == SSL_ERROR_WANT_READ;
            break;
        }
        plain += (size_t)got;
        ++*records;
        *is_all = plain < room && openssl.bio_pending(bio) == 0;
    }
    return plain;
}

/* What waits in the buffer is an answer of TLS itself, such as a new key, and may be of any length. Behind an error in the
 * middle nothing can be written any more (unless memory was short), so the owner, who tries all of it again, hears of it. */
size_t openssl_encrypt(void *ssl, char *bytes, size_t n, size_t room) {
    void *const bio = openssl.get_wbio(ssl);
    if (openssl.bio_pending(bio) > 0) return 0;
    openssl.clear_errors();
    for (size_t done = 0; done < n;) {
        const int got = openssl.write(ssl, bytes + done, (int)(n - done));
        if (got <= 0) return 0;
        done += (size_t)got;
    }
    return openssl_more(ssl, bytes, room);
}

size_t openssl_more(void *ssl, char *bytes, size_t room) {
    const int made = openssl.bio_read(openssl.get_wbio(ssl), bytes, (int)room);
    return made > 0 ? (size_t)made : 0;
}
