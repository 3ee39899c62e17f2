// npm `@openai/agents-realtime`: a RealtimeSession speaks, is interrupted by speech, and runs a tool; all by itself.
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { Events, job, Microphone, tell } from './caller.mjs';

const getWeather = tool({
  name: 'get_weather',
  description: 'Tell the weather.',
  parameters: z.object({ city: z.string() }),
  execute: async () => job.tool_says,
});
const agent = new RealtimeAgent({ name: 'A', instructions: 'You are a pirate.', tools: [getWeather] });
const session = new RealtimeSession(agent, { transport: 'websocket', model: 'gpt-realtime' });
const events = new Events();
session.on('transport_event', (event) => events.add(event));
session.on('audio_interrupted', () => tell({ type: 'client.audio_interrupted' }));
session.on('error', (error) => tell({ type: 'client.error', error: error?.error }));
session.on('audio', ({ responseId, data }) =>
  tell({ type: 'client.audio', response_id: responseId, audio: Buffer.from(data).toString('base64') }),
);

await session.connect({ apiKey: job.key, url: `ws://${job.host}/v1/realtime?model=gpt-realtime` });
const microphone = new Microphone((frame) => session.sendAudio(frame));
microphone.speak();
await events.until('response.done');
session.sendMessage(job.story);
await events.until('response.output_audio.delta');
microphone.speak();
await events.until('response.done'); // of the answer that was interrupted
await events.until('response.done'); // of the one to the interruption
session.sendMessage(job.asks);
await events.until('response.done'); // the call
await events.until('response.done'); // what is said about its output
microphone.close();
session.close();
