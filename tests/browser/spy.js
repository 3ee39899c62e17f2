/*
 * Runs in the page before its own code and watches from outside: what it acquires, what it plays, what its CSP refuses.
 * The product knows nothing of it. Everything is kept in window.spy.
 */
(() => {
  const spy = { tracks: [], contexts: [], sockets: [], violations: [], output: [] };
  window.spy = spy;

  document.addEventListener("securitypolicyviolation", (event) => {
    spy.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
  });

  if (navigator.mediaDevices) {
    const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      spy.tracks.push(...stream.getTracks());
      return stream;
    };
  }

  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      spy.sockets.push(this);
    }
  };

  window.AudioContext = class extends AudioContext {
    constructor(...args) {
      super(...args);
      spy.contexts.push(this);
    }
  };

  // Everything that is connected to the loudspeaker is connected to a recorder as well. (Playwright cannot hand a
  // worklet to the page past its CSP, so the recorder is a ScriptProcessor; a ramp beside the sound numbers the samples,
  // so that a buffer which the busy page missed is noticed.)
  const BUFFER = 16384;
  const LONGEST_S = 120;
  const recorders = new Map();
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) connect.call(this, recorderOf(this.context), 0, 0);
    return connect.call(this, target, ...rest);
  };

  function recorderOf(context) {
    if (!recorders.has(context)) recorders.set(context, makeRecorder(context));
    return recorders.get(context);
  }

  function makeRecorder(context) {
    const buffer = context.createBuffer(1, LONGEST_S * context.sampleRate, context.sampleRate);
    buffer.getChannelData(0).forEach((_, i, ramp) => (ramp[i] = i));
    const ramp = new AudioBufferSourceNode(context, { buffer });
    const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
    const recorder = context.createScriptProcessor(BUFFER, 2, 1);
    recorder.onaudioprocess = ({ inputBuffer }) => {
      const frame = inputBuffer.getChannelData(1)[0];
      spy.output.push({ frame, samples: inputBuffer.getChannelData(0).slice() });
    };
    connect.call(ramp, merger, 0, 1);
    connect.call(merger, recorder);
    connect.call(recorder, context.destination);
    ramp.start();
    return merger;
  }

  /** All that was played, as base64 of float32, and the places where the recorder missed a buffer. */
  spy.recording = () => {
    const end = spy.output.reduce((last, { frame, samples }) => Math.max(last, frame + samples.length), 0);
    const all = new Float32Array(end);
    for (const { frame, samples } of spy.output) all.set(samples, frame);
    const starts = new Set(spy.output.map(({ frame }) => frame));
    const missed = Array.from({ length: end / BUFFER }, (_, i) => i * BUFFER).filter((frame) => !starts.has(frame));
    let text = "";
    const bytes = new Uint8Array(all.buffer);
    for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return { audio: btoa(text), missed, rateHz: spy.contexts.at(-1)?.sampleRate ?? 0 };
  };

  spy.alive = () => ({
    tracks: spy.tracks.filter((track) => track.readyState === "live").length,
    contexts: spy.contexts.filter((context) => context.state !== "closed").length,
    sockets: spy.sockets.filter((socket) => socket.readyState <= WebSocket.OPEN).length,
  });
})();
