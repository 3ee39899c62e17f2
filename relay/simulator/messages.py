"""The outermost layer of a conversation: a client's message as an object, a refusal as an event, and the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from relay.simulator.checks import Refusal
from relay.simulator.conversation import Event, event


@dataclass(frozen=True, slots=True)
class Ending:
    """Close the connection with this."""

    code: int
    reason: str


def refused(refusal: Refusal, event_id: str | None = None) -> Event:
    """An `error` event; `event_id` is the client's."""
    error = {
        "type": refusal.kind,
        "code": refusal.code,
        "message": refusal.message,
        "param": refusal.param,
        "event_id": event_id,
    }
    return event("error", error=error)


def parsed(message: str | bytes) -> dict[str, Any]:
    """A WebSocket message as an object. Refusal for anything else."""
    if isinstance(message, bytes):
        raise Refusal("invalid_event", "Invalid event: binary frames are not supported.")
    try:
        sent = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        raise Refusal("invalid_json", "The message is not valid JSON.") from None
    if not isinstance(sent, dict):
        raise Refusal("invalid_event", "The message is not a JSON object.")
    return sent
