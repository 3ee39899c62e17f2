// npm `openai`, which opens wss: alone: events out and in, nothing by itself. It cancels and truncates an answer.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { Events, job, lengthMs, Microphone, tell } from './caller.mjs';

const client = new OpenAI({ apiKey: job.key, baseURL: `https://${job.host}/v1` });
const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client);
const events = new Events();
const say = (type, rest) => realtime.send({ type, ...rest });
const ask = (text) => {
  say('conversation.item.create', { item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] } });
  say('response.create');
};

realtime.on('event', (event) => events.add(event));
realtime.on('error', (error) => tell({ type: 'client.error', error: error.message }));
await new Promise((resolve) => realtime.socket.once('open', resolve));
say('session.update', { session: { type: 'realtime', instructions: 'You are a pirate.' } });
const microphone = new Microphone((frame) =>
  say('input_audio_buffer.append', { audio: Buffer.from(frame).toString('base64') }),
);
microphone.speak();
await events.until('response.done');
ask(job.story);
const first = await events.until('response.output_audio.delta');
say('response.cancel');
const heard = { item_id: first.item_id, content_index: 0, audio_end_ms: Math.floor(lengthMs(first.delta)) };
say('conversation.item.truncate', heard);
await events.until('response.done');
ask(job.asks);
const done = await events.until('response.done');
const { call_id } = done.response.output[0];
say('conversation.item.create', { item: { type: 'function_call_output', call_id, output: job.tool_says } });
say('response.create');
await events.until('response.done');
microphone.close();
realtime.close();
