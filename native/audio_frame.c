/* Audio inside finished frames: what uplink.c and downlink.c make, written to its place behind the frame's head, so that
 * nothing is moved afterwards. How long a head is depends on the payload, which is why its length is known before. */
#include "handle.h"
#include "ws.h"

/* ---- up ---- */

ptrdiff_t relay_uplink_frame_room(const relay_uplink *uplink, size_t n_bytes) {
    const ptrdiff_t event = relay_uplink_room(uplink, n_bytes);
    return event <= 0 ? event : event + (ptrdiff_t)ws_head_bytes((size_t)event, 1);
}

/* The event is written behind the place of its head, and masked where it lies. */
ptrdiff_t relay_uplink_frame(relay_uplink *uplink, const char *samples, size_t n_bytes, const char *key, char *out,
                             size_t room) {
    const ptrdiff_t needed = relay_uplink_frame_room(uplink, n_bytes);
    if (needed < 0) return needed;
    if ((size_t)needed > room) return RELAY_E_ROOM;
    if (needed == 0) return relay_uplink_push(uplink, samples, n_bytes, out, room);
    const size_t event = (size_t)relay_uplink_room(uplink, n_bytes), head = ws_head_bytes(event, 1);
    relay_uplink_push(uplink, samples, n_bytes, out + head, event);
    ws_write_head(RELAY_WS_OP_TEXT, event, key, out);
    relay_kernels()->mask(out + head, out + head, event, ws_key(key, 0));
    return needed;
}

/* ---- down ---- */

#define LONGEST_HEAD (10 + RELAY_AUDIO_HEAD_BYTES) /* unmasked */

ptrdiff_t relay_downlink_frame_room(const relay_downlink *downlink, size_t n_chars) {
    const ptrdiff_t samples = relay_downlink_room(downlink, n_chars);
    return samples < 0 ? samples : samples + LONGEST_HEAD;
}

/* docs/wire.md, section 4; little-endian like everything here (kernels.h). */
static void write_audio_head(char *out, uint32_t item, uint64_t first_sample) {
    static const char kind_and_zeros[4] = {1, 0, 0, 0};
    memcpy(out, kind_and_zeros, 4);
    memcpy(out + 4, &item, sizeof item);
    memcpy(out + 8, &first_sample, sizeof first_sample);
}

/* Bytes of samples that a delta will make, if it is what it should be; how long the frame's head is depends on it. One
 * '=' or two: the whole samples in an even number of bytes are the same. */
static size_t expected_bytes(const struct handle *handle, const char *delta, size_t n_chars) {
    const size_t pcm_bytes = n_chars / 4 * 3 - (delta[n_chars - 1] == '=');
    return resample_count(&handle->resampler, pcm_bytes / 2) * sample_bytes(handle->encoding);
}

ptrdiff_t relay_downlink_frame(relay_downlink *downlink, const char *delta, size_t n_chars, uint32_t item,
                               uint64_t first_sample, char *out, size_t room) {
    if (!downlink) return RELAY_E_CLOSED;
    if (n_chars % 4) return RELAY_E_BASE64;
    if (n_chars == 0) return 0;
    if ((size_t)relay_downlink_frame_room(downlink, n_chars) > room) return RELAY_E_ROOM;
    const size_t payload = RELAY_AUDIO_HEAD_BYTES + expected_bytes((struct handle *)downlink, delta, n_chars);
    const size_t before = ws_head_bytes(payload, 0) + RELAY_AUDIO_HEAD_BYTES;
    const ptrdiff_t samples = relay_downlink_push(downlink, delta, n_chars, out + before, room - before);
    if (samples <= 0) return samples;
    write_audio_head(out + ws_write_head(RELAY_WS_OP_BINARY, payload, NULL, out), item, first_sample);
    return (ptrdiff_t)before + samples;
}
