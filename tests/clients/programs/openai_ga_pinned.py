"""PyPI `openai`, GA: ask for what the operator has pinned, then for what is allowed; print every event."""

from __future__ import annotations

import asyncio
import sys

from openai import AsyncOpenAI


async def main(host: str, _: str) -> None:
    client = AsyncOpenAI(api_key="ek_canary_0123456789", base_url=f"http://{host}/v1")
    content = [{"type": "input_text", "text": "good morning"}]
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.response.create(response={"instructions": "Say that you are a pirate."})
        await connection.conversation.item.create(item={"type": "message", "role": "system", "content": content})
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        async for event in connection:
            print(event.model_dump_json(), flush=True)
            if event.type == "response.done":
                break


asyncio.run(main(*sys.argv[1:]))
