/**
 * Captions of both sides.
 *
 * Rules:
 * - One paragraph per conversation item, in the order in which the items appeared, whenever their words arrive.
 * - Words appear as they come; a screen reader is told each paragraph once, when it is complete.
 * - Words that were cut off by an interruption stay, marked as such: the model generated them, the person may not have
 *   heard them.
 * - The words of a session that was lost stay too; a line below them says that the next one does not know them.
 */

const MAX_PARAGRAPHS = 200;
const NEW_SESSION = "Connected again. This is a new conversation: what was said above is not remembered.";
const SPEAKERS = { user: "You", assistant: "Answer" };

export class Captions {
  #list;
  #announcer;
  /** @type {Map<string, {element: HTMLElement, text: HTMLElement}>} of this session, by item */
  #paragraphs = new Map();
  #typed = 0;

  /** @param {HTMLElement} list @param {HTMLElement} announcer  visually hidden, aria-live */
  constructor(list, announcer) {
    this.#list = list;
    this.#announcer = announcer;
  }

  clear() {
    this.#paragraphs.clear();
    this.#list.replaceChildren();
    this.#announcer.textContent = "";
  }

  /** Another session takes the place of one that was lost. Its items are others, whatever they are called. */
  newSession() {
    this.#paragraphs.clear();
    if (this.#list.childElementCount === 0) return;
    const line = document.createElement("p");
    line.className = "note";
    line.textContent = this.#announcer.textContent = NEW_SESSION;
    this.#list.append(line);
    this.#scroll();
  }

  /** Text that the person typed. */
  typed(text) {
    this.#typed += 1;
    this.#write(`typed ${this.#typed}`, "user", text);
  }

  /** @param {{type: string, item_id?: string, delta?: string, transcript?: string, text?: string}} event */
  event(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        return this.#paragraph(event.item_id, "user");
      case "conversation.item.input_audio_transcription.delta":
        return this.#append(event.item_id, "user", event.delta);
      case "conversation.item.input_audio_transcription.completed":
        return this.#write(event.item_id, "user", event.transcript || "(no words recognised)");
      case "conversation.item.input_audio_transcription.failed":
        return this.#write(event.item_id, "user", "(could not be transcribed)");
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return this.#append(event.item_id, "assistant", event.delta);
      case "response.output_audio_transcript.done":
        return this.#write(event.item_id, "assistant", event.transcript);
      case "response.output_text.done":
        return this.#write(event.item_id, "assistant", event.text);
      case "conversation.item.truncated":
        return this.#paragraph(event.item_id, "assistant").element.classList.add("interrupted");
      default:
        return undefined;
    }
  }

  #append(id, who, delta = "") {
    const { text } = this.#paragraph(id, who);
    text.textContent += delta;
    this.#scroll();
  }

  #write(id, who, words = "") {
    const { text } = this.#paragraph(id, who);
    text.textContent = words;
    this.#announcer.textContent = `${SPEAKERS[who]}: ${words}`;
    this.#scroll();
  }

  #paragraph(id, who) {
    const known = this.#paragraphs.get(id);
    if (known) return known;
    const paragraph = { element: document.createElement("p"), text: document.createElement("span") };
    const speaker = document.createElement("b");
    speaker.textContent = SPEAKERS[who];
    paragraph.element.className = who;
    paragraph.element.append(speaker, paragraph.text);
    this.#paragraphs.set(id, paragraph);
    this.#list.append(paragraph.element);
    this.#forgetOldest();
    this.#scroll();
    return paragraph;
  }

  #forgetOldest() {
    if (this.#list.childElementCount <= MAX_PARAGRAPHS) return;
    const oldest = this.#list.firstElementChild;
    const [id] = [...this.#paragraphs].find(([, { element }]) => element === oldest) ?? [];
    this.#paragraphs.delete(id);
    oldest.remove();
  }

  #scroll() {
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}
