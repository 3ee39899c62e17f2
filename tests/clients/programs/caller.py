"""What the Python programs beside this file share: their job, a microphone that stays open, and what they print."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

FRAME_BYTES, FRAME_S = 960, 0.02
"""20 ms of PCM16 at 24 kHz."""

BYTES_PER_MS = 48

JOB: dict[str, str] = json.loads(Path(sys.argv[1]).read_text())
"""Where relay is, the key, the file of the sentence, and what else there is to say: packages.Job."""


def tell(event: dict[str, Any]) -> None:
    """Print one event, as one line."""
    print(json.dumps(event), flush=True)


class Microphone:
    """Silence, and the sentence each time that somebody speaks."""

    def __init__(self) -> None:
        self._pcm = Path(JOB["speech"]).read_bytes()
        self._at = len(self._pcm)

    def speak(self) -> None:
        """Begin the sentence."""
        self._at = 0

    def frame(self) -> bytes:
        """Give the next 20 ms."""
        frame = self._pcm[self._at : self._at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0")
        self._at += FRAME_BYTES
        return frame

    async def send_to(self, send: Callable[[bytes], Awaitable[Any]]) -> None:
        """Send at real pace until cancelled."""
        now_s = asyncio.get_running_loop().time
        began_s, sent = now_s(), 0
        while True:
            await send(self.frame())
            sent += 1
            await asyncio.sleep(began_s + sent * FRAME_S - now_s())
