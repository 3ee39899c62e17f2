"""An open microphone for the programs beside this file: speech at real pace, then silence for as long as it takes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

FRAME_BYTES, FRAME_S = 960, 0.02
"""20 ms of PCM16 at 24 kHz."""


def frame_at(pcm: bytes, at: int) -> bytes:
    """Give the frame that begins at this byte; behind the end there is silence."""
    return pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0")


async def speak(send: Callable[[bytes], Awaitable[Any]], pcm: bytes) -> None:
    """Send the speech, and silence until cancelled."""
    now_s = asyncio.get_running_loop().time
    began_s, sent = now_s(), 0
    while True:
        await send(frame_at(pcm, sent * FRAME_BYTES))
        sent += 1
        await asyncio.sleep(began_s + sent * FRAME_S - now_s())


async def speak_to(connection: Any, pcm: bytes) -> None:
    """Speak to a connection of the `openai` package, of either dialect."""

    async def send(frame: bytes) -> None:
        await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())

    await speak(send, pcm)
