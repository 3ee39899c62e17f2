"""The words of the Realtime API (GA): event names, and how relay reads and writes them.

Rules: an event is read no further than its reader needs, because most of them only pass through. What relay writes
itself is built here, so that one place knows the spelling.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import BadRequest, RelayError

AUDIO_DELTA = "response.output_audio.delta"
AUDIO_DONE = "response.output_audio.done"
RESPONSE_CREATED = "response.created"
RESPONSE_DONE = "response.done"
SESSION_CREATED = "session.created"
SESSION_UPDATED = "session.updated"
SPEECH_STARTED = "input_audio_buffer.speech_started"
SPEECH_STOPPED = "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"
CLEARED = "input_audio_buffer.cleared"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
ITEM_ADDED = "conversation.item.added"
ITEM_CREATED = "conversation.item.created"
TRUNCATED = "conversation.item.truncated"
ERROR = "error"

UNREADABLE = (msgspec.DecodeError, RecursionError)
"""What a decoder raises for a text it cannot read. JSON nested too deeply is valid, and still nothing for us."""

_encoder = msgspec.json.Encoder()


class Head(msgspec.Struct):
    """The part of a server event that decides which way it goes."""

    type: str


class AudioDelta(msgspec.Struct):
    """`response.output_audio.delta`: base64 of PCM16 at the upstream's rate."""

    item_id: str
    response_id: str
    delta: str
    content_index: int = 0


class Delta(msgspec.Struct, forbid_unknown_fields=True):
    """Any delta with texts and numbers in it, and nothing else."""

    type: str
    event_id: str = ""
    response_id: str = ""
    item_id: str = ""
    call_id: str = ""
    output_index: int = 0
    content_index: int = 0
    delta: str = ""
    obfuscation: str = ""


class AudioDone(msgspec.Struct):
    """`response.output_audio.done`: no more deltas of this item."""

    item_id: str
    content_index: int = 0


class ResponseBody(msgspec.Struct):
    """The response inside `response.created` and `response.done`, as far as relay reads it."""

    id: str | None = None
    status: str | None = None


class ResponseEvent(msgspec.Struct):
    """`response.created` and `response.done`."""

    response: ResponseBody


class ErrorBody(msgspec.Struct):
    """The inner object of an `error` event."""

    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None


class ErrorEvent(msgspec.Struct):
    """An `error` event, or one that reports a failure the same way: `type` tells."""

    type: str
    error: ErrorBody


class SessionEvent(msgspec.Struct):
    """`session.updated`, with the session as it is written."""

    session: msgspec.Raw = msgspec.Raw(b"null")


head_decoder = msgspec.json.Decoder(Head)
delta_decoder = msgspec.json.Decoder(Delta)
audio_delta_decoder = msgspec.json.Decoder(AudioDelta)
audio_done_decoder = msgspec.json.Decoder(AudioDone)
response_decoder = msgspec.json.Decoder(ResponseEvent)
error_decoder = msgspec.json.Decoder(ErrorEvent)
session_decoder = msgspec.json.Decoder(SessionEvent)


def encode(event: dict[str, Any]) -> str:
    """Return the event as JSON text."""
    return _encoder.encode(event).decode()


def session_in(text: str) -> msgspec.Raw:
    """Return the session in an event, to be kept: as it is written it takes a third of what it does as objects."""
    return session_decoder.decode(text).session.copy()


def truncate(item_id: str, content_index: int, audio_end_ms: int) -> str:
    """Return `conversation.item.truncate`: `audio_end_ms` of the item's audio were heard."""
    return encode(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": content_index,
            "audio_end_ms": audio_end_ms,
        }
    )


def error_event(error: RelayError, event_id: str, *, fatal: bool = False) -> str:
    """Return `error` in OpenAI's shape, with the public part of `error` and nothing else."""
    body: dict[str, Any] = {
        "type": error.kind,
        "code": error.request_code if isinstance(error, BadRequest) else error.code,
        "message": error.public,
        "param": error.param,
        "event_id": error.event_id,
    }
    if fatal:
        body["fatal"] = True
    if error.retry_after_ms is not None:
        body["retry_after_ms"] = error.retry_after_ms
    return encode({"type": ERROR, "event_id": event_id, "error": body})
