"""What a client printed, read back: its events in order, and its responses one by one, in the words of either dialect.

A client's own words are events as well, of types that begin with `client.`: what its player got, what it complained of.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from relay.core.vocabulary import BETA, GA

Event = dict[str, Any]

DIALECTS = {"ga": GA, "beta": BETA}
PREFIX = {"ga": "response.output_audio", "beta": "response.audio"}


@dataclass(frozen=True)
class Answer:
    """One response: how it ended, what it said, and what a player got of it."""

    status: str
    output: list[Event]
    transcript: str
    audio: np.ndarray
    played: np.ndarray
    """Nothing, if the client has no player."""

    @property
    def calls(self) -> list[Event]:
        """The calls of functions in it."""
        return [item for item in self.output if item["type"] == "function_call"]


@dataclass(frozen=True)
class Report:
    """What one client saw of one session."""

    dialect: str
    events: list[Event]

    @property
    def kinds(self) -> list[str]:
        """The type of each event."""
        return [event["type"] for event in self.events]

    @property
    def unknown(self) -> set[str]:
        """Types that its dialect does not have."""
        return {kind for kind in self.kinds if not kind.startswith("client.")} - set(DIALECTS[self.dialect].server)

    @property
    def refused(self) -> list[str]:
        """The code of each error that came."""
        return [event["error"]["code"] for event in self.events if event["type"] == "error"]

    @cached_property
    def answers(self) -> list[Answer]:
        """Its responses, in the order of their ends."""
        return [self._answer(event["response"]) for event in self.of("response.done")]

    def of(self, kind: str) -> list[Event]:
        """Give the events of one type."""
        return [event for event in self.events if event["type"] == kind]

    def _answer(self, response: Event) -> Answer:
        prefix, response_id = PREFIX[self.dialect], response["id"]
        item_ids = {item["id"] for item in response["output"]}
        said = [event["transcript"] for event in self._parts(f"{prefix}_transcript.done", response_id)]
        deltas = [event["delta"] for event in self._parts(f"{prefix}.delta", response_id)]
        played = [
            event["audio"]
            for event in self.of("client.audio")
            if event.get("response_id") == response_id or event.get("item_id") in item_ids
        ]
        return Answer(response["status"], response["output"], "".join(said), samples(deltas), samples(played))

    def _parts(self, kind: str, response_id: str) -> list[Event]:
        return [event for event in self.of(kind) if event["response_id"] == response_id]


def samples(parts: list[str]) -> np.ndarray:
    """Decode PCM16 in base64 to float."""
    return np.frombuffer(b"".join(base64.b64decode(part) for part in parts), "<i2") / 32768
