/**
 * The page: joins the client's events to what a person sees, and buttons to the client. No rules of its own.
 *
 *   relay-client.js   the session         conversation.js   what it is doing, and how long that took
 *   captions.js       both sides' words   meters.js strip.js   levels
 *   event-log.js      what travelled      banner.js   what went wrong
 */

import { Banner } from "./banner.js";
import { Captions } from "./captions.js";
import { Conversation } from "./conversation.js";
import { download, EventLog, EventLogView } from "./event-log.js";
import { Meter } from "./meters.js";
import { Microphones } from "./microphones.js";
import { RelayClient } from "./relay-client.js";
import { fetchTicket } from "./relay-ticket.js";
import { Strip } from "./strip.js";
import { Warnings } from "./warnings.js";

const STATE_WORDS = {
  idle: ["Ready", "Press Start, then speak."],
  connecting: ["Connecting", "Waiting for the microphone and the voice service."],
  waiting: ["Interrupted", "The conversation begins anew as soon as the connection is back."],
  listening: ["Listening", "Say something, or type below."],
  hearing: ["Hearing you", "Go on; a pause ends your turn."],
  thinking: ["Thinking", "The answer is being prepared."],
  speaking: ["Speaking", "Speak to interrupt."],
};
const PUSH_TO_TALK_HINT = "Hold the button, or Space on it, while you speak.";
const STRIP_STEP_MS = 100;
const SILENT_DBFS = -120;

const byId = (id) => document.getElementById(id);
const { tickets, ticketUrl } = document.documentElement.dataset; // written by the server (page.py)
const ticket = tickets === "required" ? () => fetchTicket(ticketUrl) : undefined;
const client = new RelayClient();
const conversation = new Conversation();
const log = new EventLog();
const logView = new EventLogView(log, byId("log")); // eslint-disable-line no-unused-vars -- lives as long as the log
const captions = new Captions(byId("captions"), byId("announcer"));
const warnings = new Warnings(byId("warnings"));
const banner = new Banner(byId("banner"), byId("banner-announcer"), { onRetry: retry, onStop: () => client.stop() });
const microphones = new Microphones(byId("microphone"), byId("voice-processing"));
const inputMeter = new Meter(byId("input-meter"));
const outputMeter = new Meter(byId("output-meter"));
const strip = new Strip(byId("strip"));
const latest = { input: SILENT_DBFS, output: SILENT_DBFS };
let ticking = 0;

// -- what a person does ------------------------------------------------------------------------------------------

function start() {
  banner.hide();
  warnings.clear();
  captions.clear();
  client.options = { ...microphones.choice, ticket };
  client.start().catch(() => {}); // "ended" tells
}

function retry() {
  if (client.state === "waiting") client.retryNow();
  else start();
}

byId("start").addEventListener("click", start);
byId("stop").addEventListener("click", () => client.stop());
byId("interrupt").addEventListener("click", () => client.interrupt());
byId("interrupt").addEventListener("blur", () => showState());
byId("download").addEventListener("click", () => download("relay-log.json", log.toText()));
byId("mute").addEventListener("click", () => {
  client.mute(!client.muted);
  showControls();
});
byId("text-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const text = byId("text").value.trim();
  if (!text || client.state !== "open") return;
  try {
    client.sendText(text);
  } catch (error) {
    warnings.show(error); // the text stays, to be shortened
    return;
  }
  warnings.hide("text_too_long");
  captions.typed(text);
  byId("text").value = "";
});
microphones.addEventListener("change", () => {
  client.useMicrophone(microphones.choice).catch((error) => error.code === "stopped" || warnings.show(error));
});
holdToTalk(byId("talk"));

/** Pressed means speaking, by the main button or by a key; losing the focus ends it as well. */
function holdToTalk(button) {
  const begin = () => client.pushToTalk && client.beginTurn();
  const end = () => client.pushToTalk && client.endTurn();
  const isKey = ({ key }) => key === " " || key === "Enter";
  button.addEventListener("pointerdown", (event) => event.button === 0 && begin());
  for (const name of ["pointerup", "pointercancel", "pointerleave", "blur"]) button.addEventListener(name, end);
  button.addEventListener("keydown", (event) => isKey(event) && !event.repeat && begin());
  button.addEventListener("keyup", (event) => isKey(event) && end());
}

// -- what the session does ---------------------------------------------------------------------------------------

