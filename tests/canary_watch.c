/*
 * Searches what a process under test writes for the secrets that it was given. LD_PRELOAD puts it before libc's and
 * OpenSSL's functions (tests/canaries.py); what it finds is a line in the file that CANARY_REPORT names.
 *
 * CANARY_NEVER holds secrets that may go nowhere, CANARY_UPSTREAM those that may go to a server that the process has
 * dialled, and nowhere else; both by lines. A secret that is sent in several pieces is found as well: of each descriptor
 * the last bytes are kept. TLS is searched before it is encrypted, each write by itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CANARIES = 32, LONGEST = 64, DESCRIPTORS = 65536 };

static struct canary {
    const char *text;
    size_t n;
    int upstream; /* may be told to who was dialled */
} canaries[CANARIES];

static struct descriptor {
    unsigned char dialled, kept;
    char last[LONGEST - 1];
} descriptors[DESCRIPTORS];

static const char *report;

static void read_canaries(const char *name, int upstream) {
    char *lines = strdup(getenv(name) ? getenv(name) : "");
    for (char *rest = lines, *line; (line = strsep(&rest, "\n")) != NULL;)
        for (int i = 0; *line && i < CANARIES; i++)
            if (!canaries[i].n) {
                canaries[i] = (struct canary){line, strnlen(line, LONGEST), upstream};
                break;
            }
}

__attribute__((constructor)) static void begin(void) {
    report = getenv("CANARY_REPORT");
    read_canaries("CANARY_NEVER", 0);
    read_canaries("CANARY_UPSTREAM", 1);
}

static void search(const char *bytes, size_t n, int is_dialled, const char *where) {
    for (int i = 0; i < CANARIES && canaries[i].n; i++) {
        if ((canaries[i].upstream && is_dialled) || !memmem(bytes, n, canaries[i].text, canaries[i].n)) continue;
        char line[LONGEST + 64];
        const int length = snprintf(line, sizeof line, "%.*s %s\n", LONGEST, canaries[i].text, where);
        const int file = report ? (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
        if (file < 0 || syscall(SYS_write, file, line, length) != length) abort();
        syscall(SYS_close, file);
    }
}

/* Searches what a descriptor took, and where it meets what the descriptor took before. */
static void took(int fd, const char *bytes, size_t n) {
    if (fd < 0 || fd >= DESCRIPTORS || !n) return;
    struct descriptor *d = &descriptors[fd];
    char seam[2 * sizeof d->last];
    const size_t head = n < sizeof d->last ? n : sizeof d->last;
    memcpy(seam, d->last, d->kept);
    memcpy(seam + d->kept, bytes, head);
    if (d->kept) search(seam, d->kept + head, d->dialled, "on a descriptor, in pieces");
    search(bytes, n, d->dialled, "on a descriptor");
    const size_t whole = d->kept + head, keep = whole < sizeof d->last ? whole : sizeof d->last;
    if (n >= sizeof d->last) memcpy(d->last, bytes + n - sizeof d->last, sizeof d->last);
    else memmove(d->last, seam + whole - keep, keep);
    d->kept = (unsigned char)keep;
}

static void took_parts(int fd, const struct iovec *parts, size_t count, ssize_t sent) {
    for (size_t i = 0; i < count && sent > 0; i++) {
        const size_t n = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;
        took(fd, parts[i].iov_base, n);
        sent -= (ssize_t)n;
    }
}

/* Declares `real` as the function that would have been called without us. */
#define FIND_REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int connect(int fd, const struct sockaddr *address, socklen_t n) {
    FIND_REAL(connect);
    if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd].dialled = address->sa_family != AF_UNIX;
    return real(fd, address, n);
}

int close(int fd) {
    FIND_REAL(close);
    if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd].dialled = descriptors[fd].kept = 0;
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    FIND_REAL(write);
    const ssize_t sent = real(fd, bytes, n);
    if (sent > 0) took(fd, bytes, (size_t)sent);
    return sent;
}

ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    FIND_REAL(send);
    const ssize_t sent = real(fd, bytes, n, flags);
    if (sent > 0) took(fd, bytes, (size_t)sent);
    return sent;
}

ssize_t sendto(int fd, const void *bytes, size_t n, int flags, const struct sockaddr *to, socklen_t to_n) {
    FIND_REAL(sendto);
    const ssize_t sent = real(fd, bytes, n, flags, to, to_n);
    if (sent > 0) took(fd, bytes, (size_t)sent);
    return sent;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    FIND_REAL(writev);
    const ssize_t sent = real(fd, parts, count);
    took_parts(fd, parts, (size_t)count, sent);
    return sent;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    FIND_REAL(sendmsg);
    const ssize_t sent = real(fd, message, flags);
    took_parts(fd, message->msg_iov, message->msg_iovlen, sent);
    return sent;
}

/* OpenSSL was loaded for Python's ssl alone, so RTLD_NEXT does not see it. */
static void *openssl(const char *name) {
    void *library = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
    if (!library) library = dlopen("libssl.so.1.1", RTLD_LAZY | RTLD_NOLOAD);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) abort();
    return found;
}

static void search_tls(void *ssl, const void *bytes, size_t n) {
    const int is_server = ((int (*)(void *))openssl("SSL_is_server"))(ssl);
    search(bytes, n, !is_server, "in TLS");
}

int SSL_write(void *ssl, const void *bytes, int n) {
    search_tls(ssl, bytes, (size_t)n);
    return ((int (*)(void *, const void *, int))openssl("SSL_write"))(ssl, bytes, n);
}

int SSL_write_ex(void *ssl, const void *bytes, size_t n, size_t *written) {
    search_tls(ssl, bytes, n);
    return ((int (*)(void *, const void *, size_t, size_t *))openssl("SSL_write_ex"))(ssl, bytes, n, written);
}
