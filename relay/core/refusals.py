"""How a bad message is refused: in a sentence that names the field, made of msgspec's or of the policy's own reason.

Rules: what a client wrote is never said back, but for the name of a field or of an event, and that shortened.
"""

from __future__ import annotations

import re

import msgspec

from relay.errors import BadRequest, StartError

MAX_PARAM = 300
"""Characters of a field's name that are said back. No field that there is has a longer one."""

NOT_YOURS = "a client may not set this"

_PATH = re.compile(r" - at `(?:key` in `)?\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`|missing required field `(?P<missing>[^`]*)`")
_NOT_KNOWN = ("Object contains unknown field", "Invalid value", "Invalid enum value")
"""How msgspec begins when a thing is not of the wrong type, but one that the shapes have no word for."""

_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def refused(param: str, reason: str, event_id: str | None) -> BadRequest:
    """Return the refusal of a field."""
    return BadRequest(f"{param}: {reason}.", code="relay_invalid_field", param=param, event_id=event_id)


def not_an_object() -> BadRequest:
    """Return what is said of a text that cannot be read at all."""
    return BadRequest("The text is not a JSON object.", code="relay_invalid_json")


def start_error(problem: BadRequest) -> StartError:
    """Return the fatal form of `problem`, for a first message that cannot be used."""
    return StartError(f"relay.start: {problem.public}", param=problem.param, event_id=problem.event_id)


def is_unknown(error: msgspec.ValidationError) -> bool:
    """Whether msgspec found something that the shapes have no word for, and nothing of the wrong type."""
    return str(error).startswith(_NOT_KNOWN)


def explained(text: str, problem: str, page: str) -> BadRequest:
    """Return the refusal of an event that msgspec found wrong. `page` says what a client may send."""
    head = _head(text)
    if head is None:
        return not_an_object()
    event_id = _string(head.get("event_id"))
    if _param(problem) == "type":
        shown = (_string(head.get("type")) or "")[:64]
        public = f"A client may not send events of type {shown!r}; {page} lists those it may."
        return BadRequest(public, code="relay_unknown_event", param="type", event_id=event_id)
    return refusal_of(problem, event_id)


def refusal_of(problem: str, event_id: str | None, inside: str = "") -> BadRequest:
    """Return the refusal that msgspec's words amount to, about a field of the object `inside`."""
    param = _param(problem, inside)
    is_field_unknown = param is not None and "unknown field" in problem
    reason = NOT_YOURS if is_field_unknown else _PATH.sub("", problem)[:200]
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


def _param(problem: str, inside: str = "") -> str | None:
    where = _PATH.search(problem)
    path = where["path"] if where else ""
    named = _UNKNOWN.search(problem)
    name = (named["name"] or named["missing"]) if named else ""
    return ".".join(part for part in (inside, path, name) if part)[:MAX_PARAM] or None
