/* relay's audio path and its WebSocket frames: one call per frame and direction.
 *
 * Up:     browser samples -> resampler -> PCM16 -> base64 -> a finished input_audio_buffer.append event.
 * Down:   base64 delta -> PCM16 -> resampler -> samples in the browser's encoding.
 * Frames: received bytes -> pieces of messages; a message -> a frame (RFC 6455, either role, no extensions).
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
#include <stdint.h>

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
#define RELAY_E_NOT_MINE (-7) /* relay_delta_find(), relay_append_find(): not exactly what they are for */

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

/* ---- frames ----
 *
 * Sans-IO: bytes come in chunks as a socket gave them, and a message may arrive in any number of pieces. Nothing is
 * collected here but the head of a frame and the payload of a control frame; the caller puts a message's pieces
 * together, and never gets more of them than `max_message_bytes` and `max_fragments` allow, because a data frame is
 * judged by its head, before the first byte of its payload.
 *
 *     relay_ws_init(&ws, RELAY_WS_SERVER, 65536, 64);
 *     for each chunk:
 *         do kind = relay_ws_next(&ws, chunk, n, out, room) ... while (ws.at);
 */

/* Whom we play: a server takes masked frames only, a client unmasked ones only. */
#define RELAY_WS_SERVER 0
#define RELAY_WS_CLIENT 1

/* Opcodes (RFC 6455, section 11.8). */
#define RELAY_WS_OP_TEXT 1
#define RELAY_WS_OP_BINARY 2
#define RELAY_WS_OP_CLOSE 8
#define RELAY_WS_OP_PING 9
#define RELAY_WS_OP_PONG 10

/* What relay_ws_next() found. */
#define RELAY_WS_MORE 0   /* nothing, up to the end of the chunk */
#define RELAY_WS_TEXT 1   /* the last piece of a text, which is UTF-8 as a whole */
#define RELAY_WS_BINARY 2 /* the last piece of a binary message */
#define RELAY_WS_PIECE 3  /* a piece of a message, not its last; may be empty */
#define RELAY_WS_CLOSE 8  /* a whole control frame; behind a Close nothing is looked at */
#define RELAY_WS_PING 9
#define RELAY_WS_PONG 10

/* What it refuses. The first six mean 1002 to the peer, the seventh 1007, the last two 1009. */
#define RELAY_WS_E_OPCODE (-21)    /* reserved */
#define RELAY_WS_E_RESERVED (-22)  /* a reserved bit: there are no extensions */
#define RELAY_WS_E_CONTROL (-23)   /* a control frame in fragments or over 125 bytes */
#define RELAY_WS_E_MASK (-24)      /* a client that does not mask, a server that does */
#define RELAY_WS_E_LENGTH (-25)    /* not in its shortest form, or over 2^63 */
#define RELAY_WS_E_ORDER (-26)     /* a continuation of nothing, or a message inside a message */
#define RELAY_WS_E_UTF8 (-27)      /* found at the first byte that cannot be right */
#define RELAY_WS_E_TOO_LONG (-28)  /* more bytes in a message than allowed, by what its heads announce */
#define RELAY_WS_E_FRAGMENTS (-29) /* more frames in a message than allowed */

#define RELAY_WS_HEAD_BYTES 14     /* the longest head of a frame: 2, a length of 8, a key of 4 */
#define RELAY_WS_CONTROL_BYTES 125 /* the longest payload of a control frame */

/* The receiving side of one connection: 208 bytes, owned by the caller, who reads `at` and `length`, writes nothing. */
typedef struct {
    size_t at;     /* how much of the chunk has been used; 0 when all of it has */
    size_t length; /* bytes that the last call wrote to `out` */
    /* the rest belongs to ws_parse.c */
    uint64_t max_message_bytes, message_bytes, left;
    uint32_t max_fragments, fragments, passed;
    int32_t verdict;
    uint8_t role, stage, opcode, message, skipping, head_have, utf8_left, utf8_low, utf8_high;
    uint8_t head[RELAY_WS_HEAD_BYTES], control[RELAY_WS_CONTROL_BYTES];
} relay_ws;

void relay_ws_init(relay_ws *ws, int role, uint64_t max_message_bytes, uint32_t max_fragments);

/* Goes on in a chunk of n bytes, at ws->at, until there is something to say, and writes that piece of payload,
 * unmasked, to `out`: as much as is there, at most `room`, which must be at least RELAY_WS_CONTROL_BYTES (else
 * RELAY_E_ROOM). Call it again with the same chunk until ws->at is 0, which is when the chunk is used up. What it
 * refuses it refuses on every later call as well. The stream may be cut anywhere: only the pieces differ. */
int relay_ws_next(relay_ws *ws, const char *chunk, size_t n, char *out, size_t room);

