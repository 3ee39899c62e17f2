/**
 * What plays next, how loud, and how much of each item has been played.
 *
 * Rules:
 * - One producer (push, finish, flush) and one consumer (render), both on the audio thread: no locks.
 * - A full ring refuses: push() returns false and overwrites nothing.
 * - A sample counts as played when render() has handed it out. The few samples that fade after a flush do not count.
 * - No clicks: the gain moves by at most 1/fade per sample. It rises after silence and falls over the last samples
 *   before the ring runs dry, whether that is the end of an item or an underrun.
 * - Sound starts when `prebuffer` samples wait, when the item is complete, or when the first sample has waited for
 *   twice that long, so a slow sender cannot keep it silent. Each real underrun makes the prebuffer 40 ms longer, each
 *   item without one 10 ms shorter.
 */

const PREBUFFER_STEP_UP_MS = 40;
const PREBUFFER_STEP_DOWN_MS = 10;
const PREBUFFER_MAX_MS = 300;

/**
 * @typedef {{type: "sound", item: number} | {type: "silence", item: number, reason: SilenceReason}} Note
 * @typedef {"end" | "underrun" | "flush"} SilenceReason
 */

export class PlaybackQueue {
  #ring;
  #read = 0;
  #buffered = 0;
  /** @type {{item: number, next: number, left: number}[]} runs of consecutive samples in the ring, oldest first */
  #segments = [];
  #position = { item: 0, samples: 0 };
  #finished = 0; // every item up to this number is complete
  #flushed = 0; // every item up to this number is unwanted
  #soundedItem = 0;
  #playing = false;
  #gain = 0;
  #fade;
  #fadingOut = new Float32Array(0); // what still sounds after a flush, gain already applied
  #prebuffer;
  #prebufferMin;
  #waited = 0;
  #starvedItem = 0; // the item that ran dry before it was complete
  #samplesPerMs;
  /** @type {Note[]} */
  #notes = [];

  /** @param {{rateHz: number, capacityS?: number, prebufferMs?: number, fadeMs?: number}} options */
  constructor({ rateHz, capacityS = 12, prebufferMs = 60, fadeMs = 4 }) {
    this.#samplesPerMs = rateHz / 1000;
    this.#ring = new Float32Array(Math.ceil(rateHz * capacityS));
    this.#fade = Math.max(1, Math.round(fadeMs * this.#samplesPerMs));
    this.#prebuffer = this.#prebufferMin = prebufferMs * this.#samplesPerMs;
  }

