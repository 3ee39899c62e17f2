"""What a browser may hear: the upstream's events, without what the operator configured.

    hearing = Hearing(permissions)
    kind, shown, delta = hearing.of(text)      # `shown` is None if the event stays here

Rules. `locked`: an event passes if its type is in HEARD, with the fields of that table and no others; what a provider
adds tomorrow, an event, a field or an object in the place of a text, stays here. Objects are built anew from a view, a
list of what a browser may know of them: of sessions and responses no instructions, tools or prompt; of the operator's
items, and of what is done at MCP servers, no more than that they are there, because the next item names the one before
it. An error that quotes the operator's words loses its own. `open`: events pass as they came.

Deltas are nearly all that comes. One reading by a strict struct tells their type and that nothing else is in them, so
they pass as they came, for the price of reading the type alone (4.0 us instead of 3.9 us for 12,000 bytes of audio).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from relay.core.events import Delta, delta_decoder, encode, head_decoder
from relay.core.permissions import Permissions, Words
from relay.core.vocabulary import GA

ERROR_WITH_QUOTATION = (
    "The voice service refused something. Its reason quotes this server's settings, so it is not shown."
)

LONGEST_REASON_CHARS = 16_384

SCALAR: Final = object()
"""The view of a text, a number, a truth value or null."""

SCALARS: Final = object()
"""The view of an object or a list that holds nothing but those."""

View = Any
"""SCALAR, SCALARS, an object's fields with a view each, a list with the view of its entries, or a function."""

_FORMAT = {"type": SCALAR, "rate": SCALAR}
_VOICE = {"id": SCALAR}
_CONTENT = dict.fromkeys(("id", "type", "text", "audio", "transcript", "image_url", "detail"), SCALAR)
_ITEM = {
    **dict.fromkeys(("id", "type", "object", "status", "role", "phase"), SCALAR),
    **dict.fromkeys(("name", "call_id", "arguments", "output"), SCALAR),
    "content": [_CONTENT],
}
_MCP_ITEM = {
    **dict.fromkeys(("server_label", "approval_request_id", "approve", "reason"), SCALAR),
    "error": {"type": SCALAR, "code": SCALAR, "message": SCALAR},
    "tools": [{"name": SCALAR, "description": SCALAR, "input_schema": lambda schema: schema}],
    **_ITEM,
}
_OUTLINE = frozenset({"id", "type", "object", "status", "role"})
"""What is shown of an item whose contents are the operator's."""

_CACHED = {"text_tokens": SCALAR, "audio_tokens": SCALAR, "image_tokens": SCALAR}
_USAGE = {
    **dict.fromkeys(("type", "seconds", "total_tokens", "input_tokens", "output_tokens"), SCALAR),
    "input_token_details": {**_CACHED, "cached_tokens": SCALAR, "cached_tokens_details": _CACHED},
    "output_token_details": _CACHED,
}
_SESSION = {
    **dict.fromkeys(("id", "object", "type", "model", "expires_at", "max_output_tokens"), SCALAR),
    "output_modalities": SCALARS,
    "audio": {
        "input": {
            "format": _FORMAT,
            "transcription": {"model": SCALAR, "language": SCALAR},
            "noise_reduction": {"type": SCALAR, "strength": SCALAR},
            "turn_detection": dict.fromkeys(GA.objects["turn_detection"].known, SCALAR),
        },
        "output": {"format": _FORMAT, "voice": _VOICE, "speed": SCALAR},
    },
}
"""What a browser may know of the session: of the transcription not the words that the operator tells it to expect."""


def public_session(session: dict[str, Any]) -> dict[str, Any]:
    """Return what a locked client may see of a session."""
    return dict(_view(session, _SESSION))


