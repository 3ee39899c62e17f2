"""The API's order, written from its documentation and from nothing of relay's: what it would refuse, and what it says.

A model, not a server: a response happens step by step, when the test says so, and every event that it causes is
returned. Only the order of things is judged; what is in an event is another test's affair.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

CANARY = "CANARY PROMPT: never tell"
BYTES_PER_MS = 48


class Refused(Exception):
    """The API answers with an error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Item:
    value: Event
    audio_ms: int = 0
    is_sound: bool = False


@dataclass
class Response:
    id: str
    in_conversation: bool
    item: Item | None = None
    output: list[Event] = field(default_factory=list)


class ApiModel:
    """One session of the API. `echoes`: its errors repeat the request's `event_id`."""

    def __init__(self, *, echoes: bool = True) -> None:
        self.items: dict[str, Item] = {}
        self.active: Response | None = None
        self.outside: list[Response] = []
        self.buffer_ms = 0.0
        self.written_ms = 0.0
        self.breaks_next = False
        self._echoes = echoes
        self._numbers = itertools.count(1)

    # --- the client ---------------------------------------------------------------------------------------------------
    def receive(self, event: Event) -> tuple[list[Event], str | None]:
        """Take a client's event; return what is said to it, and the code if it was refused for its order."""
        try:
            refused = self._refusal(event)
            if refused:
                raise Refused(refused)
            if self.breaks_next and event["type"] != "input_audio_buffer.append":
                self.breaks_next = False
                return [self.error("server_error", event.get("event_id"))], None
            return self._obey(event), None
        except Refused as refusal:
            return [self.error(refusal.code, event.get("event_id"))], refusal.code

    def would_refuse(self, event: Event) -> str | None:
        """Return the code with which an event would be refused for its order."""
        return self._refusal(event)

    def _refusal(self, event: Event) -> str | None:
        item_id = event.get("item_id")
        match event["type"]:
            case "response.create" if not _is_outside(event) and self.active:
                return "conversation_already_has_active_response"
            case "response.cancel" if self._to_cancel(event.get("response_id")) is None:
                return "response_cancel_not_active"
            case "input_audio_buffer.commit" if self.buffer_ms < 100:
                return "input_audio_buffer_commit_empty"
            case "conversation.item.delete" if item_id not in self.items:
                return "item_delete_invalid_item_id"
            case "conversation.item.retrieve" if item_id not in self.items:
                return "item_retrieve_invalid_item_id"
            case "conversation.item.truncate":
                return self._why_not_cut(event)
            case "conversation.item.create":
                return self._why_not_added(event)
        return None

    def _why_not_cut(self, event: Event) -> str | None:
        item = self.items.get(event["item_id"])
        if item is None or item.value.get("role") != "assistant":
            return "item_truncate_invalid_item_id"
        if not item.is_sound and item.value["status"] != "in_progress":
            return "item_truncate_invalid_item_id"
        return "invalid_value" if event["audio_end_ms"] > item.audio_ms else None

    def _why_not_added(self, event: Event) -> str | None:
        item, previous = event["item"], event.get("previous_item_id")
        if previous not in (None, "", "root") and previous not in self.items:
            return "item_create_invalid_previous_item_id"
        if item.get("id") in self.items:
            return "item_create_invalid_item_id"
        if item["type"] == "function_call_output" and not self._is_open(item["call_id"]):
            return "invalid_tool_call_id"
        return None

    def _is_open(self, call_id: str) -> bool:
        kinds = {item.value["type"] for item in self.items.values() if item.value.get("call_id") == call_id}
        return kinds == {"function_call"}

    def _obey(self, event: Event) -> list[Event]:
        match event["type"]:
            case "input_audio_buffer.append":
                audio_ms = len(base64.b64decode(event["audio"])) / BYTES_PER_MS
                self.buffer_ms += audio_ms
                self.written_ms += audio_ms
                return []
            case "input_audio_buffer.clear":
                self.buffer_ms = 0.0
                return [self._event("input_audio_buffer.cleared")]
            case "input_audio_buffer.commit":
                return self._take_turn()
            case "response.create":
                return self.begin(in_conversation=not _is_outside(event))
            case "response.cancel":
                response = self._to_cancel(event.get("response_id"))
                assert response is not None
                return self.end(response, "cancelled")
            case "conversation.item.create":
                value = {"id": self._id("item"), **event["item"], "status": "completed"}
                return [*self._add(Item(value)), self._event("conversation.item.done", item=value)]
            case "conversation.item.delete":
                del self.items[event["item_id"]]
                return [self._event("conversation.item.deleted", item_id=event["item_id"])]
            case "conversation.item.retrieve":
                return [self._event("conversation.item.retrieved", item=self.items[event["item_id"]].value)]
            case "conversation.item.truncate":
                self.items[event["item_id"]].audio_ms = event["audio_end_ms"]
                fields = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
                return [self._event("conversation.item.truncated", **fields)]
        return []

    def _to_cancel(self, response_id: str | None) -> Response | None:
        if response_id is None:
            return self.active
        return next((each for each in self.responses if each.id == response_id), None)

    # --- what happens by itself ---------------------------------------------------------------------------------------
    @property
    def responses(self) -> list[Response]:
        return [*([self.active] if self.active else []), *self.outside]

    def open(self) -> list[Event]:
        session = {"id": "sess_1", "type": "realtime", "instructions": CANARY, "tools": [{"name": CANARY}]}
        return [self._event(f"session.{end}", session=session) for end in ("created", "updated")]

    def hear_turn(self) -> list[Event]:
        """Server VAD: somebody spoke, which interrupts, and gets an answer."""
        item_id = self._id("item")
        started = self._event("input_audio_buffer.speech_started", audio_start_ms=0, item_id=item_id)
        cancelled = self.end(self.active, "cancelled") if self.active else []
        end_ms = int(self.written_ms)
        stopped = self._event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
        told = [started, *cancelled, stopped, *self._take_turn(item_id), *self.begin(in_conversation=True)]
        self.buffer_ms = self.written_ms - end_ms
        return told

    def begin(self, *, in_conversation: bool) -> list[Event]:
        response = Response(self._id("resp"), in_conversation)
        if in_conversation:
            self.active = response
        else:
            self.outside.append(response)
        return [self._event("response.created", response=self._shown(response, "in_progress"))]

    def speak(self, response: Response, audio_ms: int) -> list[Event]:
        """Generate audio, of a new item if none is open."""
        told = [] if response.item else self._open_item(response, {"type": "message", "role": "assistant"})
        item = response.item
        assert item is not None
        if item.value["type"] != "message":
            return told
        item.is_sound = True
        item.audio_ms += audio_ms
        names = {"response_id": response.id, "item_id": item.value["id"], "output_index": 0, "content_index": 0}
        audio = base64.b64encode(bytes(audio_ms * BYTES_PER_MS)).decode()
        return [*told, self._event("response.output_audio.delta", **names, delta=audio)]

    def write(self, response: Response) -> list[Event]:
        """Generate text."""
        told = [] if response.item else self._open_item(response, {"type": "message", "role": "assistant"})
        assert response.item is not None
        names = {"response_id": response.id, "item_id": response.item.value["id"], "output_index": 0}
        return [*told, self._event("response.output_text.delta", **names, content_index=0, delta="word")]

    def call(self, response: Response) -> list[Event]:
        """Call a tool, told in all three ways."""
        told = self._close_item(response)
        call_id = self._id("call")
        told += self._open_item(response, {"type": "function_call", "name": "n", "call_id": call_id, "arguments": ""})
        assert response.item is not None
        names = {"response_id": response.id, "item_id": response.item.value["id"], "call_id": call_id}
        told.append(self._event("response.function_call_arguments.done", **names, name="n", arguments="{}"))
        return told + self._close_item(response)

    def end(self, response: Response, status: str) -> list[Event]:
        told = self._close_item(response)
        if response is self.active:
            self.active = None
        else:
            self.outside.remove(response)
        return [*told, self._event("response.done", response=self._shown(response, status))]

    def error(self, code: str, event_id: str | None = None) -> Event:
        body = {"type": "invalid_request_error", "code": code, "message": code, "param": None}
        return self._event("error", error={**body, "event_id": event_id if self._echoes else None})

    # --- parts --------------------------------------------------------------------------------------------------------
    def _take_turn(self, item_id: str | None = None) -> list[Event]:
        self.buffer_ms = 0.0
        value = {"id": item_id or self._id("item"), "type": "message", "role": "user", "status": "completed"}
        told = [self._event("input_audio_buffer.committed", item_id=value["id"], previous_item_id=None)]
        return [*told, *self._add(Item(value)), self._event("conversation.item.done", item=value)]

    def _open_item(self, response: Response, value: Event) -> list[Event]:
        response.item = Item({"id": self._id("item"), **value, "status": "in_progress"})
        names = {"response_id": response.id, "output_index": 0, "item": dict(response.item.value)}
        told = [self._event("response.output_item.added", **names)]
        return told + (self._add(response.item) if response.in_conversation else [])

    def _close_item(self, response: Response) -> list[Event]:
        item, response.item = response.item, None
        if item is None:
            return []
        item.value["status"] = "completed"
        response.output.append(item.value)
        names = {"response_id": response.id, "output_index": 0, "item": dict(item.value)}
        done = [self._event("response.output_item.done", **names)]
        is_there = response.in_conversation and item.value["id"] in self.items
        return ([self._event("conversation.item.done", item=dict(item.value))] if is_there else []) + done

    def _add(self, item: Item) -> list[Event]:
        self.items[item.value["id"]] = item
        return [self._event("conversation.item.added", item=dict(item.value), previous_item_id=None)]

    def _shown(self, response: Response, status: str) -> Event:
        conversation_id = "conv_1" if response.in_conversation else None
        shown = {"id": response.id, "object": "realtime.response", "status": status, "output": list(response.output)}
        return {**shown, "conversation_id": conversation_id, "instructions": CANARY}

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "event_id": f"event_{next(self._numbers)}", **fields}


def _is_outside(event: Event) -> bool:
    return (event.get("response") or {}).get("conversation") == "none"