/* Whether the next byte begins a message, or a frame on its own, and would be looked at. */
int relay_ws_between_messages(const relay_ws *ws);

/* From now on drop messages unread: their limits, order and UTF-8 no longer matter, TOO_LONG and FRAGMENTS are
 * forgiven, pings and a Close are still reported. */
void relay_ws_skip(relay_ws *ws);

/* Writes a whole, final frame: RELAY_WS_HEAD_BYTES + n are always enough room. `key`, four bytes that the peer
 * cannot foretell, masks it, as a client must; NULL leaves it plain, as a server must. The payload may already lie at
 * its place in `out`, behind the head. Returns the bytes written, or RELAY_E_ROOM. */
ptrdiff_t relay_ws_build(int opcode, const char *payload, size_t n, const char *key, char *out, size_t room);

/* ---- audio in frames ----
 *
 * What the short way is made of. A frame of these calls is, byte for byte, what relay_uplink_push() or
 * relay_downlink_push() and then relay_ws_build() make.
 */

/* Bytes that stand before the samples in a browser's audio frame (docs/wire.md, section 4). */
#define RELAY_AUDIO_HEAD_BYTES 16

/* As relay_uplink_push(), but writes the event inside a finished frame, masked with the four bytes of `key`. */
ptrdiff_t relay_uplink_frame(relay_uplink *uplink, const char *samples, size_t n_bytes, const char *key, char *out,
                             size_t room);

/* Exactly what that will write; 0, as there, for samples that make no output yet. */
ptrdiff_t relay_uplink_frame_room(const relay_uplink *uplink, size_t n_bytes);

/* Where things are in a delta event: offsets from its first byte, and characters. */
typedef struct {
    uint32_t item_id, item_id_chars;
    uint32_t response_id, response_id_chars;
    uint32_t delta, delta_chars;
    uint32_t content_index;
    uint32_t has_words; /* event_id and obfuscation hold nothing but letters, digits and '_' */
} relay_delta;

/* Finds them in a `response.output_audio.delta` in any order and with any white space, if it has no other fields
 * than the API gives it (type, event_id, response_id, item_id, output_index, content_index, delta, obfuscation), none
 * twice, all texts plain ASCII without escapes, and neither id is empty. The base64 is not looked at. Returns 0 or
 * NOT_MINE. */
int relay_delta_find(const char *text, size_t n, relay_delta *found);

/* The same for an `input_audio_buffer.append` that has a type, audio, and no other field. */
int relay_append_find(const char *text, size_t n, uint32_t *audio, uint32_t *audio_chars);

/* The event that relay_uplink_frame() writes, of base64 as it is, which must not overlap `out`. Returns the bytes of
 * the frame, or RELAY_E_ROOM. */
ptrdiff_t relay_append_frame(const char *base64, size_t n_chars, const char *key, char *out, size_t room);

/* As relay_downlink_push(), but writes the samples inside a finished, unmasked binary frame behind their header: `item`
 * and `first_sample` as docs/wire.md has them. Returns the bytes of the frame; 0 when no sample came of it. */
ptrdiff_t relay_downlink_frame(relay_downlink *downlink, const char *delta, size_t n_chars, uint32_t item,
                               uint64_t first_sample, char *out, size_t room);

/* The out-buffer that it needs now. More than it will write. */
ptrdiff_t relay_downlink_frame_room(const relay_downlink *downlink, size_t n_chars);

/* ---- OpenSSL ----
 *
 * A TLS connection that Python's ssl makes between two ssl.MemoryBIO can be given to a way, which then encrypts and decrypts
 * with the functions of the OpenSSL that Python has loaded. It stays Python's, who keeps it as long as the way.
 */

/* Looks for OpenSSL in the shared object at `path` and in what that was linked with; NULL: in the process as it is. To be
 * called before a connection is made that is to be found. Returns 0, also when it was found before, or -1. */
int relay_openssl_load(const char *path);

/* The connection (SSL *) that OpenSSL made last in this thread, once; NULL if it made none since it was last asked for. */
void *relay_openssl_newest(void);

/* ---- records ----
 *
 * TLS lets a peer do much work for few bytes: records that say nothing, such as new keys. They are counted by their heads in
 * what is read from a socket, and by what was decrypted of them. Zeros are the start of a connection.
 */
typedef struct {
    uint32_t to_next_head; /* bytes from what was read last to where the next record begins */
    uint32_t empty;        /* records that have said nothing so far, those included that are not decrypted yet */
    uint32_t split_bytes;  /* of `split`: a part of a head */
    char split[5];
} relay_tls_records;

#define RELAY_TLS_PIECE_BYTES 4096 /* to be read at a time: 20 ms of a microphone; as new keys it is 15 ms of work */
#define RELAY_TLS_MOST_AT_ONCE 8   /* records in a piece that may be decrypted out of turn: new keys would be 150 */
#define RELAY_TLS_MOST_EMPTY 64    /* of a connection; libraries change keys after 24 million records, if at all */

