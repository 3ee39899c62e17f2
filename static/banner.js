/**
 * The error banner: what went wrong, what to do, and a Retry that waits as long as the server asked for.
 *
 * Rules:
 * - Nothing reconnects by itself: a thousand open pages must not knock on a struggling server's door in step.
 * - While the countdown runs, Retry is disabled and says how long it still takes; a screen reader hears the message and
 *   that Retry is ready, not every second.
 */

export class Banner {
  #element;
  #message;
  #retry;
  #timer = 0;

  /** @param {HTMLElement} element  holds .message and button.retry @param {() => void} onRetry */
  constructor(element, onRetry) {
    this.#element = element;
    this.#message = element.querySelector(".message");
    this.#retry = element.querySelector("button.retry");
    this.#retry.addEventListener("click", onRetry);
  }

  /** @param {{message: string, code: string, retryAfterMs: number | null}} error */
  show({ message, code, retryAfterMs }) {
    clearInterval(this.#timer);
    this.#element.hidden = false;
    this.#element.dataset.code = code;
    this.#message.textContent = message;
    this.#countDown(performance.now() + (retryAfterMs ?? 0));
  }

  hide() {
    clearInterval(this.#timer);
    this.#element.hidden = true;
    this.#message.textContent = "";
  }

  #countDown(readyMs) {
    const tick = () => {
      const seconds = Math.ceil((readyMs - performance.now()) / 1000);
      this.#retry.disabled = seconds > 0;
      this.#retry.textContent = seconds > 0 ? `Retry in ${seconds} s` : "Retry";
      if (seconds <= 0) clearInterval(this.#timer);
    };
    this.#timer = setInterval(tick, 200);
    tick();
  }
}
