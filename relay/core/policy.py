"""What a browser may say, and what it may hear.

Rules: what a client sends is never forwarded as it came. It is read into a struct that knows every field it may have,
and written anew from there; a field that is not in the struct is refused by name. What the operator configured
(instructions, tools) leaves every session event on its way to the browser.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec

from relay.core.events import SESSION_CREATED, SESSION_UPDATED, encode
from relay.errors import BadRequest, StartError

M = TypeVar("M")

EventId = Annotated[str, msgspec.Meta(max_length=512)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
RateHz = Annotated[int, msgspec.Meta(ge=8_000, le=192_000)]


class _Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    event_id: EventId | None = None


class AudioFormat(msgspec.Struct, forbid_unknown_fields=True):
    """How the samples of one direction are written."""

    encoding: Literal["f32le", "s16le"]
    rate_hz: RateHz


class AudioFormats(msgspec.Struct, forbid_unknown_fields=True):
    """Both directions, as the browser sees them."""

    input: AudioFormat
    output: AudioFormat


class Start(_Message, tag="relay.start"):
    """The first message of a relay.v1 client."""

    audio: AudioFormats
    levels: bool = False


class Played(_Message, tag="relay.played"):
    """How far playback is."""

    item: Count
    samples: Count


class Flushed(_Message, tag="relay.flushed"):
    """Where playback stopped."""

    flush: Count
    item: Count
    samples: Count


class Interrupt(_Message, tag="relay.interrupt"):
    """The person wants silence."""


class Append(_Message, tag="input_audio_buffer.append"):
    """Audio of a client that speaks OpenAI's JSON."""

    audio: str


class Commit(_Message, tag="input_audio_buffer.commit"):
    """End of a push-to-talk turn."""


class Clear(_Message, tag="input_audio_buffer.clear"):
    """Forget what was said in this push-to-talk turn."""


class InputText(msgspec.Struct, forbid_unknown_fields=True, tag="input_text"):
    """Typed text."""

    text: Text


class UserMessage(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag="message"):
    """An item that the person adds to the conversation."""

    role: Literal["user"]
    content: Annotated[list[InputText], msgspec.Meta(min_length=1, max_length=16)]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=32)] | None = None


class CreateItem(_Message, tag="conversation.item.create"):
    """Typed text becomes an item."""

    item: UserMessage


class TruncateItem(_Message, tag="conversation.item.truncate"):
    """What was heard of an item, from a client that does its own accounts."""

    item_id: EventId
    content_index: Count
    audio_end_ms: Count


class CreateResponse(_Message, tag="response.create"):
    """Ask for an answer, as the operator configured it."""


class CancelResponse(_Message, tag="response.cancel"):
    """Stop the answer that is being generated."""


Forwarded = Commit | Clear | CreateItem | CreateResponse | CancelResponse
RelayV1Message = Start | Played | Flushed | Interrupt | Forwarded
OpenAIMessage = Append | TruncateItem | Forwarded

_relay_v1: msgspec.json.Decoder[RelayV1Message] = msgspec.json.Decoder(RelayV1Message)
_openai: msgspec.json.Decoder[OpenAIMessage] = msgspec.json.Decoder(OpenAIMessage)
_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`|missing required field `(?P<missing>[^`]*)`")


def read_relay_v1(text: str) -> RelayV1Message:
    """Read a text message of a relay.v1 client. Raises BadRequest, naming the field."""
    return _read(text, _relay_v1)


def read_openai(text: str) -> OpenAIMessage:
    """Read a text message of a client that speaks OpenAI's JSON (GA). Raises BadRequest, naming the field."""
    return _read(text, _openai)


def write(message: Forwarded | TruncateItem) -> str:
    """Return the message as it goes upstream."""
    return _encoder.encode(message).decode()


def start_error(problem: BadRequest) -> StartError:
    """Return the fatal form of `problem`, for a first message that cannot be used."""
    return StartError(f"relay.start: {problem.public}", param=problem.param, event_id=problem.event_id)


SESSION_FIELDS = frozenset(
    {"id", "object", "type", "model", "expires_at", "output_modalities", "audio", "max_output_tokens"},
)
"""What a browser may know of the session. The operator's instructions, tools and prompt are not among it."""


def public_event(kind: str, text: str) -> str:
    """Return a server event as the browser may see it: session events without what the operator configured."""
    if kind not in (SESSION_CREATED, SESSION_UPDATED):
        return text
    event = msgspec.json.decode(text)
    session = event.get("session")
    if isinstance(session, dict):
        event["session"] = {key: value for key, value in session.items() if key in SESSION_FIELDS}
    return encode(event)


def _read(text: str, decoder: msgspec.json.Decoder[M]) -> M:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(text, str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BadRequest("The text is not a JSON object.", code="relay_invalid_json") from None


def _explain(text: str, problem: str) -> BadRequest:
    head = _head(text)
    if head is None:
        return BadRequest("The text is not a JSON object.", code="relay_invalid_json")
    event_id = _string(head.get("event_id"))
    param = _param(problem)
    if param == "type":
        shown = (_string(head.get("type")) or "")[:64]
        public = f"A client may not send events of type {shown!r}; docs/wire.md lists those it may."
        return BadRequest(public, code="relay_unknown_event", param="type", event_id=event_id)
    public = f"{param or 'event'}: {_PATH.sub('', problem)[:200]}."
    return BadRequest(public, code="relay_invalid_field", param=param, event_id=event_id)


def _head(text: str) -> dict[str, msgspec.Raw] | None:
    try:
        return _any_object.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _string(raw: msgspec.Raw | None) -> str | None:
    """Return a short string value, or None for anything else."""
    if raw is None or len(raw) > 600:
        return None
    try:
        value = msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
    return value[:512]


def _param(problem: str) -> str | None:
    where = _PATH.search(problem)
    path = where["path"] if where else ""
    named = _UNKNOWN.search(problem)
    name = (named["name"] or named["missing"]) if named else ""
    return ".".join(part for part in (path, name) if part) or None
