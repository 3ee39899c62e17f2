"""What a session and its short way (relay/short_way.py) tell each other: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from relay.audio import Downlink, Uplink

NOTE_EVERY_S = 0.25
"""How often a session wants to know what passed: half of the pause after which a microphone's clock is not judged
(vitals.py). Its limits on time are as exact."""

MAX_UNCOUNTED_S = 1.0
"""Audio, of either side, that may pass before the session has taken note of it, for a limit on audio is as exact. Who
talks at the pace of a clock sends a quarter of it between two notes, and who floods does not get far."""


@dataclass(frozen=True, slots=True)
class SpokenItem:
    """The item that is being spoken: samples that were sent, and that the browser reported at most, at its rate.

    `unheard_s`: how long the browser still plays what it got; negative: it waits.
    """

    number: int
    item_id: str
    response_id: str
    content_index: int
    sent_samples: int
    played_samples: int
    unheard_s: float

    @classmethod
    def of(cls, item_id: str, response_id: str, content_index: int) -> SpokenItem:
        """An item of which nobody says how much was heard."""
        return cls(0, item_id, response_id, content_index, sent_samples=0, played_samples=0, unheard_s=0.0)


@dataclass(frozen=True, slots=True)
class Passed:
    """What went the short way since somebody looked last.

    `up_samples` are at the browser's rate, of which `up_events` went up as events. `down_samples` are at the upstream's
    rate, `down_s` long. Of the spoken item `sent_samples` went to the browser in all, and `played_samples` were
    reported (0: none were).
    """

    up_samples: int
    up_events: int
    down_events: int
    down_samples: int
    down_s: float
    sent_samples: int
    played_samples: int
    unheard_s: float


@dataclass(frozen=True, slots=True)
class AudioPath:
    """Both directions of a session's audio, which is converted.

    `lead_s` is how far ahead of playback it may be sent, `note_every_s` how often a session wants to know what passed.
    """

    uplink: Uplink
    downlink: Downlink
    input_rate_hz: int
    input_sample_bytes: int
    output_sample_bytes: int
    output_rate_hz: int
    upstream_rate_hz: int
    lead_s: float
    note_every_s: float


@dataclass(frozen=True, slots=True)
class EventPath:
    """Audio that passes inside its events, as it came: PCM16, of one rate on both sides."""

    upstream_rate_hz: int
    note_every_s: float
    input_sample_bytes: int = 2

    @property
    def input_rate_hz(self) -> int:
        """The browser's rate, which is the upstream's."""
        return self.upstream_rate_hz
