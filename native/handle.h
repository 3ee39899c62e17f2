/* What uplink.c and downlink.c have in common: a handle is its struct with the filter's history right behind it, in one
 * allocation. Internal to native/. */
#ifndef RELAY_HANDLE_H
#define RELAY_HANDLE_H

#include "resample.h"

/* The first member of every handle. */
struct handle {
    int encoding; /* RELAY_F32LE or RELAY_S16LE */
    struct level_sum level;
    struct resampler resampler;
};

#define HANDLE_BYTES 128
_Static_assert(sizeof(struct handle) <= HANDLE_BYTES, "the sum in resample.c counts on it");

/* Allocates `size` bytes, a struct that starts with a handle, and its history. */
void *handle_new(size_t size, int encoding, int in_hz, int out_hz, int *error);
void handle_free(struct handle *handle);
size_t handle_bytes(size_t size, const struct handle *handle);

/* PCM16 or float; refuses nothing, the handle's encoding was checked when it was made. */
static inline size_t sample_bytes(int encoding) { return encoding == RELAY_F32LE ? 4 : 2; }

#endif
