/**
 * The microphone's end of the audio thread: blocks in, 20 ms frames out to the page.
 *
 * Messages to the page:   an ArrayBuffer of float32 samples, transferred, ready for the socket
 * Messages from the page: "stop", after which the processor may be collected
 */

import { FrameCutter } from "./frame-cutter.js";

class CaptureProcessor extends AudioWorkletProcessor {
  #running = true;
  #cutter = new FrameCutter(sampleRate, (frame) => this.port.postMessage(frame.buffer, [frame.buffer]));

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "stop") this.#running = false;
    };
  }

  /** The output stays silent; the node has one only so that every browser keeps calling it. */
  process(inputs, outputs) {
    if (this.#running) this.#cutter.push(inputs[0], outputs[0][0].length);
    return this.#running;
  }
}

registerProcessor("relay-capture", CaptureProcessor);
