"""Beta to GA and back: what one end of a session says, in the words of the other.

Four translators, one for each kind of traffic; an event goes in, and the events that say the same come out, in order.

    client_to_ga(event)       a beta client speaks to a GA upstream ...
    ServerToBeta().to(event)  ... and hears its answers
    client_to_beta(event)     a GA client speaks to a beta upstream ...
    ServerToGa().to(event)    ... and hears its answers

Most events differ in their name, or in one object (dialect_objects.py), and are translated by tables. What the source
knows and the target does not is dropped, read off vocabulary.py; what nobody knows passes untouched. The two classes
remember items, because the dialects tell of them differently:

- GA adds an item and then says that it is done. Beta creates it, once, and before anything that is in it.
- Beta names no function when its arguments are complete; GA does.
- A beta session begins with `conversation.created`.

Events are dicts as JSON makes them and are never changed in place. Nothing here raises, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relay.core import dialect_objects as objects
from relay.core.dialect_objects import NOTHING, Record, Translate
from relay.core.vocabulary import BETA, GA, Table

Event = dict[str, Any]

MAX_ITEMS = 1_024
"""Items that are remembered. Beyond it the oldest counts as never seen; a conversation holds fewer."""

SERVER_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "conversation.item.created": "conversation.item.added",
    "transcription_session.created": "session.created",
    "transcription_session.updated": "session.updated",
}
"""Beta's name and GA's, where they differ. An event that is in neither column keeps its name."""

CLIENT_NAMES = {"transcription_session.update": "session.update"}

CLIENT_OBJECTS: Mapping[str, tuple[str, objects.Value]] = {
    "session.update": ("session", objects.SESSION_UPDATE),
    "transcription_session.update": ("session", objects.TRANSCRIPTION_SESSION),
    "response.create": ("response", objects.RESPONSE_REQUEST),
    "conversation.item.create": ("item", objects.ITEM),
}
"""The object in an event, by beta's name of the event."""

SERVER_OBJECTS: Mapping[str, tuple[str, objects.Value]] = {
    "session.created": ("session", objects.SESSION),
    "session.updated": ("session", objects.SESSION),
    "transcription_session.created": ("session", objects.TRANSCRIPTION_SESSION),
    "transcription_session.updated": ("session", objects.TRANSCRIPTION_SESSION),
    "response.created": ("response", objects.RESPONSE),
    "response.done": ("response", objects.RESPONSE),
    "response.output_item.added": ("item", objects.ITEM),
    "response.output_item.done": ("item", objects.ITEM),
    "conversation.item.created": ("item", objects.ITEM),
    "conversation.item.retrieved": ("item", objects.ITEM),
}

PLACES: Mapping[str, Record] = {"session": objects.SESSION, "response": objects.RESPONSE_REQUEST}
"""What an error may point into."""


class _Tables:
    """One side's tables, ready for both ways."""

    def __init__(
        self, beta: Table, ga: Table, names: Mapping[str, str], inner: Mapping[str, tuple[str, objects.Value]]
    ) -> None:
        self._beta, self._ga, self._inner = beta, ga, inner
        self._to_ga = names
        self._to_beta = {new: old for old, new in names.items() if not old.startswith("transcription_session.")}
        self._transcription = {new: old for old, new in names.items() if old.startswith("transcription_session.")}

    def to_ga(self, event: Event) -> Event | None:
        """Return GA's form of a beta event; None if there is none."""
        kind = _kind(event)
        return self._event(event, self._to_ga.get(kind, kind), self._beta, self._ga, self._value(kind, "ga"))

    def to_beta(self, event: Event) -> Event | None:
        """Return beta's form of a GA event; None if there is none."""
        kind = _kind(event)
        names = self._transcription if _is_transcription(event) else self._to_beta
        name = names.get(kind, kind)
        return self._event(event, name, self._ga, self._beta, self._value(name, "beta"))

    def _value(self, beta_kind: str, way: str) -> tuple[str, Translate] | None:
        if beta_kind not in self._inner:
            return None
        key, value = self._inner[beta_kind]
        return key, value.to_ga if way == "ga" else value.to_beta

    def _event(
        self, event: Event, name: str, source: Table, target: Table, inner: tuple[str, Translate] | None
    ) -> Event | None:
        kind = _kind(event)
        if kind in source and name not in target:
            return None
        dropped = source[kind].known - target[name].known if kind in source else frozenset()
        out = {key: value for key, value in event.items() if key not in dropped} | ({"type": name} if kind else {})
        if inner is not None and inner[0] in out:
            key, translate = inner
            out[key] = translate(out[key])
            return None if out[key] is NOTHING else out
        return out


_CLIENT = _Tables(BETA.client, GA.client, CLIENT_NAMES, CLIENT_OBJECTS)
_SERVER = _Tables(BETA.server, GA.server, SERVER_NAMES, SERVER_OBJECTS)


def client_to_ga(event: Event) -> list[Event]:
    """Translate what a beta client sends, for a GA upstream."""
    return _list(_CLIENT.to_ga(event))


def client_to_beta(event: Event) -> list[Event]:
    """Translate what a GA client sends, for a beta upstream."""
    return _list(_CLIENT.to_beta(event))


def place_in_beta(param: str) -> str:
    """Return where beta has what an error calls `session.audio.output.voice`: `session.voice`."""
    head, dot, place = param.partition(".")
    return f"{head}.{PLACES[head].place_in_beta(place)}" if dot and head in PLACES else param


