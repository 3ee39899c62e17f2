"""PyPI `openai`, GA, without asyncio: a thread speaks, the main one listens."""

from __future__ import annotations

import base64
import sys
import threading
import time
from pathlib import Path
from typing import Any

from microphone import FRAME_BYTES, FRAME_S, frame_at
from openai import OpenAI


def speak(connection: Any, pcm: bytes, heard: threading.Event) -> None:
    """Send the speech, then silence, until the answer was heard."""
    began_s, sent = time.monotonic(), 0
    while not heard.is_set():
        frame = frame_at(pcm, sent * FRAME_BYTES)
        connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
        sent += 1
        time.sleep(max(0.0, began_s + sent * FRAME_S - time.monotonic()))


def main(host: str, speech: str) -> None:
    client = OpenAI(api_key="ek_canary_0123456789", websocket_base_url=f"ws://{host}/v1")
    heard = threading.Event()
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.session.update(session={"type": "realtime", "instructions": "You are a pirate."})
        speaking = threading.Thread(target=speak, args=(connection, Path(speech).read_bytes(), heard))
        speaking.start()
        for event in connection:
            print(event.model_dump_json(), flush=True)
            if event.type == "response.done":
                break
        heard.set()
        speaking.join()


main(*sys.argv[1:])
