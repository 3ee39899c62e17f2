/**
 * A level meter: an SVG bar for the eye, role=meter for everyone else.
 *
 * Rules:
 * - It shows what it is given, in dBFS; it measures nothing. The bytes that travel are measured where they travel.
 * - The bar rises at once and falls 30 dB per second, so that a syllable can be seen; the text is exact.
 * - Widths are SVG attributes: the page's CSP allows no style attribute.
 */

const FLOOR_DBFS = -60;
const FALL_DB_PER_S = 30;
const ARIA_INTERVAL_MS = 500;

export class Meter {
  #element;
  #bar;
  #peak;
  #text;
  #shown = FLOOR_DBFS;
  #updatedMs = 0;
  #spokenMs = -Infinity;

  /** @param {HTMLElement} element  role=meter, holding rect.level, rect.peak and, as next sibling, its text */
  constructor(element) {
    this.#element = element;
    this.#bar = element.querySelector(".level");
    this.#peak = element.querySelector(".peak");
    this.#text = element.nextElementSibling;
  }

  /** @param {{rms_dbfs: number, peak_dbfs: number} | null} level  null: no audio @param {number} now_ms */
  show(level, now_ms) {
    const rms = level?.rms_dbfs ?? -Infinity;
    const fallen = this.#shown - (FALL_DB_PER_S * (now_ms - this.#updatedMs)) / 1000;
    this.#shown = Math.max(FLOOR_DBFS, rms, fallen);
    this.#updatedMs = now_ms;
    this.#bar.setAttribute("width", `${percent(this.#shown)}%`);
    this.#peak.setAttribute("x", `${percent(level?.peak_dbfs ?? FLOOR_DBFS)}%`);
    if (now_ms - this.#spokenMs >= ARIA_INTERVAL_MS) this.#say(rms, now_ms);
  }

  clear() {
    this.#shown = FLOOR_DBFS;
    this.#updatedMs = performance.now();
    this.#spokenMs = -Infinity;
    this.show(null, this.#updatedMs);
  }

  #say(rms, now_ms) {
    this.#spokenMs = now_ms;
    const text = rms > FLOOR_DBFS ? `${Math.round(rms)} dB`.replace("-", "−") : "silent";
    this.#text.textContent = text;
    this.#element.setAttribute("aria-valuenow", String(Math.round(Math.max(FLOOR_DBFS, Math.min(0, rms)))));
    this.#element.setAttribute("aria-valuetext", text);
  }
}

function percent(dbfs) {
  const share = (dbfs - FLOOR_DBFS) / -FLOOR_DBFS;
  return (100 * Math.min(1, Math.max(0, share))).toFixed(1);
}
