"""What a session needs of the language that its browser speaks.

A language is a state machine over values: messages of the browser and events of the upstream go in, a `Decision` comes
out, and audio that is due is taken with `take`. relay_v1.py and openai_json.py are the two there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from relay.core.passing import AudioPath, EventPath, Passed, SpokenItem
from relay.core.permissions import Permissions


@dataclass(slots=True)
class Decision:
    """What follows from a message or an event, each list in order.

    `browser` are texts for the browser and `upstream` texts for the upstream, none of which may be lost; `audio` are
    finished append events with their length in ms, which may be dropped when they are stale. `recorded_ms` is how much
    audio is in `upstream`: it counts as much as what is spoken.
    """

    browser: list[str] = field(default_factory=list)
    upstream: list[str] = field(default_factory=list)
    audio: list[tuple[bytes, float]] = field(default_factory=list)
    recorded_ms: float = 0.0

    def then(self, other: Decision) -> Decision:
        """Add what `other` says, after what is here; return self."""
        self.browser += other.browser
        self.upstream += other.upstream
        self.audio += other.audio
        self.recorded_ms += other.recorded_ms
        return self


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the operator's settings and the upstream's profile mean for a language.

    The rates are the upstream's, for what it hears and for what it says. `lacks` names what it cannot do; supports.py
    has the words.
    """

    session_id: str
    input_rate_hz: int
    output_rate_hz: int
    turn_detection: str
    lead_ms: int
    lacks: frozenset[str] = frozenset()
    permissions: Permissions = field(default_factory=Permissions)


class Client(Protocol):
    """One browser's language, for one session."""

    @property
    def started(self) -> bool:
        """Whether the browser has said what it must say before the session can work."""

    @property
    def queued_ms(self) -> float:
        """Audio that waits for its time to be sent to the browser."""

    def unheard_s(self, now_s: float) -> float:
        """Seconds until the person has heard all that came, as far as relay knows; 0.0 if there is nothing."""

    @property
    def flushing(self) -> int:
        """Number of the flush whose answer is awaited, or 0."""

    def message(self, message: str | bytes, now_s: float) -> Decision:
        """Take a message from the browser. Raises BadRequest (the session goes on) or StartError (it ends)."""

    def begin_no_answers(self) -> None:
        """The process is about to end: from now on a request for an answer is refused. Idempotent."""

    def event(self, text: str, now_s: float) -> Decision:
        """Take an event from the upstream. Raises UpstreamProtocolError."""

    def ready(self) -> Decision:
        """The upstream session stands and the browser has started."""

    def dropped(self, audio_ms: float, now_s: float) -> Decision:
        """Audio on its way up had to be dropped."""

    def notice(self, event: dict[str, Any]) -> Decision:
        """relay itself has something to say: an event whose type begins with `relay.`."""

    def end_flush(self) -> Decision:
        """The browser did not answer a flush in time."""

    def delay_s(self, now_s: float) -> float | None:
        """Seconds until `take` has something; None if nothing waits."""

    def take(self, now_s: float) -> str | bytes | None:
        """Return the next message for the browser that is due. Raises UpstreamProtocolError."""

    @property
    def audio_path(self) -> AudioPath | EventPath | None:
        """Both directions of the audio, if it may take a short way between the sockets."""

    def spoken(self, now_s: float) -> SpokenItem | None:
        """Return the item whose audio needs nobody's decision."""

    def passed(self, passed: Passed, now_s: float) -> Decision:
        """Take note of audio that went straight from socket to socket."""

    def close(self) -> None:
        """Give back what is held in C. Idempotent."""
