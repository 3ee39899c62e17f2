// npm `openai-realtime-api`: the reference client of the beta, which throws when an item comes in the wrong order.
// It answers a call as soon as the call is whole, before the response is done.
import { RealtimeClient } from 'openai-realtime-api';
import { Events, job, lengthMs, Microphone, tell } from './caller.mjs';

const SAMPLES_PER_MS = 24;
const FRAME_MS = 100; // for each frame it copies all that it was ever given, sample by sample: few, and not for long

const client = new RealtimeClient({ url: `ws://${job.host}/v1/realtime`, apiKey: job.key });
const events = new Events();
client.on('realtime.event', ({ event, source }) => source === 'server' && events.add(event));
client.addTool(
  { name: 'get_weather', description: 'Tell the weather.', parameters: { type: 'object', properties: {} } },
  () => job.tool_says,
);
const ask = (text) => client.sendUserMessageContent([{ type: 'input_text', text }]);

await client.connect();
await client.waitForSessionCreated();
client.updateSession({ instructions: 'You are a pirate.', turn_detection: { type: 'server_vad' } });
const microphone = new Microphone((frame) => client.appendInputAudio(new Int16Array(frame)), FRAME_MS);
microphone.speak();
await events.until('response.done');
microphone.close();
ask(job.story);
const first = await events.until('response.audio.delta');
client.cancelResponse(first.item_id, lengthMs(first.delta) * SAMPLES_PER_MS); // and truncates
await events.until('response.done');
ask(job.asks);
await events.until('response.done'); // the call
await events.until('response.done'); // what is said about its output
for (const item of client.conversation.getItems().filter((each) => each.role === 'assistant')) {
  const { buffer, byteOffset, byteLength } = item.formatted.audio;
  const audio = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
  tell({ type: 'client.audio', item_id: item.id, audio });
}
client.disconnect();
