/* relay's audio path: one call per frame and direction.
 *
 * Up:    browser samples -> resampler -> PCM16 -> base64 -> a finished input_audio_buffer.append event.
 * Down:  base64 delta -> PCM16 -> resampler -> samples in the browser's encoding.
 *
 * Rules of the whole interface
 *   - All samples are mono and little-endian. Full scale of PCM16 is 32768 and of float is 1.0.
 *   - relay_init() comes first. The *_new() functions allocate; nothing after them does. Scratch lives on the caller's
 *     stack (at most RELAY_STACK_BYTES), so that any number of threads may work, each on handles of its own.
 *     One handle must not be used by two threads at once.
 *   - The caller owns every buffer. Nothing is kept of a buffer after the call. In- and out-buffers must not overlap.
 *     No alignment is asked of any of them.
 *   - A call that fails has changed neither the handle nor the meaning of what follows.
 *   - Functions that return a count return a negative RELAY_E_* instead when they fail.
 */
#ifndef RELAY_NATIVE_H
#define RELAY_NATIVE_H

#include <stddef.h>

#define RELAY_MIN_RATE_HZ 8000
#define RELAY_MAX_RATE_HZ 192000
#define RELAY_MAX_FRAME_BYTES 65536 /* of one relay_uplink_push */
#define RELAY_STACK_BYTES 32768     /* upper bound of what a call puts on the stack; asserted in resample.c */

/* Encodings of the browser's samples. */
#define RELAY_F32LE 0
#define RELAY_S16LE 1

/* Levels of dispatch, slowest first. */
#define RELAY_SIMD_C 0
#define RELAY_SIMD_SSE2 1
#define RELAY_SIMD_NEON 2
#define RELAY_SIMD_AVX2 3

/* Failures. */
#define RELAY_E_CLOSED (-1) /* the handle is NULL */
#define RELAY_E_FORMAT (-2) /* an encoding or a rate outside the range above */
#define RELAY_E_LENGTH (-3) /* empty, no whole number of samples, or over RELAY_MAX_FRAME_BYTES */
#define RELAY_E_BASE64 (-4) /* not the one canonical base64 text, with padding, of any bytes (RFC 4648, section 4) */
#define RELAY_E_ROOM (-5)   /* the out-buffer is smaller than the call needs */
#define RELAY_E_MEMORY (-6) /* malloc failed */

typedef struct relay_uplink relay_uplink;
typedef struct relay_downlink relay_downlink;

/* Chooses the code paths: the best that this processor has, but none above `highest_simd`. Returns the level chosen.
 * May be called again (tests do); handles that exist keep the paths they were made with. */
int relay_init(int highest_simd);

/* Handles, both kinds, that were made and not yet freed. */
int relay_live_handles(void);

/* Bytes of filter tables now shared by the live handles; 0 when there are none. */
size_t relay_table_bytes(void);

/* ---- up ---- */

/* A new uplink, or NULL with *error set to RELAY_E_FORMAT or RELAY_E_MEMORY. Free it with relay_uplink_free(). */
relay_uplink *relay_uplink_new(int encoding, int rate_hz, int upstream_rate_hz, int *error);

/* Frees the handle and its share of the tables. NULL is allowed and does nothing. */
void relay_uplink_free(relay_uplink *uplink);

/* Bytes of state of this handle: all that it owns. At most 1 KiB; see resample.c for the sum. */
size_t relay_uplink_state_bytes(const relay_uplink *uplink);

/* The out-buffer that relay_uplink_push() needs now for `n_bytes` of samples: exactly what it will write. */
ptrdiff_t relay_uplink_room(const relay_uplink *uplink, size_t n_bytes);

/* Converts `n_bytes` of samples and writes one append event, without a terminating zero. Returns the bytes written, or
 * 0 when the samples were kept but do not yet make one output sample. NaN becomes silence, overload clips. Fails with
 * CLOSED, LENGTH or ROOM. */
ptrdiff_t relay_uplink_push(relay_uplink *uplink, const char *samples, size_t n_bytes, char *out, size_t room);

/* Level of the PCM16 that was sent since the last call with `clear`: level[0] = RMS, level[1] = peak, both in dBFS with
 * 32768 as 0 dBFS (so a full-scale sine has RMS -3.01) and -120 as silence. Returns the number of samples measured. */
ptrdiff_t relay_uplink_level(relay_uplink *uplink, double level[2], int clear);

/* ---- down ---- */

relay_downlink *relay_downlink_new(int encoding, int rate_hz, int upstream_rate_hz, int *error);
void relay_downlink_free(relay_downlink *downlink);
size_t relay_downlink_state_bytes(const relay_downlink *downlink);

/* The out-buffer that relay_downlink_push() needs now for `n_chars` of base64. More than it will write: the decoded
 * PCM16 waits at the buffer's end. With n_chars = 0: what relay_downlink_finish() needs. */
ptrdiff_t relay_downlink_room(const relay_downlink *downlink, size_t n_chars);

/* Decodes one delta of any length and writes samples. Returns the bytes written (0 for an empty delta).
 * Fails with CLOSED, BASE64, LENGTH (an odd number of PCM bytes) or ROOM. */
ptrdiff_t relay_downlink_push(relay_downlink *downlink, const char *delta, size_t n_chars, char *out, size_t room);

/* Writes what is still inside the filter, until the last sample has left it, and starts afresh. Returns the bytes
 * written; 0 when nothing was pushed since the start. Fails with CLOSED or ROOM. */
ptrdiff_t relay_downlink_finish(relay_downlink *downlink, char *out, size_t room);

/* Forgets what is inside the filter. The level stays. */
void relay_downlink_reset(relay_downlink *downlink);

/* As relay_uplink_level(), of the samples handed to the browser. */
ptrdiff_t relay_downlink_level(relay_downlink *downlink, double level[2], int clear);

/* ---- base64 ---- */

/* Bytes that `n_chars` of strict base64 decode to, or RELAY_E_BASE64. Writes nothing. */
ptrdiff_t relay_base64_check(const char *text, size_t n_chars);

/* Encodes n_bytes into exactly 4 * ceil(n_bytes / 3) characters, which `out` must hold. Returns that number. */
ptrdiff_t relay_base64_encode(const char *bytes, size_t n_bytes, char *out);

/* Decodes into `out`, which must hold n_chars / 4 * 3 bytes. Returns the bytes written or RELAY_E_BASE64, after which
 * the content of `out` is undefined. */
ptrdiff_t relay_base64_decode(const char *text, size_t n_chars, char *out);

#endif