/* The next `n` bytes were read. Returns how many records end in them, and counts these as empty, for the time being. */
size_t relay_tls_records_read(relay_tls_records *records, const char *bytes, size_t n);

/* So many of them were decrypted, and something was in them. */
void relay_tls_records_said(relay_tls_records *records, size_t count);

/* ---- the short way ----
 *
 * For a session on TCP: a frame of audio goes from one socket to the other inside one call. In relay.v1 it is converted,
 * and sent when it is due, and the browser's reports of what it played are read; in OpenAI's JSON it is checked.
 * Everything else waits for Python, which sees the stream whole from there on: in its socket or, with TLS, at DECRYPT.
 *
 * Each direction is open or shut, and shut at first. Python opens one when nothing of the session is under way in it, so
 * that nothing is overtaken, and shuts both before it looks at anything of the session. While a direction is open, nobody
 * else reads its socket, nobody else writes to the other, and nobody else uses more of its audio handle than the level.
 *
 * The pump waits for the sockets of all its ways: relay_pump_fd() is readable when one of them is. Descriptors and audio
 * handles belong to the caller, and live longer than the way. A pump and its ways are used by one thread.
 */
typedef struct relay_pump relay_pump;
typedef struct relay_way relay_way;

/* Legs. */
#define RELAY_WAY_BROWSER 0
#define RELAY_WAY_UPSTREAM 1

/* What a way has to say. */
#define RELAY_NEWS_NONE 0
#define RELAY_NEWS_CAREFUL 1 /* in this leg's socket is something for Python, or its end; the direction is shut */
#define RELAY_NEWS_STUCK 2   /* a frame went only in part: relay_way_rest() has what is left; both are shut. With an `ssl`,
                                the last of it may wait in the connection's buffer, in front of what is written next */
#define RELAY_NEWS_DECRYPT 3 /* TLS: something has come from this leg, for relay_way_hear() */
#define RELAY_NEWS_ENCRYPT 4 /* TLS: there is a frame from this leg for the other, for relay_way_send() */

#define RELAY_WAY_ID_CHARS 128     /* the longest id of an item or a response that is compared */
#define RELAY_WAY_REST_BYTES 49152 /* the longest rest; a second of audio is 64,000 in JSON, and goes through Python */
/* The longest frame, which TLS makes longer: by a sixth if a peer wants records of 512 bytes and a block cipher (RFC 6066, 4),
 * and by an answer for each record of a peer's that asks for one. */
#define RELAY_WAY_FRAME_BYTES (RELAY_WAY_REST_BYTES - 7168)

typedef struct {
    uint64_t token; /* the caller's name for the way, told with its news */
    int fds[2];     /* by leg, as the next three */
    int has_tls[2];
    void *ssl[2];   /* the connection (relay_openssl_newest()), or NULL: its bytes go through Python */
    relay_tls_records *records[2]; /* with TLS: count them, and leave too many at once, and too many empty ones, for Python,
                                      in the socket; NULL: this peer is trusted. The caller's, who counts there too */
    int is_json;    /* OpenAI's, and little of what follows; what is kept secret has a character that no base64 or word has */
    relay_uplink *uplink;
    relay_downlink *downlink;
    int64_t lead_ns;                /* how far ahead of playback audio may be sent */
    uint32_t rate_hz, sample_bytes; /* of the browser's output */
    uint32_t longest_delta_samples; /* at the upstream's rate; longer ones are Python's */
    uint32_t longest_up_bytes;      /* payload of the browser's longest frame; also in JSON, as the next */
    uint32_t uncounted_up_bytes;    /* of samples from the browser, after which Python looks before more may pass ... */
    uint32_t uncounted_down_samples; /* ... and of samples from the upstream, at its rate */
} relay_way_ends;

/* The item that is being spoken; only its deltas take the short way. */
typedef struct {
    char item_id[RELAY_WAY_ID_CHARS], response_id[RELAY_WAY_ID_CHARS]; /* printable ASCII */
    uint32_t item_id_chars, response_id_chars, number, content_index;
    uint64_t sent_samples;   /* to the browser so far, at its rate ... */
    uint64_t played_samples; /* ... of which it has reported so many; at most sent_samples */
} relay_way_item;

/* What passed since it was last asked for. */
typedef struct {
    uint64_t up_bytes, up_events;       /* of samples from the browser; append events to the upstream */
    uint64_t down_events, down_samples; /* deltas from the upstream, and samples in them, at its rate */
    uint64_t sent_samples;              /* of the item that is being spoken, to the browser, in all */
    uint64_t played_samples;            /* of it, as reported at most; 0: nothing was reported since the last time */
    int64_t heard_in_ns;                /* until the browser has played all; may be negative */
    uint32_t stalled;                   /* bit 1 << leg: part of a frame has lain in its socket since the last time */
} relay_way_counts;

