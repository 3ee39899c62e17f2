/**
 * Many clients in one process: the real relay-socket.js and relay-reconnect.js, without sound and page.
 *
 *     node reconnect.mjs ws://127.0.0.1:PORT/v1/realtime 200
 *
 * Writes one JSON line when all sessions stand, and one when all stand again after they were lost.
 */

import { Reconnect } from "../static/relay-reconnect.js";
import { RelaySocket } from "../static/relay-socket.js";
import { startMessage } from "../static/relay-wire.js";

/** Node 22 tells a connection that was refused by "error" alone; browsers send "close" after it. */
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    const refused = () => this.dispatchEvent(Object.assign(new Event("close"), { code: 1006 }));
    this.addEventListener("error", () => this.protocol || refused());
  }
};

const RATE_HZ = 48_000;
const FIRST_PACE_MS = 25;
const [url, count] = [process.argv[2], Number(process.argv[3])];

let standing = 0;
let lostMs = null;
const knocks = []; // every attempt after the loss, when its handshake began
const connects = []; // and every one that was accepted
const back = [];
const reasons = {};

class Client {
  #reconnect = new Reconnect();
  #again = false;

  connect() {
    if (this.#again) knocks.push(performance.now() - lostMs);
    const socket = new RelaySocket(url, [], RATE_HZ, {
      onOpen: () => {
        if (this.#again) connects.push(performance.now() - lostMs);
        socket.send(startMessage(RATE_HZ));
      },
      onEvent: (event) => event.type === "relay.ready" && this.#ready(),
      onAudio: () => {},
      onDropped: () => {},
      onEnd: (error) => this.#ended(error),
    });
  }

  #ready() {
    this.#reconnect.ready(performance.now() - 60_000); // as if it had stood for a minute
    standing += 1;
    if (this.#again) back.push(performance.now() - lostMs);
    if (standing === count) report();
  }

  #ended(error) {
    const nowMs = performance.now();
    lostMs ??= nowMs;
    if (!this.#again) standing -= 1;
    this.#again = true;
    reasons[error.code] = (reasons[error.code] ?? 0) + 1;
    const dueMs = this.#reconnect.ended(error, nowMs);
    if (dueMs === null) throw error;
    setTimeout(() => this.connect(), dueMs - nowMs);
  }
}

/** Most of them within any one second. */
function peak(times) {
  const at = [...times].sort((a, b) => a - b);
  return Math.max(...at.map((from) => at.filter((t) => t >= from && t < from + 1000).length));
}

function report() {
  if (lostMs === null) {
    console.log(JSON.stringify({ standing }));
    return;
  }
  back.sort((a, b) => a - b);
  const [first_ms, median_ms, last_ms] = [0, back.length >> 1, back.length - 1].map((i) => Math.round(back[i]));
  const [peak_knocks, peak_connects] = [peak(knocks), peak(connects)];
  console.log(JSON.stringify({ standing, first_ms, median_ms, last_ms, peak_connects, peak_knocks, knocks: knocks.length, reasons }));
  process.exit(0);
}

for (let i = 0; i < count; i++) setTimeout(() => new Client().connect(), i * FIRST_PACE_MS);
