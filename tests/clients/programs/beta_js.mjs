// npm `openai-realtime-api`: the reference client of the beta, which throws when an item comes in the wrong order.
import { RealtimeClient } from 'openai-realtime-api';
import { speak, tell } from './microphone.mjs';

const [host, speech] = process.argv.slice(2);
const client = new RealtimeClient({ url: `ws://${host}/v1/realtime`, apiKey: 'ek_canary_0123456789' });
const answered = new Promise((resolve) => {
  client.on('realtime.event', ({ event, source }) => {
    if (source === 'server') tell(event);
    if (event.type === 'response.done') resolve();
  });
});
await client.connect();
await client.waitForSessionCreated();
client.updateSession({ instructions: 'You are a pirate.', turn_detection: { type: 'server_vad' } });
const hush = speak(speech, (frame) => client.appendInputAudio(new Int16Array(frame)));
await answered;
hush();
for (const item of client.conversation.getItems().filter((each) => each.role === 'assistant')) {
  const { buffer, byteOffset, byteLength } = item.formatted.audio;
  tell({ type: 'client.audio', audio: Buffer.from(buffer, byteOffset, byteLength).toString('base64') });
}
client.disconnect();