/* What DECRYPT and ENCRYPT are about: memory of the pump, good until its next call or that of any of its ways. */
typedef struct {
    const char *received, *frame;
    size_t received_bytes, frame_bytes;
    int is_plain; /* `received` is decrypted; more may be readable, or something wrong */
} relay_tls_work;

/* CLOCK_MONOTONIC. */
int64_t relay_now_ns(void);

/* NULL: no memory, or no file descriptors. Freed after its ways; NULL is allowed. */
relay_pump *relay_pump_new(void);
void relay_pump_free(relay_pump *pump);
int relay_pump_fd(const relay_pump *pump);

/* An eventfd(2) with which the caller may end a wait of its own for the loop's descriptor; the pump only keeps it. */
int relay_pump_bell(const relay_pump *pump);

/* Where to look at DECRYPT and ENCRYPT; the same for all ways, and as long as the pump. */
const relay_tls_work *relay_pump_tls_work(const relay_pump *pump);

/* Wait for the caller's event loop as well: `fd` is readable when it has something to do, as that of an epoll is. It
 * belongs to the caller, and lives longer. Returns 0, or -1 if it cannot be waited for. */
int relay_pump_wait_for(relay_pump *pump, int fd);

/* Why a wait came to its end. */
#define RELAY_PUMP_TIME 0 /* the time is over, or a signal came, of which the loop's descriptor may not know */
#define RELAY_PUMP_NEWS 1 /* a way has something to say */
#define RELAY_PUMP_LOOP 2 /* the loop's descriptor is readable */

/* Serves whoever is ready, and waits for more until `until_ns` (a time of relay_now_ns()) or a millisecond longer; with
 * a time that has passed it serves who is ready now, and nobody who is ready only later, however often it is called again
 * after NEWS. Returns RELAY_PUMP_*: at NEWS, what there is is in the last three, and the next call goes on where this one
 * stopped. */
int relay_pump_next(relay_pump *pump, int64_t until_ns, uint64_t *token, int *leg, int *news);

/* NULL: no memory, or the descriptors cannot be waited for. Freed before the descriptors are closed; NULL is allowed. */
relay_way *relay_way_new(relay_pump *pump, const relay_way_ends *ends);
void relay_way_free(relay_way *way);

/* Watch a leg without opening it: whatever comes from it is news (CAREFUL), once. Returns RELAY_NEWS_*. */
int relay_way_watch(relay_way *way, int leg);

/* Open a direction, and serve what is there already; with TLS, what is in the leg's socket comes by the pump, behind what
 * Python has left, be it nothing: all of it comes at DECRYPT until relay_way_hear() was told. Return RELAY_NEWS_*. */
int relay_way_open_up(relay_way *way);
int relay_way_open_down(relay_way *way, const relay_way_item *item, int64_t heard_in_ns);

/* Gives what passed since the last time. Shutting both directions does the same; a leg that was open is watched then. */
void relay_way_count(relay_way *way, relay_way_counts *counts);
void relay_way_shut(relay_way *way, relay_way_counts *counts);

/* Moves the rest for the socket of `leg` to `out`. Returns its length, 0 if there is none, or RELAY_E_ROOM: `room` is too
 * small, or another way was stuck since; the pump has room for one rest, so take it before any other call. */
ptrdiff_t relay_way_rest(relay_way *way, int leg, char *out, size_t room);

/* Length of the frame that begins at `bytes`, or comes next in the socket of `leg`, head included, whether it is all
 * there or not; 0 when its head is not, or says more than 65,535 bytes. Takes nothing. */
ptrdiff_t relay_way_frame_bytes(const char *bytes, size_t n);
ptrdiff_t relay_way_next_bytes(const relay_way *way, int leg);

/* With TLS, of the leg that the news are about. At DECRYPT, `received` was taken from its socket, and decrypted as far as C
 * could (`is_plain`). What it says, behind what was left before, goes to relay_way_hear(), which returns how much of it took
 * the short way, and has unmasked that much; what did not is as it was. *news is NONE, CAREFUL, STUCK or ENCRYPT, behind
 * which relay_way_hear() goes on, and NONE while the direction is shut. At ENCRYPT, what became of `frame` goes to
 * relay_way_send(), which writes it to the other leg's socket and goes on with this leg: it returns what is news then, or
 * RELAY_E_ROOM, and has done nothing, for more than RELAY_WAY_REST_BYTES. With an `ssl` neither is said of a frame that is
 * whole and as it should be. */
size_t relay_way_hear(relay_way *way, int leg, char *plain, size_t n, int *news);
int relay_way_send(relay_way *way, int leg, const char *bytes, size_t n);

#endif
