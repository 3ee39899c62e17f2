/* OpenSSL, between two memory buffers, for a connection that Python owns (openssl.c). Internal to native/. */
#ifndef RELAY_OPENSSL_H
#define RELAY_OPENSSL_H

#include <stddef.h>

/* The most that is not decrypted yet of what was given before: a record of 16 KiB with all that may be around it. */
#define OPENSSL_RECORD_BYTES 17408

/* Decrypts `n` bytes from the socket, where they lie. Returns how many bytes can be read now, of `*records` records. `*is_all`
 * is 0 if there may be more, or something is wrong, or it is the end: then the owner reads on. `room` is at least n +
 * OPENSSL_RECORD_BYTES. */
size_t openssl_decrypt(void *ssl, char *bytes, size_t n, size_t room, size_t *records, int *is_all);

/* Encrypts `n` bytes where they lie. Returns how many bytes there are for the socket; 0 if the owner has to do it, because
 * something else goes out first, or because something is wrong. */
size_t openssl_encrypt(void *ssl, char *bytes, size_t n, size_t room);

/* Returns how many bytes more there are for the socket, behind those; 0 if that was all. */
size_t openssl_more(void *ssl, char *bytes, size_t room);

#endif
