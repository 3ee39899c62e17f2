"""xAI's Grok voice, as texts: GA on relay's side; its own session, and a few habits, on the other.

Its events have GA's names. What differs: `voice` and `turn_detection` stand at the top of its session; a connection
begins with `conversation.created`, which may be all; it sends `ping`, which wants no answer; what the person says is
transcribed in texts that each replace the one before; and fields that say nothing in a conversation of one answer at a
time (`output_index`, `part`) may be missing.

Rules: what a strict GA client relies on is filled in, everything else passes. A delta that lacks nothing is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from relay.core import events
from relay.core.vocabulary import GA

SAYS_NOTHING: Mapping[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "max_output_tokens": "inf",
    "tool_choice": "auto",
}
"""Fields of GA's session that xAI has no word for. With these values they ask for what it does anyway."""

MOVED = (("voice", "output"), ("turn_detection", "input"))
"""Fields of xAI's session, and the side of GA's `session.audio` where they lie."""

FILLED: Mapping[str, Any] = {
    "output_index": 0,
    "content_index": 0,
    "part": {"type": "audio", "transcript": ""},
}

_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


class _Updated(msgspec.Struct):
    item_id: str = ""
    content_index: int = 0
    transcript: str = ""
    event_id: str = "event_relay_xai"


class XaiUpstream:
    """Both directions of one session."""

    def __init__(self) -> None:
        self._has_begun = False
        self._heard = ("", "")

    def up(self, text: str) -> list[str]:
        """Return what relay says, as xAI takes it."""
        event = msgspec.json.decode(text)
        if event.get("type") == "session.update" and isinstance(event.get("session"), dict):
            event["session"] = session_to_xai(event["session"])
        return [events.encode(event)]

    def down(self, text: str) -> list[str]:
        """Return what xAI says in GA. Raises one of `events.UNREADABLE`."""
        kind = events.head_decoder.decode(text).type
        match kind:
            case "ping":
                return []
            case "conversation.item.input_audio_transcription.updated":
                return self._transcribe(text)
            case "conversation.created":
                return [text, *self._begin()]
            case events.SESSION_CREATED if self._has_begun:
                return []
            case events.SESSION_CREATED | events.SESSION_UPDATED:
                self._has_begun = True
                return [_with_ga_session(text)]
        return [_filled(kind, text)]

    def _transcribe(self, text: str) -> list[str]:
        """Say what is new in a transcript. One that takes words back waits for its end, which has them all."""
        try:
            event = msgspec.json.decode(text, type=_Updated)
        except msgspec.ValidationError:
            return []  # of another shape: the end has all the words
        item_id, before = self._heard if self._heard[0] == event.item_id else (event.item_id, "")
        if not event.transcript.startswith(before) or event.transcript == before:
            return []
        self._heard = (item_id, event.transcript)
        return [
            events.encode(
                {
                    "type": "conversation.item.input_audio_transcription.delta",
                    "event_id": event.event_id,
                    "item_id": item_id,
                    "content_index": event.content_index,
                    "delta": event.transcript.removeprefix(before),
                }
            )
        ]

    def _begin(self) -> list[str]:
        """Say that there is a session, once: whether xAI does is open, and GA clients wait for it."""
        if self._has_begun:
            return []
        self._has_begun = True
        session = {"type": "realtime"}
        return [events.encode({"type": events.SESSION_CREATED, "event_id": "event_relay_xai", "session": session})]


def session_to_xai(session: dict[str, Any]) -> dict[str, Any]:
    """Return what xAI calls GA's session; an update may be partial."""
    told = {name: value for name, value in session.items() if name not in SAYS_NOTHING or SAYS_NOTHING[name] != value}
    audio = told.get("audio")
    if not isinstance(audio, dict):
        return told
    told["audio"] = dict(audio)
    for name, side in MOVED:
        if isinstance(audio.get(side), dict) and name in audio[side]:
            told[name] = audio[side][name]
            told["audio"][side] = {key: value for key, value in told["audio"][side].items() if key != name}
    return told


def session_to_ga(session: dict[str, Any]) -> dict[str, Any]:
    """Return the opposite of `session_to_xai`."""
    told = {"type": "realtime"} | session
    audio = dict(told["audio"]) if isinstance(told.get("audio"), dict) else {}
    for name, side in MOVED:
        if name in told:
            inner = audio.get(side)
            audio[side] = {**(inner if isinstance(inner, dict) else {}), name: told.pop(name)}
    return told | {"audio": audio} if audio else told


def _with_ga_session(text: str) -> str:
    event = msgspec.json.decode(text)
    if isinstance(event.get("session"), dict):
        event["session"] = session_to_ga(event["session"])
    return events.encode(event)


def _filled(kind: str, text: str) -> str:
    """Return the event with what GA requires of it and xAI may leave out."""
    required = GA.server[kind].required if kind in GA.server else frozenset[str]()
    missing = [name for name in FILLED if name in required and f'"{name}"' not in text]
    if not missing:
        return text
    fields = _fields_decoder.decode(text)
    return _encoder.encode({**fields, **{name: FILLED[name] for name in missing}}).decode()
