/**
 * Cuts the microphone's blocks into frames of 20 ms.
 *
 * Rules:
 * - Every sample is sent once and in order; the n-th frame ends at sample round(n * rate / 50), so a rate that 50 does
 *   not divide (11,025 Hz: frames of 220 and 221) drifts by no more than half a sample.
 * - No gate and no detection: silence travels as well, because the upstream finds the end of an utterance by it.
 * - A missing input counts as silence, never as a pause: the audio clock must not stop.
 */

const FRAMES_PER_SECOND = 50;

export class FrameCutter {
  #rateHz;
  #emit;
  #frame;
  #filled = 0;
  #count = 0;

  /**
   * @param {number} rateHz
   * @param {(frame: Float32Array) => void} emit  called with each whole frame; the array is the receiver's to keep
   */
  constructor(rateHz, emit) {
    this.#rateHz = rateHz;
    this.#emit = emit;
    this.#frame = this.#nextFrame();
  }

  /**
   * @param {readonly Float32Array[]} channels  one block per channel, all of the same length; they are averaged to mono
   * @param {number} length                     samples in the block (needed when there is no channel at all)
   */
  push(channels, length) {
    let taken = 0;
    while (taken < length) {
      const count = Math.min(length - taken, this.#frame.length - this.#filled);
      this.#mix(channels, taken, count);
      taken += count;
      this.#filled += count;
      if (this.#filled === this.#frame.length) this.#finish();
    }
  }

  #mix(channels, from, count) {
    const frame = this.#frame;
    const at = this.#filled;
    if (channels.length === 1) {
      frame.set(channels[0].subarray(from, from + count), at);
      return;
    }
    for (const channel of channels) {
      for (let i = 0; i < count; i++) frame[at + i] += channel[from + i] / channels.length;
    }
  }

  #finish() {
    const frame = this.#frame;
    this.#frame = this.#nextFrame();
    this.#filled = 0;
    this.#emit(frame);
  }

  #nextFrame() {
    const start = Math.round((this.#count * this.#rateHz) / FRAMES_PER_SECOND);
    this.#count += 1;
    const end = Math.round((this.#count * this.#rateHz) / FRAMES_PER_SECOND);
    return new Float32Array(end - start);
  }
}
