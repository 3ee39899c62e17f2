"""How much audio the upstream's input buffer holds at most: what was appended and is in no turn yet.

Rules: it is an upper bound, so that only a commit is refused that would surely be empty. A request counts from when it
goes up, because the upstream takes them in order. Under server VAD the upstream commits by itself, right after it said
that speech stopped and at which millisecond; what came later is the next turn's.

Audio that is dropped as stale on its way up is not taken off. It is always the oldest that waits (uplink_queue.py),
and what is counted here is the newest, so of a long enough turn enough gets there. What is dropped later may lie before
a commit that waits in the same queue; then the upstream finds the turn empty, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.memory import is_count, remember
from relay.core.turns_failure import COMMIT_EMPTY, Failure
from relay.errors import BadRequest

MIN_COMMIT_MS = 100
"""The API takes no shorter turn."""

TOLERANCE_MS = 0.001
"""Lengths are sums of floats."""

MAX_WAITING = 64
COMMIT = "input_audio_buffer.commit"
CLEAR = "input_audio_buffer.clear"


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str
    event_id: str | None
    audio_ms: float


class InputBuffer:
    """The buffer of one session."""

    __slots__ = ("_held_ms", "_is_spoken", "_spoken_to_ms", "_taken_to_ms", "_waiting", "_written_ms")

    def __init__(self) -> None:
        self._held_ms = 0.0
        self._written_ms = 0.0
        self._is_spoken = False
        self._spoken_to_ms = 0.0
        self._taken_to_ms = 0.0
        self._waiting: list[_Request] = []

    def append(self, audio_ms: float) -> None:
        """Audio goes up."""
        self._held_ms += audio_ms
        self._written_ms += audio_ms

    def commit(self, event_id: str | None) -> None:
        """A client ends a turn. Raises BadRequest if there is too little in it."""
        if self._held_ms + TOLERANCE_MS < MIN_COMMIT_MS:
            problem = f"The turn has {self._held_ms:.0f} ms of audio and needs {MIN_COMMIT_MS}: send more, then commit."
            raise BadRequest(problem, code=COMMIT_EMPTY, event_id=event_id)
        self._empty(COMMIT, event_id)

    def clear(self, event_id: str | None) -> None:
        """A client forgets what it said."""
        self._empty(CLEAR, event_id)

    def speech_stopped(self, audio_end_ms: object) -> None:
        """The upstream heard the end of a turn, at this millisecond of all audio that was ever appended."""
        self._is_spoken = True
        self._spoken_to_ms = float(audio_end_ms) if is_count(audio_end_ms) else 0.0

    def committed(self) -> None:
        """The upstream took a turn: the one that a client ended, or one that it found by itself."""
        if not self._is_spoken:
            self._answered(COMMIT)
            return
        self._is_spoken = False
        self._taken_to_ms = max(self._taken_to_ms, min(self._spoken_to_ms, self._written_ms))
        self._hold(self._held_ms)

    def cleared(self) -> None:
        """The upstream forgot what was in the buffer."""
        self._answered(CLEAR)

    def failed(self, failure: Failure) -> None:
        """The upstream refused something: what a refused request would have taken is still there."""
        for request in [each for each in self._waiting if failure.concerns(each.kind, each.event_id)]:
            self._waiting.remove(request)
            self._hold(self._held_ms + request.audio_ms)

    def _hold(self, audio_ms: float) -> None:
        """Hold so much, but no more than came after the upstream's last own turn."""
        self._held_ms = min(audio_ms, self._written_ms - self._taken_to_ms)

    def _empty(self, kind: str, event_id: str | None) -> None:
        remember(self._waiting, _Request(kind, event_id, self._held_ms), MAX_WAITING)
        self._held_ms = 0.0

    def _answered(self, kind: str) -> None:
        request = next((each for each in self._waiting if each.kind == kind), None)
        if request is not None:
            self._waiting.remove(request)
