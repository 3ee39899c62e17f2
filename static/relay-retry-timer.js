/**
 * The wait until the next attempt: one timer, which the network, the tab and the person can shorten.
 *
 * Rules:
 * - When to try is for relay-reconnect.js to say; here are only the browser's clock and events.
 * - After stop(), or once it has rung, nothing is left: no timer and no listener.
 */

export class RetryTimer {
  #reconnect;
  #onChange;
  #onDue;
  #timer = 0;

  /**
   * @param {import("./relay-reconnect.js").Reconnect} reconnect
   * @param {{onChange: (dueMs: number) => void, onDue: () => void}} handlers  onChange: it will ring sooner
   */
  constructor(reconnect, { onChange, onDue }) {
    this.#reconnect = reconnect;
    this.#onChange = onChange;
    this.#onDue = onDue;
  }

  /** @param {number} dueMs  as performance.now() counts */
  start(dueMs) {
    this.#set(dueMs);
    globalThis.addEventListener("online", this.#sooner);
    document.addEventListener("visibilitychange", this.#seen);
  }

  /** Ring at once. Does nothing when it does not run. */
  ring() {
    if (this.#timer === 0) return;
    this.stop();
    this.#onDue();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    globalThis.removeEventListener("online", this.#sooner);
    document.removeEventListener("visibilitychange", this.#seen);
  }

  #sooner = () => {
    const dueMs = this.#reconnect.sooner(performance.now());
    this.#set(dueMs);
    this.#onChange(dueMs);
  };

  #seen = () => {
    if (!document.hidden) this.#sooner();
  };

  #set(dueMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ring(), dueMs - performance.now());
  }
}
