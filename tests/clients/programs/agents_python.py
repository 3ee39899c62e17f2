"""PyPI `openai-agents`: a RealtimeRunner speaks and prints what its session and its transport tell it."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeRunner
from microphone import speak


def tell(event: Any) -> str:
    """Print one event; return the type of the API's event, if it is one."""
    told: dict[str, Any] = {"type": f"client.{event.type}"}
    if event.type == "audio":
        told["audio"] = base64.b64encode(event.audio.data).decode()
    elif event.type == "raw_model_event" and event.data.type == "raw_server_event":
        told = event.data.data
    elif event.type == "error":
        told["error"] = str(event.error)
    print(json.dumps(told), flush=True)
    return str(told["type"])


async def main(host: str, speech: bytes) -> None:
    model = {"api_key": "ek_canary_0123456789", "url": f"ws://{host}/v1/realtime?model=gpt-realtime"}
    runner = RealtimeRunner(starting_agent=RealtimeAgent(name="A", instructions="You are a pirate."))
    async with await runner.run(model_config=model) as session:
        speaking = asyncio.create_task(speak(session.send_audio, speech))
        async for event in session:
            if tell(event) == "response.done":
                break
        speaking.cancel()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
