"""The turns of a conversation, as the API sees them: what a client may do now, and what the API would refuse.

Theory of operation. The API answers an event that comes at the wrong time with an error, after a way there and back. A
client that did not wait for its turn gets that error here, with the API's code, and nothing goes up. relay sees what
the API sees: every request, in order, and every answer. So this is a model of the API's state, in four parts: which
response is active (turns_responses.py), which items and calls there are (turns_items.py), how much audio the buffer
holds (turns_buffer.py), and whose an error is (turns_failure.py).

Two things make the model doubtful: answers that are still on their way, and errors that do not say whose they are. In
doubt an event goes up, and the API decides. Whatever it decides, the model follows: after an error all that could have
been its cause is taken back, so that nothing is refused for ever.

The events of a client come as the API's, in GA, after policy has read them. Of the upstream's events only those are
read that change something. Deltas are not; whoever has the length of audio at hand brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from relay.core import events
from relay.core.formats import Samples, base64_bytes, samples
from relay.core.memory import Memory, is_count, name
from relay.core.places import take
from relay.core.turns_buffer import InputBuffer
from relay.core.turns_failure import Failure
from relay.core.turns_items import Items
from relay.core.turns_responses import Responses
from relay.errors import BadRequest, ShuttingDown

MAX_EVENT_IDS = 256
"""Requests of which an error may repeat the `event_id`."""

NO_ANSWERS = "The server is restarting and begins no answer any more. Connect again in a moment."

UNKNOWN = Samples(0)
"""A format of which relay cannot tell how long its audio is."""

_ABSENT = msgspec.Raw(b"null")


class _Heard(msgspec.Struct):
    """The parts of a server event that concern the turns; each may be anything."""

    item_id: Any = None
    call_id: Any = None
    response_id: Any = None
    audio_end_ms: Any = None
    item: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    session: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_heard_decoder = msgspec.json.Decoder(_Heard)


class Turns:
    """The turns of one session. `output_rate_hz` is that of the upstream's PCM16."""

    def __init__(self, output_rate_hz: int) -> None:
        self._responses = Responses()
        self._items = Items()
        self._buffer = InputBuffer()
        self._pcm = Samples(output_rate_hz)
        self._output: Samples | None = self._pcm
        self._event_ids: Memory[bool] = Memory(MAX_EVENT_IDS)
        self._begins_answers = True

    def begin_no_answers(self) -> None:
        """Refuse requests for an answer from now on."""
        self._begins_answers = False

    @property
    def active(self) -> str | None:
        """The id of the response that is active on the default conversation; "" if it has none, None without one."""
        return self._responses.active

    def admit(self, event: dict[str, Any], now_s: float) -> bool:
        """Take an event that is about to go up; return whether it needs to.

        Raises BadRequest, with the API's own code, if the API would refuse it for what is or is not there by now.
        """
        rule = _ADMIT.get(event["type"])
        if rule is None or not _is_whole(event):
            return True
        asked = {**event, "event_id": name(event.get("event_id")) or None}
        if rule(self, asked, now_s) is False:
            return False
        if asked["event_id"]:
            self._event_ids.put(asked["event_id"], True)
        return True

    def may_cancel(self, now_s: float) -> bool:
        """relay itself cancels the active response; return whether that has to be said."""
        return self._responses.cancel_active(now_s)

    def may_truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """relay itself truncates an item; return whether that may be said. It is said once."""
        if self._items.is_cut(item_id):
            return False
        try:
            self._items.truncate({"item_id": item_id, "audio_end_ms": audio_end_ms})
        except BadRequest:
            return False
        return True

    def appended(self, audio_ms: float) -> None:
        """Audio of the person goes up."""
        self._buffer.append(audio_ms)

    def audio(self, item_id: str, base64: str) -> None:
        """Audio of an answer came; of what has no name, nobody can ask."""
        if item_id:
            self._items.audio(item_id, self._output.ms(base64_bytes(base64)) if self._output else None)

    def passed(self, item_id: str, samples: int) -> None:
        """Audio of an answer came, of which only the samples were counted."""
        self._items.audio(item_id, samples * 1000 / self._pcm.rate_hz if self._output else None)

    def heard(self, kind: str, text: str) -> bool:
        """Take an event of the upstream; return whether it concerns the client. Raises one of `events.UNREADABLE`.

        An answer that ends while relay cancels it is nobody's fault: the error concerns nobody.
        """
        hear = _HEAR.get(kind)
        return hear is None or hear(self, _heard_decoder.decode(text)) is not False

    # What a client asks for

    def _ask(self, event: dict[str, Any], now_s: float) -> None:
        if not self._begins_answers:
            raise BadRequest(NO_ANSWERS, code=ShuttingDown.code, event_id=event["event_id"])
        wishes = event.get("response")
        if isinstance(wishes, dict) and wishes.get("conversation") == "none":
            self._responses.ask_outside(event["event_id"])
        else:
            self._responses.ask(event["event_id"], now_s)

    def _cancel(self, event: dict[str, Any], now_s: float) -> bool:
        return self._responses.cancel(event["event_id"], name(event.get("response_id")) or None, now_s)

    # What the upstream says

    def _response_created(self, heard: _Heard) -> None:
        response = _object(heard.response)
        self._responses.created(name(response.get("id")), response.get("conversation_id"))

    def _response_done(self, heard: _Heard) -> None:
        response = _object(heard.response)
        self._responses.done(name(response.get("id")))
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            if isinstance(item, dict) and item.get("type") == "function_call":
                self._items.called(item.get("call_id"))

    def _output_item(self, heard: _Heard) -> None:
        is_outside = self._responses.is_outside(name(heard.response_id))
        (self._items.outside if is_outside else self._items.mentioned)(_object(heard.item))

    def _output_item_done(self, heard: _Heard) -> None:
        self._output_item(heard)
        if _object(heard.item).get("type") == "function_call":
            self._responses.called(name(heard.response_id))

    def _called(self, heard: _Heard) -> None:
        self._items.called(heard.call_id)
        self._responses.called(name(heard.response_id))

    def _mentioned(self, heard: _Heard) -> None:
        self._items.mentioned({"id": heard.item_id})

    def _item_deleted(self, heard: _Heard) -> None:
        self._items.deleted(name(heard.item_id))

    def _item_truncated(self, heard: _Heard) -> None:
        self._items.truncated(name(heard.item_id))

    def _committed(self, heard: _Heard) -> None:
        self._buffer.committed()
        self._mentioned(heard)

    def _session(self, heard: _Heard) -> None:
        """Note the format of answers. If the upstream names another rate than was set, audio counts as the longer."""
        told = take(_object(heard.session), ("audio", "output", "format"), None)
        if told is not None:
            known = samples(told, UNKNOWN)
            is_pcm = known.sample_bytes == self._pcm.sample_bytes
            longer = Samples(min(known.rate_hz, self._pcm.rate_hz)) if is_pcm else known
            self._output = None if known is UNKNOWN else longer

    def _failed(self, heard: _Heard) -> bool:
        error = _object(heard.error)
        event_id = name(error.get("event_id"))
        failure = Failure(name(error.get("code")), event_id if self._event_ids.get(event_id) else None)
        for part in (self._responses, self._items, self._buffer):
            part.failed(failure)
        return not self._responses.is_relays(failure)


_ADMIT: Mapping[str, Callable[[Turns, dict[str, Any], float], bool | None]] = {
    "response.create": Turns._ask,
    "response.cancel": Turns._cancel,
    "conversation.item.create": lambda turns, event, _: turns._items.create(event),
    "conversation.item.delete": lambda turns, event, _: turns._items.delete(event),
    "conversation.item.retrieve": lambda turns, event, _: turns._items.retrieve(event),
    "conversation.item.truncate": lambda turns, event, _: turns._items.truncate(event),
    "input_audio_buffer.commit": lambda turns, event, _: turns._buffer.commit(event["event_id"]),
    "input_audio_buffer.clear": lambda turns, event, _: turns._buffer.clear(event["event_id"]),
}

_NEEDED: Mapping[str, Mapping[str, type]] = {
    "conversation.item.create": {"item": dict},
    "conversation.item.delete": {"item_id": str},
    "conversation.item.retrieve": {"item_id": str},
    "conversation.item.truncate": {"item_id": str, "audio_end_ms": int},
}

_HEAR: Mapping[str, Callable[[Turns, _Heard], bool | None]] = {
    events.RESPONSE_CREATED: Turns._response_created,
    events.RESPONSE_DONE: Turns._response_done,
    events.ITEM_ADDED: lambda turns, heard: turns._items.added(_object(heard.item)),
    events.ITEM_CREATED: lambda turns, heard: turns._items.added(_object(heard.item)),
    "conversation.item.done": lambda turns, heard: turns._items.there(_object(heard.item), is_done=True),
    "conversation.item.retrieved": lambda turns, heard: turns._items.there(_object(heard.item)),
    "conversation.item.deleted": Turns._item_deleted,
    events.TRUNCATED: Turns._item_truncated,
    "response.output_item.added": Turns._output_item,
    "response.output_item.done": Turns._output_item_done,
    "response.function_call_arguments.done": Turns._called,
    "response.content_part.added": Turns._mentioned,
    events.TRANSCRIBED: Turns._mentioned,
    events.SPEECH_STARTED: Turns._mentioned,
    events.SPEECH_STOPPED: lambda turns, heard: turns._buffer.speech_stopped(heard.audio_end_ms),
    events.COMMITTED: Turns._committed,
    events.CLEARED: lambda turns, heard: turns._buffer.cleared(),
    events.SESSION_CREATED: Turns._session,
    events.SESSION_UPDATED: Turns._session,
    events.ERROR: Turns._failed,
}


def _is_whole(event: dict[str, Any]) -> bool:
    """Whether the fields are there that a rule looks at; the upstream tells a trusted client that forgot them."""
    needed = _NEEDED.get(event["type"], {})
    return all(_fits(event.get(field), kind) for field, kind in needed.items())


def _fits(value: Any, kind: type) -> bool:
    """Whether a value can be judged: JSON has integers that no clock reaches, and no float holds."""
    return is_count(value) if kind is int else isinstance(value, kind)


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a JSON object; an empty one in place of anything else."""
    value = msgspec.json.decode(raw)
    return value if isinstance(value, dict) else {}
