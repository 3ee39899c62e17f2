/**
 * One session: a socket, a loudspeaker, and whose turn it is. relay-client.js has one at a time, and a new one after a loss.
 *
 * Rules:
 * - Everything in here belongs to one session and is gone with it; what a person keeps (microphone, mute) is the client's.
 * - Every way out goes through #end, which closes socket and loudspeaker. onEnd is called once, and never after close().
 * - What the server says was played is what the audio thread counted, nothing estimated.
 */

import { RelaySocket } from "./relay-socket.js";
import { ticketSubprotocols } from "./relay-ticket.js";
import { BYTES_PER_SAMPLE, RelayError, startMessage, textMessage, typed } from "./relay-wire.js";

const READY_DEADLINE_MS = 25_000; // the server's own deadlines for its upstream come first
const AUDIO_DROPPED = { code: "audio_dropped", message: "The network is too slow for your voice." };
const PLAYBACK_OVERFLOW = { code: "playback_overflow", message: "The server sent more sound than fits; some is lost." };
const SILENT_DBFS = -120;
const ACTIVE_RESPONSE = "conversation_already_has_active_response";
const MIN_TURN_MS = 150; // the upstream refuses to commit less than 100 ms

/**
 * @typedef {object} SessionHandlers
 * @property {(name: string, detail: object) => void} emit  an event of RelayClient
 * @property {(ready: object) => void} onReady
 * @property {(error: RelayError) => void} onEnd
 */

export class RelaySession {
  #audio;
  #handlers;
  #playback;
  /** @type {RelaySocket | null} */ #socket = null;
  #over = false;
  #ready = null;
  #readyTimer;
  #played = { item: 0, samples: 0 };
  #requested = false; // an answer was asked for, and has not begun
  #requestCount = 0;
  #responding = false; // upstream generates an answer
  #sounding = false; // an answer is heard
  #interruptWhenCreated = false;
  #createWhenDone = false;
  #turnStartedMs = null;
  #itemIds = new Map();

  /**
   * Connects at once.
   * @param {{url?: string, ticket?: string | (() => string | Promise<string>)}} options  RelayClient's
   * @param {import("./relay-audio.js").RelayAudio} audio  open
   * @param {SessionHandlers} handlers
   */
  constructor(options, audio, handlers) {
    this.#audio = audio;
    this.#handlers = handlers;
    this.#playback = audio.openPlayback((message) => this.#onPlayback(message));
    const late = new RelayError("ready_timeout", "The server did not become ready. Try again in a moment.");
    this.#readyTimer = setTimeout(() => this.#end(late), READY_DEADLINE_MS);
    this.#connect(options);
  }

  /** The relay.ready event, or null. */
  get ready() {
    return this.#ready;
  }

  /** Push-to-talk: whether a turn has begun. */
  get speaking() {
    return this.#turnStartedMs !== null;
  }

  /** Let go of everything, and say nothing more. */
  close() {
    this.#over = true;
    clearTimeout(this.#readyTimer);
    this.#socket?.close();
    this.#playback.close();
  }

  /** What the network does not take is dropped. @param {ArrayBuffer} samples  float32 */
  sendAudio(samples) {
    if (!this.#socket?.sendAudio(samples)) return;
    this.#handlers.emit("frame", { direction: "up", samples: samples.byteLength / BYTES_PER_SAMPLE });
  }

  /** See RelayClient. */
  sendText(text) {
    const message = textMessage(text);
    this.#cutShort();
    this.#send(message);
    this.#createResponse();
  }

  /** See RelayClient. */
  interrupt() {
    this.#interruptWhenCreated = this.#requested; // what has not begun cannot be cancelled yet
    this.#send({ type: "relay.interrupt" });
  }

  /** Push-to-talk. @returns {boolean} false when the person speaks already */
  beginTurn() {
    if (this.speaking) return false;
    this.#cutShort();
    this.#send({ type: "input_audio_buffer.clear" });
    this.#turnStartedMs = performance.now();
    return true;
  }

  /** Push-to-talk, after beginTurn(). @returns {boolean} false when it was too short to be speech */
  endTurn() {
    const longEnough = performance.now() - this.#turnStartedMs >= MIN_TURN_MS;
    this.#turnStartedMs = null;
    if (!longEnough) return false;
    this.#send({ type: "input_audio_buffer.commit" });
    this.#createResponse();
    return true;
  }

  async #connect({ url, ticket }) {
    try {
      const subprotocols = await ticketSubprotocols(ticket);
      if (this.#over) return;
      this.#socket = new RelaySocket(url, subprotocols, this.#audio.rateHz, {
        onOpen: () => this.#send(startMessage(this.#audio.rateHz)),
        onEvent: (event) => this.#onEvent(event),
        onAudio: (frame) => this.#onAudio(frame),
        onDropped: (dropped_ms) => this.#handlers.emit("warning", { ...AUDIO_DROPPED, dropped_ms }),
        onEnd: (error) => this.#end(error),
      });
    } catch (error) {
      this.#end(typed(error));
    }
  }

