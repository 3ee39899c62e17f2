"""What a browser may hear: the upstream's events, without what the operator configured.

Rules: session events are built anew from a list of what a browser may know; whatever is not on it, an instruction, a
tool or a field that a provider adds tomorrow, stays here. From responses and items the few fields are taken in which a
provider repeats the operator's words; an item stays in its place, because the next one names it. All other events pass
as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from relay.core.events import RESPONSE_CREATED, RESPONSE_DONE, SESSION_CREATED, SESSION_UPDATED, encode

ITEM_EVENTS = (
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.done",
    "conversation.item.retrieved",
    "response.output_item.added",
    "response.output_item.done",
)

SESSION_FIELDS = frozenset(
    {"id", "object", "type", "model", "expires_at", "output_modalities", "audio", "max_output_tokens"},
)
"""What a browser may know of the session. The operator's instructions, tools and prompt are not among it."""


TRANSCRIPTION_FIELDS = frozenset({"model", "language"})
"""What it may know of the transcription: not the words that the operator tells it to expect."""


RESPONSE_FIELDS_HIDDEN = frozenset({"instructions", "tools", "tool_choice", "prompt", "tracing"})
"""OpenAI's responses have none of these; some look-alikes repeat the whole session in each."""

OPERATORS_ROLES = frozenset({"system", "developer"})
"""Who speaks in an item that no client may create."""


def public_event(kind: str, text: str) -> str:
    """Return a server event as the browser may see it: without what the operator configured."""
    place, public = PLACES.get(kind, ("", None))
    if public is None:
        return text
    event = msgspec.json.decode(text)
    if place not in event:
        return text
    shown = public(event[place])
    return text if shown == event[place] else encode({**event, place: shown})


def public_session(session: Any) -> Any:
    """Return what a browser may see of a session object."""
    if not isinstance(session, dict):
        return None
    return _with_public_audio({key: value for key, value in session.items() if key in SESSION_FIELDS})


def public_response(response: Any) -> Any:
    """Return what a browser may see of a response object."""
    if not isinstance(response, dict):
        return response
    public = {key: value for key, value in response.items() if key not in RESPONSE_FIELDS_HIDDEN}
    if isinstance(public.get("output"), list):
        public["output"] = [public_item(item) for item in public["output"]]
    return _with_public_audio(public)


def public_item(item: Any) -> Any:
    """Return what a browser may see of an item: of the operator's no more than that it is there."""
    match item:
        case {"role": str(role)} if role in OPERATORS_ROLES:
            return {**item, "content": []}
        case {"type": "mcp_list_tools"}:
            return {**item, "tools": []}
    return item


def _with_public_audio(owner: dict[str, Any]) -> dict[str, Any]:
    match owner.get("audio"):
        case {"input": {"transcription": dict(transcription), **hearing}, **audio}:
            known = {key: value for key, value in transcription.items() if key in TRANSCRIPTION_FIELDS}
            return {**owner, "audio": {**audio, "input": {**hearing, "transcription": known}}}
    return owner


PLACES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    **dict.fromkeys((SESSION_CREATED, SESSION_UPDATED), ("session", public_session)),
    **dict.fromkeys((RESPONSE_CREATED, RESPONSE_DONE), ("response", public_response)),
    **dict.fromkeys(ITEM_EVENTS, ("item", public_item)),
}
"""Where an event has the object that is not shown as it came, and how it is shown."""
