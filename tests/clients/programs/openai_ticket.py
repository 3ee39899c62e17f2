"""PyPI `openai`: a back end gets a ticket with the server token, a client connects with it and asks for an answer."""

from __future__ import annotations

import asyncio

from caller import JOB, tell
from openai import APIStatusError, AsyncOpenAI, AuthenticationError, BadRequestError

BASE_URL = f"http://{JOB['host']}/v1"


async def main() -> None:
    back_end = AsyncOpenAI(api_key=JOB["key"], base_url=BASE_URL)
    secret = await back_end.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "model": "gpt-realtime", "instructions": "Be a pirate.", "tools": []},
        extra_body={"relay": {"user": "bob"}},
    )
    tell({"type": "client.secret", **secret.model_dump(mode="json")})
    async with AsyncOpenAI(api_key=secret.value, base_url=BASE_URL).realtime.connect(
        model="gpt-realtime"
    ) as connection:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "good morning"}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async for event in connection:
            tell(event.model_dump(mode="json"))
            if event.type == "response.done":
                break
    await refused(back_end, BadRequestError, expires_after={"seconds": 5})
    await refused(AsyncOpenAI(api_key="wrong", base_url=BASE_URL), AuthenticationError)


async def refused(client: AsyncOpenAI, expected: type[APIStatusError], **request: object) -> None:
    try:
        await client.realtime.client_secrets.create(**request)
    except expected as error:
        tell({"type": "client.refused", "code": error.code, "param": error.param})


asyncio.run(main())
