/* base64 for uplink.c and downlink.c. Internal to native/; the rules stand in base64.c. */
#ifndef RELAY_BASE64_H
#define RELAY_BASE64_H

#include "kernels.h"

/* Writes 4 * ceil(n / 3) characters and returns that number. `bytes` may be the end of the buffer that `out` starts, as
 * long as it begins at or behind out + ceil(n / 3): then no group is overwritten before it is read (group i is written
 * up to 4i + 4 and read from ceil(n / 3) + 3i, and i + 1 <= ceil(n / 3)). */
size_t base64_encode(const struct kernels *kernels, char *out, const char *bytes, size_t n);

/* Returns the bytes written or RELAY_E_BASE64. `out` holds n / 4 * 3 bytes; not overlapping. */
ptrdiff_t base64_decode(const struct kernels *kernels, char *out, const char *text, size_t n);

#endif
