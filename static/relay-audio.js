/**
 * The microphone, and the audio context for the loudspeaker, from start to stop: also while a lost session is replaced.
 *
 * Rules:
 * - The context runs at the device's own rate. Nobody asks for another one: a wish that the browser does not grant would
 *   make the declared rate a lie (speech at half speed).
 * - Whatever open() acquired, close() gives back, also when open() failed or was overtaken half way: tracks are stopped,
 *   so that the microphone's light goes out, and the context is closed.
 * - The main thread only carries messages; samples are cut and played on the audio thread.
 */

import { RelayPlayback } from "./relay-playback.js";
import { RelayError } from "./relay-wire.js";

const LOAD_DEADLINE_MS = 10_000;
const RESUME_DEADLINE_MS = 5_000;

const MICROPHONE_ERRORS = {
  NotAllowedError: [
    "microphone_denied",
    "The browser may not use the microphone. Allow it in the site settings beside the address, then press Start again.",
  ],
  NotFoundError: ["microphone_missing", "No microphone was found. Connect one, then press Start again."],
  OverconstrainedError: [
    "microphone_missing",
    "The chosen microphone is not there any more. Choose another one, then press Start again.",
  ],
  NotReadableError: [
    "microphone_busy",
    "The microphone cannot be opened. Another program may be using it: close that one, then press Start again.",
  ],
};

/**
 * @typedef {object} AudioHandlers
 * @property {(samples: ArrayBuffer) => void} onFrame   20 ms of float32 from the microphone
 * @property {() => void} onPaused                      the system took the sound away for a while: a telephone call
 * @property {(error: RelayError) => void} onLost       microphone or audio thread gone; close() is the caller's
 *
 * @typedef {object} MicrophoneOptions
 * @property {string} [deviceId]          from enumerateDevices(); empty for the system's choice
 * @property {boolean} [voiceProcessing]  echo cancellation, noise suppression and gain control; default true
 */

export class RelayAudio {
  #handlers;
  #closed = false;
  /** @type {AudioContext | null} */ #context = null;
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {MediaStreamAudioSourceNode | null} */ #source = null;
  /** @type {AudioWorkletNode | null} */ #capture = null;
  #muted = false;
  /** @type {MicrophoneOptions} what was asked for last */ #wish = {};

