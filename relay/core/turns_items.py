"""Which items the conversation has, how much audio came of each, and which tool calls wait for their answer.

Rules: only what is known to be wrong is refused. An item that was merely mentioned, one that an error left in doubt,
and, once the memory is full, one that was never seen, may be there. What a client does to an item counts from when it
goes up, because the upstream takes requests in order. What the upstream says of it meanwhile may be older than that;
its word counts again when all requests about the item are answered. A call is one, however often it is announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relay.core.memory import Memory, name, remember
from relay.core.turns_failure import (
    CALL_INVALID,
    CREATE_INVALID_ID,
    CREATE_INVALID_PREVIOUS,
    DELETE_INVALID_ID,
    RETRIEVE_INVALID_ID,
    TRUNCATE_INVALID_ID,
    Failure,
)
from relay.errors import BadRequest

CREATE = "conversation.item.create"
DELETE = "conversation.item.delete"
TRUNCATE = "conversation.item.truncate"

MAX_ITEMS = 1_024
MAX_CALLS = 1_024
MAX_WAITING = 256
"""Requests whose answer is awaited. Of more, the oldest counts as answered."""

TOLERANCE_MS = 0.001
"""Lengths are sums of floats."""

ROOT = "root"
"""In the place of the item before: the new one is the first."""


@dataclass(slots=True)
class _Item:
    """`is_there`: None is doubt. `waiting`: requests to create or delete it that have no answer.

    `audio_ms`: what came of it, None if that is not known: of what came whole, and in a format that relay cannot count.
    """

    is_there: bool | None = None
    waiting: int = 0
    kind: str = ""
    role: str = ""
    audio_ms: float | None = 0.0
    has_sound: bool = False
    is_cut: bool = False
    is_done: bool = False

    @property
    def is_surely_silent(self) -> bool:
        """Whether there is no audio of the model in it, and none to come."""
        is_another = self.kind not in ("", "message") or self.role not in ("", "assistant")
        return is_another or (self.is_done and not self.has_sound and self.audio_ms is not None)


@dataclass(slots=True)
class _Call:
    """A tool call: the item that it is, the item that answers it."""

    item_id: str = ""
    is_answered: bool = False
    answer_id: str = ""


@dataclass(frozen=True, slots=True)
class _Request:
    """What went up and what it changed: to be taken back if it is refused."""

    kind: str
    event_id: str | None
    item_id: str
    call_id: str = ""
    was_there: bool | None = None
    lost_ms: float = 0.0


class Items:
    """The items and the tool calls of one session."""

    __slots__ = ("_calls", "_items", "_waiting")

    def __init__(self) -> None:
        self._items: Memory[_Item] = Memory(MAX_ITEMS)
        self._calls: Memory[_Call] = Memory(MAX_CALLS)
        self._waiting: list[_Request] = []

    # What a client does. Each raises BadRequest; `event` is the API's event, as it would go up.

    def create(self, event: dict[str, Any]) -> None:
        """Add an item."""
        item, event_id = event["item"], event.get("event_id")
        previous, item_id = name(event.get("previous_item_id")), name(item.get("id"))
        if previous and previous != ROOT:
            self._require(previous, CREATE_INVALID_PREVIOUS, "previous_item_id", event_id)
        known = self._items.get(item_id)
        if known is not None and known.is_there:
            problem = f"There is an item {item_id[:64]!r} already: give the new one another id, or none."
            raise BadRequest(problem, code=CREATE_INVALID_ID, param="item.id", event_id=event_id)
        call_id = self._answer(item, event_id) if item.get("type") == "function_call_output" else ""
        if item_id:
            was_there = None if known is None else known.is_there
            self._wait_for(_Request(CREATE, event_id, item_id, call_id, was_there if known else False))
            self._items.put(item_id, self._created(known, item))
        elif call_id:
            self._wait_for(_Request(CREATE, event_id, "", call_id))

    def delete(self, event: dict[str, Any]) -> None:
        """Take an item out."""
        item_id, event_id = event["item_id"], event.get("event_id")
        item = self._require(item_id, DELETE_INVALID_ID, "item_id", event_id)
        if item is not None:
            self._wait_for(_Request(DELETE, event_id, item_id, was_there=item.is_there))
            item.is_there = False
            item.waiting += 1

    def retrieve(self, event: dict[str, Any]) -> None:
        """Ask what the upstream has of an item."""
        self._require(event["item_id"], RETRIEVE_INVALID_ID, "item_id", event.get("event_id"))

    def truncate(self, event: dict[str, Any]) -> None:
        """Say how much of an item was heard."""
        item_id, event_id, end_ms = event["item_id"], event.get("event_id"), event["audio_end_ms"]
        item = self._require(item_id, TRUNCATE_INVALID_ID, "item_id", event_id)
        if item is None:
            return
        if item.is_surely_silent:
            problem = "item_id: only an assistant's audio can be truncated."
            raise BadRequest(problem, code=TRUNCATE_INVALID_ID, param="item_id", event_id=event_id)
        length_ms = end_ms if item.is_there is None or item.audio_ms is None else item.audio_ms
        if end_ms > length_ms + TOLERANCE_MS:
            problem = f"audio_end_ms: {length_ms:.0f} ms of this item's audio are there, which is less than {end_ms}."
            raise BadRequest(problem, code="invalid_value", param="audio_end_ms", event_id=event_id)
        self._wait_for(_Request(TRUNCATE, event_id, item_id, lost_ms=length_ms - end_ms))
        item.is_cut = True
        item.audio_ms = None if item.audio_ms is None else min(item.audio_ms, end_ms)

    def is_cut(self, item_id: str) -> bool:
        """Whether an item was truncated."""
        item = self._items.get(item_id)
        return item is not None and item.is_cut

    # What the upstream says

    def added(self, value: dict[str, Any]) -> None:
        """An item is in the conversation, and perhaps still being made."""
        is_new = self._items.get(name(value.get("id"))) is None
        item = self._told(value)
        if item is not None:
            self._settle(CREATE, name(value.get("id")), item)
            item.is_there = item.is_there if item.waiting else True
            item.audio_ms = None if is_new and value.get("status") == "completed" else item.audio_ms

    def there(self, value: dict[str, Any], *, is_done: bool = False) -> None:
        """An item is in the conversation, unless a request has taken it out by now. `is_done`: it changes no more."""
        item = self._told(value)
        if item is not None:
            item.is_there = item.is_there if item.waiting else True
            item.is_done = item.is_done or is_done

    def mentioned(self, item: dict[str, Any]) -> None:
        """An item is spoken of that may or may not be in the conversation."""
        self._told(item)

    def outside(self, value: dict[str, Any]) -> None:
        """An item is made outside the conversation."""
        item = self._told(value)
        if item is not None and item.is_there is None:
            item.is_there = False

    def deleted(self, item_id: str) -> None:
        """An item was taken out."""
        item = self._items.get(item_id)
        if item is None:
            return
        self._settle(DELETE, item_id, item)
        if not item.waiting:
            item.is_there = False

    def truncated(self, item_id: str) -> None:
        """A truncation was taken."""
        self._pop(TRUNCATE, item_id)

    def audio(self, item_id: str, audio_ms: float | None) -> None:
        """Audio of an item came; None is a length that is not known."""
        item = self._items.get(item_id) or self._known(item_id, {})
        if audio_ms != 0.0:
            item.has_sound = True
        item.audio_ms = None if item.audio_ms is None or audio_ms is None else item.audio_ms + audio_ms

    def called(self, call_id: object, item_id: object = None) -> None:
        """The model calls a tool."""
        call = self._call(name(call_id))
        call.item_id = name(item_id) or call.item_id

    def failed(self, failure: Failure) -> None:
        """The upstream refused something: take back what the request had changed, or doubt it."""
        for request in [each for each in self._waiting if failure.concerns(each.kind, each.event_id)]:
            self._waiting.remove(request)
            self._take_back(request, is_sure=failure.event_id is not None)

    # Within

    def _require(self, item_id: str, code: str, param: str, event_id: str | None) -> _Item | None:
        """Return what is known of an item that may be there."""
        item = self._items.get(item_id)
        if self._items.surely_lacks(item_id) or (item is not None and item.is_there is False):
            problem = f"{param}: the conversation has no item {item_id[:64]!r}."
            raise BadRequest(problem, code=code, param=param, event_id=event_id)
        return item

    def _answer(self, item: dict[str, Any], event_id: str | None) -> str:
        """Take the answer to a call; return which."""
        call_id = name(item.get("call_id"))
        problem = self._why_no_answer(call_id)
        if problem:
            problem = f"item.call_id: {problem}. A call is answered once, with the call_id that it came with."
            raise BadRequest(problem, code=CALL_INVALID, param="item.call_id", event_id=event_id)
        call = self._call(call_id)
        call.is_answered, call.answer_id = True, name(item.get("id"))
        return str(call_id)

    def _why_no_answer(self, call_id: str) -> str | None:
        call = self._calls.get(call_id)
        if call is None:
            return "this call was never made" if self._calls.surely_lacks(call_id) else None
        if self._is_gone(call.item_id):
            return "this call is not in the conversation"
        return "this call was answered already" if call.is_answered and not self._is_gone(call.answer_id) else None

    def _is_gone(self, item_id: str) -> bool:
        item = self._items.get(item_id)
        return item is not None and item.is_there is False

    def _call(self, call_id: str) -> _Call:
        """Return what is known of a call; for one without a name, nothing that lasts."""
        call = self._calls.get(call_id)
        if call is None:
            call = _Call()
            if call_id:
                self._calls.put(call_id, call)
        return call

    def _created(self, known: _Item | None, value: dict[str, Any]) -> _Item:
        item = _Item(is_there=True, waiting=1 + (known.waiting if known else 0), audio_ms=None)
        self._describe(item, value)
        return item

    def _told(self, value: dict[str, Any]) -> _Item | None:
        """Remember what an item is; None if it has no name. It is a call or an answer, whatever its name."""
        item_id, call_id = name(value.get("id")), name(value.get("call_id"))
        match value.get("type"):
            case "function_call":
                self.called(call_id, item_id)
            case "function_call_output":
                call = self._call(call_id)
                call.is_answered, call.answer_id = True, item_id
                self._pop(CREATE, "", call_id)
        return self._known(item_id, value) if item_id else None

    def _known(self, item_id: str, value: dict[str, Any]) -> _Item:
        item = self._items.get(item_id)
        if item is None:
            item = _Item()
            self._items.put(item_id, item)
        self._describe(item, value)
        return item

    def _describe(self, item: _Item, value: dict[str, Any]) -> None:
        item.kind = name(value.get("type")) or item.kind
        item.role = name(value.get("role")) or item.role

    def _wait_for(self, request: _Request) -> None:
        remember(self._waiting, request, MAX_WAITING)

    def _settle(self, kind: str, item_id: str, item: _Item) -> None:
        """The upstream did what a request had asked for."""
        if self._pop(kind, item_id) is not None:
            item.waiting = max(0, item.waiting - 1)

    def _pop(self, kind: str, item_id: str, call_id: str = "") -> _Request | None:
        """Take the oldest request of a kind about an item off the list, or one about a call."""
        for request in self._waiting:
            is_same = request.item_id == item_id and (not call_id or request.call_id == call_id)
            if request.kind == kind and is_same:
                self._waiting.remove(request)
                return request
        return None

    def _take_back(self, request: _Request, *, is_sure: bool) -> None:
        if request.call_id:
            self._call(request.call_id).is_answered = False
        item = self._items.get(request.item_id)
        if item is None:
            return
        if request.kind == TRUNCATE:
            item.audio_ms = None if item.audio_ms is None else item.audio_ms + request.lost_ms
            return
        item.waiting = max(0, item.waiting - 1)
        item.is_there = request.was_there if is_sure and not item.waiting else None
