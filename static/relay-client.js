/**
 * RelayClient: one voice conversation from a browser, in a few lines and without the page.
 *
 *     import { RelayClient } from "/static/relay-client.js";
 *
 *     const client = new RelayClient();
 *     client.addEventListener("event", ({ detail }) => console.log(detail.type));
 *     client.addEventListener("ended", ({ detail }) => console.log(detail.message));
 *     button.onclick = () => client.start();
 *
 * For a page that relay does not serve, put copies of relay-*.js, *-worklet.js, playback-queue.js and frame-cutter.js
 * beside it (browsers load no module from another origin unless that allows it), give `url`, and start relay with
 * --allow-origin and the page's origin.
 *
 * Events (all CustomEvents; `detail` is given after the name):
 *   state    {state}                     "idle", "connecting" or "open"
 *   ready    the relay.ready event
 *   event    every JSON event that arrived, relay's own included
 *   sent     every JSON event that was sent
 *   frame    {direction: "up" | "down", samples}   every binary message
 *   level    {rms_dbfs, peak_dbfs} | null          what was really sent upstream since the last one
 *   output   {rms_dbfs, peak_dbfs}                 what was really played since the last one
 *   warning  {code, message, …}          nothing has ended: relay.warning, and this client's own sound_paused,
 *                                        playback_overflow and audio_dropped
 *   error    {code, message, …}          a refused event; nothing has ended
 *   sound    {item, item_id, at_ms}      the first sample of an item was played
 *   silence  {item, reason, at_ms}       the last one was: "end", "underrun" or "flush"
 *   ended    RelayError | {code: "stopped"}        exactly one for every start()
 * `at_ms` is performance.now() when the message of the audio thread arrived.
 *
 * Rules:
 * - A client has one session at a time; every way out of it goes through #end, which stops microphone, sound and socket.
 * - It never reconnects by itself. `ended` says how long to wait (`retryAfterMs`); a person, or the page, decides.
 * - What the server says was played is what the audio thread counted, nothing estimated.
 */

import { RelayAudio } from "./relay-audio.js";
import { RelaySocket } from "./relay-socket.js";
import { ticketSubprotocols } from "./relay-ticket.js";
import { BYTES_PER_SAMPLE, RelayError, startMessage, textMessage } from "./relay-wire.js";

const READY_DEADLINE_MS = 25_000; // the server's own deadlines for its upstream come first
const AUDIO_DROPPED = { code: "audio_dropped", message: "The network is too slow for your voice." };
const PLAYBACK_OVERFLOW = { code: "playback_overflow", message: "The server sent more sound than fits; some is lost." };
const SOUND_PAUSED = {
  code: "sound_paused",
  message: "The browser has paused microphone and sound. Come back to this page; if it stays silent, stop and start.",
};
const SILENT_DBFS = -120;
const ACTIVE_RESPONSE = "conversation_already_has_active_response";
const MIN_TURN_MS = 150; // the upstream refuses to commit less than 100 ms

/**
 * @typedef {object} RelayClientOptions
 * @property {string} [url]               ws(s) address of the relay; default: the server that served the page
 * @property {string | (() => string | Promise<string>)} [ticket]  what lets this page in, if the server needs one; a
 *                                        function is asked for a new one each time, for one opens one session
 * @property {string} [deviceId]          microphone, from enumerateDevices(); default: the system's choice
 * @property {boolean} [voiceProcessing]  echo cancellation, noise suppression, gain control; default true
 */

export class RelayClient extends EventTarget {
  /** May be changed between sessions. @type {RelayClientOptions} */
  options;

  #state = "idle";
  #muted = false;
  #ready = null;
  /** @type {RelayAudio | null} */ #audio = null;
  /** @type {RelaySocket | null} */ #socket = null;
  /** @type {{resolve: (ready: object) => void, reject: (error: Error) => void} | null} */ #starting = null;
  #readyTimer = 0;
  #played = { item: 0, samples: 0 };
  #requested = false; // an answer was asked for, and has not begun
  #requestCount = 0;
  #responding = false; // upstream generates an answer
  #sounding = false; // an answer is heard
  #interruptWhenCreated = false;
  #createWhenDone = false;
  #turnStartedMs = null;
  #itemIds = new Map();

  /** @param {RelayClientOptions} [options] */
  constructor(options = {}) {
    super();
    this.options = options;
  }

  get state() {
    return this.#state;
  }

