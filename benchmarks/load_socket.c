/* The load's sockets: plain, or TLS where a connection has it; and what a socket does not take at once. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#ifdef LOAD_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#include "load.h"

ssize_t load_read(load_conn *c, void *to, size_t room) {
#ifdef LOAD_TLS
    if (c->tls) {
        ERR_clear_error(); /* or the end of one connection is taken for that of all others */
        const int n = SSL_read(c->tls, to, (int)room);
        if (n > 0) return n;
        return SSL_get_error(c->tls, n) == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    const ssize_t n = recv(c->fd, to, room, 0);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

ssize_t load_write(load_conn *c, const void *from, size_t bytes) {
#ifdef LOAD_TLS
    if (c->tls) {
        ERR_clear_error();
        const int n = SSL_write(c->tls, from, (int)bytes);
        if (n > 0) return n;
        const int why = SSL_get_error(c->tls, n);
        return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? -1 : 0;
    }
#endif
    const ssize_t n = send(c->fd, from, bytes, MSG_NOSIGNAL);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

static void want_out(int epoll, load_conn *c, int wants) {
    if (c->wants_out == wants) return;
    struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_out = wants;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

void flush(const load_span *span, load_conn *c) {
    while (c->out_len) {
        const ssize_t n = load_write(c, c->out + c->out_from, c->out_len);
        if (n < 0) break;
        if (n == 0) {
            c->gone = 1;
            result_of(span, c->session)->broken++;
            c->out_len = 0;
            break;
        }
        c->out_from += (size_t)n;
        c->out_len -= (size_t)n;
    }
    if (!c->out_len) c->out_from = 0;
    want_out(span->epoll, c, c->out_len != 0);
}

int post(const load_span *span, load_conn *c, const uint8_t *frame, size_t bytes) {
    if (c->gone) return 0;
    if (c->out_from + c->out_len + bytes > OUT_BYTES) {
        memmove(c->out, c->out + c->out_from, c->out_len);
        c->out_from = 0;
    }
    if (c->out_len + bytes > OUT_BYTES) return 0;
    memcpy(c->out + c->out_from + c->out_len, frame, bytes);
    c->out_len += bytes;
    flush(span, c);
    return 1;
}

#ifdef LOAD_TLS
/* A server's context for TLS 1.3 from PEM files, or NULL. */
void *load_tls_context(const char *certificate, const char *key) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* A browser's, or NULL. It verifies nothing: what is measured stands on this machine. */
void *load_tls_browser(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

static SSL *shake_hands(void *context, int fd, int (*how)(SSL *)) {
    SSL *tls = SSL_new(context);
    if (!tls) return NULL;
    SSL_set_tlsext_host_name(tls, "localhost");
    if (SSL_set_fd(tls, fd) == 1 && how(tls) == 1) return tls;
    SSL_free(tls);
    return NULL;
}

/* Shake hands on a blocking socket; NULL if that fails. */
void *load_tls_accept(void *context, int fd) { return shake_hands(context, fd, SSL_accept); }

void *load_tls_connect(void *context, int fd) { return shake_hands(context, fd, SSL_connect); }

void load_tls_free(void *tls) { SSL_free(tls); }
#else
void load_tls_free(void *tls) { (void)tls; }
#endif
