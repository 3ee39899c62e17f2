/**
 * The words of relay.v1: names, header layout and errors. docs/wire.md is the contract; this file is its reading.
 *
 * Rules:
 * - Values in, values out: no socket, no audio, no DOM, so that a test can call everything directly.
 * - Whatever goes wrong becomes a RelayError with a `code` for programs and a `message` that tells a person what to do.
 */

export const SUBPROTOCOL = "relay.v1";
const HEADER_BYTES = 16;
const KIND_AUDIO = 1;
export const BYTES_PER_SAMPLE = 4; // f32le in both directions
const MAX_MESSAGE_BYTES = 65_536; // one more ends the session
const MAX_TEXT = 32_000; // characters of one typed text
const MIN_RATE_HZ = 8_000;
const MAX_RATE_HZ = 192_000;

/** Anything that ended a session, or kept one from starting. */
export class RelayError extends Error {
  /**
   * @param {string} code        `relay_…` codes come from relay (docs/wire.md, section 8), all others from this client
   * @param {string} message     one or two sentences for a person
   * @param {{closeCode?: number, retryAfterMs?: number, cause?: unknown}} [more]
   */
  constructor(code, message, { closeCode, retryAfterMs, cause } = {}) {
    super(message, { cause });
    this.name = "RelayError";
    this.code = code;
    this.closeCode = closeCode ?? null;
    this.retryAfterMs = retryAfterMs ?? null;
  }
}

/** What the browser itself throws (a wrong address, no sound device) becomes a RelayError as well. */
export function typed(error) {
  if (error instanceof RelayError) return error;
  return new RelayError("start_failed", `The session could not start (${error.message}).`, { cause: error });
}

/** What a close code means when no fatal `error` event came before it. */
const CLOSE_CODES = new Map([
  [1000, ["closed", "The server ended the session."]],
  [1002, ["relay_protocol_error", "The server did not understand this page's traffic. Reload the page."]],
  [1006, ["connection_lost", "The connection to the server was lost. Check the network, then try again."]],
  [1009, ["relay_message_too_big", "A message was larger than the server accepts."]],
  [1011, ["relay_internal_error", "Something went wrong inside relay. Start again to go on."]],
  [1012, ["relay_shutting_down", "The server is restarting. Try again in a moment."]],
  [1013, ["relay_overloaded", "All voice sessions are in use. Try again in a moment."]],
  [4400, ["relay_start_failed", "The session could not start: the server did not accept the audio format."]],
  [4408, ["relay_client_timeout", "This page stopped answering for a while, so the server ended the session."]],
  [4410, ["relay_session_expired", "The session reached the voice service's time limit. Start again to go on."]],
  [4501, ["relay_upstream_unauthorized", "The voice service did not accept the server's key. Tell whoever runs it."]],
  [4502, ["relay_upstream_closed", "The voice service failed. Try again in a moment."]],
  [4503, ["relay_cooling_down", "The voice service failed a moment ago. Try again shortly."]],
  [4504, ["relay_upstream_timeout", "The voice service stopped answering. Try again in a moment."]],
  [4601, ["relay_time_limit", "The session reached the length that this server allows. Start again to go on."]],
  [4602, ["relay_idle_limit", "Nobody spoke for a while, so the session ended. Start again to go on."]],
  [4603, ["relay_audio_in_limit", "The session listened for as long as this server allows. Start again to go on."]],
  [4604, ["relay_audio_out_limit", "The session spoke for as long as this server allows. Start again to go on."]],
  [4605, ["relay_token_limit", "The session used as much as this server allows. Start again to go on."]],
  [4606, ["relay_money_limit", "The session cost as much as this server allows. Start again to go on."]],
  [4607, ["relay_day_limit", "This server has spent what it may spend today. Try again tomorrow."]],
]);

/**
 * The error for a socket that closed.
 * @param {number} closeCode
 * @param {{code: string, message: string, retry_after_ms?: number} | null} fatal  the last fatal `error`, if one came
 */
export function closeError(closeCode, fatal) {
  if (fatal) {
    return new RelayError(fatal.code, fatal.message, { closeCode, retryAfterMs: fatal.retry_after_ms });
  }
  const unknown = ["closed", `The server ended the session (code ${closeCode}).`];
  const [code, message] = CLOSE_CODES.get(closeCode) ?? unknown;
  return new RelayError(code, message, { closeCode });
}

/**
 * The first message of a session. Both directions run at the audio context's own rate: nothing is resampled here.
 * @param {number} rateHz  what the context really runs at
 */
export function startMessage(rateHz) {
  if (!Number.isInteger(rateHz) || rateHz < MIN_RATE_HZ || rateHz > MAX_RATE_HZ) {
    throw new RelayError("unsupported_rate", `This device runs at ${rateHz} Hz; relay needs 8,000 to 192,000 Hz.`);
  }
  const format = () => ({ encoding: "f32le", rate_hz: rateHz });
  return { type: "relay.start", audio: { input: format(), output: format() }, levels: true };
}

/**
 * Typed text as an item of the conversation.
 * @param {string} text
 * @throws {RelayError} text_too_long
 */
export function textMessage(text) {
  const content = [{ type: "input_text", text }];
  const event = { type: "conversation.item.create", item: { type: "message", role: "user", content } };
  const bytes = new TextEncoder().encode(JSON.stringify(event)).length;
  if (text.length > MAX_TEXT || bytes > MAX_MESSAGE_BYTES) {
    const most = Math.floor(Math.min(MAX_TEXT, (text.length * MAX_MESSAGE_BYTES) / bytes) / 1000) * 1000;
    const message = `The text is too long to be sent: ${text.length} characters, and about ${most} fit.`;
    throw new RelayError("text_too_long", `${message} Shorten it, or send it in parts.`);
  }
  return event;
}

/**
 * Take a binary message apart.
 * @param {ArrayBuffer} buffer
 * @returns {{item: number, firstSample: number, samples: Float32Array} | null}  null for a kind we do not know
 */
export function parseAudioFrame(buffer) {
  const broken = (why) => new RelayError("bad_frame", `The server sent audio that cannot be read (${why}).`);
  if (buffer.byteLength < HEADER_BYTES) throw broken(`${buffer.byteLength} bytes are less than a header`);
  const header = new DataView(buffer);
  if (header.getUint8(0) !== KIND_AUDIO) return null;
  if ((buffer.byteLength - HEADER_BYTES) % BYTES_PER_SAMPLE) throw broken("not a whole number of samples");
  const item = header.getUint32(4, true);
  const firstSample = Number(header.getBigUint64(8, true));
  if (item === 0 || !Number.isSafeInteger(firstSample)) throw broken("item or sample index out of range");
  return { item, firstSample, samples: new Float32Array(buffer, HEADER_BYTES) };
}

/**
 * Take a text message apart.
 * @param {string} text
 * @returns {{type: string, [field: string]: unknown}}
 */
export function parseEvent(text) {
  let event;
  try {
    event = JSON.parse(text);
  } catch (cause) {
    throw new RelayError("bad_event", "The server sent text that is not JSON.", { cause });
  }
  if (typeof event?.type !== "string") throw new RelayError("bad_event", "The server sent an event without a type.");
  return event;
}

/** What an HTTP answer asks to wait, 0 if nothing that is understood. @param {Response} answer */
export function retryAfterMs(answer) {
  return 1000 * Math.max(0, Number(answer.headers.get("Retry-After")) || 0);
}

/** The address of the relay that served this page. @param {string} [pageUrl] */
export function defaultUrl(pageUrl = globalThis.location.href) {
  const url = new URL("/v1/realtime", pageUrl);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
