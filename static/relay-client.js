/**
 * RelayClient: one voice conversation from a browser, in a few lines and without the page.
 *
 *     import { RelayClient } from "/static/relay-client.js";
 *
 *     const client = new RelayClient();
 *     client.addEventListener("event", ({ detail }) => console.log(detail.type));
 *     client.addEventListener("ended", ({ detail }) => console.log(detail.reason.message));
 *     button.onclick = () => client.start();
 *
 * For a page that relay does not serve, put copies of relay-*.js, *-worklet.js, playback-queue.js and frame-cutter.js
 * beside it (browsers load no module from another origin unless that allows it), give `url`, and start relay with
 * --allow-origin and the page's origin.
 *
 * Events (all CustomEvents; `detail` is given after the name):
 *   state    {state}                     "idle", "connecting", "open" or "waiting"
 *   ready    the relay.ready event       again for each session that takes the place of a lost one
 *   waiting  {reason: RelayError, retry_in_ms, attempt}   the session was lost; the next attempt comes by itself. Again
 *                                        when it will come sooner than that
 *   ended    {reason: RelayError, final, attempts}   exactly one for every start(); `reason.code` is "stopped" after
 *                                        stop(). `final`: it does not pass by itself, as far as one can know. `attempts`:
 *                                        how often it was tried again before that
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
 * `at_ms` is performance.now() when the message of the audio thread arrived.
 *
 * Rules:
 * - A client has one session at a time; every way out of it goes through #end, which stops microphone, sound and socket.
 * - A session that was lost is followed by another one, as relay-reconnect.js says: soon, never in step with others, not
 *   for ever. Microphone and sound stay open meanwhile, and what is said is dropped. The new session remembers nothing of
 *   the old one: docs/wire.md has no resuming.
 */

import { RelayAudio } from "./relay-audio.js";
import { Reconnect } from "./relay-reconnect.js";
import { RetryTimer } from "./relay-retry-timer.js";
import { RelaySession } from "./relay-session.js";
import { RelayError, typed } from "./relay-wire.js";

const SOUND_PAUSED = {
  code: "sound_paused",
  message: "The browser has paused microphone and sound. Come back to this page; if it stays silent, stop and start.",
};

/**
 * @typedef {object} RelayClientOptions
 * @property {string} [url]               ws(s) address of the relay; default: the server that served the page
 * @property {string | (() => string | Promise<string>)} [ticket]  what lets this page in, if the server needs one; a
 *                                        function is asked for a new one each time, for one opens one session
 * @property {boolean} [reconnect]        follow a lost session with another one; default true, and never with a ticket
 *                                        that is a text, for it has been used
 * @property {string} [deviceId]          microphone, from enumerateDevices(); default: the system's choice
 * @property {boolean} [voiceProcessing]  echo cancellation, noise suppression, gain control; default true
 *
 * @typedef {"idle" | "connecting" | "open" | "waiting"} ClientState
 */

export class RelayClient extends EventTarget {
  /** May be changed between sessions. @type {RelayClientOptions} */
  options;