def place_in_ga(param: str) -> str:
    """Return the opposite of `place_in_beta`."""
    head, dot, place = param.partition(".")
    return f"{head}.{PLACES[head].place_in_ga(place)}" if dot and head in PLACES else param


class ServerToBeta:
    """What a GA upstream says in one session, for a beta client."""

    def __init__(self) -> None:
        self._created: dict[str, None] = {}
        self._announced: dict[str, Event] = {}
        self._has_conversation = False

    def to(self, event: Event) -> list[Event]:
        """Translate one event, in the order in which the upstream sent them."""
        match _kind(event):
            case "session.created":
                return _list(_SERVER.to_beta(event)) + self._conversation_of(event)
            case "conversation.created":
                return self._conversation(event)
            case "conversation.item.added" | "conversation.item.created":
                return self._create(event)
            case "response.output_item.added":
                _remember(self._announced, _item_id(event), event)
                return _list(_SERVER.to_beta(event))
            case "conversation.item.deleted":
                self._created.pop(_text(event, "item_id"), None)
            case "error":
                return [_with_param(event, place_in_beta)]
        return self._create_late(event) + _list(_SERVER.to_beta(event))

    def _conversation_of(self, event: Event) -> list[Event]:
        session = event.get("session")
        if not isinstance(session, dict) or session.get("type") == "transcription":
            return []
        conversation = {"id": "conv_" + _text(session, "id").removeprefix("sess_"), "object": "realtime.conversation"}
        return self._conversation(
            {"type": "conversation.created", "event_id": _derived(event, "conv"), "conversation": conversation}
        )

    def _conversation(self, event: Event) -> list[Event]:
        """Pass one on: the upstream may send its own, before the session or after it."""
        told, self._has_conversation = self._has_conversation, True
        return [] if told else [event]

    def _create(self, event: Event) -> list[Event]:
        item_id = _item_id(event)
        if item_id in self._created:
            return []
        _remember(self._created, item_id, None)
        return _list(_SERVER.to_beta({**event, "type": "conversation.item.added"}))

    def _create_late(self, event: Event) -> list[Event]:
        """Create an item that is spoken of before the upstream has added it: a beta client knows no other order."""
        announced = self._announced.pop(_text(event, "item_id") or _item_id(event), None)
        if announced is None:
            return []
        created = {"event_id": _derived(event, "item"), "item": announced.get("item"), "previous_item_id": None}
        return self._create({"type": "conversation.item.added", **created})


class ServerToGa:
    """What a beta upstream says in one session, for a GA client."""

    def __init__(self) -> None:
        self._announced: dict[str, None] = {}
        self._open: dict[str, Event] = {}
        self._names: dict[str, Any] = {}

    def to(self, event: Event) -> list[Event]:
        """Translate one event, in the order in which the upstream sent them."""
        match _kind(event):
            case "conversation.item.created":
                return self._add(event)
            case "response.output_item.added":
                self._announce(event)
            case "response.output_item.done":
                return self._finish(event) + _list(_SERVER.to_ga(event))
            case "response.function_call_arguments.done":
                name = self._names.pop(_text(event, "item_id"), NOTHING)
                named = event if name is NOTHING else {"name": name, **event}
                return _list(_SERVER.to_ga(named))
            case "error":
                return [_with_param(event, place_in_ga)]
        return _list(_SERVER.to_ga(event))

    def _announce(self, event: Event) -> None:
        _remember(self._announced, _item_id(event), None)
        item = event.get("item")
        if isinstance(item, dict) and "name" in item:
            _remember(self._names, _item_id(event), item["name"])

    def _add(self, event: Event) -> list[Event]:
        """Add an item. One that is still being made is done later; not every look-alike calls it "in_progress"."""
        added = _list(_SERVER.to_ga(event))
        item = event.get("item")
        in_progress = isinstance(item, dict) and item.get("status") == "in_progress"
        if in_progress or _item_id(event) in self._announced:
            _remember(self._open, _item_id(event), event)
            return added
        return added + [_done(each, each) for each in added]

    def _finish(self, event: Event) -> list[Event]:
        """Say that the item is done, which beta says only of the response's output."""
        self._announced.pop(_item_id(event), None)
        created = self._open.pop(_item_id(event), None)
        if created is None:
            return []
        return [_done(each, created) for each in _list(_SERVER.to_ga(event))]


def _done(event: Event, created: Event) -> Event:
    done = {"type": "conversation.item.done", "event_id": _derived(event, "done"), "item": event.get("item")}
    return done | {"previous_item_id": created.get("previous_item_id")}


def _list(event: Event | None) -> list[Event]:
    return [] if event is None else [event]


def _kind(event: Event) -> str:
    return _text(event, "type")


def _is_transcription(event: Event) -> bool:
    session = event.get("session")
    return isinstance(session, dict) and session.get("type") == "transcription"


def _item_id(event: Event) -> str:
    item = event.get("item")
    return _text(item, "id") if isinstance(item, dict) else ""


def _text(value: Event, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _derived(event: Event, suffix: str) -> str:
    """Return the id of an event that follows from another one, as unique as that one's."""
    return f"{_text(event, 'event_id') or 'event'}_{suffix}"


def _remember(items: dict[str, Any], item_id: str, value: Any) -> None:
    if item_id:
        items[item_id] = value
    if len(items) > MAX_ITEMS:
        del items[next(iter(items))]


def _with_param(event: Event, place: Callable[[str], str]) -> Event:
    error = event.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("param"), str):
        return event
    return event | {"error": error | {"param": place(error["param"])}}
