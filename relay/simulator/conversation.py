"""The items of one conversation: their order, their audio, and what a client may do to them.

Every method returns the server events that it causes, or raises `Refusal`. Items are bounded by count and by bytes: the
oldest are dropped without a word, as the live service does with `truncation: "auto"`.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import Any

from relay.simulator import pcm
from relay.simulator.checks import Refusal, quote

Event = dict[str, Any]

ITEMS_MAX = 2_000
BYTES_MAX = 64 * 1024 * 1024


def event(kind: str, **fields: Any) -> Event:
    """A server event; the session gives it its event_id when it goes out."""
    return {"type": kind, "event_id": "", **fields}


def decode_base64(data: str, path: str) -> bytes:
    """Strict: nothing but the alphabet, correct padding. Refusal otherwise."""
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        message = f"Invalid '{path}': expected base64-encoded audio bytes, but got something that does not decode."
        raise Refusal("invalid_value", message, path) from None


def encode_base64(data: bytes) -> str:
    """With padding, on one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_audio(data: str, audio_format: dict[str, Any], path: str) -> bytes:
    """Base64 in a wire format as PCM16 at 24 kHz."""
    raw = decode_base64(data, path)
    try:
        return pcm.from_wire(raw, audio_format)
    except ValueError as error:
        raise Refusal("invalid_value", f"Invalid '{path}': {error}.", path) from None


@dataclass(slots=True)
class Item:
    """`value` is the item as events show it, without audio bytes. The first `length` bytes of `pcm` are its audio."""

    value: dict[str, Any]
    pcm: bytes = b""
    audio_format: dict[str, Any] = field(default_factory=lambda: pcm.PCM)
    length: int = -1
    text_size: int = field(init=False)

    def __post_init__(self) -> None:
        self.text_size = len(str(self.value))
        if self.length < 0:
            self.length = len(self.pcm)

    @property
    def audio(self) -> bytes:
        """PCM16 at 24 kHz: what was said so far, or what is left after truncation."""
        return self.pcm[: self.length]

    @property
    def id(self) -> str:
        """Its name, the client's or ours."""
        return str(self.value["id"])

    @property
    def size(self) -> int:
        """Bytes it keeps, about."""
        return len(self.pcm) + self.text_size

    @property
    def text(self) -> str:
        """Everything in it that can be read aloud."""
        if self.value["type"] == "function_call_output":
            return str(self.value["output"])
        parts = self.value.get("content", [])
        return " ".join(str(part.get("text") or part.get("transcript") or "") for part in parts).strip()

    @property
    def is_model_audio(self) -> bool:
        """Whether it can be truncated."""
        parts = self.value.get("content", [])
        return self.value.get("role") == "assistant" and bool(parts) and parts[0]["type"] == "output_audio"

    def shown(self) -> dict[str, Any]:
        """The item as events show it, a copy."""
        parts = [dict(part) for part in self.value.get("content", [])]
        return self.value | ({"content": parts} if "content" in self.value else {})

    def with_audio(self) -> dict[str, Any]:
        """The item as `conversation.item.retrieved` shows it: audio included."""
        shown = self.shown()
        for part in shown.get("content", []):
            if part["type"] in ("input_audio", "output_audio"):
                part["audio"] = encode_base64(pcm.to_wire(self.audio, self.audio_format))
        return shown


def item_from_client(value: dict[str, Any], new_id: str, audio_format: dict[str, Any], path: str = "item") -> Item:
    """An item that passed the schema; its audio is decoded and kept apart."""
    parts, sound = [], b""
    for index, part in enumerate(value.get("content") or []):
        kept = {name: inner for name, inner in part.items() if name != "audio" and inner is not None}
        if part.get("audio") is not None:
            sound += decode_audio(part["audio"], audio_format, f"{path}.content[{index}].audio")
        if part["type"] in ("input_audio", "output_audio"):
            kept.setdefault("transcript", None)
        parts.append(kept)
    given = {name: inner for name, inner in value.items() if inner is not None and name != "content"}
    whole = {"id": new_id, "object": "realtime.item"} | given
    if value["type"] in ("message", "function_call", "function_call_output"):
        whole = {"status": "completed"} | whole
    else:
        del whole["object"]
    return Item(whole | ({"content": parts} if value["type"] == "message" else {}), sound, audio_format)


