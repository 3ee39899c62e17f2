"""What an upstream may be without, and what a client hears who asks for it.

Rules: relay itself never sends what the upstream lacks. A client that does is told so in a typed error that names it,
and its session goes on. profiles.py says which upstream lacks what, in the words that stand here.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.core import messages
from relay.errors import BadRequest

CANCEL, TRUNCATE, RECORDINGS = "cancel", "truncate", "recordings"

EVENTS: Mapping[type[messages.ForwardedOpenAI | messages.Forwarded], str] = {
    messages.CancelResponse: CANCEL,
    messages.CancelOneResponse: CANCEL,
    messages.TruncateItem: TRUNCATE,
    messages.RetrieveItem: "retrieve",
    messages.DeleteItem: "delete",
    messages.Clear: "clear",
}
"""Client events, and the word for an upstream that does not know them."""


def check_supported(message: messages.ForwardedOpenAI | messages.Forwarded, lacks: frozenset[str]) -> None:
    """Raise BadRequest if the upstream cannot do what the message asks for."""
    if not lacks:
        return
    if EVENTS.get(type(message)) in lacks:
        raise _unsupported(str(type(message).__struct_config__.tag), "type", message.event_id)
    match message:
        case messages.AddItem(item=messages.SpokenMessage(content=content)) if RECORDINGS in lacks:
            for index, part in enumerate(content):
                if isinstance(part, messages.InputAudio):
                    raise _unsupported("an item with audio", f"item.content[{index}].type", message.event_id)


def _unsupported(what: str, param: str, event_id: str | None) -> BadRequest:
    public = f"The voice service behind this server cannot do this: {what}."
    return BadRequest(public, code="relay_unsupported", param=param, event_id=event_id)
