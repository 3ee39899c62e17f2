"""Audio formats as the API names them, in bytes and milliseconds; and the recordings that are in events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from relay.audio import MAX_RATE_HZ, MIN_RATE_HZ

CLIENT_RATE_HZ = 24_000
"""The PCM16 of clients that speak OpenAI's JSON has this rate, whatever the upstream's."""

CLIENT_PCM: Final = {"type": "audio/pcm", "rate": CLIENT_RATE_HZ}
"""What these clients send and play. It is the API's own, too, where a session does not name another."""

G711 = frozenset({"audio/pcmu", "audio/pcma"})
G711_RATE_HZ = 8_000


@dataclass(frozen=True, slots=True)
class Samples:
    """How audio is written in one direction."""

    rate_hz: int
    sample_bytes: int = 2

    def ms(self, audio_bytes: int) -> float:
        """Return the length of so much audio."""
        return audio_bytes / self.sample_bytes / self.rate_hz * 1000

    def seconds_in(self, base64: str) -> float:
        """Return the length of audio in a base64 text, read off its length."""
        return base64_bytes(base64) / self.sample_bytes / self.rate_hz


def base64_bytes(text: str) -> int:
    """Return how many bytes are in a base64 text, by its length; whether it is valid is found when it is decoded."""
    return len(text) // 4 * 3 - text.count("=", -2)


def samples(told: Any, otherwise: Samples) -> Samples:
    """Return what a format object says, or `otherwise` if it says nothing that can be counted by."""
    match told:
        case {"type": str(kind)} if kind in G711:
            return Samples(G711_RATE_HZ, 1)
        case {"type": "audio/pcm", "rate": int(rate_hz)} if MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            return Samples(rate_hz)
    return otherwise


def recordings(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place and the base64 text of each recording that the person adds with an event."""
    yield from _recordings(event.get("item"), "item")
    match event.get("response"):
        case {"input": [*items]}:
            for index, item in enumerate(items):
                yield from _recordings(item, f"response.input[{index}]")


def _recordings(item: Any, place: str) -> Iterator[tuple[str, str]]:
    match item:
        case {"content": [*parts]}:
            for index, part in enumerate(parts):
                match part:
                    case {"type": "input_audio", "audio": str(audio)}:
                        yield f"{place}.content[{index}].audio", audio
