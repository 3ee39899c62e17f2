/* The streaming resampler between uplink.c / downlink.c and the kernels. Internal to native/. */
#ifndef RELAY_RESAMPLE_H
#define RELAY_RESAMPLE_H

#include "filter.h"

/* Samples per block, in and out. A push of any size is cut into such blocks, so scratch has a fixed size. */
#define BLOCK_IN 1024
#define BLOCK_OUT 2048

/* Where one stage stands. Its history, `held` floats, lives behind the handle. */
struct stage_state {
    uint32_t held;
    uint32_t
        phase; /* of the next output, in 1/up of an input sample; its window starts at the history's first sample */
};

struct resampler {
    const struct filter_plan *plan;
    const struct kernels *kernels;
    struct stage_state state[FILTER_MAX_STAGES];
    float *history; /* stage 0's taps - 1 floats, then stage 1's */
};

/* Floats of history that a plan needs. */
size_t resample_history(const struct filter_plan *plan);

/* Back to the start: zeros for history. */
void resample_reset(struct resampler *resampler);

/* How many samples n more will give. */
size_t resample_count(const struct resampler *resampler, size_t n);

/* The largest block of input that fits the scratch: 1..BLOCK_IN. */
size_t resample_block_size(const struct resampler *resampler);

/* Reads one block of n samples (n <= resample_block_size()) as `encoding` from `samples`, NULL meaning silence, and
 * writes resample_count(n) floats to `out`, which has room for BLOCK_OUT + KERNEL_PAD. Returns their number. */
size_t resample_block(struct resampler *resampler, int encoding, const char *samples, size_t n, float *out);

/* Samples of silence that drive the last sample out of every stage's window. */
size_t resample_tail(const struct resampler *resampler);

#endif