  #end(error) {
    if (this.#over) return;
    this.close();
    this.#handlers.onEnd(error);
  }

  #onAudio(frame) {
    const { length } = frame.samples; // the worklet takes the samples away
    this.#playback.play(frame);
    this.#handlers.emit("frame", { direction: "down", samples: length });
  }

  #onEvent(event) {
    this.#handlers.emit("event", event);
    switch (event.type) {
      case "relay.ready":
        return this.#onReady(event);
      case "relay.audio.started":
        return this.#itemIds.set(event.item, event.item_id);
      case "relay.audio.done":
        return this.#playback.finish(event.item);
      case "relay.flush":
        return this.#onFlush(event);
      case "relay.level":
        return this.#handlers.emit("level", event.input);
      case "relay.warning":
        return this.#handlers.emit("warning", event);
      case "response.created":
        return this.#onResponseCreated();
      case "response.done":
        return this.#onResponseDone();
      case "error":
        return this.#onError(event.error);
      default:
        return undefined;
    }
  }

  #onReady(event) {
    clearTimeout(this.#readyTimer);
    this.#ready = event;
    this.#handlers.onReady(event);
  }

  async #onFlush({ flush, item }) {
    const played = await this.#playback.flush(flush, item);
    if (!this.#over) this.#send({ type: "relay.flushed", flush, ...played });
  }

  #onError(error) {
    if (error?.fatal) return; // comes as the end
    const refused = this.#requestCount > 0 && error?.event_id === this.#requestId;
    if (refused) this.#requested = false;
    if (refused && error.code === ACTIVE_RESPONSE) {
      this.#createWhenDone = true; // the upstream began an answer by itself at the same moment
      this.interrupt();
      return;
    }
    this.#handlers.emit("error", error);
    if (refused) this.#onRefused();
  }

  /** The answer that was asked for will not begin: there is nothing to interrupt, and who waited for it waits no longer. */
  #onRefused() {
    this.#interruptWhenCreated = false;
    if (!this.#responding) this.#createIfAwaited();
  }

  #onResponseCreated() {
    this.#responding = true;
    this.#requested = false;
    if (this.#interruptWhenCreated) this.interrupt();
  }

  #onResponseDone() {
    this.#responding = false;
    this.#createIfAwaited();
  }

  #createIfAwaited() {
    if (!this.#createWhenDone) return;
    this.#createWhenDone = false;
    this.#createResponse();
  }

  #cutShort() {
    if (this.#requested || this.#responding || this.#sounding) this.interrupt();
  }

  /** The upstream refuses a second response while one is active: wait for its end. */
  #createResponse() {
    if (this.#requested || this.#responding) {
      this.#createWhenDone = true;
      return;
    }
    this.#requested = true;
    this.#requestCount += 1;
    this.#send({ type: "response.create", event_id: this.#requestId });
  }

  get #requestId() {
    return `create_${this.#requestCount}`;
  }

  #onPlayback(message) {
    const at_ms = performance.now();
    switch (message.type) {
      case "report":
        this.#reportPlayed(message);
        this.#handlers.emit("output", { rms_dbfs: dbfs(message.rms), peak_dbfs: dbfs(message.peak) });
        break;
      case "sound":
        this.#sounding = true;
        this.#handlers.emit("sound", { item: message.item, item_id: this.#itemIds.get(message.item), at_ms });
        break;
      case "silence":
        this.#sounding = message.reason === "underrun";
        this.#handlers.emit("silence", { item: message.item, reason: message.reason, at_ms });
        break;
      case "overflow":
        this.#handlers.emit("warning", PLAYBACK_OVERFLOW);
    }
  }

  #reportPlayed({ item, samples }) {
    if (item === this.#played.item && samples === this.#played.samples) return;
    this.#played = { item, samples };
    this.#send({ type: "relay.played", item, samples });
  }

  #send(event) {
    if (this.#socket?.send(event)) this.#handlers.emit("sent", event);
  }
}

function dbfs(amplitude) {
  return amplitude > 0 ? Math.max(SILENT_DBFS, 20 * Math.log10(amplitude)) : SILENT_DBFS;
}
