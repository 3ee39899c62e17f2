/* The recorder's end of the audio thread: passes on what it hears, in pieces of a tenth of a second. */
class Tap extends AudioWorkletProcessor {
  #piece = new Float32Array(sampleRate / 10);
  #filled = 0;
  #frame = 0;

  process(inputs) {
    const block = inputs[0][0] ?? new Float32Array(128);
    if (this.#filled === 0) this.#frame = currentFrame;
    for (const sample of block) {
      this.#piece[this.#filled++] = sample;
      if (this.#filled < this.#piece.length) continue;
      this.port.postMessage({ frame: this.#frame, samples: this.#piece.slice() });
      this.#frame += this.#filled;
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("test-tap", Tap);
