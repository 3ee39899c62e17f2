"""The input audio buffer, and the turns that begin and end in it.

With turn detection the buffer keeps what a turn could still need (prefix padding and a little more) until somebody
speaks, and then everything until they stop; silence between turns is dropped and never billed. Without it the buffer
keeps everything until the client commits or clears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relay.simulator.checks import Refusal
from relay.simulator.pcm import BYTES_PER_MS, BYTES_PER_SAMPLE, SAMPLES_PER_MS, duration_ms
from relay.simulator.turns import Started, TurnDetector

COMMIT_MS_MIN = 100
# Not in the protocol: a bound on memory. 10 minutes without a commit are 28 MB.
HELD_MS_MAX = 600_000


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A turn begins; the padding before the speech counts."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """A turn is over; `pcm` is all of it, padding and closing silence included."""

    audio_end_ms: int
    pcm: bytes


class Ear:
    """What one client has said and nobody has answered yet."""

    def __init__(self, turn_detection: dict[str, Any] | None) -> None:
        self._held = bytearray()
        self._held_from = 0
        self._written = 0
        self._detector: TurnDetector | None = None
        self.configure(turn_detection)

    def configure(self, turn_detection: dict[str, Any] | None) -> None:
        """Take a `turn_detection` object; None means that the client ends its turns itself."""
        if turn_detection is None:
            self._detector = None
        elif self._detector is None:
            self._detector = TurnDetector(turn_detection, self._written)
        else:
            self._detector.configure(turn_detection)

    @property
    def written_ms(self) -> int:
        """Audio written since the session began."""
        return self._written // SAMPLES_PER_MS

    @property
    def is_hearing_speech(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._detector is not None and self._detector.speaking

    def append(self, pcm: bytes, *, echo: bool = False) -> list[SpeechStarted | SpeechStopped]:
        """PCM16 at 24 kHz. Refusal when more than HELD_MS_MAX would be held."""
        if len(self._held) + len(pcm) > HELD_MS_MAX * BYTES_PER_MS:
            message = f"The input audio buffer holds {HELD_MS_MAX // 60_000} minutes; commit or clear it."
            raise Refusal("invalid_value", message, "audio")
        self._held += pcm
        self._written += len(pcm) // BYTES_PER_SAMPLE
        if self._detector is None:
            return []
        moments = [self._told(moment) for moment in self._detector.feed(pcm, echo=echo)]
        if not self._detector.speaking:
            self._drop_before(self._detector.oldest_needed)
        return moments

    def commit(self) -> bytes:
        """Take everything; at least 100 ms. With turn detection and nobody speaking there is nothing."""
        is_open = self._detector is None or self._detector.speaking
        held_ms = duration_ms(self._held) if is_open else 0.0
        if held_ms < COMMIT_MS_MIN:
            message = (
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least {COMMIT_MS_MIN}ms of audio, but buffer only has {held_ms:.2f}ms of audio."
            )
            raise Refusal("input_audio_buffer_commit_empty", message)
        pcm = bytes(self._held)
        self.clear()
        return pcm

    def clear(self) -> None:
        """Forget what is held, and the turn in it."""
        self._held.clear()
        self._held_from = self._written
        if self._detector is not None:
            self._detector.reset(self._written)

    def _told(self, moment: Any) -> SpeechStarted | SpeechStopped:
        if isinstance(moment, Started):
            self._drop_before(moment.sample)
            return SpeechStarted(moment.sample // SAMPLES_PER_MS)
        spoken = (moment.sample - self._held_from) * BYTES_PER_SAMPLE
        pcm = bytes(self._held[:spoken])
        self._drop_before(moment.sample)
        return SpeechStopped(moment.sample // SAMPLES_PER_MS, pcm)

    def _drop_before(self, sample: int) -> None:
        surplus = sample - self._held_from
        if surplus > 0:
            del self._held[: surplus * BYTES_PER_SAMPLE]
            self._held_from = sample
