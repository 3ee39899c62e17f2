"""PyPI `openai`, GA: ask for what the operator has pinned, then for what is allowed; print every event."""

from __future__ import annotations

import asyncio

from caller import JOB, tell
from openai import AsyncOpenAI


async def main() -> None:
    client = AsyncOpenAI(api_key=JOB["key"], base_url=f"http://{JOB['host']}/v1")
    content = [{"type": "input_text", "text": "good morning"}]
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.response.create(response={"instructions": "Say that you are a pirate."})
        await connection.conversation.item.create(item={"type": "message", "role": "system", "content": content})
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        async for event in connection:
            tell(event.model_dump(mode="json"))
            if event.type == "response.done":
                break


asyncio.run(main())
