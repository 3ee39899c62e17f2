/* The fast lane: a frame of audio from one socket's bytes to the other's, in one call. relay_native.h says how it works
 * and what it leaves to others; here are only the steps behind each other, and where in a buffer they lie. */
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

/* The samples are unmasked to the end of the out-buffer, behind the place of the frame that they become. */
ptrdiff_t relay_lane_up(relay_ws *ws, relay_uplink *uplink, const char *chunk, size_t n, const char *key, char *out,
                        size_t room) {
    if (!uplink) return RELAY_E_CLOSED;
    if (ws->role != RELAY_WS_SERVER) return RELAY_E_NOT_MINE;
    const ptrdiff_t head = ws_whole_message(ws, RELAY_WS_OP_BINARY, chunk, n);
    if (head < 0) return RELAY_E_NOT_MINE;
    const size_t length = ws->length;
    const ptrdiff_t needed = relay_uplink_frame_room(uplink, length);
    if (needed < 0) return RELAY_E_NOT_MINE; /* no whole number of samples, or too many */
    if (room < length || room - length < (size_t)needed) return RELAY_E_ROOM;
    char *const samples = out + room - length;
    relay_kernels()->mask(samples, chunk + head, length, ws_key(chunk + head - 4, 0));
    return relay_uplink_frame(uplink, samples, length, key, out, room - length);
}

/* ---- down ---- */

int relay_lane_delta(relay_ws *ws, const char *chunk, size_t n, relay_delta *found) {
    if (ws->role != RELAY_WS_CLIENT) return RELAY_E_NOT_MINE;
    const ptrdiff_t head = ws_whole_message(ws, RELAY_WS_OP_TEXT, chunk, n);
    if (head < 0 || n > UINT32_MAX || relay_delta_find(chunk + head, ws->length, found)) return RELAY_E_NOT_MINE;
    found->item_id += (uint32_t)head;
    found->response_id += (uint32_t)head;
    found->delta += (uint32_t)head;
    return 0;
}

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
