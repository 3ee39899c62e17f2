"""PyPI `openai` 1.100.0, `client.beta.realtime`: the same, in the dialect that OpenAI has switched off."""

from __future__ import annotations

import asyncio

from caller import JOB
from conversation import Call
from openai import AsyncOpenAI


async def main() -> None:
    client = AsyncOpenAI(api_key=JOB["key"], websocket_base_url=f"ws://{JOB['host']}/v1")
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
        await Call(connection, "response.audio.delta").hold()


asyncio.run(main())
