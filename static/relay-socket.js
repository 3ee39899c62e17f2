/**
 * The socket of one session: events and audio frames out, events and audio frames in, one reason when it ends.
 *
 * Rules:
 * - Audio goes out only while the network takes it: what has waited for a second is stale, so newer frames are dropped
 *   and counted. Events are never dropped.
 * - While audio goes out, the server sends levels ten times a second: when 15 s of audio meet no answer, nobody is
 *   there any more. A network that is cut says nothing, and the browser would wait for minutes.
 * - Whatever arrives broken ends the session with a typed error; nothing is guessed.
 * - onEnd is called at most once, and never after close().
 */

import { whyRefused } from "./relay-readiness.js";
import { BYTES_PER_SAMPLE, closeError, defaultUrl, parseAudioFrame, parseEvent, SUBPROTOCOL } from "./relay-wire.js";

const MAX_BACKLOG_S = 1;
const MAX_UNANSWERED_S = 15;
const FATAL_CLOSE_DEADLINE_MS = 2_000;

/**
 * @typedef {object} SocketHandlers
 * @property {() => void} onOpen
 * @property {(event: {type: string}) => void} onEvent
 * @property {(frame: {item: number, firstSample: number, samples: Float32Array}) => void} onAudio
 * @property {(dropped_ms: number | null) => void} onDropped  null: a congestion begins, microphone audio is dropped;
 *                                                            a number: it is over, and so much was lost
 * @property {(error: RelayError) => void} onEnd
 */

export class RelaySocket {
  #socket;
  #handlers;
  #rateHz;
  #fatal = null;
  #fatalTimer = 0;
  #closed = false;
  #unansweredSamples = 0;
  #droppedSamples = 0;

  /**
   * @param {string | undefined} url
   * @param {string[]} subprotocols  offered beside relay's own: the ticket
   * @param {number} rateHz  of the microphone's samples
   * @param {SocketHandlers} handlers
   */
  constructor(url, subprotocols, rateHz, handlers) {
    this.#rateHz = rateHz;
    this.#handlers = handlers;
    const socket = (this.#socket = new WebSocket(url ?? defaultUrl(), [SUBPROTOCOL, ...subprotocols]));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#guard(() => handlers.onOpen());
    socket.onmessage = ({ data }) => this.#guard(() => this.#receive(data));
    socket.onclose = async ({ code }) => this.#end(await this.#reason(code));
  }

  /** @returns {boolean} whether it could be sent */
  send(event) {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(event));
    return true;
  }

  /** @param {ArrayBuffer} samples float32 @returns {boolean} whether it was sent */
  sendAudio(samples) {
    const socket = this.#socket;
    if (socket.readyState !== WebSocket.OPEN) return false;
    this.#unansweredSamples += samples.byteLength / BYTES_PER_SAMPLE;
    if (this.#unansweredSamples > MAX_UNANSWERED_S * this.#rateHz) {
      this.#end(closeError(1006, null));
      return false;
    }
    if (socket.bufferedAmount > MAX_BACKLOG_S * this.#rateHz * BYTES_PER_SAMPLE) {
      this.#drop(samples.byteLength / BYTES_PER_SAMPLE);
      return false;
    }
    if (this.#droppedSamples > 0) this.#endDropping();
    socket.send(samples);
    return true;
  }

  close() {
    this.#closed = true;
    const socket = this.#socket;
    clearTimeout(this.#fatalTimer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #receive(data) {
    this.#unansweredSamples = 0;
    if (typeof data === "string") {
      const event = parseEvent(data);
      if (event.type === "error" && event.error?.fatal) this.#expectClose(event.error);
      this.#handlers.onEvent(event);
      return;
    }
    const frame = parseAudioFrame(data);
    if (frame) this.#handlers.onAudio(frame);
  }

  /** The close code follows a fatal error; should it not, the error alone must do. */
  #expectClose(fatal) {
    this.#fatal = fatal;
    this.#fatalTimer = setTimeout(() => this.#end(closeError(1006, fatal)), FATAL_CLOSE_DEADLINE_MS);
  }

  async #reason(closeCode) {
    const wasOpen = this.#socket.protocol !== "";
    return closeCode === 1006 && !wasOpen ? whyRefused(this.#socket.url) : closeError(closeCode, this.#fatal);
  }

  #drop(samples) {
    if (this.#droppedSamples === 0) this.#handlers.onDropped(null);
    this.#droppedSamples += samples;
  }

  #endDropping() {
    const droppedMs = Math.round((1000 * this.#droppedSamples) / this.#rateHz);
    this.#droppedSamples = 0;
    this.#handlers.onDropped(droppedMs);
  }

  #guard(step) {
    try {
      step();
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error) {
    if (this.#closed) return;
    this.close();
    this.#handlers.onEnd(error);
  }
}
