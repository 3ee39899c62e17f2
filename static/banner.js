/**
 * The banner: what went wrong, what happens now, and what the person can do about it.
 *
 *   waiting      the client tries again by itself: a countdown, "Try now" and "Stop"
 *   connecting   it tries; "Stop"
 *   ended        it does not try any more: "Try again", once the time that the server asked for is over
 *
 * Rules:
 * - A screen reader hears each sentence once, politely; of the seconds that pass it hears nothing.
 * - A button that cannot be pressed now stays where it is, disabled; one that makes no sense is not there.
 */

const TICK_MS = 200;
const IN_MINUTES_S = 120;

export class Banner {
  #element;
  #announcer;
  #message;
  #countdown;
  #retry;
  #stop;
  #timer = 0;

  /**
   * @param {HTMLElement} element  holds .message, .countdown, button.retry and button.stop
   * @param {HTMLElement} announcer  visually hidden, aria-live, always rendered
   * @param {{onRetry: () => void, onStop: () => void}} handlers
   */
  constructor(element, announcer, { onRetry, onStop }) {
    this.#element = element;
    this.#announcer = announcer;
    this.#message = element.querySelector(".message");
    this.#countdown = element.querySelector(".countdown");
    this.#retry = element.querySelector("button.retry");
    this.#stop = element.querySelector("button.stop");
    this.#retry.addEventListener("click", onRetry);
    this.#stop.addEventListener("click", onStop);
  }

  /** @param {{reason: {message: string, code: string}, retry_in_ms: number, attempt: number}} waiting */
  waiting({ reason, retry_in_ms, attempt }) {
    this.#show("waiting", reason.code, `${whatHappened(reason)} It is tried again by itself; your microphone stays open.`);
    this.#retry.textContent = "Try now";
    this.#retry.disabled = false;
    this.#stop.hidden = false;
    const times = attempt > 1 ? `, attempt ${attempt}` : "";
    this.#countDown(retry_in_ms, (seconds) => {
      this.#countdown.textContent = `Next try in ${duration(seconds)}${times}.`;
    });
  }

  /** An attempt is under way. Does nothing when nothing was lost. */
  connecting() {
    if (this.#element.hidden) return;
    clearInterval(this.#timer);
    this.#element.dataset.phase = "connecting";
    this.#countdown.textContent = "Connecting again …";
    this.#retry.disabled = true;
  }

  /** @param {{reason: {message: string, code: string, retryAfterMs: number | null}, attempts: number}} ended */
  ended({ reason, attempts }) {
    const inVain = attempts > 0 ? ` (Tried ${attempts} ${attempts > 1 ? "times" : "time"} by itself.)` : "";
    this.#show("ended", reason.code, reason.message + inVain);
    this.#countdown.textContent = "";
    this.#stop.hidden = true;
    this.#countDown(reason.retryAfterMs ?? 0, (seconds) => {
      this.#retry.disabled = seconds > 0;
      this.#retry.textContent = seconds > 0 ? `Try again in ${duration(seconds)}` : "Try again";
    });
  }

  hide() {
    clearInterval(this.#timer);
    this.#element.hidden = true;
    this.#message.textContent = this.#announcer.textContent = "";
  }

  #show(phase, code, text) {
    this.#element.hidden = false;
    Object.assign(this.#element.dataset, { phase, code });
    this.#message.textContent = text;
    if (this.#announcer.textContent !== text) this.#announcer.textContent = text;
  }

  #countDown(forMs, say) {
    clearInterval(this.#timer);
    const overMs = performance.now() + forMs;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((overMs - performance.now()) / 1000));
      say(seconds);
      if (seconds === 0) clearInterval(this.#timer);
    };
    this.#timer = setInterval(tick, TICK_MS);
    tick();
  }
}

/** While it is tried again, the first sentence will do: the others say what a person should do. */
function whatHappened({ message }) {
  return message.match(/^.*?[.!?](?=\s|$)/)?.[0] ?? message;
}

function duration(seconds) {
  return seconds < IN_MINUTES_S ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
