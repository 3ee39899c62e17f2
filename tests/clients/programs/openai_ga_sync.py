"""PyPI `openai`, GA, without asyncio: a thread speaks, the main one listens, and cancels an answer itself."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

from caller import BYTES_PER_MS, FRAME_S, JOB, Microphone, tell
from openai import OpenAI


def speak(connection: Any, microphone: Microphone, is_over: threading.Event) -> None:
    """Send what the microphone gives at real pace."""
    began_s, sent = time.monotonic(), 0
    while not is_over.is_set():
        connection.input_audio_buffer.append(audio=base64.b64encode(microphone.frame()).decode())
        sent += 1
        time.sleep(max(0.0, began_s + sent * FRAME_S - time.monotonic()))


def until(connection: Any, kind: str) -> Any:
    """Print events until one of this type came; return it."""
    while True:
        event = connection.recv()
        tell(event.model_dump(mode="json"))
        if event.type == kind:
            return event


def ask(connection: Any, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    connection.conversation.item.create(item=item)
    connection.response.create()


def cancel(connection: Any) -> None:
    """Stop an answer after its first piece: that much was heard."""
    first = until(connection, "response.output_audio.delta")
    heard_ms = len(base64.b64decode(first.delta)) // BYTES_PER_MS
    connection.response.cancel()
    connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=heard_ms)
    until(connection, "response.done")


def use_tool(connection: Any) -> None:
    (call,) = until(connection, "response.done").response.output
    output = {"type": "function_call_output", "call_id": call.call_id, "output": JOB["tool_says"]}
    connection.conversation.item.create(item=output)
    connection.response.create()
    until(connection, "response.done")


def main() -> None:
    client = OpenAI(api_key=JOB["key"], websocket_base_url=f"ws://{JOB['host']}/v1")
    microphone, is_over = Microphone(), threading.Event()
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.session.update(session={"type": "realtime", "instructions": "You are a pirate."})
        speaking = threading.Thread(target=speak, args=(connection, microphone, is_over))
        speaking.start()
        try:
            microphone.speak()
            until(connection, "response.done")
            ask(connection, JOB["story"])
            cancel(connection)
            ask(connection, JOB["asks"])
            use_tool(connection)
        finally:
            is_over.set()
            speaking.join()


main()
