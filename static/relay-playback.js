/**
 * The loudspeaker of one session: one worklet, which knows the session's items and nothing of those before.
 *
 * Rules:
 * - A new session has a new one, in the same audio context: its items count from 1 again.
 * - What has arrived when a session ends is played to its end; nothing is said of it any more.
 */

const FLUSH_DEADLINE_MS = 100; // the server waits 250 ms; when the audio thread is stuck, the last report must do

export class RelayPlayback {
  #node;
  #closed = false;
  #position = { item: 0, samples: 0 };
  /** @type {Map<number, (played: {item: number, samples: number}) => void>} */ #flushes = new Map();
  #onMessage;

  /**
   * @param {AudioContext} context  playback-worklet.js is loaded
   * @param {(message: object) => void} onMessage  what playback-worklet.js reports, except "flushed"
   * @param {() => void} onFailed  the audio thread gave up
   */
  constructor(context, onMessage, onFailed) {
    this.#onMessage = onMessage;
    this.#node = new AudioWorkletNode(context, "relay-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.connect(context.destination);
    this.#node.onprocessorerror = onFailed;
    this.#node.port.onmessage = ({ data }) => this.#receive(data);
  }

  /** @param {{item: number, firstSample: number, samples: Float32Array}} frame  its buffer is transferred */
  play(frame) {
    this.#node.port.postMessage({ type: "audio", ...frame }, [frame.samples.buffer]);
  }

  finish(item) {
    this.#node.port.postMessage({ type: "finish", item });
  }

  /**
   * Fall silent now.
   * @returns {Promise<{item: number, samples: number}>} what had been played; settles within FLUSH_DEADLINE_MS
   */
  flush(flush, item) {
    return new Promise((resolve) => {
      this.#flushes.set(flush, resolve);
      this.#node.port.postMessage({ type: "flush", flush, item });
      setTimeout(() => this.#flushed(flush, this.#position), FLUSH_DEADLINE_MS);
    });
  }

  /** Nothing more will come. Safe to call twice. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#node.port.postMessage({ type: "end" });
  }

  #receive(message) {
    if (message.type === "ended") this.#node.disconnect();
    else if (message.type === "flushed") this.#flushed(message.flush, { item: message.item, samples: message.samples });
    else if (!this.#closed) this.#report(message);
  }

  #report(message) {
    if (message.type === "report") this.#position = { item: message.item, samples: message.samples };
    this.#onMessage(message);
  }

  #flushed(flush, played) {
    this.#flushes.get(flush)?.(played);
    this.#flushes.delete(flush);
  }
}
