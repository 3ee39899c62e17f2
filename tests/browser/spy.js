/*
 * Runs in the page before its own code and watches from outside: what it acquires, what it plays, what its CSP refuses.
 * The product knows nothing of it. Everything is kept in window.spy.
 */
(() => {
  const spy = { tracks: [], contexts: [], sockets: [], violations: [], output: [], tapReady: null };
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

  // Everything that is connected to the loudspeaker is connected to a recorder as well.
  const taps = new Map();
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      tapOf(this.context).then((tap) => connect.call(this, tap));
    }
    return connect.call(this, target, ...rest);
  };

  function tapOf(context) {
    if (!taps.has(context)) taps.set(context, (spy.tapReady = makeTap(context)));
    return taps.get(context);
  }

  async function makeTap(context) {
    await context.audioWorklet.addModule("/static/test-tap.js");
    const tap = new AudioWorkletNode(context, "test-tap", { outputChannelCount: [1] });
    tap.port.onmessage = ({ data }) => spy.output.push(data);
    connect.call(tap, context.destination);
    return tap;
  }

  /** All that was played, as base64 of float32, and whether the recorder missed nothing. */
  spy.recording = () => {
    const total = spy.output.reduce((sum, { samples }) => sum + samples.length, 0);
    const all = new Float32Array(total);
    let at = 0;
    let gaps = 0;
    spy.output.forEach(({ frame, samples }, i) => {
      const before = spy.output[i - 1];
      if (before && before.frame + before.samples.length !== frame) gaps += 1;
      all.set(samples, at);
      at += samples.length;
    });
    let text = "";
    const bytes = new Uint8Array(all.buffer);
    for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return { audio: btoa(text), gaps, rateHz: spy.contexts.at(-1)?.sampleRate ?? 0 };
  };

  spy.alive = () => ({
    tracks: spy.tracks.filter((track) => track.readyState === "live").length,
    contexts: spy.contexts.filter((context) => context.state !== "closed").length,
    sockets: spy.sockets.filter((socket) => socket.readyState <= WebSocket.OPEN).length,
  });
})();
