"""A client without a socket or a clock: it talks to a Session directly, and turns the time by hand.

Every event that it receives is compared with the reference's tables; one that departs fails the test it happens in.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from relay.simulator.edge import Edge
from relay.simulator.ids import Ids
from relay.simulator.session import Session
from tests.simulator import facts, sounds

FRAME_MS = 20
PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None}}}
Event = dict[str, Any]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Client:
    """One session and what it has said so far. `events` is everything since the last `forget`."""

    def __init__(self, model: str = "gpt-realtime-2.1", **options: Any) -> None:
        self.now_s = 100.0
        self.events: list[Event] = []
        self.edge: Edge = options.setdefault("edge", Edge(Ids(1)))
        self.session = Session(model, self.edge.ids, now_s=self.now_s, unix_s=1_800_000_000.0, **options)
        self._note(self.session.open())

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event; returns what came back at once."""
        return self.send_raw(json.dumps({"type": kind, **fields}))

    def send_raw(self, message: str | bytes) -> list[Event]:
        return self._note(self.session.receive(message, self.now_s))

    def update(self, **fields: Any) -> list[Event]:
        return self.send("session.update", session={"type": "realtime", **fields})

    def hear(self, sound: sounds.Floats) -> list[Event]:
        """Speak, faster than real time: the session's clock stands still."""
        return self.append(sounds.pcm(sound))

    def append(self, data: bytes) -> list[Event]:
        size = FRAME_MS * 48
        frames = [data[at : at + size] for at in range(0, len(data), size)]
        return [e for frame in frames for e in self.send("input_audio_buffer.append", audio=base64_of(frame))]

    def type(self, text: str) -> list[Event]:
        content = [{"type": "input_text", "text": text}]
        return self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass; returns what happened."""
        until_s, happened = self.now_s + seconds, []
        while self.session.next_due_s <= until_s and self.session.ended is None:
            self.now_s = max(self.now_s, self.session.next_due_s)
            happened += self._note(self.session.poll(self.now_s))
        self.now_s = until_s
        return happened

    def answer(self, seconds: float = 30.0) -> list[Event]:
        """Ask for a response and wait for its end; returns all of it."""
        return self.send("response.create") + self.wait(seconds)

    def forget(self) -> None:
        self.events.clear()

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    def _note(self, events: list[Event]) -> list[Event]:
        shown = [each for event in events for each in self.edge.outgoing(event)]
        for event in shown:
            self.check(json.loads(json.dumps(event)))
        self.events += shown
        return shown

    def check(self, event: Event) -> None:
        assert facts.complaints_about_event(event) == []
        assert event["event_id"].startswith("event_")


def kinds(events: list[Event]) -> list[str]:
    """Their types, runs of one type as one."""
    names = [event["type"] for event in events]
    return [name for at, name in enumerate(names) if not at or names[at - 1] != name]


def audio_of(events: list[Event]) -> bytes:
    deltas = (event["delta"] for event in events if event["type"] == "response.output_audio.delta")
    return b"".join(base64.b64decode(delta, validate=True) for delta in deltas)


def error_of(events: list[Event]) -> dict[str, Any]:
    """The one error among them."""
    (error,) = [event["error"] for event in events if event["type"] == "error"]
    return dict(error)
