"""PyPI `openai-agents`: a RealtimeRunner speaks, is interrupted by speech, and runs a tool; all by itself."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterable
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from caller import JOB, Microphone, tell


def get_weather(city: str) -> str:
    """Tell the weather."""
    return str(JOB["tool_says"])


def told(event: Any) -> dict[str, Any]:
    """Give what there is to print of an event: the API's own, if it is one."""
    if event.type == "audio":
        return {
            "type": "client.audio",
            "response_id": event.audio.response_id,
            "audio": base64.b64encode(event.audio.data).decode(),
        }
    if event.type == "raw_model_event" and event.data.type == "raw_server_event":
        return dict(event.data.data)
    if event.type == "error":
        return {"type": "client.error", "error": str(event.error)}
    return {"type": f"client.{event.type}"}


async def until(events: AsyncIterable[Any], kind: str) -> None:
    """Print events until one of this type came."""
    async for event in events:
        shown = told(event)
        tell(shown)
        if shown["type"] == kind:
            return


async def main() -> None:
    model = {"api_key": JOB["key"], "url": f"ws://{JOB['host']}/v1/realtime?model=gpt-realtime"}
    agent = RealtimeAgent(name="A", instructions="You are a pirate.", tools=[function_tool(get_weather)])
    microphone = Microphone()
    async with await RealtimeRunner(starting_agent=agent).run(model_config=model) as session:
        speaking = asyncio.create_task(microphone.send_to(session.send_audio))
        microphone.speak()
        await until(session, "response.done")
        await session.send_message(JOB["story"])
        await until(session, "response.output_audio.delta")
        microphone.speak()
        await until(session, "response.done")  # of the answer that was interrupted
        await until(session, "response.done")  # of the one to the interruption
        await session.send_message(JOB["asks"])
        await until(session, "response.done")  # the call
        await until(session, "response.done")  # what is said about its output
        speaking.cancel()


asyncio.run(main())
