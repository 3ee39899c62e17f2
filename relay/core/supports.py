"""What an upstream may be without, and what a client hears who asks for it.

Rules: relay itself never sends what the upstream lacks. A client that does is told so in a typed error that names it,
and its session goes on. profiles.py says which upstream lacks what, in the words that stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.core.formats import recordings
from relay.errors import BadRequest

CANCEL, TRUNCATE, RECORDINGS = "cancel", "truncate", "recordings"

EVENTS: Mapping[str, str] = {
    "response.cancel": CANCEL,
    "conversation.item.truncate": TRUNCATE,
    "conversation.item.retrieve": "retrieve",
    "conversation.item.delete": "delete",
    "input_audio_buffer.clear": "clear",
}
"""Client events, and the word for an upstream that does not know them."""


def check_supported(event: dict[str, Any], lacks: frozenset[str]) -> None:
    """Raise BadRequest if the upstream cannot do what the event, in GA, asks for."""
    if not lacks:
        return
    if EVENTS.get(event["type"]) in lacks:
        raise _unsupported(event["type"], "type", event)
    if RECORDINGS in lacks:
        for place, _ in recordings(event):
            raise _unsupported("an item with audio", place.removesuffix(".audio") + ".type", event)


def _unsupported(what: str, param: str, event: dict[str, Any]) -> BadRequest:
    event_id = event.get("event_id")
    public = f"The voice service behind this server cannot do this: {what}."
    return BadRequest(public, code="relay_unsupported", param=param, event_id=event_id)
