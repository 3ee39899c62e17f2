"""A conversation over an asynchronous connection of PyPI `openai`, whose methods are the same in both dialects.

The client ends its own playback: when somebody speaks while it plays, it says how much of the answer was heard.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from caller import BYTES_PER_MS, JOB, Microphone, tell


class Call:
    """One connection. `audio_delta` is the dialect's name of that event."""

    def __init__(self, connection: Any, audio_delta: str) -> None:
        self._connection = connection
        self._audio_delta = audio_delta
        self._came_ms = 0

    async def hold(self) -> None:
        """Speak, interrupt an answer, and use a tool."""
        microphone = Microphone()
        speaking = asyncio.create_task(microphone.send_to(self._send))
        microphone.speak()
        await self._until("response.done")
        await self._ask(JOB["story"])
        await self._interrupt(microphone)
        await self._ask(JOB["asks"])
        await self._use_tool(await self._until("response.done"))
        speaking.cancel()

    async def _interrupt(self, microphone: Microphone) -> None:
        """Speak while an answer is played. What was heard of it is what had time to be played."""
        now_s = asyncio.get_running_loop().time
        self._came_ms = 0
        first = await self._until(self._audio_delta)
        began_s = now_s()
        microphone.speak()
        await self._until("input_audio_buffer.speech_started")
        heard_ms = min(int((now_s() - began_s) * 1000), self._came_ms)
        item = self._connection.conversation.item
        await item.truncate(item_id=first.item_id, content_index=first.content_index, audio_end_ms=heard_ms)
        await self._until("response.done")  # of the answer that was interrupted
        await self._until("response.done")  # of the one to the interruption

    async def _use_tool(self, done: Any) -> None:
        (call,) = done.response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": JOB["tool_says"]}
        await self._connection.conversation.item.create(item=output)
        await self._connection.response.create()
        await self._until("response.done")

    async def _ask(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self._connection.conversation.item.create(item=item)
        await self._connection.response.create()

    async def _send(self, frame: bytes) -> None:
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())

    async def _until(self, kind: str) -> Any:
        """Print events until one of this type came; return it."""
        while True:
            event = await self._connection.recv()
            tell(event.model_dump(mode="json"))
            if event.type == self._audio_delta:
                self._came_ms += len(base64.b64decode(event.delta)) // BYTES_PER_MS
            if event.type == kind:
                return event
