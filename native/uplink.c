/* Up: one call turns a frame of the browser's samples into a finished input_audio_buffer.append event.
 *
 * The PCM16 is laid at the very end of the text's place in the out-buffer and encoded from there towards the front, so
 * it needs no buffer of its own and a frame of any size is one run of the encoder (base64.h says why no group is
 * overwritten before it is read).
 */
#include "base64.h"
#include "handle.h"
#include "ws.h"

static const char BEFORE[] = "{\"type\":\"input_audio_buffer.append\",\"audio\":\"";
static const char AFTER[] = "\"}";
#define BEFORE_CHARS (sizeof BEFORE - 1)
#define AFTER_CHARS (sizeof AFTER - 1)

struct relay_uplink {
    struct handle handle;
};

relay_uplink *relay_uplink_new(int encoding, int rate_hz, int upstream_rate_hz, int *error) {
    return handle_new(sizeof(relay_uplink), encoding, rate_hz, upstream_rate_hz, error);
}

void relay_uplink_free(relay_uplink *uplink) { handle_free((struct handle *)uplink); }

size_t relay_uplink_state_bytes(const relay_uplink *uplink) { return handle_bytes(sizeof *uplink, &uplink->handle); }

ptrdiff_t relay_uplink_level(relay_uplink *uplink, double level[2], int clear) {
    return uplink ? relay_level_read(&uplink->handle.level, level, clear) : RELAY_E_CLOSED;
}

/* 0 when n_bytes is a whole number of samples within the limit. */
static int check_length(const struct handle *handle, size_t n_bytes) {
    const int whole = n_bytes % sample_bytes(handle->encoding) == 0;
    return whole && n_bytes > 0 && n_bytes <= RELAY_MAX_FRAME_BYTES ? 0 : RELAY_E_LENGTH;
}

static size_t text_chars(size_t outputs) { return (2 * outputs + 2) / 3 * 4; }

static size_t event_chars(size_t outputs) { return outputs ? BEFORE_CHARS + text_chars(outputs) + AFTER_CHARS : 0; }

ptrdiff_t relay_uplink_room(const relay_uplink *uplink, size_t n_bytes) {
    if (!uplink) return RELAY_E_CLOSED;
    if (check_length(&uplink->handle, n_bytes)) return RELAY_E_LENGTH;
    return (ptrdiff_t)event_chars(
        resample_count(&uplink->handle.resampler, n_bytes / sample_bytes(uplink->handle.encoding)));
}

/* All samples through the resampler, block by block. `pcm` has room for what resample_count() said. */
static void convert(struct handle *handle, const char *samples, size_t n, char *pcm) {
    float out[BLOCK_OUT + KERNEL_PAD];
    const size_t block = resample_block_size(&handle->resampler), width = sample_bytes(handle->encoding);
    for (size_t done = 0; done < n; done += block) {
        const size_t count = resample_block(&handle->resampler, handle->encoding, samples + done * width,
                                            n - done < block ? n - done : block, out);
        handle->resampler.kernels->store_s16(pcm, out, count, &handle->level);
        pcm += 2 * count;
    }
}

ptrdiff_t relay_uplink_push(relay_uplink *uplink, const char *samples, size_t n_bytes, char *out, size_t room) {
    if (!uplink) return RELAY_E_CLOSED;
    struct handle *const handle = &uplink->handle;
    if (check_length(handle, n_bytes)) return RELAY_E_LENGTH;
    const size_t n = n_bytes / sample_bytes(handle->encoding);
    const size_t outputs = resample_count(&handle->resampler, n), chars = event_chars(outputs);
    if (chars > room) return RELAY_E_ROOM;
    char *const text = out + BEFORE_CHARS;
    char *const pcm = text + text_chars(outputs) - 2 * outputs; /* with no outputs nothing is written there */
    convert(handle, samples, n, outputs ? pcm : out);
    if (outputs == 0) return 0;
    memcpy(out, BEFORE, BEFORE_CHARS);
    const size_t written = base64_encode(handle->resampler.kernels, text, pcm, 2 * outputs);
    memcpy(text + written, AFTER, AFTER_CHARS);
    return (ptrdiff_t)chars;
}

ptrdiff_t relay_append_frame(const char *base64, size_t n_chars, const char *key, char *out, size_t room) {
    const size_t event = BEFORE_CHARS + n_chars + AFTER_CHARS, head = ws_head_bytes(event, 1);
    if (room < n_chars || room - n_chars < head + BEFORE_CHARS + AFTER_CHARS) return RELAY_E_ROOM;
    char *const text = out + ws_write_head(RELAY_WS_OP_TEXT, event, key, out);
    memcpy(text, BEFORE, BEFORE_CHARS);
    memcpy(text + BEFORE_CHARS, base64, n_chars);
    memcpy(text + BEFORE_CHARS + n_chars, AFTER, AFTER_CHARS);
    relay_kernels()->mask(text, text, event, ws_key(key, 0));
    return (ptrdiff_t)(head + event);
}
