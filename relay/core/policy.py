"""What a browser may say, and what it is told otherwise.

Rules: what a client sends is never forwarded as it came. It is read into a struct that knows every field it may have,
and written anew from there; a field that is not in the struct is refused by name.

What may be said stands in messages.py, what may be heard in public.py.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from relay.core.messages import Forwarded, ForwardedOpenAI, OpenAIMessage, RelayV1Message
from relay.errors import BadRequest, StartError

M = TypeVar("M")

_relay_v1: msgspec.json.Decoder[RelayV1Message] = msgspec.json.Decoder(RelayV1Message)
_openai: msgspec.json.Decoder[OpenAIMessage] = msgspec.json.Decoder(OpenAIMessage)
_event: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

MAX_PARAM = 300
"""Characters of a field's name that are said back. No field that there is has a longer one."""

_PATH = re.compile(r" - at `(?:key` in `)?\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`|missing required field `(?P<missing>[^`]*)`")


def read_relay_v1(text: str) -> RelayV1Message:
    """Read a text message of a relay.v1 client. Raises BadRequest, naming the field."""
    return _read(text, _relay_v1, "docs/wire.md")


def read_openai(text: str) -> OpenAIMessage:
    """Read a text message of a client that speaks OpenAI's JSON (GA). Raises BadRequest, naming the field."""
    return _read(text, _openai, "docs/openai-clients.md")


def read_any(text: str) -> dict[str, Any]:
    """Read an event that is translated before it is judged. Raises BadRequest if it is not a JSON object."""
    try:
        return _event.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise not_an_object() from None


def not_an_object() -> BadRequest:
    """Return what is said of a text that cannot be read at all."""
    return BadRequest("The text is not a JSON object.", code="relay_invalid_json")


def write(message: Forwarded | ForwardedOpenAI) -> str:
    """Return the message as it goes upstream."""
    return _encoder.encode(message).decode()


def start_error(problem: BadRequest) -> StartError:
    """Return the fatal form of `problem`, for a first message that cannot be used."""
    return StartError(f"relay.start: {problem.public}", param=problem.param, event_id=problem.event_id)


def _read(text: str, decoder: msgspec.json.Decoder[M], page: str) -> M:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(text, str(error), page) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise not_an_object() from None


def _explain(text: str, problem: str, page: str) -> BadRequest:
    head = _head(text)
    if head is None:
        return not_an_object()
    event_id = _string(head.get("event_id"))
    param = _param(problem)
    if param == "type":
        shown = (_string(head.get("type")) or "")[:64]
        public = f"A client may not send events of type {shown!r}; {page} lists those it may."
        return BadRequest(public, code="relay_unknown_event", param="type", event_id=event_id)
    is_unknown = param is not None and "unknown field" in problem
    reason = "a client may not set this" if is_unknown else _PATH.sub("", problem)[:200]
    public = f"{param or 'event'}: {reason}."
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
    return ".".join(part for part in (path, name) if part)[:MAX_PARAM] or None