client.addEventListener("state", ({ detail }) => {
  conversation.connection(detail.state);
  log.add("•", { type: `client ${detail.state}` });
  if (detail.state === "connecting") startTicking();
  showControls(() => detail.state === "connecting" && banner.connecting());
  showState();
});
client.addEventListener("ready", () => {
  showControls(() => banner.hide());
  captions.newSession();
  microphones.refresh();
  log.add("•", { type: "microphone", label: client.microphoneLabel });
});
client.addEventListener("event", ({ detail }) => {
  conversation.event(detail, performance.now());
  captions.event(detail);
  log.add("←", detail);
  showState();
});
client.addEventListener("sent", ({ detail }) => log.add("→", detail));
client.addEventListener("frame", ({ detail }) => {
  log.count(detail.direction === "up" ? "→ audio" : "← audio", detail.samples);
});
client.addEventListener("level", ({ detail }) => {
  latest.input = detail?.rms_dbfs ?? SILENT_DBFS;
  inputMeter.show(detail, performance.now());
  if (latest.input > SILENT_DBFS) warnings.hide("microphone_silent");
});
client.addEventListener("output", ({ detail }) => {
  latest.output = detail.rms_dbfs;
  outputMeter.show(detail, performance.now());
});
client.addEventListener("sound", ({ detail }) => {
  conversation.sound(detail.item, detail.at_ms);
  log.add("•", { type: "sound", ...detail });
  showState();
});
client.addEventListener("silence", ({ detail }) => {
  conversation.silence(detail.reason, detail.at_ms);
  log.add("•", { type: "silence", ...detail });
  showState();
});
client.addEventListener("warning", ({ detail }) => warnings.show(detail));
client.addEventListener("error", ({ detail }) => warnings.show(detail));
client.addEventListener("waiting", ({ detail }) => {
  const { reason, ...when } = detail;
  log.closeSecond();
  log.add("•", { type: "waiting", ...when, ...written(reason) });
  stopTicking();
  banner.waiting(detail);
});
client.addEventListener("ended", ({ detail }) => {
  log.closeSecond();
  log.add("•", { type: "ended", final: detail.final, ...written(detail.reason) });
  stopTicking();
  showControls(() => (detail.reason.code === "stopped" ? banner.hide() : banner.ended(detail)));
});

function written({ code, message, closeCode }) {
  return { code, message, close_code: closeCode };
}

// -- what a person sees ------------------------------------------------------------------------------------------

function showState() {
  const { state, firstSoundMs, silenceMs } = conversation;
  const [word, hint] = STATE_WORDS[state];
  setText(byId("state"), word);
  setText(byId("hint"), hintFor(state, hint));
  byId("stage").dataset.state = state;
  const interruptible = state === "speaking" || state === "thinking";
  const focused = client.state === "open" && document.activeElement === byId("interrupt");
  byId("interrupt").disabled = !interruptible && !focused; // a disabled button would lose the keyboard's place
  setText(byId("first-sound"), milliseconds(firstSoundMs));
  setText(byId("to-silence"), milliseconds(silenceMs));
  if (client.outputLatencyMs > 0) {
    setText(byId("device-latency"), `your loudspeaker's latency, about ${Math.round(client.outputLatencyMs)} ms`);
  }
}

function hintFor(state, hint) {
  if (state === "listening" && client.pushToTalk) return PUSH_TO_TALK_HINT;
  if (client.muted && !client.pushToTalk) return "Your microphone is muted.";
  return hint;
}

/**
 * Show what can be pressed now, after `change`. Whatever had the focus before, a button of the banner perhaps, gives it to
 * the main button if it cannot be pressed any more; some browsers take it away at that moment.
 */
function showControls(change = () => {}) {
  const idle = client.state === "idle";
  const open = client.state === "open";
  const focused = document.activeElement;
  change();
  byId("start").disabled = !idle;
  byId("stop").disabled = idle;
  byId("mute").disabled = !open;
  byId("mute").hidden = client.pushToTalk;
  byId("talk").hidden = !client.pushToTalk;
  byId("mute").setAttribute("aria-pressed", String(client.muted));
  byId("text").disabled = byId("send").disabled = !open;
  if (focused?.disabled || focused?.closest("[hidden]")) byId(idle ? "start" : "stop").focus();
  showState();
}

/** A live region speaks whenever it is written to: write only what is new. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function milliseconds(value) {
  return value === null ? "–" : `${Math.round(value)} ms`;
}

function startTicking() {
  clearInterval(ticking);
  ticking = setInterval(() => strip.step(latest.input, latest.output), STRIP_STEP_MS);
}

function stopTicking() {
  clearInterval(ticking);
  latest.input = latest.output = SILENT_DBFS;
  inputMeter.clear();
  outputMeter.clear();
  strip.clear();
}