class Conversation:
    """The default conversation of a session."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        """The newest item; None when there is none."""
        return self.items[-1].id if self.items else None

    def add(self, item: Item, previous_item_id: str | None = None) -> Event:
        """At the end, after the item named, or at the beginning for "root"."""
        if self._index(item.id) is not None:
            message = f"Error adding item: an item with ID '{item.id}' already exists."
            raise Refusal("item_create_invalid_item_id", message, "item.id")
        place = self._place(previous_item_id)
        self.items.insert(place, item)
        added = event("conversation.item.added", previous_item_id=self._before(item), item=item.shown())
        self._shed()
        return added

    def done(self, item: Item) -> Event:
        """The item will not change any more."""
        return event("conversation.item.done", previous_item_id=self._before(item), item=item.shown())

    def find(self, item_id: str, doing: str, code: str) -> Item:
        """The item; Refusal with `code` when there is none. `doing` is a verb for the message."""
        index = self._index(item_id)
        if index is None:
            message = f"Error {doing} item: the item with id {quote(item_id)} does not exist."
            raise Refusal(code, message, "item_id")
        return self.items[index]

    def delete(self, item_id: str) -> Event:
        """As if it had never been said."""
        self.items.remove(self.find(item_id, "deleting", "item_delete_invalid_item_id"))
        return event("conversation.item.deleted", item_id=item_id)

    def retrieve(self, item_id: str) -> Event:
        """The item as the server has it, its audio included."""
        item = self.find(item_id, "retrieving", "item_retrieve_invalid_item_id")
        return event("conversation.item.retrieved", item=item.with_audio())

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> Event:
        """Forget what a person did not hear of the model's audio, and all of its transcript."""
        item = self.find(item_id, "truncating", "item_truncate_invalid_item_id")
        if not item.is_model_audio:
            message = "Only model output audio messages can be truncated."
            raise Refusal("item_truncate_invalid_item_id", message, "item_id")
        if content_index != 0:
            raise Refusal("invalid_value", "Invalid 'content_index': the audio is in part 0.", "content_index")
        if audio_end_ms < 0:
            message = "Invalid 'audio_end_ms': it cannot be negative."
            raise Refusal("item_truncate_invalid_audio_end_ms", message, "audio_end_ms")
        length_ms = item.length // pcm.BYTES_PER_MS
        if audio_end_ms > length_ms:
            message = f"Audio content of {length_ms}ms is already shorter than {audio_end_ms}ms"
            raise Refusal("invalid_value", message, "audio_end_ms")
        item.pcm = item.pcm[: audio_end_ms * pcm.BYTES_PER_MS]
        item.length = len(item.pcm)
        item.value["content"] = [{"type": "output_audio", "transcript": None}]
        return event(
            "conversation.item.truncated", item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    def _index(self, item_id: str) -> int | None:
        return next((index for index, item in enumerate(self.items) if item.id == item_id), None)

    def _before(self, item: Item) -> str | None:
        index = self._index(item.id)
        return self.items[index - 1].id if index else None

    def _place(self, previous_item_id: str | None) -> int:
        if previous_item_id is None:
            return len(self.items)
        if previous_item_id == "root":
            return 0
        index = self._index(previous_item_id)
        if index is None:
            message = f"Error adding item: the previous item with id {quote(previous_item_id)} does not exist."
            raise Refusal("item_create_invalid_previous_item_id", message, "previous_item_id")
        return index + 1

    def _shed(self) -> None:
        size = sum(item.size for item in self.items)
        while len(self.items) > 1 and (len(self.items) > ITEMS_MAX or size > BYTES_MAX):
            size -= self.items.pop(0).size