  get muted() {
    return this.#muted;
  }

  /** The relay.ready event of the running session, or null. */
  get ready() {
    return this.#ready;
  }

  get pushToTalk() {
    return this.#ready?.turn_detection === "none";
  }

  get microphoneLabel() {
    return this.#audio?.microphoneLabel ?? "";
  }

  /** What the device adds between the audio thread and the ear, as far as the browser knows. */
  get outputLatencyMs() {
    return this.#audio?.outputLatencyMs ?? 0;
  }

  /**
   * Ask for the microphone, connect and wait until the voice service is ready. Call it from a click.
   * @returns {Promise<object>} the relay.ready event
   * @throws {RelayError} as a rejection, after everything has been given back
   */
  start() {
    if (this.#state !== "idle") {
      return Promise.reject(new RelayError("already_started", "This client has a session already."));
    }
    const started = new Promise((resolve, reject) => (this.#starting = { resolve, reject }));
    started.catch(() => {}); // `ended` reports it too: whoever does not await start() gets no stray rejection
    const audio = (this.#audio = new RelayAudio({
      onFrame: (samples) => this.#sendAudio(samples),
      onPlayback: (message) => this.#onPlayback(message),
      onPaused: () => this.#emit("warning", SOUND_PAUSED),
      onLost: (error) => this.#end(error),
    }));
    audio.mute(this.#muted);
    this.#setState("connecting");
    globalThis.addEventListener("pagehide", this.stop);
    this.#open(audio);
    return started; // this very promise: an async function would return another one, without the catch above
  }

  /** End the session and give microphone, sound and socket back. Does nothing when there is none. */
  stop = () => {
    this.#end(new RelayError("stopped", "Stopped."));
  };

  /** Send silence instead of the microphone. Said before start(), it holds from the first sample on. */
  mute(muted = true) {
    this.#muted = muted;
    this.#audio?.mute(muted);
  }

  /** Change microphone or voice processing while the session goes on. @param {RelayClientOptions} options */
  async useMicrophone(options) {
    this.options = { ...this.options, ...options };
    await this.#audio?.useMicrophone(this.options);
  }

  /**
   * Say something in writing. An answer that is under way is cut short first.
   * @param {string} text
   * @throws {RelayError} text_too_long; nothing has been sent or interrupted then
   */
  sendText(text) {
    const message = textMessage(text);
    this.#cutShort();
    this.#send(message);
    this.#createResponse();
  }

  /** Silence the answer. What was heard of it stays in the conversation. */
  interrupt() {
    this.#interruptWhenCreated = this.#requested; // what has not begun cannot be cancelled yet
    this.#send({ type: "relay.interrupt" });
  }

  /** Push-to-talk: the person begins to speak. Does nothing when they are speaking already. */
  beginTurn() {
    this.#requirePushToTalk();
    if (this.#turnStartedMs !== null) return;
    this.#cutShort();
    this.#send({ type: "input_audio_buffer.clear" });
    this.#turnStartedMs = performance.now();
    this.mute(false);
  }

  /** Push-to-talk: the person has finished. @returns {boolean} false when it was too short to be speech */
  endTurn() {
    this.#requirePushToTalk();
    if (this.#turnStartedMs === null) return false;
    const longEnough = performance.now() - this.#turnStartedMs >= MIN_TURN_MS;
    this.#turnStartedMs = null;
    this.mute(true);
    if (!longEnough) return false;
    this.#send({ type: "input_audio_buffer.commit" });
    this.#createResponse();
    return true;
  }

  async #open(audio) {
    try {
      await audio.open(this.options);
      if (audio === this.#audio) await this.#connect(audio);
    } catch (error) {
      if (audio === this.#audio) this.#end(typed(error));
    }
  }

  /** Only now the ticket: it is short-lived, and a person may take their time to allow the microphone. */
  async #connect(audio) {
    const late = new RelayError("ready_timeout", "The server did not become ready. Try again in a moment.");
    this.#readyTimer = setTimeout(() => this.#end(late), READY_DEADLINE_MS);
    const subprotocols = await ticketSubprotocols(this.options.ticket);
    if (audio !== this.#audio) return;
    this.#socket = new RelaySocket(this.options.url, subprotocols, audio.rateHz, {
      onOpen: () => this.#send(startMessage(this.#audio.rateHz)),
      onEvent: (event) => this.#onEvent(event),
      onAudio: (frame) => this.#onAudio(frame),
      onDropped: (dropped_ms) => this.#emit("warning", { ...AUDIO_DROPPED, dropped_ms }),
      onEnd: (error) => this.#end(error),
    });
  }

  #onAudio(frame) {
    const { length } = frame.samples; // the worklet takes the samples away
    this.#audio.play(frame);
    this.#emit("frame", { direction: "down", samples: length });
  }

  #onEvent(event) {
    this.#emit("event", event);
    switch (event.type) {
      case "relay.ready":
        return this.#onReady(event);
      case "relay.audio.started":
        return this.#itemIds.set(event.item, event.item_id);
      case "relay.audio.done":
        return this.#audio.finish(event.item);
      case "relay.flush":
        return this.#onFlush(event);
      case "relay.level":
        return this.#emit("level", event.input);
      case "relay.warning":
        return this.#onWarning(event);
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
    if (this.pushToTalk) this.mute(true);
    this.#setState("open");
    this.#emit("ready", event);
    this.#starting.resolve(event);
  }

  async #onFlush({ flush, item }) {
    const audio = this.#audio;
    const played = await audio.flush(flush, item);
    if (audio === this.#audio) this.#send({ type: "relay.flushed", flush, ...played });
  }

  #onWarning(event) {
    if (event.code === "microphone_silent" && this.#muted) return; // the person knows
    this.#emit("warning", event);
  }

  #onError(error) {
    if (error?.fatal) return; // comes as "ended"
    const refused = this.#requestCount > 0 && error?.event_id === this.#requestId;
    if (refused) this.#requested = false;
    if (refused && error.code === ACTIVE_RESPONSE) {
      this.#createWhenDone = true; // the upstream began an answer by itself at the same moment
      this.interrupt();
    } else {
      this.#emit("error", error);
    }
  }