  /** The item heard last and how many of its samples have been played. */
  get position() {
    return { ...this.#position };
  }

  get bufferedMs() {
    return this.#buffered / this.#samplesPerMs;
  }

  get prebufferMs() {
    return this.#prebuffer / this.#samplesPerMs;
  }

  get playing() {
    return this.#playing;
  }

  /** Whether nothing is left to sound. */
  get empty() {
    return this.#buffered === 0 && this.#fadingOut.length === 0;
  }

  /** Add samples. False when the ring has no room for all of them; a flushed item's are taken and thrown away. */
  push(item, firstSample, samples) {
    if (item <= this.#flushed || samples.length === 0) return true;
    if (samples.length > this.#ring.length - this.#buffered) return false;
    this.#copyIn(samples);
    const last = this.#segments.at(-1);
    if (last?.item === item && last.next + last.left === firstSample) last.left += samples.length;
    else this.#segments.push({ item, next: firstSample, left: samples.length });
    if (this.#starvedItem === item) this.#lengthenPrebuffer();
    return true;
  }

  /** The item is complete: nothing follows the samples that were pushed. */
  finish(item) {
    this.#finished = Math.max(this.#finished, item);
    if (this.#starvedItem === item) this.#noteSilence("end"); // it had ended, not run dry: we only learn it now
    else if (item > this.#flushed) this.#shortenPrebuffer();
    this.#starvedItem = 0;
  }

  /** Fall silent, forget every item up to `item`, and say what had been played. */
  flush(item) {
    this.#flushed = Math.max(this.#flushed, item);
    let dropped = 0;
    while (this.#segments.length > 0 && this.#segments[0].item <= item) dropped += this.#segments.shift().left;
    if (dropped === 0 && this.#playing) return this.position; // what sounds is newer than what is unwanted
    if (this.#playing) this.#fadingOut = this.#faded(Math.min(dropped, this.#fade));
    this.#skip(dropped);
    this.#playing = false;
    this.#gain = 0;
    this.#waited = 0;
    this.#starvedItem = 0;
    if (this.#fadingOut.length === 0) this.#noteSilence("flush");
    return this.position;
  }

  /** Fill `out` (mono) with what comes next, silence included. @param {Float32Array} out */
  render(out) {
    let at = this.#renderFadingOut(out);
    if (this.#playing || this.#mayStart(out.length)) at += this.#renderRing(out, at);
    out.fill(0, at);
  }

  /** What happened since the last call, oldest first; null when nothing did. @returns {Note[] | null} */
  takeNotes() {
    if (this.#notes.length === 0) return null;
    const notes = this.#notes;
    this.#notes = [];
    return notes;
  }

  #renderFadingOut(out) {
    const count = Math.min(out.length, this.#fadingOut.length);
    if (count === 0) return 0;
    out.set(this.#fadingOut.subarray(0, count));
    this.#fadingOut = this.#fadingOut.subarray(count);
    if (this.#fadingOut.length === 0) this.#noteSilence("flush");
    return count;
  }

  #mayStart(blockLength) {
    if (this.#buffered === 0 || this.#fadingOut.length > 0) return false;
    this.#waited += blockLength;
    const complete = this.#segments.at(-1).item <= this.#finished;
    if (!complete && this.#buffered < this.#prebuffer && this.#waited < 2 * this.#prebuffer) return false;
    this.#waited = 0;
    this.#playing = true;
    return true;
  }

  #renderRing(out, at) {
    const count = Math.min(out.length - at, this.#buffered);
    const step = 1 / this.#fade;
    const ring = this.#ring;
    let gain = this.#gain;
    for (let i = 0, read = this.#read; i < count; i++) {
      gain = this.#buffered - i > this.#fade ? Math.min(1, gain + step) : Math.max(0, gain - step);
      out[at + i] = ring[read] * gain;
      read = read + 1 === ring.length ? 0 : read + 1;
    }
    this.#gain = gain;
    this.#skip(count);
    this.#account(count);
    if (this.#buffered === 0) this.#ranDry();
    return count;
  }

  #account(count) {
    while (count > 0) {
      const segment = this.#segments[0];
      const taken = Math.min(count, segment.left);
      segment.next += taken;
      segment.left -= taken;
      count -= taken;
      this.#position = { item: segment.item, samples: segment.next };
      if (segment.item !== this.#soundedItem) {
        this.#soundedItem = segment.item;
        this.#notes.push({ type: "sound", item: segment.item });
      }
      if (segment.left === 0) this.#segments.shift();
    }
  }

  #ranDry() {
    this.#playing = false;
    this.#gain = 0;
    const complete = this.#position.item <= this.#finished;
    if (!complete) this.#starvedItem = this.#position.item;
    this.#noteSilence(complete ? "end" : "underrun");
  }

  #noteSilence(reason) {
    this.#notes.push({ type: "silence", item: this.#position.item, reason });
  }

  #lengthenPrebuffer() {
    this.#starvedItem = 0;
    const longer = this.#prebuffer + PREBUFFER_STEP_UP_MS * this.#samplesPerMs;
    this.#prebuffer = Math.min(longer, PREBUFFER_MAX_MS * this.#samplesPerMs);
  }

  #shortenPrebuffer() {
    const shorter = this.#prebuffer - PREBUFFER_STEP_DOWN_MS * this.#samplesPerMs;
    this.#prebuffer = Math.max(shorter, this.#prebufferMin);
  }

  /** The next `count` samples, falling to silence from the gain of now. */
  #faded(count) {
    const samples = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const gain = this.#gain * (1 - (i + 1) / count);
      samples[i] = this.#ring[(this.#read + i) % this.#ring.length] * gain;
    }
    return samples;
  }

  #copyIn(samples) {
    const start = (this.#read + this.#buffered) % this.#ring.length;
    const untilEnd = Math.min(samples.length, this.#ring.length - start);
    this.#ring.set(samples.subarray(0, untilEnd), start);
    this.#ring.set(samples.subarray(untilEnd), 0);
    this.#buffered += samples.length;
  }

  #skip(count) {
    this.#read = (this.#read + count) % this.#ring.length;
    this.#buffered -= count;
  }
}
