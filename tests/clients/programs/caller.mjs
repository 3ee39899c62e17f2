// What the programs for Node beside this file share: their job, a microphone that stays open, and what they print.
import { readFileSync } from 'node:fs';

const BYTES_PER_MS = 48; // PCM16 at 24 kHz

// Where relay is, the key, the file of the sentence, and what else there is to say: packages.Job.
export const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));

// Prints one event, as one line.
export const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

// How long the audio of a delta is.
export const lengthMs = (delta) => Buffer.from(delta, 'base64').length / BYTES_PER_MS;

// The events of a connection, to be waited for in their order.
export class Events {
  #unread = [];
  #wake = () => {};

  // Prints an event, and keeps it for until().
  add(event) {
    tell(event);
    this.#unread.push(event);
    this.#wake();
  }

  // Resolves to the next event of this type; those before it are read then.
  async until(type) {
    for (;;) {
      while (this.#unread.length > 0) {
        const event = this.#unread.shift();
        if (event.type === type) return event;
      }
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

// Silence, and the sentence each time that somebody speaks. Calls send(ArrayBuffer) for each frame that is due.
export class Microphone {
  #pcm = readFileSync(job.speech);
  #at = Infinity;
  #frameBytes;

  constructor(send, frameMs = 20) {
    this.#frameBytes = frameMs * BYTES_PER_MS;
    const began = performance.now();
    let sent = 0;
    this.timer = setInterval(() => {
      while (began + sent * frameMs <= performance.now()) {
        send(this.#frame());
        sent += 1;
      }
    }, frameMs);
  }

  speak() {
    this.#at = 0;
  }

  close() {
    clearInterval(this.timer);
  }

  #frame() {
    const frame = new Uint8Array(this.#frameBytes);
    frame.set(this.#pcm.subarray(this.#at, this.#at + this.#frameBytes));
    this.#at += this.#frameBytes;
    return frame.buffer;
  }
}
