/**
 * What the conversation is doing, in words a person understands, and the two times that people feel.
 *
 * Rules:
 * - A pure function of what it is told: no DOM, no clock, no client. `at_ms` comes with every observation.
 * - Speaking means that sound comes out, not that an answer is being generated; between items it stays "thinking".
 * - firstSoundMs runs from the arrival of "the person stopped speaking" to the first sample that the audio thread played.
 *   The upstream's own wait for silence (500 ms by default) comes before it, the loudspeaker's latency after it.
 * - silenceMs runs from the arrival of the interruption (speech_started or relay.flush, whichever is first) to the last
 *   sample that the audio thread played.
 */

/** @typedef {"idle" | "connecting" | "waiting" | "listening" | "hearing" | "thinking" | "speaking"} ConversationState */

export class Conversation {
  /** @type {import("./relay-client.js").ClientState} */ #connection = "idle";
  #hearing = false;
  #awaiting = false; // the person has finished, the response has not begun
  #responding = false;
  #announced = 0; // highest audio item that was promised
  #settled = 0; // highest audio item that has sounded, or never will
  #sounding = false;
  #speechStoppedMs = null;
  #interruptedMs = null;

  /** @type {number | null} */ firstSoundMs = null;
  /** @type {number | null} */ silenceMs = null;

  /** @returns {ConversationState} */
  get state() {
    if (this.#connection !== "open") return this.#connection;
    if (this.#hearing) return "hearing";
    if (this.#sounding) return "speaking";
    if (this.#awaiting || this.#responding || this.#announced > this.#settled) return "thinking";
    return "listening";
  }

  /** The client's own state changed. @param {import("./relay-client.js").ClientState} state */
  connection(state) {
    if (state === "connecting") this.#reset();
    this.#connection = state;
  }

  /** An event arrived. @param {{type: string, item?: number, response?: {status?: string}}} event @param {number} at_ms */
  event(event, at_ms) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#hearing = true;
        this.#awaiting = false;
        this.#speechStoppedMs = null;
        this.#interrupt(at_ms);
        break;
      case "input_audio_buffer.speech_stopped":
        this.#hearing = false;
        this.#await(at_ms);
        break;
      case "input_audio_buffer.committed": // push-to-talk has no speech_stopped
        if (!this.#awaiting) this.#await(at_ms);
        break;
      case "response.created":
        this.#responding = true;
        this.#awaiting = false;
        break;
      case "response.done":
        this.#responding = false;
        this.#awaiting = false;
        if (event.response?.status !== "completed") this.#speechStoppedMs = null; // no sound will follow
        break;
      case "relay.audio.started":
        this.#announced = event.item;
        break;
      case "relay.flush":
        this.#settled = Math.max(this.#settled, event.item);
        this.#interrupt(at_ms);
        break;
      case "error":
        this.#awaiting = false;
    }
  }

  /** The first sample of an item was played. */
  sound(item, at_ms) {
    this.#sounding = true;
    this.#settled = Math.max(this.#settled, item);
    if (this.#speechStoppedMs === null) return;
    this.firstSoundMs = at_ms - this.#speechStoppedMs;
    this.#speechStoppedMs = null;
  }

  /** Sound stopped. @param {"end" | "underrun" | "flush"} reason */
  silence(reason, at_ms) {
    if (reason === "underrun") return; // more of the same item is on its way
    this.#sounding = false;
    if (reason === "flush" && this.#interruptedMs !== null) this.silenceMs = at_ms - this.#interruptedMs;
    this.#interruptedMs = null;
  }

  #await(at_ms) {
    this.#awaiting = true;
    this.#speechStoppedMs = at_ms;
  }

  #interrupt(at_ms) {
    if (this.#sounding) this.#interruptedMs ??= at_ms;
  }

  #reset() {
    this.#hearing = this.#awaiting = this.#responding = this.#sounding = false;
    this.#announced = this.#settled = 0;
    this.#speechStoppedMs = this.#interruptedMs = this.firstSoundMs = this.silenceMs = null;
  }
}
