"""What waits on its way to the upstream: audio that may go stale, and controls that may not be lost.

Rules: order is kept. Audio is bounded in milliseconds; when there is more, the oldest audio goes and is counted.
Controls are bounded in number; when there are more, the session ends, because a lost control is a broken conversation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from relay.errors import Overloaded

MAX_CONTROLS = 256
"""A person causes a handful of controls a minute; hundreds that wait mean that nobody takes them."""


@dataclass(slots=True)
class _Entry:
    event: str | bytes
    audio_ms: float
    dropped: bool = False


class UplinkQueue:
    """First in, first out, with drop-oldest for audio only."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._entries: deque[_Entry] = deque()
        self._audio: deque[_Entry] = deque()
        self._controls = 0
        self.queued_ms = 0.0

    def put_audio(self, event: bytes, audio_ms: float) -> float:
        """Add an append event of `audio_ms` of audio; return how many ms of older audio were dropped for it."""
        entry = _Entry(event, audio_ms)
        self._entries.append(entry)
        self._audio.append(entry)
        self.queued_ms += audio_ms
        dropped_ms = 0.0
        while self.queued_ms > self._limit_ms and len(self._audio) > 1:
            dropped_ms += self._drop_oldest()
        self._forget_dropped()
        return dropped_ms

    def put_control(self, event: str) -> None:
        """Add an event that must arrive. Raises Overloaded when too many wait already."""
        if self._controls >= MAX_CONTROLS:
            raise Overloaded(detail=f"{self._controls} controls wait for the upstream")
        self._controls += 1
        self._entries.append(_Entry(event, 0.0))

    def pop(self) -> str | bytes | None:
        """Take the next event, or None."""
        self._forget_dropped()
        if not self._entries:
            return None
        entry = self._entries.popleft()
        if isinstance(entry.event, bytes):
            self._audio.popleft()
            self.queued_ms -= entry.audio_ms
        else:
            self._controls -= 1
        return entry.event

    def _drop_oldest(self) -> float:
        entry = self._audio.popleft()
        entry.dropped = True
        entry.event = b""
        self.queued_ms -= entry.audio_ms
        return entry.audio_ms

    def _forget_dropped(self) -> None:
        while self._entries and self._entries[0].dropped:
            self._entries.popleft()
