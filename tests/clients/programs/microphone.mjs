// An open microphone for the programs beside this file: speech at real pace, then silence for as long as it takes.
import { readFileSync } from 'node:fs';

const FRAME_BYTES = 960; // 20 ms of PCM16 at 24 kHz
const FRAME_MS = 20;

export const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

// Calls send(ArrayBuffer) for each frame that is due; returns a function that ends it.
export function speak(speech, send) {
  const pcm = readFileSync(speech);
  const began = performance.now();
  let sent = 0;
  const microphone = setInterval(() => {
    while (began + sent * FRAME_MS <= performance.now()) {
      const frame = new Uint8Array(FRAME_BYTES);
      frame.set(pcm.subarray(sent * FRAME_BYTES, (sent + 1) * FRAME_BYTES));
      send(frame.buffer);
      sent += 1;
    }
  }, FRAME_MS);
  return () => clearInterval(microphone);
}