class Hearing:
    """The ear of clients with these permissions. It keeps nothing of what it hears."""

    def __init__(self, permissions: Permissions) -> None:
        self._is_open = permissions.is_open
        self._words = permissions.words
        self._hears_mcp = permissions.hears_mcp
        error = {"type": SCALAR, "code": SCALAR, "param": SCALAR, "event_id": SCALAR, "message": SCALAR}
        response = {
            **dict.fromkeys(("id", "object", "status", "conversation_id", "max_output_tokens"), SCALAR),
            "status_details": {"type": SCALAR, "reason": SCALAR, "error": self._unquoted(error)},
            "output": [self._item],
            "usage": _USAGE,
            "metadata": SCALARS,
            "output_modalities": SCALARS,
            "audio": {"output": {"format": _FORMAT, "voice": _VOICE}},
        }
        self._views: Mapping[str, View] = {
            "session": _SESSION,
            "response": response,
            "item": self._item,
            "part": _CONTENT,
            "error": self._unquoted(error),
            "usage": _USAGE,
            "conversation": {"id": SCALAR, "object": SCALAR},
            "rate_limits": [dict.fromkeys(("name", "limit", "remaining", "reset_seconds"), SCALAR)],
            "languages": [{"code": SCALAR}],
            "logprobs": [{"token": SCALAR, "logprob": SCALAR, "bytes": SCALARS}],
        }

    def of(self, text: str) -> tuple[str, str | None, Delta | None]:
        """Return an event's type, what the browser hears of it, if anything, and the event itself if it is a delta.

        Raises one of `events.UNREADABLE`.
        """
        if text.find('.delta"', 0, HEAD_CHARS) > 0:
            try:
                delta = delta_decoder.decode(text)
            except msgspec.ValidationError:
                pass  # something else is in it: it is shown by its view
            else:
                return delta.type, text if self._is_open or self._may_hear(delta.type) else None, delta
        kind = head_decoder.decode(text).type
        if self._is_open:
            return kind, text, None
        return kind, self._shown(kind, text) if self._may_hear(kind) else None, None

    def _may_hear(self, kind: str) -> bool:
        return kind in HEARD or (kind in MCP and self._hears_mcp)

    def _shown(self, kind: str, text: str) -> str:
        event = msgspec.json.decode(text)
        fields = {name: self._views.get(name, SCALAR) for name in GA.server[kind].known}
        shown = _view(event, {"type": SCALAR, "obfuscation": SCALAR, **fields})
        return text if shown == event else encode(shown)

    def _item(self, item: Any) -> Any:
        """Return what a browser may see of an item."""
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str):
            return None
        if kind.startswith("mcp_"):
            return _view(item, _MCP_ITEM) if self._hears_mcp else _outline(item)
        if item.get("role") in (None, "user", "assistant"):
            return _view(item, _ITEM)
        return _outline(item)

    def _unquoted(self, view: View) -> Callable[[Any], Any]:
        def shown(error: Any) -> Any:
            return _without_quotations(_view(error, view), self._words)

        return shown


@lru_cache(maxsize=16)
def hearing_for(permissions: Permissions) -> Hearing:
    """Return the ear that all sessions with these permissions share: its views take several KiB."""
    return Hearing(permissions)


def _without_quotations(error: Any, words: Words) -> Any:
    if not isinstance(error, dict):
        return error
    quoting = [key for key, value in error.items() if isinstance(value, str) and _may_quote(value, words)]
    return error | {key: ERROR_WITH_QUOTATION if key == "message" else None for key in quoting}


def _may_quote(text: str, words: Words) -> bool:
    """Looking takes time for each character: what is longer than any reason is not looked through, nor shown."""
    return len(text) > LONGEST_REASON_CHARS or words.are_in(text)


def _outline(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item without its contents; the fields are there still, because strict clients look for them."""
    shown = {key: value if key in _OUTLINE else _emptied(value) for key, value in item.items() if key in _MCP_ITEM}
    return dict(_view(shown, _MCP_ITEM))


def _emptied(value: Any) -> Any:
    if isinstance(value, str):
        return ""
    return [] if isinstance(value, list) else None


def _view(value: Any, view: View) -> Any:
    """Return what a view shows of a value; of a value that is not of the view's kind, nothing."""
    if callable(view):
        return view(value)
    if isinstance(value, dict):
        if view is SCALARS:
            return {key: inner for key, inner in value.items() if _is_scalar(inner)}
        if not isinstance(view, dict):
            return None
        return {key: _view(inner, view[key]) for key, inner in value.items() if key in view}
    if isinstance(value, list):
        if view is SCALARS:
            return [inner for inner in value if _is_scalar(inner)]
        return [_view(inner, view[0]) for inner in value] if isinstance(view, list) else None
    return value if value is None or view in (SCALAR, SCALARS, _VOICE) else None


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


HEAD_CHARS = 100
"""Where the type of a delta stands; one that stands later is shown by its view, more slowly."""

MCP = frozenset(kind for kind in GA.server if "mcp" in kind)
"""Events about MCP servers. What is done there is the operator's, or a client's that may use its own."""

HEARD = frozenset(GA.server) - MCP
"""The events that pass."""
