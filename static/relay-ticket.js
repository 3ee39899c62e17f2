/**
 * Tickets: what a page shows to be let in. The site's own back end gets them from relay (docs/tickets.md).
 *
 * Rules:
 * - A ticket opens one session: it is fetched anew for each, also for one that takes the place of a lost one.
 * - It goes into a subprotocol, never into a URL, a message or a log.
 */

import { RelayError, retryAfterMs } from "./relay-wire.js";

const KEY_SUBPROTOCOL = "openai-insecure-api-key.";
const FORM = /^[A-Za-z0-9_.-]{1,4096}$/; // what fits into a header; a browser would quote any other in its error
const FETCH_DEADLINE_MS = 10_000;
const REFUSED = "You are not logged in here, or may not talk. Log in, then try again.";
const FAILED = "The site gave no ticket for a conversation. Try again in a moment.";
const MISSING =
  "This server lets nobody in without a ticket, and its operator has not said where to get one (ticket_url).";

/**
 * Ask the site's back end for a ticket.
 * @param {string} url  answers a POST with {"value": "ek_…"}; the person's cookies go with it if it is the same origin
 * @returns {Promise<string>}
 * @throws {RelayError} ticket_missing (no url), ticket_refused (401 or 403), ticket_failed, and what may pass:
 *                      ticket_unavailable (no answer, 429 or 5xx)
 */
export async function fetchTicket(url) {
  if (!url) throw new RelayError("ticket_missing", MISSING);
  const answer = await post(url);
  if (answer.status === 401 || answer.status === 403) throw new RelayError("ticket_refused", REFUSED);
  if (answer.status === 429 || answer.status >= 500) throw unavailable({ retryAfterMs: retryAfterMs(answer) });
  if (!answer.ok) throw new RelayError("ticket_failed", FAILED);
  const { value } = await answer.json().catch(() => ({}));
  return checked(value);
}

/**
 * The subprotocol that carries a ticket.
 * @param {string | (() => string | Promise<string>) | undefined} ticket  a function is asked for each session
 * @returns {Promise<string[]>}  empty without a ticket
 */
export async function ticketSubprotocols(ticket) {
  const value = typeof ticket === "function" ? await ask(ticket) : ticket;
  return value === undefined ? [] : [KEY_SUBPROTOCOL + checked(value)];
}

async function post(url) {
  try {
    return await fetch(url, { method: "POST", signal: AbortSignal.timeout(FETCH_DEADLINE_MS) });
  } catch (cause) {
    throw unavailable({ cause });
  }
}

async function ask(ticket) {
  try {
    return await ticket();
  } catch (cause) {
    throw cause instanceof RelayError ? cause : unavailable({ cause }); // a fetch without network is a TypeError
  }
}

function unavailable(more) {
  return new RelayError("ticket_unavailable", FAILED, more);
}

function checked(value) {
  if (typeof value === "string" && FORM.test(value)) return value;
  throw new RelayError("ticket_failed", "The site gave something that is not a ticket. Tell whoever runs it.");
}
