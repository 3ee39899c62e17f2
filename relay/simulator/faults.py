"""Scripted faults: a small language, and when each fault strikes.

    faults  = fault ("," fault)*
    fault   = name [":" argument] ["@" point] ["*" count]

    refuse[:STATUS[/RETRY_AFTER_S]]  answer the handshake with this HTTP status (503), e.g. refuse:429/3   @request
    unauthorized                     accept, then error invalid_api_key and close 3000, as for a bad key   @open
    drop                             cut the TCP connection without a goodbye                              @audio
    stall                            stop sending and reading, for good; the connection stays open         @audio
    flood[:COUNT]                    send COUNT (10,000) events of 1 KiB at once, then go on               @created
    expire                           the session reaches its maximum age: session_expired and close 1001   @created
    malformed[:KIND]                 send one bad message, then go on. KIND: json (default), binary, type  @created
                                     (an event without one), base64 (an audio delta that does not decode),
                                     huge (a message of 32 MiB), frame (bytes that are not WebSocket)
    close[:CODE[/REASON]]            close with this code (1011)                                           @created

    point   = request | open | created | updated | speech | response | audio[=MS]

When it strikes: at the handshake; after the 101 and before any event; after session.created; after session.updated;
after a speech_started; after a response.created; or when a response has sent MS (500) of audio, which is mid-sentence.
`*count` strikes the first `count` connections only, so `refuse:503*2` lets the third one in. One connection can have
several faults; each strikes once.

Given as `?fault=...` in the URL, or as SimulatorOptions.faults for every connection.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from relay.simulator.conversation import Event

POINTS = ("request", "open", "created", "updated", "speech", "response", "audio")
EVENT_POINTS = {
    "session.created": "created",
    "session.updated": "updated",
    "input_audio_buffer.speech_started": "speech",
    "response.created": "response",
}
USUAL_POINT = {
    "refuse": "request",
    "unauthorized": "open",
    "drop": "audio",
    "stall": "audio",
    "flood": "created",
    "expire": "created",
    "malformed": "created",
    "close": "created",
}
ARGUMENTS = {
    "refuse": r"[45]\d\d(/\d+)?",
    "flood": r"\d{1,6}",
    "malformed": "json|binary|type|base64|huge|frame",
    "close": r"(1000|1001|1008|1011|1012|1013|[34]\d\d\d)(/.{0,100})?",
}
DEFAULT_ARGUMENT = {"refuse": "503", "flood": "10000", "malformed": "json", "close": "1011"}
MID_SENTENCE_MS = 500
FAULT = re.compile(
    r"(?P<name>[a-z]+)(:(?P<argument>[^@*]+))?(@(?P<point>[a-z]+)(=(?P<ms>\d{1,6}))?)?(\*(?P<count>\d{1,6}))?"
)


class FaultSpecError(ValueError):
    """The text is not in the language above; the message says where."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, defaults filled in."""

    name: str
    argument: str
    point: str
    after_ms: int = MID_SENTENCE_MS
    only_first: int | None = None

    @property
    def number(self) -> int:
        """The first part of the argument: a status, a code or a count."""
        return int(self.argument.partition("/")[0])

    @property
    def rest(self) -> str:
        """The second part of the argument: seconds to wait, or a reason."""
        return self.argument.partition("/")[2]


def parse(spec: str) -> tuple[Fault, ...]:
    """All faults of a text; FaultSpecError when one cannot be read."""
    return tuple(_parse_one(text.strip()) for text in spec.split(",") if text.strip())


def _parse_one(text: str) -> Fault:
    match = FAULT.fullmatch(text)
    if match is None or match["name"] not in USUAL_POINT:
        raise FaultSpecError(f"unknown fault {text!r}; known are {', '.join(USUAL_POINT)}")
    name, argument = match["name"], match["argument"] or DEFAULT_ARGUMENT.get(match["name"], "")
    if not re.fullmatch(ARGUMENTS.get(name, ""), argument):
        raise FaultSpecError(f"fault {text!r}: {argument!r} is not an argument of {name}")
    point = match["point"] or USUAL_POINT[name]
    if point not in POINTS or (match["ms"] and point != "audio") or not _fits(name, point):
        raise FaultSpecError(f"fault {text!r} cannot strike at {point!r}")
    after_ms = int(match["ms"]) if match["ms"] else MID_SENTENCE_MS
    return Fault(name, argument, point, after_ms, int(match["count"]) if match["count"] else None)


def _fits(name: str, point: str) -> bool:
    """A refusal happens at the handshake, and there only a stall can take its place; no session expires unborn."""
    if point == "request":
        return name in ("refuse", "stall")
    return name != "refuse" and (name, point) != ("expire", "open")


class Roll:
    """Counts connections, for `*count`. One per server."""

    def __init__(self) -> None:
        self._seen: Counter[Fault] = Counter()

    def call(self, faults: tuple[Fault, ...]) -> list[Fault]:
        """The faults that apply to the next connection."""
        for fault in faults:
            self._seen[fault] += fault.only_first is not None
        return [fault for fault in faults if fault.only_first is None or self._seen[fault] <= fault.only_first]


class Script:
    """The faults of one connection, and how far it is."""

    def __init__(self, faults: list[Fault]) -> None:
        self._waiting = list(faults)
        self._spoken_ms = 0.0

    def at(self, point: str) -> list[Fault]:
        """The faults that strike now, each for the only time."""
        struck = [fault for fault in self._waiting if fault.point == point and self._is_due(fault)]
        self._waiting = [fault for fault in self._waiting if fault not in struck]
        return struck

    def after(self, sent: Event) -> list[Fault]:
        """The faults that strike when this event has been sent."""
        if sent["type"] == "response.output_audio.delta":
            self._spoken_ms += len(sent["delta"]) * 3 / 4 / 48
            return self.at("audio")
        point = EVENT_POINTS.get(sent["type"])
        return self.at(point) if point else []

    def _is_due(self, fault: Fault) -> bool:
        return fault.point != "audio" or self._spoken_ms >= fault.after_ms
