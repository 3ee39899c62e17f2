/**
 * The loudspeaker's end of the audio thread: plays what the queue holds and reports what was played.
 *
 * Messages from the page:
 *   {type: "audio", item, firstSample, samples: Float32Array}
 *   {type: "finish", item}
 *   {type: "flush", flush, item}        answered at once, before another sample is rendered
 *   {type: "end"}                       nothing more comes: play what is here, then let the processor be collected
 * Messages to the page:
 *   {type: "flushed", flush, item, samples}
 *   {type: "report", item, samples, playing, bufferedMs, rms, peak}   ten a second, and whenever a sound ends
 *   {type: "sound", item} and {type: "silence", item, reason}
 *   {type: "overflow", item, samples}   audio that found no room
 *   {type: "ended"}                     the answer to "end", and the last message
 */

import { PlaybackQueue } from "./playback-queue.js";

const REPORTS_PER_SECOND = 10;

class PlaybackProcessor extends AudioWorkletProcessor {
  #queue = new PlaybackQueue({ rateHz: sampleRate });
  #ending = false;
  #sinceReport = 0;
  #squares = 0;
  #peak = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#receive(data);
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    this.#queue.render(out);
    this.#measure(out);
    const notes = this.#queue.takeNotes();
    this.#sinceReport += out.length;
    if (notes || this.#sinceReport >= sampleRate / REPORTS_PER_SECOND) this.#report();
    notes?.forEach((note) => this.port.postMessage(note));
    if (!this.#ending || !this.#queue.empty) return true;
    this.port.postMessage({ type: "ended" });
    return false;
  }

  #receive(message) {
    switch (message.type) {
      case "audio": {
        const { item, firstSample, samples } = message;
        const taken = this.#queue.push(item, firstSample, samples);
        if (!taken) this.port.postMessage({ type: "overflow", item, samples: samples.length });
        break;
      }
      case "finish":
        this.#queue.finish(message.item);
        break;
      case "flush":
        this.port.postMessage({ type: "flushed", flush: message.flush, ...this.#queue.flush(message.item) });
        break;
      case "end":
        this.#queue.finish(Infinity);
        this.#ending = true;
    }
  }

  #measure(out) {
    for (const sample of out) {
      this.#squares += sample * sample;
      this.#peak = Math.max(this.#peak, Math.abs(sample));
    }
  }

  #report() {
    const { playing, bufferedMs, position } = this.#queue;
    const rms = Math.sqrt(this.#squares / this.#sinceReport);
    this.port.postMessage({ type: "report", ...position, playing, bufferedMs, rms, peak: this.#peak });
    this.#sinceReport = 0;
    this.#squares = 0;
    this.#peak = 0;
  }
}

registerProcessor("relay-playback", PlaybackProcessor);
