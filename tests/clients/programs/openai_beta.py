"""PyPI `openai` 1.100.0, `client.beta.realtime`: the same, in the dialect that OpenAI has switched off."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from microphone import speak_to
from openai import AsyncOpenAI


async def main(host: str, speech: bytes) -> None:
    client = AsyncOpenAI(api_key="ek_canary_0123456789", websocket_base_url=f"ws://{host}/v1")
    async with client.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
        await connection.session.update(
            session={
                "modalities": ["text", "audio"],
                "instructions": "You are a pirate.",
                "voice": "verse",
                "input_audio_format": "pcm16",
                "turn_detection": {"type": "server_vad"},
                "temperature": 0.9,
            }
        )
        speaking = asyncio.create_task(speak_to(connection, speech))
        async for event in connection:
            print(event.model_dump_json(), flush=True)
            if event.type == "response.done":
                break
        speaking.cancel()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
