// npm `@openai/agents-realtime`: a RealtimeSession speaks and prints what its transport and its player get.
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { speak, tell } from './microphone.mjs';

const [host, speech] = process.argv.slice(2);
const agent = new RealtimeAgent({ name: 'A', instructions: 'You are a pirate.' });
const session = new RealtimeSession(agent, { transport: 'websocket', model: 'gpt-realtime' });
session.on('audio', (event) => tell({ type: 'client.audio', audio: Buffer.from(event.data).toString('base64') }));
session.on('error', (error) => tell({ type: 'client.error', error: String(error?.error?.message ?? error) }));
const answered = new Promise((resolve) => {
  session.on('transport_event', (event) => {
    tell(event);
    if (event.type === 'response.done') resolve();
  });
});
await session.connect({ apiKey: 'ek_canary_0123456789', url: `ws://${host}/v1/realtime?model=gpt-realtime` });
const hush = speak(speech, (frame) => session.sendAudio(frame));
await answered;
hush();
session.close();
