"""PyPI `openai`, GA, asyncio: configure, speak at real pace, print every event until the answer is done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from microphone import speak_to
from openai import AsyncOpenAI


async def main(host: str, speech: bytes) -> None:
    client = AsyncOpenAI(api_key="ek_canary_0123456789", base_url=f"http://{host}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "You are a pirate.",
                "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}, "output": {"voice": "ash"}},
            }
        )
        speaking = asyncio.create_task(speak_to(connection, speech))
        async for event in connection:
            print(event.model_dump_json(), flush=True)
            if event.type == "response.done":
                break
        speaking.cancel()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
