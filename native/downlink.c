/* Down: one call turns a base64 delta into samples for the browser.
 *
 * The delta is decoded whole before the resampler sees any of it: a delta that is not strict base64 changes nothing.
 * The decoded PCM16 waits at the end of the out-buffer, behind the place of the samples.
 */
#include "base64.h"
#include "handle.h"

struct relay_downlink {
    struct handle handle;
    uint64_t pending; /* not 0: samples were pushed since the start of the item */
};

relay_downlink *relay_downlink_new(int encoding, int rate_hz, int upstream_rate_hz, int *error) {
    return handle_new(sizeof(relay_downlink), encoding, upstream_rate_hz, rate_hz, error);
}

void relay_downlink_free(relay_downlink *downlink) { handle_free((struct handle *)downlink); }

size_t relay_downlink_state_bytes(const relay_downlink *downlink) {
    return handle_bytes(sizeof *downlink, &downlink->handle);
}

ptrdiff_t relay_downlink_level(relay_downlink *downlink, double level[2], int clear) {
    return downlink ? relay_level_read(&downlink->handle.level, level, clear) : RELAY_E_CLOSED;
}

void relay_downlink_reset(relay_downlink *downlink) {
    if (!downlink) return;
    resample_reset(&downlink->handle.resampler);
    downlink->pending = 0;
}

/* Writes `count` floats in the browser's encoding. The level is always that of their PCM16: for a browser that wants
 * floats it is written too, and the floats, twice as long, over it. */
static size_t store(struct handle *handle, float *samples, size_t count, char *out) {
    const struct kernels *const kernels = handle->resampler.kernels;
    kernels->store_s16(out, samples, count, &handle->level);
    if (handle->encoding == RELAY_S16LE) return 2 * count;
    kernels->load_f32(samples, (const char *)samples, count); /* clips in place */
    memcpy(out, samples, count * sizeof *samples);
    return count * sizeof *samples;
}

/* n samples of PCM16, or of silence when `pcm` is NULL. Returns the bytes written. */
static size_t convert(struct handle *handle, const char *pcm, size_t n, char *out) {
    float block_out[BLOCK_OUT + KERNEL_PAD];
    const size_t block = resample_block_size(&handle->resampler);
    size_t written = 0;
    for (size_t done = 0; done < n; done += block) {
        const size_t count = resample_block(&handle->resampler, RELAY_S16LE, pcm ? pcm + 2 * done : NULL,
                                            n - done < block ? n - done : block, block_out);
        written += store(handle, block_out, count, out + written);
    }
    return written;
}

static size_t samples_room(const struct handle *handle, size_t n) {
    return resample_count(&handle->resampler, n) * sample_bytes(handle->encoding);
}

ptrdiff_t relay_downlink_room(const relay_downlink *downlink, size_t n_chars) {
    if (!downlink) return RELAY_E_CLOSED;
    const struct handle *const handle = &downlink->handle;
    if (n_chars == 0) return (ptrdiff_t)samples_room(handle, resample_tail(&handle->resampler));
    const size_t pcm_bytes = n_chars / 4 * 3;
    return (ptrdiff_t)(samples_room(handle, pcm_bytes / 2) + pcm_bytes);
}

ptrdiff_t relay_downlink_push(relay_downlink *downlink, const char *delta, size_t n_chars, char *out, size_t room) {
    if (!downlink) return RELAY_E_CLOSED;
    if (n_chars == 0) return 0;
    const ptrdiff_t needed = relay_downlink_room(downlink, n_chars);
    if ((size_t)needed > room) return RELAY_E_ROOM;
    struct handle *const handle = &downlink->handle;
    char *const pcm = out + needed - n_chars / 4 * 3;
    const ptrdiff_t pcm_bytes = base64_decode(handle->resampler.kernels, pcm, delta, n_chars);
    if (pcm_bytes < 0) return pcm_bytes;
    if (pcm_bytes % 2) return RELAY_E_LENGTH;
    downlink->pending = 1;
    return (ptrdiff_t)convert(handle, pcm, (size_t)pcm_bytes / 2, out);
}

ptrdiff_t relay_downlink_finish(relay_downlink *downlink, char *out, size_t room) {
    if (!downlink) return RELAY_E_CLOSED;
    if (!downlink->pending) return 0;
    if ((size_t)relay_downlink_room(downlink, 0) > room) return RELAY_E_ROOM;
    const size_t written = convert(&downlink->handle, NULL, resample_tail(&downlink->handle.resampler), out);
    relay_downlink_reset(downlink);
    return (ptrdiff_t)written;
}
