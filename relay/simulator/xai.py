"""xAI's hybrid at the simulator's edge: GA's events, and a session whose voice and turn detection lie at the top.

The first event is `conversation.created`; `ping` events come all the time; what the user says is transcribed in texts
that each replace the one before; `usage` is empty, and `output_index` and `part` are not there.
"""

from __future__ import annotations

from typing import Any

from relay.simulator.checks import (
    Check,
    Refusal,
    anything,
    array,
    boolean,
    integer,
    integer_or,
    mapping,
    number,
    one_of,
    record,
    text,
)
from relay.simulator.conversation import Event, event
from relay.simulator.edge import Edge, Understood, kind_of
from relay.simulator.ids import Ids
from relay.simulator.schema import (
    CLIENT_EVENTS,
    EVENT_ID,
    MODALITIES,
    TOKENS_MAX,
    TOOL,
    TOOL_CHOICE,
    TOOLS_MAX,
    TURN_DETECTION,
    Values,
)
from relay.simulator.timeline import Steps

# The vendor does not say how often; often enough that a short test meets some.
PING_INTERVAL_S = 5.0
RATES_HZ = (8_000, 48_000)
VALUES = Values(pcm_rate_hz=integer(*RATES_HZ), voice=text(at_least=1), transcription_model=text(at_least=1))
SERVER_TOOLS = ("web_search", "x_search", "file_search")
# What the session keeps for xAI alone; the machine has no use for it.
OWN_SETTINGS = ("resumption", "replace")
LEFT_OUT = ("output_index", "part")


def _side(**fields: Check) -> Check:
    # Audio in binary frames exists at xAI, not here.
    return record({"format": VALUES.format, "transport": one_of("json"), **fields})


def _tool(value: Any, path: str) -> Any:
    own = mapping(anything)
    return own(value, path) if _is_server_tool(value) else TOOL(value, path)


def _is_server_tool(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in SERVER_TOOLS


TRANSCRIPTION = record(
    {"model": text(at_least=1), "language": text(), "language_hint": text(), "keyterms": array(text())}
)
SESSION = record(
    {
        "type": one_of("realtime"),
        "model": text(),
        "instructions": text(),
        "voice": text(at_least=1),
        "turn_detection": TURN_DETECTION,
        "tools": array(_tool, TOOLS_MAX),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "output_modalities": MODALITIES,
        "max_output_tokens": integer_or("inf", 1, TOKENS_MAX),
        "audio": record({"input": _side(transcription=TRANSCRIPTION), "output": _side(speed=number(0.25, 1.5))}),
        "resumption": record({"enabled": boolean}),
        "replace": mapping(text()),
    }
)
UPDATE = record({"type": text(), "event_id": EVENT_ID, "session": SESSION}, ("type", "session"))
PATHS = {
    "session.audio.output.voice": "session.voice",
    "session.audio.input.turn_detection": "session.turn_detection",
}


class XaiEdge(Edge):
    """One client of xAI's."""

    def __init__(self, ids: Ids) -> None:
        super().__init__(ids)
        # What the machine does not know of; `_asked` becomes it when the session has taken the update.
        self._own: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._transcripts: dict[str, str] = {}
        self._pings = 0

    def incoming(self, sent: dict[str, Any]) -> Understood:
        """See Edge."""
        if kind_of(sent, list(CLIENT_EVENTS)) != "session.update":
            return sent, []
        return sent | {"session": self._ga_session(UPDATE(sent, "")["session"])}, []

    def reworded(self, refusal: Refusal) -> Refusal:
        """See Edge."""
        for ga, own in PATHS.items():
            refusal = refusal.with_path(ga, own)
        return refusal

    def outgoing(self, said: Event) -> list[Event]:
        """See Edge."""
        shown = {name: value for name, value in said.items() if name not in LEFT_OUT}
        if said["type"] == "session.updated":
            self._own = self._asked
        if "session" in said:
            shown["session"] = self._xai_session(said["session"])
        if said["type"] == "response.done":
            shown["response"] = said["response"] | {"usage": {}}
        if said["type"] == "conversation.item.input_audio_transcription.delta":
            shown = self._so_far(said)
        if said["type"] == "session.created":
            conversation = {"id": self.conversation_id, "object": "realtime.conversation"}
            return [self.own("conversation.created", conversation=conversation), shown]
        return [shown]

    def background(self) -> Steps:
        """See Edge."""
        while True:
            self._pings += 1
            yield [event("ping", timestamp=self._pings)]
            yield PING_INTERVAL_S

    def _ga_session(self, hybrid: dict[str, Any]) -> dict[str, Any]:
        ga = {name: value for name, value in hybrid.items() if name not in ("voice", "turn_detection", *OWN_SETTINGS)}
        self._asked = self._own | {name: hybrid[name] for name in OWN_SETTINGS if name in hybrid}
        if hybrid.get("tools") is not None:
            self._asked["tools"] = [tool for tool in hybrid["tools"] if _is_server_tool(tool)]
            ga["tools"] = [tool for tool in hybrid["tools"] if not _is_server_tool(tool)]
        audio = {side: _ga_side((hybrid.get("audio") or {}).get(side)) for side in ("input", "output")}
        if "turn_detection" in hybrid:
            audio["input"]["turn_detection"] = hybrid["turn_detection"]
        if hybrid.get("voice") is not None:
            audio["output"]["voice"] = hybrid["voice"]
        return ga | {"type": "realtime", "audio": audio}

    def _xai_session(self, ga: dict[str, Any]) -> dict[str, Any]:
        heard, said = ga["audio"]["input"], ga["audio"]["output"]
        names = ("type", "object", "id", "model", "instructions", "tool_choice", "max_output_tokens", "expires_at")
        return (
            {name: ga[name] for name in names}
            | self._own
            | {
                "voice": said["voice"],
                "turn_detection": heard["turn_detection"],
                "tools": [*ga["tools"], *self._own.get("tools", [])],
                "audio": {
                    "input": {"format": heard["format"], "transcription": heard["transcription"]},
                    "output": {"format": said["format"], "speed": said["speed"]},
                },
            }
        )

    def _so_far(self, said: Event) -> Event:
        """Everything heard of this item until now."""
        text = self._transcripts.get(said["item_id"], "") + said["delta"]
        self._transcripts = {said["item_id"]: text}
        kind = "conversation.item.input_audio_transcription.updated"
        return {name: value for name, value in said.items() if name != "delta"} | {"type": kind, "transcript": text}


def _ga_side(side: dict[str, Any] | None) -> dict[str, Any]:
    kept = {name: value for name, value in (side or {}).items() if name != "transport"}
    if kept.get("transcription") is not None:
        kept["transcription"] = {
            name: kept["transcription"][name] for name in ("model", "language") if name in kept["transcription"]
        }
    return kept
