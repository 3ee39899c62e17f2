"""Where another dialect is spoken: between a session, which knows GA alone, and the connection.

What comes in is put into GA's words before the session checks it; what goes out is put into the dialect's words after
the session has said it. So the machine, its checks and its faults exist once. An edge belongs to one connection.
"""

from __future__ import annotations

from typing import Any

from relay.simulator.checks import Refusal, unsupported
from relay.simulator.conversation import Event, event
from relay.simulator.ids import Ids
from relay.simulator.timeline import Steps

# What the session is to obey, if anything, and what is answered before it does.
Understood = tuple[dict[str, Any] | None, list[Event]]


class Edge:
    """GA, said and heard as it is. A dialect overrides what it says differently."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.conversation_id = ids.new("conv")

    def incoming(self, sent: dict[str, Any]) -> Understood:
        """A client's event in GA's words. Refusal, in the dialect's words, for what it does not have."""
        return sent, []

    def reworded(self, refusal: Refusal) -> Refusal:
        """The session's refusal, its fields named as the client wrote them."""
        return refusal

    def outgoing(self, said: Event) -> list[Event]:
        """What the client gets for an event of the session's: none, one or several. `said` stays as it is."""
        return [said]

    def own(self, kind: str, **fields: Any) -> Event:
        """An event that the edge says by itself while it is asked for another."""
        return event(kind, **fields) | {"event_id": self.ids.new("event")}

    def background(self) -> Steps | None:
        """What the server says by itself, from its first event on."""
        return None


def kind_of(sent: dict[str, Any], supported: list[str]) -> str:
    """The event's type. Refusal if it is none of these."""
    kind = sent.get("type")
    if not isinstance(kind, str):
        raise Refusal("invalid_event", "Missing required parameter: 'type'.", "type")
    if kind not in supported:
        raise unsupported(kind, "type", supported)
    return kind
