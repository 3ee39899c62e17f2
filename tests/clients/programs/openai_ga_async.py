"""PyPI `openai`, GA, asyncio: configure, then talk; interrupted by speech."""

from __future__ import annotations

import asyncio

from caller import JOB
from conversation import Call
from openai import AsyncOpenAI


async def main() -> None:
    client = AsyncOpenAI(api_key=JOB["key"], base_url=f"http://{JOB['host']}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "You are a pirate.",
                "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}, "output": {"voice": "ash"}},
            }
        )
        await Call(connection, "response.output_audio.delta").hold()


asyncio.run(main())
