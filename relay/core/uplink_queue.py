"""What waits on its way to the upstream: audio that may go stale, and controls that may not be lost.

Rules: order is kept. Audio is bounded in milliseconds and in events; when there is more, the oldest audio goes and is
counted. Controls are bounded in number; when there are more, the session ends, because a lost control is a broken
conversation. The two lie in lists of their own, with the number of their turn, so that what is dropped leaves nothing
behind.
"""

from __future__ import annotations

from collections import deque

from relay.errors import Overloaded

MAX_APPENDS = 4_096
"""Two seconds in pieces of half a millisecond. Smaller ones cost a hundred times the memory of the audio in them."""

MAX_CONTROLS = 256
"""A person causes a handful of controls a minute; hundreds that wait mean that nobody takes them."""


class UplinkQueue:
    """First in, first out, with drop-oldest for audio only."""

    def __init__(self, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._audio: deque[tuple[int, bytes, float]] = deque()
        self._controls: list[tuple[int, str]] = []
        self._turn = 0
        self.queued_ms = 0.0

    def put_audio(self, event: bytes, audio_ms: float) -> float:
        """Add an append event of `audio_ms` of audio; return how many ms of older audio were dropped for it."""
        self._audio.append((self._next_turn(), event, audio_ms))
        self.queued_ms += audio_ms
        dropped_ms = 0.0
        while self._is_too_much and len(self._audio) > 1:
            dropped_ms += self._take_audio()[1]
        return dropped_ms

    def put_control(self, event: str) -> None:
        """Add an event that must arrive. Raises Overloaded when too many wait already."""
        if len(self._controls) >= MAX_CONTROLS:
            raise Overloaded("Too many requests wait for the voice service. Start again to go on.")
        self._controls.append((self._next_turn(), event))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._audio and not self._controls

    def pop(self) -> str | bytes | None:
        """Take the next event, or None."""
        if self._controls and (not self._audio or self._controls[0][0] < self._audio[0][0]):
            return self._controls.pop(0)[1]
        return self._take_audio()[0] if self._audio else None

    @property
    def _is_too_much(self) -> bool:
        return self.queued_ms > self._limit_ms or len(self._audio) > MAX_APPENDS

    def _take_audio(self) -> tuple[bytes, float]:
        _, event, audio_ms = self._audio.popleft()
        self.queued_ms -= audio_ms
        return event, audio_ms

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn
