"""What a client may send, each message as a struct that knows every field it may have.

Two lists at the end, by language. Both have the same events of the API, and policy.py judges them alike; audio travels
in binary messages in relay.v1, and relay truncates there itself. The objects inside events are in shapes.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from relay.audio import MAX_RATE_HZ, MIN_RATE_HZ
from relay.core import shapes
from relay.core.shapes import Count, Shape

EventId = Annotated[str, msgspec.Meta(max_length=512)]
ItemId = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
RateHz = Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]


class Message(Shape, kw_only=True):
    """Any of them."""

    event_id: EventId | None = None


class AudioFormat(msgspec.Struct, forbid_unknown_fields=True):
    """How the samples of one direction are written."""

    encoding: Literal["f32le", "s16le"]
    rate_hz: RateHz


class AudioFormats(msgspec.Struct, forbid_unknown_fields=True):
    """Both directions, as the browser sees them."""

    input: AudioFormat
    output: AudioFormat


class Start(Message, tag="relay.start"):
    """The first message of a relay.v1 client."""

    audio: AudioFormats
    levels: bool = False


class Played(Message, tag="relay.played"):
    """How far playback is."""

    item: Count
    samples: Count


class Flushed(Message, tag="relay.flushed"):
    """Where playback stopped."""

    flush: Count
    item: Count
    samples: Count


class Interrupt(Message, tag="relay.interrupt"):
    """The person wants silence."""


class Append(Message, tag="input_audio_buffer.append"):
    """Audio of a client that speaks OpenAI's JSON."""

    audio: str


class Commit(Message, tag="input_audio_buffer.commit"):
    """End of a push-to-talk turn."""


class Clear(Message, tag="input_audio_buffer.clear"):
    """Forget what was said in this push-to-talk turn."""


class UpdateSession(Message, tag="session.update"):
    """What an official client says first. The session is judged field by field: most of it is the operator's."""

    session: dict[str, msgspec.Raw]


class AddItem(Message, tag="conversation.item.create"):
    """An item of the person's, or a tool's output."""

    item: shapes.AnyItem
    previous_item_id: EventId | None = None


class TruncateItem(Message, tag="conversation.item.truncate"):
    """What was heard of an item, from a client that does its own accounts."""

    item_id: EventId
    content_index: Count
    audio_end_ms: Count


class DeleteItem(Message, tag="conversation.item.delete"):
    """Take an item out of the conversation."""

    item_id: ItemId


class RetrieveItem(Message, tag="conversation.item.retrieve"):
    """Ask what the upstream has of an item."""

    item_id: ItemId


class AskResponse(Message, tag="response.create"):
    """Ask for an answer, perhaps with wishes."""

    response: shapes.Response | None = None


class CancelResponse(Message, tag="response.cancel"):
    """Stop an answer that is being generated: that one, or whichever it is."""

    response_id: EventId | None = None


Control = Start | Played | Flushed | Interrupt
_Both = Commit | Clear | AddItem | DeleteItem | RetrieveItem | AskResponse | CancelResponse | UpdateSession
RelayV1Message = Control | _Both
OpenAIMessage = Append | TruncateItem | _Both
