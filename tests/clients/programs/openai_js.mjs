// npm `openai`, which connects over wss and nothing else: its WebSocket speaks and prints what it gets.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { speak, tell } from './microphone.mjs';

const [host, speech] = process.argv.slice(2);
const client = new OpenAI({ apiKey: 'ek_canary_0123456789', baseURL: `https://${host}/v1` });
const connection = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client);
connection.on('event', tell);
connection.on('error', (error) => tell({ type: 'client.error', error: String(error?.message ?? error) }));
const created = new Promise((resolve) => connection.on('session.created', resolve));
const answered = new Promise((resolve) => connection.on('response.done', resolve));
await created;
connection.send({ type: 'session.update', session: { type: 'realtime', instructions: 'You are a pirate.' } });
const hush = speak(speech, (frame) => {
  connection.send({ type: 'input_audio_buffer.append', audio: Buffer.from(frame).toString('base64') });
});
await answered;
hush();
connection.close();
