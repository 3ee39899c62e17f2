"""A client of one of the services that the simulator plays, in that service's dialect, without a socket or a clock."""

from __future__ import annotations

import wave
from typing import Any

from relay.simulator.faces import FACES
from relay.simulator.ids import Ids
from tests.simulator import facts, sounds
from tests.simulator.client import Client, Event, kinds

BETA = ["qwen", "speaches"]
SILENCE = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}


class Caller(Client):
    """A client of one of the services, in its dialect."""

    def __init__(self, profile: str) -> None:
        face = FACES[profile]
        self.profile = profile
        super().__init__("model", edge=face.edge(Ids(1)), terms=face.terms)

    def check(self, event: Event) -> None:
        if self.profile in BETA and event["type"] != "session.finished":
            assert facts.complaints_about_event(event, facts.BETA_FACTS) == []
        if event["type"] != "error":
            assert event["event_id"].startswith("event_")

    def configure(self, **session: Any) -> list[Event]:
        return self.send("session.update", session=session)

    def speak(self, rate_hz: int) -> None:
        """Say the sentence and be silent for a second, as PCM of this rate."""
        sound = speech_16k() if rate_hz == 16_000 else sounds.pcm(sounds.speech())
        self.append(sound + bytes(2 * rate_hz))


def speech_16k() -> bytes:
    with wave.open(str(sounds.SPEECH)) as file:
        return bytes(file.readframes(file.getnframes()))


def in_order(events: list[Event]) -> list[str]:
    """Types in the order of their first appearance, but items each time: deltas come mixed."""
    names = kinds(events)
    return [name for at, name in enumerate(names) if not name.endswith(".delta") or name not in names[:at]]


def input_rate(profile: str) -> int:
    return 16_000 if profile == "qwen" else 24_000
