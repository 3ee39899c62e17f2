/**
 * The event log: what travelled, in a form that a person can read and a developer can send along with a bug report.
 *
 * Rules:
 * - Structure is kept. Only string values over 100 characters are shortened, to 97 and "…", in a copy: what is sent and
 *   what other listeners see stays untouched.
 * - Audio frames and the reports that come ten times a second are counted per second, not listed.
 * - 500 rows, the oldest go first. The download holds the same rows.
 */

const MAX_STRING = 100;
const KEPT_STRING = 97;
const MAX_ROWS = 500;

const COUNTED_TYPES = new Set(["relay.level", "relay.played"]);

/** A deep copy with long strings shortened. Values that JSON does not know are kept as they are. */
export function shorten(value) {
  if (typeof value === "string") return value.length > MAX_STRING ? `${value.slice(0, KEPT_STRING)}…` : value;
  if (Array.isArray(value)) return value.map(shorten);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shorten(inner)]));
}

/**
 * @typedef {"→" | "←" | "•"} Direction  sent, received, or the page's own doing
 * @typedef {{time: string, direction: Direction, type: string, data: unknown}} Row
 */

export class EventLog extends EventTarget {
  /** @type {Row[]} */
  rows = [];
  #counts = new Map();
  #countedSecond = 0;

  /** @param {Direction} direction @param {{type: string}} event @param {Date} [now] */
  add(direction, event, now = new Date()) {
    if (COUNTED_TYPES.has(event.type)) {
      this.count(`${direction} ${event.type}`, 0, now);
      return;
    }
    this.#append({ time: now.toISOString(), direction, type: event.type, data: shorten(event) });
  }

  /** One frame, or one report, that is counted and not listed. */
  count(name, samples = 0, now = new Date()) {
    const second = Math.floor(now.getTime() / 1000);
    if (second !== this.#countedSecond) this.closeSecond(second);
    const total = this.#counts.get(name) ?? { messages: 0, samples: 0 };
    total.messages += 1;
    total.samples += samples;
    this.#counts.set(name, total);
  }

  /**
   * Write the row of the second that is over, timed at its end, or now if that comes first. Two such rows in a line
   * become one that covers both.
   */
  closeSecond(nextSecond = 0) {
    const second = this.#countedSecond;
    this.#countedSecond = nextSecond;
    if (this.#counts.size === 0) return;
    const perSecond = Object.fromEntries([...this.#counts].map(([name, total]) => [name, tidy(total)]));
    this.#counts.clear();
    const last = this.rows.at(-1);
    const seconds = last?.type === "per second" ? last.data.seconds + 1 : 1;
    if (seconds > 1) this.rows.pop();
    const time = new Date(Math.min((second + 1) * 1000, Date.now())).toISOString();
    this.#append({ time, direction: "•", type: "per second", data: { seconds, last: perSecond } }, seconds > 1);
  }

  /** All rows as JSON text, one row per line. */
  toText() {
    return `[\n${this.rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`;
  }

  #append(row, replacesLast = false) {
    this.rows.push(row);
    const dropped = this.rows.length > MAX_ROWS;
    if (dropped) this.rows.shift();
    this.dispatchEvent(new CustomEvent("row", { detail: { row, replacesLast, dropped } }));
  }
}

function tidy({ messages, samples }) {
  return samples > 0 ? { frames: messages, samples } : { messages };
}

/** Shows a log as a list; a row's JSON is written only when somebody opens it. */
export class EventLogView {
  #list;

  /** @param {EventLog} log @param {HTMLOListElement} list */
  constructor(log, list) {
    this.#list = list;
    log.addEventListener("row", ({ detail }) => this.#show(detail));
  }

  #show({ row, replacesLast, dropped }) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    if (replacesLast) list.lastElementChild?.remove();
    if (dropped) list.firstElementChild?.remove();
    list.append(rowElement(row));
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

/** @param {Row} row */
function rowElement(row) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = `${row.time.slice(11, 23)} ${row.direction} ${row.type}${brief(row)}`;
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const text = document.createElement("pre");
    text.textContent = JSON.stringify(row.data, null, 2);
    details.append(text);
  });
  const item = document.createElement("li");
  item.append(details);
  return item;
}

function brief({ type, data }) {
  if (type !== "per second") return "";
  const counts = Object.entries(data.last).map(([name, { frames, messages }]) => `${name} ${frames ?? messages}`);
  return ` (${data.seconds} s): ${counts.join(", ")}`;
}

/** Offer text as a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
