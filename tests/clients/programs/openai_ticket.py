"""PyPI `openai`: a back end gets a ticket with the server token, a client connects with it and asks for an answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from openai import APIStatusError, AsyncOpenAI, AuthenticationError, BadRequestError


async def main(host: str) -> None:
    base_url = f"http://{host}/v1"
    back_end = AsyncOpenAI(api_key=os.environ["BACK_END_KEY"], base_url=base_url)
    secret = await back_end.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "model": "gpt-realtime", "instructions": "Be a pirate.", "tools": []},
        extra_body={"relay": {"user": "bob"}},
    )
    print(json.dumps({"type": "client.secret", **secret.model_dump(mode="json")}), flush=True)
    async with AsyncOpenAI(api_key=secret.value, base_url=base_url).realtime.connect(
        model="gpt-realtime"
    ) as connection:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "good morning"}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async for event in connection:
            print(event.model_dump_json(), flush=True)
            if event.type == "response.done":
                break
    await refused(back_end, BadRequestError, expires_after={"seconds": 5})
    await refused(AsyncOpenAI(api_key="wrong", base_url=base_url), AuthenticationError)


async def refused(client: AsyncOpenAI, expected: type[APIStatusError], **request: object) -> None:
    try:
        await client.realtime.client_secrets.create(**request)
    except expected as error:
        print(json.dumps({"type": "client.refused", "code": error.code, "param": error.param}), flush=True)


asyncio.run(main(sys.argv[1]))