  #onResponseCreated() {
    this.#responding = true;
    this.#requested = false;
    if (this.#interruptWhenCreated) this.interrupt();
  }

  #onResponseDone() {
    this.#responding = false;
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
        this.#emit("output", { rms_dbfs: dbfs(message.rms), peak_dbfs: dbfs(message.peak) });
        break;
      case "sound":
        this.#sounding = true;
        this.#emit("sound", { item: message.item, item_id: this.#itemIds.get(message.item), at_ms });
        break;
      case "silence":
        this.#sounding = message.reason === "underrun";
        this.#emit("silence", { item: message.item, reason: message.reason, at_ms });
        break;
      case "overflow":
        this.#emit("warning", PLAYBACK_OVERFLOW);
    }
  }

  #reportPlayed({ item, samples }) {
    if (item === this.#played.item && samples === this.#played.samples) return;
    this.#played = { item, samples };
    this.#send({ type: "relay.played", item, samples });
  }

  /** @param {ArrayBuffer} samples */
  #sendAudio(samples) {
    if (!this.#socket?.sendAudio(samples)) return;
    this.#emit("frame", { direction: "up", samples: samples.byteLength / BYTES_PER_SAMPLE });
  }

  #send(event) {
    if (this.#socket?.send(event)) this.#emit("sent", event);
  }

  /** The only way out. */
  #end(error) {
    if (this.#state === "idle") return;
    globalThis.removeEventListener("pagehide", this.stop);
    clearTimeout(this.#readyTimer);
    this.#audio.close();
    this.#socket?.close();
    const starting = this.#starting;
    this.#forget();
    this.#setState("idle");
    starting.reject(error);
    this.#emit("ended", error);
  }

  #forget() {
    this.#audio = this.#socket = this.#starting = this.#ready = this.#turnStartedMs = null;
    this.#played = { item: 0, samples: 0 };
    this.#muted = this.#requested = this.#responding = this.#sounding = false;
    this.#interruptWhenCreated = this.#createWhenDone = false;
    this.#itemIds.clear();
  }

  #requirePushToTalk() {
    if (this.pushToTalk) return;
    throw new RelayError("wrong_mode", "The server finds the turns itself: push-to-talk is off.");
  }

  #setState(state) {
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** What the browser itself throws (a wrong address, no sound device) becomes a RelayError as well. */
function typed(error) {
  if (error instanceof RelayError) return error;
  return new RelayError("start_failed", `The session could not start (${error.message}).`, { cause: error });
}

function dbfs(amplitude) {
  return amplitude > 0 ? Math.max(SILENT_DBFS, 20 * Math.log10(amplitude)) : SILENT_DBFS;
}
