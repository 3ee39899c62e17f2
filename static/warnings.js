/**
 * Warnings: something is wrong, the session goes on.
 *
 * One line per code, the newest text wins; each can be dismissed. The list is a live region, so it is spoken once.
 */

const ADVICE = {
  microphone_silent: () =>
    "Your microphone sends only silence. Check that it is the right one and not muted on the device or in the system.",
  sample_rate_mismatch: ({ measured_hz }) =>
    `Sound arrives at another speed than declared${measured_hz ? ` (${Math.round(measured_hz)} Hz)` : ""}. ` +
    "The service may hear you too fast or too slow. Press Stop, choose another microphone, and start again.",
  audio_dropped: ({ dropped_ms }) => {
    const lost = dropped_ms ? `${dropped_ms} ms of your voice were` : "your voice is being";
    return `The connection is too slow: ${lost} left out.`;
  },
};

export class Warnings {
  #list;
  #shown = new Map();

  /** @param {HTMLElement} list  role=status, always rendered: a live region that appears with its text is not read */
  constructor(list) {
    this.#list = list;
  }

  /** @param {{code: string, message: string, measured_hz?: number, dropped_ms?: number}} warning */
  show(warning) {
    const text = ADVICE[warning.code]?.(warning) ?? warning.message;
    const known = this.#shown.get(warning.code);
    if (known) {
      const shown = known.querySelector("span");
      if (shown.textContent !== text) shown.textContent = text;
      return;
    }
    const item = this.#item(warning.code, text);
    this.#shown.set(warning.code, item);
    this.#list.append(item);
  }

  hide(code) {
    this.#shown.get(code)?.remove();
    this.#shown.delete(code);
  }

  clear() {
    this.#shown.clear();
    this.#list.replaceChildren();
  }

  #item(code, text) {
    const item = document.createElement("p");
    item.dataset.code = code;
    const words = document.createElement("span");
    words.textContent = text;
    const dismiss = document.createElement("button");
    dismiss.type = "button";
    dismiss.textContent = "Dismiss";
    dismiss.addEventListener("click", () => this.hide(code));
    item.append(words, dismiss);
    return item;
  }
}
