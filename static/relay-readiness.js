/**
 * Why a handshake was refused. Browsers hide its status; a server without room says the same at /readyz.
 *
 * Rules:
 * - One question, with a deadline, and an answer in any case: whoever asks has no session to lose any more.
 * - A page of another origin is told nothing at /readyz: to it, a server that refuses looks like one that is gone.
 */

import { RelayError, retryAfterMs } from "./relay-wire.js";

const DEADLINE_MS = 2_000;
const UNREACHABLE = "The server cannot be reached, or refused this page. Check that the server runs, then try again.";
const NOT_READY = "The server has no room for this conversation now. Try again in a moment.";
const REFUSED =
  "The server refused this conversation: its ticket, this page, or too many conversations from here. " +
  "End others, reload the page, then try again.";

/**
 * @param {string} socketUrl  where the handshake was refused
 * @returns {Promise<RelayError>} not_ready (429, 503), refused (it is ready, so it is about this page) or unreachable
 */
export async function whyRefused(socketUrl) {
  const unreachable = new RelayError("unreachable", UNREACHABLE, { closeCode: 1006 });
  try {
    const url = new URL("/readyz", socketUrl.replace(/^ws/, "http"));
    const answer = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
    if (answer.ok) return new RelayError("refused", REFUSED, { closeCode: 1006 });
    return answer.status === 429 || answer.status === 503 ? await notReady(answer) : unreachable;
  } catch {
    return unreachable;
  }
}

/** relay says why in a line of text; what a proxy says in its place is a page. */
async function notReady(answer) {
  const own = answer.headers.get("Content-Type")?.startsWith("text/plain");
  const text = own ? (await answer.text()).trim() : "";
  return new RelayError("not_ready", text || NOT_READY, { retryAfterMs: retryAfterMs(answer) });
}
