/**
 * Whether to connect again after a session ended, and when. Pure: clock and chance are given from outside.
 *
 * Rules:
 * - Only what passes by itself is waited for. What a person, the operator or the protocol ended stays ended.
 * - Full jitter: each wait is drawn from 0 to a ceiling, which doubles with each attempt, up to CAP_MS.
 * - What ends one session begins with BASE_MS. What may end all sessions of a server at once, and a lost connection
 *   does not say, begins with SPREAD_MS: 200 clients of a server that was killed then come back at about 20 a second,
 *   whenever it is there again. With BASE_MS it would be 200 a second for a server that is back within one.
 * - The time that the server asks for is waited, and the jitter comes on top. What it says when it shuts down is another
 *   time for each client already.
 * - A tab that nobody sees waits HIDDEN_MS longer each time.
 * - A session that lasted LASTING_MS makes good what was before: the next end counts as the first. Else the attempts go
 *   on counting, up to MAX_ATTEMPTS, and none begins later than GIVE_UP_MS after the first end.
 */

const BASE_MS = 500;
const SPREAD_MS = 10_000;
const CAP_MS = 30_000;
export const SOON_MS = 2_000;
export const HIDDEN_MS = 10_000;
export const LASTING_MS = 10_000;
export const MAX_ATTEMPTS = 20;
export const GIVE_UP_MS = 300_000;

/** Close codes after which a new session may well stand, and the ceiling of the first wait (docs/wire.md, section 8). */
const CLOSE_CODES = new Map([
  [1001, SPREAD_MS], // a proxy on the way is stopped
  [1005, SPREAD_MS], // somebody on the way closed without a word
  [1006, SPREAD_MS],
  [1011, SPREAD_MS],
  [1012, SPREAD_MS],
  [1013, SPREAD_MS],
  [1014, SPREAD_MS], // a proxy does not reach the server
  [4408, BASE_MS],
  [4410, BASE_MS],
  [4502, SPREAD_MS],
  [4503, SPREAD_MS],
  [4504, SPREAD_MS],
]);

/** The same for what this client found out by itself. */
const CODES = new Map([
  ["not_ready", SPREAD_MS],
  ["ready_timeout", SPREAD_MS],
  ["refused", SPREAD_MS],
  ["ticket_unavailable", SPREAD_MS],
  ["unreachable", SPREAD_MS],
]);

/** A wrong address or a page that may not come in looks the same: waited for only where a session has stood before. */
const DOUBTFUL = new Set(["refused", "ticket_unavailable", "unreachable"]);

/** @typedef {{code: string, closeCode: number | null, retryAfterMs: number | null}} Reason  a RelayError, for example */

export class Reconnect {
  #random;
  #stood = false;
  #readyMs = Infinity;
  #brokenMs = null;
  #attempt = 0;
  #earliestMs = 0;
  #dueMs = 0;

  /** @param {() => number} [random]  from 0 to 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** The attempt that is waited for or under way, from 1; 0 before the first. */
  get attempt() {
    return this.#attempt;
  }

  /** A session stands. @param {number} nowMs  of any clock that only goes forward */
  ready(nowMs) {
    this.#stood = true;
    this.#readyMs = nowMs;
  }

  /**
   * Whether this passes by itself, so that there is something to wait for.
   * @param {Reason} reason
   */
  passes(reason) {
    return firstCeilingMs(reason) > 0 && (this.#stood || !DOUBTFUL.has(reason.code));
  }

  /**
   * A session ended, or did not come to stand.
   * @param {Reason} reason
   * @param {number} nowMs
   * @param {boolean} [hidden]  whether the page is out of sight
   * @returns {number | null} when to try again, by the same clock; null: not at all
   */
  ended(reason, nowMs, hidden = false) {
    if (nowMs - this.#readyMs >= LASTING_MS) this.#forgive();
    this.#readyMs = Infinity;
    if (!this.passes(reason) || this.#attempt >= MAX_ATTEMPTS) return null;
    this.#brokenMs ??= nowMs;
    this.#earliestMs = nowMs + (reason.retryAfterMs ?? 0);
    const jitterMs = this.#random() * Math.min(CAP_MS, firstCeilingMs(reason) * 2 ** this.#attempt);
    this.#dueMs = this.#earliestMs + (hidden ? HIDDEN_MS : 0) + jitterMs;
    if (this.#dueMs - this.#brokenMs > GIVE_UP_MS) return null;
    this.#attempt += 1;
    return this.#dueMs;
  }

  /**
   * The network is back, or the tab is seen again: try soon, though never sooner than the server asked for.
   * @param {number} nowMs
   * @returns {number} when to try now
   */
  sooner(nowMs) {
    const soonMs = Math.max(nowMs, this.#earliestMs) + this.#random() * SOON_MS;
    this.#dueMs = Math.min(this.#dueMs, soonMs);
    return this.#dueMs;
  }

  #forgive() {
    this.#attempt = 0;
    this.#brokenMs = null;
  }
}

/** @param {Reason} reason @returns {number} 0 if it is final */
function firstCeilingMs({ code, closeCode, retryAfterMs }) {
  if (closeCode === 1012 && retryAfterMs) return BASE_MS;
  return CODES.get(code) ?? CLOSE_CODES.get(closeCode) ?? 0;
}
