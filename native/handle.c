/* Making and freeing handles of the audio path. Beside it only filter.c, for its tables, and pump.c, for pumps and ways,
 * allocate. */
#include "handle.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_int live;

int relay_live_handles(void) { return atomic_load(&live); }

static int valid_rate(int hz) { return hz >= RELAY_MIN_RATE_HZ && hz <= RELAY_MAX_RATE_HZ; }

size_t handle_bytes(size_t size, const struct handle *handle) {
    return size + resample_history(handle->resampler.plan) * sizeof(float);
}

static void *fail(int *error, int code) {
    *error = code;
    return NULL;
}

void *handle_new(size_t size, int encoding, int in_hz, int out_hz, int *error) {
    if (!valid_rate(in_hz) || !valid_rate(out_hz) || (encoding != RELAY_F32LE && encoding != RELAY_S16LE))
        return fail(error, RELAY_E_FORMAT);
    const struct filter_plan *plan = filter_acquire((uint32_t)in_hz, (uint32_t)out_hz);
    if (!plan) return fail(error, RELAY_E_MEMORY);
    struct handle *handle = malloc(size + resample_history(plan) * sizeof(float));
    if (!handle) {
        filter_release(plan);
        return fail(error, RELAY_E_MEMORY);
    }
    memset(handle, 0, size);
    handle->encoding = encoding;
    handle->resampler.plan = plan;
    handle->resampler.kernels = relay_kernels();
    handle->resampler.history = (float *)(void *)((char *)handle + size); /* size is a multiple of 8 */
    resample_reset(&handle->resampler);
    atomic_fetch_add(&live, 1);
    *error = 0;
    return handle;
}

void handle_free(struct handle *handle) {
    if (!handle) return;
    filter_release(handle->resampler.plan);
    free(handle);
    atomic_fetch_sub(&live, 1);
}
