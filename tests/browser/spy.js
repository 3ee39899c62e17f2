/*
 * Runs in the page before its own code and watches from outside: what it acquires, what it plays, what its CSP refuses,
 * and the states that it shows, each however short.
 * The product knows nothing of it. Everything is kept in window.spy.
 */
(() => {
  const spy = { tracks: [], contexts: [], sockets: [], violations: [], output: [], states: [] };
  window.spy = spy;

  document.addEventListener("securitypolicyviolation", (event) => {
    spy.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
  });

  document.addEventListener("DOMContentLoaded", () => {
    const stage = document.querySelector("#stage");
    const note = () => stage.dataset.state !== spy.states.at(-1) && spy.states.push(stage.dataset.state);
    new MutationObserver(note).observe(stage, { attributeFilter: ["data-state"] });
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

  // Everything that is connected to the loudspeaker is connected to a recorder as well. A worklet of the test's own would
  // be refused by the page's CSP and a ScriptProcessor loses sound when the page is busy, so the sound leaves through a
  // MediaStreamTrackProcessor with a long queue. A ramp beside it numbers the samples: nothing is missed unnoticed.
  const LONGEST_S = 120;
  const RAMP_STEP = 2 ** -23; // exact in float32 up to index 8,388,608
  const QUEUE = 10_000;
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
    buffer.getChannelData(0).forEach((_, i, ramp) => (ramp[i] = i * RAMP_STEP));
    const ramp = new AudioBufferSourceNode(context, { buffer });
    const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
    const way = new MediaStreamAudioDestinationNode(context, { channelCount: 2, channelCountMode: "explicit" });
    connect.call(ramp, merger, 0, 1);
    connect.call(merger, way);
    ramp.start();
    record(new MediaStreamTrackProcessor({ track: way.stream.getAudioTracks()[0], maxBufferSize: QUEUE }));
    return merger;
  }

  async function record({ readable }) {
    for await (const data of readable) {
      const [samples, ramp] = [0, 1].map((planeIndex) => {
        const plane = new Float32Array(data.numberOfFrames);
        data.copyTo(plane, { planeIndex, format: "f32-planar" });
        return plane;
      });
      data.close();
      const running = ramp.findIndex((value) => value > 0);
      if (running >= 0) spy.output.push({ frame: Math.round(ramp[running] / RAMP_STEP), samples: samples.subarray(running) });
    }
  }

  /** All that was played, as base64 of float32, and where the recorder missed something. */
  spy.recording = () => {
    const end = spy.output.reduce((last, { frame, samples }) => Math.max(last, frame + samples.length), 0);
    const all = new Float32Array(end);
    const missed = [];
    let next = spy.output[0]?.frame;
    for (const { frame, samples } of spy.output) {
      if (frame !== next) missed.push([next, frame]);
      next = frame + samples.length;
      all.set(samples, frame);
    }
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