  /** @type {ClientState} */ #state = "idle";
  #muted = false;
  /** @type {RelayAudio | null} */ #audio = null;
  /** @type {RelaySession | null} */ #session = null;
  /** @type {Reconnect | null} */ #reconnect = null;
  /** @type {RetryTimer | null} */ #retry = null;
  /** @type {RelayError | null} */ #lostBy = null;
  /** @type {{resolve: (ready: object) => void, reject: (error: Error) => void} | null} */ #starting = null;

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
    return this.#session?.ready ?? null;
  }

  get pushToTalk() {
    return this.ready?.turn_detection === "none";
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
   * @returns {Promise<object>} the relay.ready event of the first session
   * @throws {RelayError} as a rejection, after everything has been given back
   */
  start() {
    if (this.#state !== "idle") {
      return Promise.reject(new RelayError("already_started", "This client has a session already."));
    }
    const started = new Promise((resolve, reject) => (this.#starting = { resolve, reject }));
    started.catch(() => {}); // `ended` reports it too: whoever does not await start() gets no stray rejection
    this.#prepare();
    this.#setState("connecting");
    globalThis.addEventListener("pagehide", this.stop);
    this.#open(this.#audio);
    return started; // this very promise: an async function would return another one, without the catch above
  }

  /** End the session and give microphone, sound and socket back. Does nothing when there is none. */
  stop = () => {
    this.#end(new RelayError("stopped", "Stopped."));
  };

  /** Try now, and do not wait any longer. Does nothing but in the state "waiting". */
  retryNow() {
    this.#retry?.ring();
  }

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
    this.#session?.sendText(text);
  }

  /** Silence the answer. What was heard of it stays in the conversation. */
  interrupt() {
    this.#session?.interrupt();
  }

  /** Push-to-talk: the person begins to speak. Does nothing when they are speaking already. */
  beginTurn() {
    this.#requirePushToTalk();
    if (this.#session.beginTurn()) this.mute(false);
  }

  /** Push-to-talk: the person has finished. @returns {boolean} false when it was too short to be speech */
  endTurn() {
    this.#requirePushToTalk();
    if (!this.#session.speaking) return false;
    this.mute(true);
    return this.#session.endTurn();
  }

  #prepare() {
    const audio = (this.#audio = new RelayAudio({
      onFrame: (samples) => this.#session?.sendAudio(samples),
      onPaused: () => this.#emit("warning", SOUND_PAUSED),
      onLost: (error) => this.#end(error),
    }));
    audio.mute(this.#muted);
    this.#reconnect = new Reconnect();
    this.#retry = new RetryTimer(this.#reconnect, {
      onChange: (dueMs) => this.#sayWaiting(dueMs),
      onDue: () => this.#connect(),
    });
  }

  /** Only then the ticket: it is short-lived, and a person may take their time to allow the microphone. */
  async #open(audio) {
    try {
      await audio.open(this.options);
      if (audio === this.#audio) this.#connect();
    } catch (error) {
      if (audio === this.#audio) this.#end(typed(error));
    }
  }

  #connect() {
    this.#setState("connecting");
    this.#session = new RelaySession(this.options, this.#audio, {
      emit: (name, detail) => this.#pass(name, detail),
      onReady: (ready) => this.#onReady(ready),
      onEnd: (error) => this.#onSessionEnd(error),
    });
  }

  #onReady(ready) {
    const starting = this.#starting; // a listener may stop the client
    this.#reconnect.ready(performance.now());
    if (this.pushToTalk) this.mute(true);
    this.#setState("open");
    if (this.#state === "open") this.#emit("ready", ready);
    starting.resolve(ready);
  }

  #onSessionEnd(error) {
    const { ticket, reconnect = true } = this.options;
    this.#session = null;
    if (!reconnect || typeof ticket === "string") return this.#end(error);
    const dueMs = this.#reconnect.ended(error, performance.now(), document.hidden);
    if (dueMs === null) return this.#end(error);
    this.#lostBy = error;
    this.#retry.start(dueMs);
    this.#setState("waiting");
    this.#sayWaiting(dueMs);
  }

  #sayWaiting(dueMs) {
    if (this.#state !== "waiting") return; // a listener stopped the client
    const retry_in_ms = Math.max(0, Math.round(dueMs - performance.now()));
    this.#emit("waiting", { reason: this.#lostBy, retry_in_ms, attempt: this.#reconnect.attempt });
  }

  /** What a session says goes on to the page. */
  #pass(name, detail) {
    if (name === "warning" && detail.code === "microphone_silent" && this.#muted) return; // the person knows
    this.#emit(name, detail);
  }

  /** The only way out. */
  #end(reason) {
    if (this.#state === "idle") return;
    globalThis.removeEventListener("pagehide", this.stop);
    const starting = this.#starting;
    const outcome = { reason, final: !this.#reconnect.passes(reason), attempts: this.#reconnect.attempt };
    this.#retry.stop();
    this.#session?.close();
    this.#audio.close();
    this.#audio = this.#session = this.#reconnect = this.#retry = this.#starting = this.#lostBy = null;
    this.#muted = false;
    this.#setState("idle");
    starting.reject(reason);
    this.#emit("ended", outcome);
  }

  #requirePushToTalk() {
    if (this.pushToTalk) return;
    throw new RelayError("wrong_mode", "The server finds the turns itself: push-to-talk is off.");
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
