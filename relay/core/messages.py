"""What a client may send, each message as a struct that knows every field it may have.

Two lists at the end: `RelayV1Message` of docs/wire.md, and `OpenAIMessage` for clients of OpenAI's JSON. The second is
longer, because such a client does its own truncation and its own tools. Neither can change the session.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

EventId = Annotated[str, msgspec.Meta(max_length=512)]
ItemId = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
MetadataKey = Annotated[str, msgspec.Meta(max_length=64)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=512)]
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


class CreateResponse(_Message, tag="response.create"):
    """Ask for an answer, as the operator configured it."""


class CancelResponse(_Message, tag="response.cancel"):
    """Stop the answer that is being generated."""


class UpdateSession(_Message, tag="session.update"):
    """What an official client says first. Only its outline is read: it is answered, and never obeyed."""

    session: dict[str, msgspec.Raw]


class InputAudio(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag="input_audio"):
    """Recorded speech, base64 of PCM16 at the upstream's rate."""

    audio: str
    transcript: str | None = None


class _Item(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=32)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class SpokenMessage(_Item, tag="message"):
    """An item that the person adds, typed or recorded."""

    role: Literal["user"]
    content: Annotated[list[InputText | InputAudio], msgspec.Meta(min_length=1, max_length=16)]


class FunctionOutput(_Item, tag="function_call_output"):
    """What a tool of the client's returned."""

    call_id: ItemId
    output: str


class AddItem(_Message, tag="conversation.item.create"):
    """An item of the person's, or a tool's output."""

    item: SpokenMessage | FunctionOutput
    previous_item_id: EventId | None = None


class TruncateItem(_Message, tag="conversation.item.truncate"):
    """What was heard of an item, from a client that does its own accounts."""

    item_id: EventId
    content_index: Count
    audio_end_ms: Count


class DeleteItem(_Message, tag="conversation.item.delete"):
    """Take an item out of the conversation."""

    item_id: ItemId


class RetrieveItem(_Message, tag="conversation.item.retrieve"):
    """Ask what the upstream has of an item."""

    item_id: ItemId


class Pcm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The one audio format there is; some clients repeat it for each response."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] | None = None


class OutputWishes(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How one response sounds: no wishes, and no voice."""

    format: Pcm | None = None


class AudioWishes(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Here so that a refusal names the field inside."""

    output: OutputWishes | None = None


class Wishes(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client may ask of one response. Everything else is the operator's: it is not here, so it is refused."""

    audio: AudioWishes | None = None
    output_modalities: Annotated[list[Literal["text", "audio"]], msgspec.Meta(max_length=2)] | None = None
    conversation: Literal["auto"] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=16)] | None = None


class AskResponse(_Message, tag="response.create"):
    """Ask for an answer, with wishes that change neither what is said nor what it costs."""

    response: Wishes | None = None


class CancelOneResponse(_Message, tag="response.cancel"):
    """Stop an answer that is being generated: that one, or whichever it is."""

    response_id: EventId | None = None


Forwarded = Commit | Clear | CreateItem | CreateResponse | CancelResponse
RelayV1Message = Start | Played | Flushed | Interrupt | Forwarded
ForwardedOpenAI = Commit | Clear | AddItem | TruncateItem | DeleteItem | RetrieveItem | AskResponse | CancelOneResponse
OpenAIMessage = Append | UpdateSession | ForwardedOpenAI