  /** @param {AudioHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  get rateHz() {
    return this.#context?.sampleRate ?? 0;
  }

  /** What the device adds after the worklet, as far as the browser knows it. */
  get outputLatencyMs() {
    return 1000 * ((this.#context?.baseLatency ?? 0) + (this.#context?.outputLatency ?? 0));
  }

  get microphoneLabel() {
    return this.#stream?.getAudioTracks()[0]?.label ?? "";
  }

  /**
   * Acquire everything; frames flow from now on. Call it from a click: browsers start no sound without one.
   * @param {MicrophoneOptions} options
   * @throws {RelayError} microphone_…, insecure_context, audio_blocked, audio_unreachable, stopped
   */
  async open(options) {
    if (!globalThis.isSecureContext || !navigator.mediaDevices || !globalThis.AudioWorkletNode) {
      throw new RelayError(
        "insecure_context",
        "Browsers give the microphone only to pages on https:// or http://localhost. Open this page that way.",
      );
    }
    this.#wish = options;
    const context = (this.#context = new AudioContext({ latencyHint: "interactive" }));
    await this.#step(this.#addWorklets(context));
    await this.useMicrophone(this.#wish);
    await this.#step(this.#resume(context));
  }

  /**
   * Take another microphone, or the same one with other options; the old one is let go when the new one is there.
   * Of several wishes the last one counts, in whatever order the browser grants them.
   */
  async useMicrophone(options) {
    this.#wish = options;
    if (!this.#capture) return; // open() comes to it
    const stream = await askForMicrophone(options);
    if (this.#closed) {
      stopTracks(stream);
      throw new RelayError("stopped", "Stopped before the microphone was ready.");
    }
    if (options !== this.#wish && this.#stream) return stopTracks(stream);
    const source = this.#connect(stream);
    this.#source?.disconnect();
    stopTracks(this.#stream);
    this.#source = source;
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#muted;
    track.addEventListener("ended", () => this.#trackEnded(stream));
  }

  /** Send silence instead of the microphone; the audio clock goes on, so the upstream notices that the person paused. */
  mute(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /**
   * The loudspeaker of one session; close() takes it along.
   * @param {(message: object) => void} onMessage  what playback-worklet.js reports, except "flushed"
   */
  openPlayback(onMessage) {
    return new RelayPlayback(this.#context, onMessage, () => this.#failed());
  }

  /** Give everything back. Safe to call at any time, and twice. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    stopTracks(this.#stream);
    this.#source?.disconnect();
    this.#capture?.port.postMessage("stop");
    this.#capture?.disconnect();
    this.#context?.close().catch(() => {}); // already closed: nothing left to give back
  }

  async #addWorklets(context) {
    try {
      const urls = ["./capture-worklet.js", "./playback-worklet.js"].map((name) => new URL(name, import.meta.url));
      await within(LOAD_DEADLINE_MS, Promise.all(urls.map((url) => context.audioWorklet.addModule(url))));
      if (this.#closed) return;
      this.#capture = new AudioWorkletNode(context, "relay-capture", { outputChannelCount: [1] });
    } catch (cause) {
      const message = "The audio code could not be loaded. Check that the server runs, then try again.";
      throw new RelayError("audio_unreachable", message, { cause });
    }
    this.#capture.connect(context.destination);
    this.#capture.onprocessorerror = () => this.#failed();
    this.#capture.port.onmessage = ({ data }) => this.#closed || this.#handlers.onFrame(data);
  }

  #connect(stream) {
    try {
      const source = this.#context.createMediaStreamSource(stream);
      source.connect(this.#capture);
      return source;
    } catch (cause) {
      stopTracks(stream);
      const message = `The microphone and the loudspeaker run at different rates, which this browser cannot join
        (loudspeaker: ${this.rateHz} Hz). Choose a microphone and a loudspeaker of the same device.`;
      throw new RelayError("sample_rate_conflict", message.replace(/\s+/g, " "), { cause });
    }
  }

  async #resume(context) {
    const deadline = new Promise((resolve) => setTimeout(resolve, RESUME_DEADLINE_MS));
    await Promise.race([context.resume(), deadline]);
    if (context.state !== "running" && !this.#closed) {
      throw new RelayError("audio_blocked", "The browser blocks sound on this page. Allow it, then press Start again.");
    }
    context.onstatechange = () => this.#paused(context);
  }

  #paused(context) {
    if (this.#closed || context.state === "running") return;
    this.#handlers.onPaused();
    context.resume().catch(() => {}); // it runs again when the system allows it
  }

  async #step(promise) {
    await promise;
    if (this.#closed) throw new RelayError("stopped", "Stopped before the audio was ready.");
  }

  #trackEnded(stream) {
    if (stream === this.#stream) {
      this.#lost("microphone_lost", "The microphone was disconnected or taken away. Press Start to go on.");
    }
  }

  #failed() {
    this.#lost("audio_failed", "The browser's audio failed. Press Start again.");
  }

  #lost(code, message) {
    if (!this.#closed) this.#handlers.onLost(new RelayError(code, message));
  }
}

/** @param {MicrophoneOptions} options */
async function askForMicrophone({ deviceId = "", voiceProcessing = true } = {}) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        channelCount: 1,
        echoCancellation: voiceProcessing,
        noiseSuppression: voiceProcessing,
        autoGainControl: voiceProcessing,
        ...(deviceId && { deviceId: { exact: deviceId } }),
      },
    });
  } catch (cause) {
    const unknown = ["microphone_failed", `The microphone could not be opened (${cause.name}).`];
    const [code, message] = MICROPHONE_ERRORS[cause.name] ?? unknown;
    throw new RelayError(code, message, { cause });
  }
}

/** @template T @param {number} ms @param {Promise<T>} promise @returns {Promise<T>} rejects when it takes longer */
function within(ms, promise) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms));
  return Promise.race([promise, late]);
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
