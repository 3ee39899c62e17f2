"""What a client may do now, by the promises of relay/core/turns.py, each with the error it prevents or follows from."""

from __future__ import annotations

import base64
import itertools
import json
from contextlib import suppress
from typing import Any

import pytest

from relay.core import turns_buffer, turns_items, turns_responses
from relay.core.turns import MAX_EVENT_IDS, Turns
from relay.core.turns_failure import ABOUT
from relay.errors import BadRequest

RATE_HZ = 24_000
HUGE = 10**400
"""JSON has it, and no float."""


class Side:
    """Both sides of a conversation: what a client says is admitted or refused, what the upstream says is heard."""

    def __init__(self) -> None:
        self.turns = Turns(RATE_HZ)
        self.now_s = 0.0
        self._numbers = itertools.count(1)

    def say(self, kind: str, **fields: Any) -> bool:
        return self.turns.admit({"type": kind, **fields}, self.now_s)

    def refused(self, kind: str, **fields: Any) -> str:
        """Return the code of the refusal, which names the client's event."""
        with pytest.raises(BadRequest) as caught:
            self.say(kind, event_id="refused", **fields)
        assert caught.value.event_id == "refused"
        assert len(caught.value.public) < 500
        return caught.value.request_code

    def hear(self, kind: str, **fields: Any) -> bool:
        """Return whether it concerns the client."""
        return self.turns.heard(kind, json.dumps({"type": kind, "event_id": f"event_{next(self._numbers)}", **fields}))

    def begin(self, response_id: str = "resp_1", **fields: Any) -> None:
        self.hear("response.created", response={"id": response_id, "conversation_id": "conv_1", **fields})

    def end(self, response_id: str = "resp_1", status: str = "completed") -> None:
        self.hear("response.done", response={"id": response_id, "status": status})

    def fail(self, code: str = "server_error", event_id: str | None = None) -> bool:
        return self.hear("error", error={"code": code, "message": "no", "event_id": event_id})

    def answer(self, item_id: str = "item_a", audio_ms: int = 1_000) -> None:
        """Let the model say something."""
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress"}
        self.hear("conversation.item.added", item=item)
        self.turns.audio(item_id, base64.b64encode(bytes(48 * audio_ms)).decode())

    def add(self, **item: Any) -> None:
        self.hear("conversation.item.added", item={"status": "completed", **item})

    def truncate(self, end_ms: int, item_id: str = "item_a", **fields: Any) -> bool:
        return self.say("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms, **fields)

    def cut_refused(self, end_ms: int, item_id: str = "item_a") -> str:
        return self.refused("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)

    def output(self, call_id: str, **fields: Any) -> bool:
        item = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
        return self.say("conversation.item.create", item=item, **fields)

    def output_refused(self, call_id: str) -> str:
        item = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
        return self.refused("conversation.item.create", item=item)


@pytest.fixture
def side() -> Side:
    return Side()


ABOUT_KINDS = sorted(set(ABOUT.values()))
ACTIVE = "conversation_already_has_active_response"
USER = {"type": "message", "role": "user", "content": []}


# --- responses --------------------------------------------------------------------------------------------------------
def test_a_second_response_is_refused_until_the_first_has_ended(side: Side) -> None:
    assert side.say("response.create")
    assert side.refused("response.create") == ACTIVE
    side.begin()
    assert side.refused("response.create") == ACTIVE
    side.end()
    assert side.say("response.create")


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete", None, 7])
def test_a_response_that_ends_in_any_way_makes_room_for_the_next(side: Side, status: Any) -> None:
    side.begin()
    side.end(status=status)
    assert side.say("response.create")


WHOLE_CALL = {"response_id": "resp_1", "call_id": "call_1", "item_id": "item_c"}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.function_call_arguments.done", WHOLE_CALL),
        (
            "response.output_item.done",
            {"response_id": "resp_1", "item": {"id": "item_c", "type": "function_call", "call_id": "call_1"}},
        ),
    ],
)
def test_a_client_may_ask_on_as_soon_as_a_call_is_whole(side: Side, kind: str, fields: dict[str, Any]) -> None:
    side.begin()
    side.hear(kind, **fields)
    assert side.output("call_1")
    assert side.say("response.create")
    assert side.refused("response.create") == ACTIVE
    side.end()  # it was on its way
    assert side.refused("response.create") == ACTIVE
    side.begin("resp_2")
    assert side.refused("response.create") == ACTIVE
    side.end("resp_2")
    assert side.say("response.create")


def test_a_client_that_asked_on_too_early_asks_again_when_the_response_has_ended(side: Side) -> None:
    side.begin()
    side.hear("response.function_call_arguments.done", **WHOLE_CALL)
    assert side.say("response.create")
    side.fail(ACTIVE)  # there is another call to come
    assert side.refused("response.create") == ACTIVE
    side.end()
    assert side.say("response.create")


def test_what_is_said_before_a_call_makes_no_room(side: Side) -> None:
    side.begin("resp_0")
    side.hear("response.function_call_arguments.done", **WHOLE_CALL)  # of another response
    item = {"id": "item_a", "type": "message", "role": "assistant"}
    side.hear("response.output_item.done", response_id="resp_0", item=item)
    assert side.refused("response.create") == ACTIVE


def test_the_upstreams_own_response_counts(side: Side) -> None:
    side.begin("resp_vad")
    assert side.refused("response.create") == ACTIVE


def test_a_response_outside_the_conversation_does_not_count(side: Side) -> None:
    outside = {"response": {"conversation": "none"}}
    assert side.say("response.create", **outside)
    assert side.say("response.create", **outside)
    side.begin("resp_1", conversation_id=None)
    assert side.say("response.create")
    side.begin("resp_2")
    side.end("resp_1")
    assert side.refused("response.create") == ACTIVE
    assert side.say("response.create", **outside)


@pytest.mark.parametrize(
    ("asked", "told"), [(None, None), ("mine", "mine"), ("mine", None), (None, "of_nobody"), ("mine", "of_nobody")]
)
@pytest.mark.parametrize("code", ["server_error", ACTIVE, "rate_limit_exceeded", ""])
def test_a_request_that_the_upstream_refused_does_not_stick(
    side: Side, asked: str | None, told: str | None, code: str
) -> None:
    assert side.say("response.create", event_id=asked)
    side.fail(code, told)
    assert side.say("response.create")


def test_an_error_about_another_request_leaves_this_one_standing(side: Side) -> None:
    assert side.say("conversation.item.create", item=USER, event_id="other")
    assert side.say("response.create", event_id="mine")
    side.fail("server_error", "other")
    assert side.refused("response.create") == ACTIVE
    side.fail("input_audio_buffer_commit_empty")
    assert side.refused("response.create") == ACTIVE


def test_an_upstream_that_answers_nothing_does_not_stick(side: Side) -> None:
    assert side.say("response.create")
    side.now_s = turns_responses.ASKED_S - 1
    assert side.refused("response.create") == ACTIVE
    side.now_s = turns_responses.ASKED_S
    assert side.say("response.create")


def test_a_cancel_that_nobody_answers_does_not_stick(side: Side) -> None:
    side.begin()
    assert side.say("response.cancel")
    side.now_s = turns_responses.ASKED_S - 1
    assert side.refused("response.create") == ACTIVE
    assert not side.say("response.cancel")
    side.now_s = turns_responses.ASKED_S
    assert side.say("response.cancel")
    assert side.say("response.create")


def test_after_an_error_that_may_have_ended_a_response_the_upstream_decides(side: Side) -> None:
    side.begin()
    side.fail("server_error")
    assert side.say("response.create", event_id="mine")
    side.fail(ACTIVE, "mine")
    assert side.refused("response.create") == ACTIVE
    side.fail("server_error")
    side.end()
    side.begin("resp_2")
    assert side.refused("response.create") == ACTIVE


def test_an_error_before_a_response_leaves_no_doubt_of_it(side: Side) -> None:
    side.fail("server_error")
    assert side.say("response.create")
    side.begin()
    assert side.refused("response.create") == ACTIVE


def test_an_error_about_something_else_ends_no_response(side: Side) -> None:
    side.begin()
    side.fail("input_audio_buffer_commit_empty")
    assert side.say("conversation.item.create", item=USER, event_id="other")
    side.fail("server_error", "other")
    assert side.refused("response.create") == ACTIVE


def test_a_race_with_the_upstreams_own_response_ends_well(side: Side) -> None:
    assert side.say("response.create", event_id="mine")
    side.begin("resp_vad")
    side.fail(ACTIVE, "mine")
    assert side.refused("response.create") == ACTIVE
    side.end("resp_vad")
    assert side.say("response.create")


def test_what_is_told_of_a_response_twice_counts_once(side: Side) -> None:
    side.begin("resp_1")
    side.end("resp_1")
    side.begin("resp_1")
    assert side.say("response.create")
    side.begin("resp_2")
    side.end("resp_1")
    assert side.refused("response.create") == ACTIVE


@pytest.mark.parametrize("response", [None, 7, [], {}, {"id": None}, {"id": "resp_unknown"}, {"id": "x" * 600}])
def test_an_end_that_does_not_say_whose_it_is_ends_the_active_response(side: Side, response: Any) -> None:
    side.begin()
    side.hear("response.done", response=response)
    assert side.say("response.create")


@pytest.mark.parametrize("response", [None, 7, {}, {"id": None}])
def test_a_response_without_a_name_is_one_all_the_same(side: Side, response: Any) -> None:
    side.hear("response.created", response=response)
    assert side.refused("response.create") == ACTIVE
    side.hear("response.done", response=response)
    assert side.say("response.create")


# --- cancel -----------------------------------------------------------------------------------------------------------
NOT_ACTIVE = "response_cancel_not_active"


def test_nothing_is_cancelled_that_is_not_there(side: Side) -> None:
    assert side.refused("response.cancel") == NOT_ACTIVE
    side.begin()
    side.end()
    assert side.refused("response.cancel") == NOT_ACTIVE
    assert side.refused("response.cancel", response_id="resp_1") == NOT_ACTIVE


def test_what_was_asked_for_can_be_cancelled_before_it_begins(side: Side) -> None:
    assert side.say("response.create")
    assert side.say("response.cancel")


def test_a_cancel_goes_up_once_for_each_response(side: Side) -> None:
    side.begin()
    assert side.say("response.cancel")
    assert not side.say("response.cancel")
    assert not side.turns.may_cancel(0.0)
    side.end(status="cancelled")
    side.begin("resp_2")
    assert side.say("response.cancel", response_id="resp_2")


def test_a_cancel_that_was_refused_can_be_tried_again(side: Side) -> None:
    side.begin()
    assert side.say("response.cancel", event_id="mine")
    side.fail("server_error", "mine")
    assert side.say("response.cancel")


def test_a_request_that_failed_takes_its_cancel_with_it(side: Side) -> None:
    assert side.say("response.create", event_id="a")
    assert side.say("response.cancel", event_id="b")
    side.fail("server_error", "a")
    side.begin("resp_vad")
    assert side.say("response.cancel", event_id="c")
    side.end("resp_vad")
    assert side.say("response.create", event_id="d")
    assert side.say("response.cancel", event_id="e")
    side.fail("server_error", "d")
    assert side.say("response.create", event_id="f")
    side.begin("resp_2")
    assert side.say("response.cancel")


def test_when_the_upstream_finds_nothing_to_cancel_nothing_is_active(side: Side) -> None:
    side.begin()
    assert side.say("response.cancel")
    side.fail(NOT_ACTIVE)
    assert side.say("response.create")


def test_when_the_upstream_does_not_find_the_response_that_was_named_it_is_not_active(side: Side) -> None:
    side.begin("resp_1")
    assert side.say("response.cancel", response_id="resp_1")
    side.fail(NOT_ACTIVE)
    assert side.say("response.create")
    side.begin("resp_2")
    assert side.say("response.cancel", response_id="resp_2", event_id="mine")
    side.fail(NOT_ACTIVE, "mine")
    assert side.say("response.create")


def test_responses_outside_the_conversation_are_cancelled_by_name(side: Side) -> None:
    side.say("response.create", response={"conversation": "none"})
    side.begin("resp_1", conversation_id=None)
    assert side.refused("response.cancel") == NOT_ACTIVE
    assert side.say("response.cancel", response_id="resp_1")


def test_an_answer_that_ends_while_relay_cancels_it_is_no_error_to_the_client(side: Side) -> None:
    side.begin()
    assert side.turns.may_cancel(0.0)
    assert side.fail("server_error"), "any other may be the client's"
    side.end()
    assert not side.fail(NOT_ACTIVE)


@pytest.mark.parametrize("event_id", [None, "mine"])
def test_a_client_that_cancels_too_late_is_told(side: Side, event_id: str | None) -> None:
    side.begin()
    assert side.turns.may_cancel(0.0)
    side.end(status="cancelled")
    side.begin("resp_2")
    assert side.say("response.cancel", **({"event_id": event_id} if event_id else {}))
    side.end("resp_2")
    assert side.fail(NOT_ACTIVE, event_id)


def test_relay_cancels_only_what_is_active(side: Side) -> None:
    assert not side.turns.may_cancel(0.0)
    assert side.say("response.create")
    assert not side.turns.may_cancel(0.0)
    side.begin()
    assert side.turns.may_cancel(0.0)
    assert not side.turns.may_cancel(0.0)


# --- tool calls -------------------------------------------------------------------------------------------------------
BAD_CALL = "invalid_tool_call_id"
CALL = {"id": "item_f", "type": "function_call", "call_id": "call_1", "name": "n"}
ANNOUNCEMENTS: list[tuple[str, dict[str, Any]]] = [
    ("conversation.item.added", {"item": CALL}),
    ("response.output_item.added", {"item": CALL}),
    ("response.function_call_arguments.done", {"call_id": "call_1", "item_id": "item_f"}),
    ("conversation.item.done", {"item": CALL}),
    ("response.output_item.done", {"item": CALL}),
    ("response.done", {"response": {"id": "resp_1", "output": [CALL]}}),
]


def test_a_call_that_was_never_made_has_no_answer(side: Side) -> None:
    with pytest.raises(BadRequest) as caught:
        side.output("call_1")
    assert (caught.value.request_code, caught.value.param) == (BAD_CALL, "item.call_id")


@pytest.mark.parametrize("announcement", ANNOUNCEMENTS, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_any_announcement_makes_a_call(side: Side, announcement: tuple[str, dict[str, Any]]) -> None:
    side.hear(announcement[0], **announcement[1])
    assert side.output("call_1")


def test_a_call_is_answered_once_however_often_it_is_announced(side: Side) -> None:
    for kind, fields in ANNOUNCEMENTS:
        side.hear(kind, **fields)
    assert side.output("call_1")
    assert side.output_refused("call_1") == BAD_CALL
    side.add(id="item_o", type="function_call_output", call_id="call_1")
    for kind, fields in ANNOUNCEMENTS:
        side.hear(kind, **fields)
    assert side.output_refused("call_1") == BAD_CALL


@pytest.mark.parametrize("told", [None, "mine"])
def test_an_answer_that_was_refused_can_be_given_again(side: Side, told: str | None) -> None:
    side.hear(*ANNOUNCEMENTS[0][:1], **ANNOUNCEMENTS[0][1])
    assert side.output("call_1", event_id="mine")
    side.fail("server_error", told)
    assert side.output("call_1")


def test_a_call_whose_answer_was_deleted_is_open_again(side: Side) -> None:
    side.add(**CALL)
    side.add(id="item_o", type="function_call_output", call_id="call_1")
    assert side.output_refused("call_1") == BAD_CALL
    assert side.say("conversation.item.delete", item_id="item_o")
    assert side.output("call_1")


def test_a_call_that_was_deleted_has_no_answer(side: Side) -> None:
    side.add(**CALL)
    assert side.say("conversation.item.delete", item_id="item_f", event_id="mine")
    assert side.output_refused("call_1") == BAD_CALL
    side.fail("server_error", "mine")
    assert side.output("call_1")


# --- items ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("conversation.item.delete", "item_delete_invalid_item_id"),
        ("conversation.item.retrieve", "item_retrieve_invalid_item_id"),
    ],
)
def test_what_is_not_there_is_neither_deleted_nor_retrieved(side: Side, kind: str, code: str) -> None:
    assert side.refused(kind, item_id="item_1") == code
    side.add(id="item_1", **USER)
    assert side.say("conversation.item.delete", item_id="item_1")
    assert side.refused(kind, item_id="item_1") == code
    side.hear("conversation.item.deleted", item_id="item_1")
    assert side.refused(kind, item_id="item_1") == code


def test_an_item_goes_behind_one_that_is_there(side: Side) -> None:
    for previous in (None, "", "root"):
        assert side.say("conversation.item.create", item=USER, previous_item_id=previous)
    with pytest.raises(BadRequest) as caught:
        side.say("conversation.item.create", item=USER, previous_item_id="item_1")
    assert caught.value.request_code == "item_create_invalid_previous_item_id"
    assert caught.value.param == "previous_item_id"
    side.add(id="item_1", **USER)
    assert side.say("conversation.item.create", item=USER, previous_item_id="item_1")


def test_two_items_do_not_have_one_id(side: Side) -> None:
    assert side.say("conversation.item.create", item={**USER, "id": "item_1"})
    assert side.refused("conversation.item.create", item={**USER, "id": "item_1"}) == "item_create_invalid_item_id"
    assert side.say("conversation.item.retrieve", item_id="item_1")
    assert side.say("conversation.item.delete", item_id="item_1")
    assert side.say("conversation.item.create", item={**USER, "id": "item_1"})


def test_older_news_of_an_item_do_not_undo_what_the_client_did_since(side: Side) -> None:
    item = {**USER, "id": "item_1"}
    assert side.say("conversation.item.create", item=item)
    assert side.say("conversation.item.delete", item_id="item_1")
    assert side.say("conversation.item.create", item=item)
    side.add(**item)
    assert side.say("conversation.item.retrieve", item_id="item_1")
    side.hear("conversation.item.deleted", item_id="item_1")
    assert side.say("conversation.item.delete", item_id="item_1")
    side.add(**item)
    assert side.refused("conversation.item.retrieve", item_id="item_1")
    side.hear("conversation.item.done", item=item)
    assert side.refused("conversation.item.retrieve", item_id="item_1")
    side.hear("conversation.item.deleted", item_id="item_1")
    assert side.refused("conversation.item.retrieve", item_id="item_1")


def test_an_item_that_the_upstream_refused_is_not_there(side: Side) -> None:
    assert side.say("conversation.item.create", item={**USER, "id": "item_1"}, event_id="mine")
    side.fail("server_error", "mine")
    assert side.refused("conversation.item.delete", item_id="item_1")
    assert side.say("conversation.item.create", item={**USER, "id": "item_1"})


@pytest.mark.parametrize("kind", ["delete", "retrieve"])
def test_an_error_that_is_nobodys_leaves_items_in_doubt_and_the_upstream_decides(side: Side, kind: str) -> None:
    assert side.say("conversation.item.create", item={**USER, "id": "item_1"})
    side.fail()
    assert side.say(f"conversation.item.{kind}", item_id="item_1")
    side.add(id="item_2", **USER)
    assert side.say("conversation.item.delete", item_id="item_2")
    side.fail()
    assert side.say(f"conversation.item.{kind}", item_id="item_2")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.output_item.added", {"item": {"id": "item_1"}}),
        ("input_audio_buffer.speech_started", {"item_id": "item_1"}),
        ("input_audio_buffer.committed", {"item_id": "item_1"}),
        ("response.content_part.added", {"item_id": "item_1"}),
        ("conversation.item.input_audio_transcription.completed", {"item_id": "item_1"}),
    ],
)
def test_an_item_that_was_only_mentioned_may_be_there(side: Side, kind: str, fields: dict[str, Any]) -> None:
    side.hear(kind, **fields)
    assert side.say("conversation.item.retrieve", item_id="item_1")


def test_what_is_forgotten_may_be_there_and_what_is_remembered_is_known(side: Side) -> None:
    for number in range(turns_items.MAX_ITEMS + 10):
        side.add(id=f"item_{number}", **USER)
    assert len(side.turns._items._items) == turns_items.MAX_ITEMS
    assert side.say("conversation.item.delete", item_id="item_0")
    assert side.say("conversation.item.delete", item_id="item_500")
    assert side.refused("conversation.item.delete", item_id="item_500")


def test_what_is_made_outside_the_conversation_is_not_in_it(side: Side) -> None:
    side.say("response.create", response={"conversation": "none"})
    side.begin("resp_1", conversation_id=None)
    side.hear("response.output_item.added", response_id="resp_1", item={"id": "item_a", "type": "message"})
    side.hear("response.output_item.added", response_id="resp_1", item=CALL)
    side.turns.audio("item_a", "AAAA")
    side.hear("response.function_call_arguments.done", response_id="resp_1", **ANNOUNCEMENTS[2][1])
    side.end("resp_1")
    side.hear("response.output_item.done", response_id="resp_1", item={"id": "item_a", "type": "message"})
    assert not side.turns.may_truncate("item_a", 0)
    assert side.cut_refused(0) == "item_truncate_invalid_item_id"
    assert side.refused("conversation.item.retrieve", item_id="item_a") == "item_retrieve_invalid_item_id"
    assert side.output_refused("call_1") == BAD_CALL
    side.add(id="item_a", type="message", role="assistant")
    assert side.say("conversation.item.retrieve", item_id="item_a")


# --- truncate ---------------------------------------------------------------------------------------------------------
def test_audio_is_truncated_within_what_came(side: Side) -> None:
    side.answer(audio_ms=1_000)
    assert side.cut_refused(1_001) == "invalid_value"
    assert side.truncate(1_000)
    assert side.truncate(400)
    assert side.cut_refused(401) == "invalid_value"
    side.turns.audio("item_a", base64.b64encode(bytes(48 * 100)).decode())
    assert side.truncate(500)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "user"},
        {"type": "message", "role": "system"},
        {"type": "function_call", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c"},
    ],
)
def test_only_an_assistants_audio_is_truncated(side: Side, item: dict[str, Any]) -> None:
    side.add(id="item_a", **item)
    assert side.cut_refused(0) == "item_truncate_invalid_item_id"


def test_an_answer_in_writing_is_not_truncated(side: Side) -> None:
    side.answer(audio_ms=0)
    assert side.truncate(0)
    assert side.cut_refused(1) == "invalid_value"
    side.hear("conversation.item.done", item={"id": "item_a", "type": "message", "role": "assistant"})
    assert side.cut_refused(0) == "item_truncate_invalid_item_id"


def test_an_answer_that_was_cut_to_nothing_is_audio_still(side: Side) -> None:
    side.answer(audio_ms=100)
    side.hear("conversation.item.done", item={"id": "item_a", "type": "message", "role": "assistant"})
    assert side.truncate(0)
    assert side.truncate(0)


def test_what_is_not_there_is_not_truncated(side: Side) -> None:
    assert side.cut_refused(0) == "item_truncate_invalid_item_id"


def test_a_truncation_that_was_refused_changed_nothing(side: Side) -> None:
    side.answer(audio_ms=1_000)
    assert side.truncate(100, event_id="mine")
    side.fail("server_error", "mine")
    assert side.truncate(1_000)


def test_audio_that_did_not_come_in_a_response_is_left_to_the_upstream(side: Side) -> None:
    side.add(id="item_a", type="message", role="assistant")
    assert side.truncate(5_000)


@pytest.mark.parametrize(
    ("told", "longest_ms"),
    [({"type": "audio/pcmu"}, 6_000), ({"type": "audio/pcm", "rate": 8_000}, 3_000), ({"type": "audio/pcm"}, 1_000)],
)
def test_audio_is_as_long_as_its_format_says(side: Side, told: dict[str, Any], longest_ms: int) -> None:
    side.hear("session.updated", session={"audio": {"output": {"format": told}}})
    side.answer(audio_ms=1_000)
    assert side.truncate(longest_ms)
    if told != {"type": "audio/pcm"}:
        assert side.cut_refused(longest_ms + 1) == "invalid_value"


def test_relay_truncates_an_item_once_and_none_that_is_gone(side: Side) -> None:
    side.answer("item_a")
    assert side.turns.may_truncate("item_a", 500)
    assert not side.turns.may_truncate("item_a", 400)
    side.answer("item_b")
    side.hear("conversation.item.deleted", item_id="item_b")
    assert not side.turns.may_truncate("item_b", 500)


# --- the input buffer -------------------------------------------------------------------------------------------------
COMMIT_EMPTY = "input_audio_buffer_commit_empty"
COMMIT, CLEAR = "input_audio_buffer.commit", "input_audio_buffer.clear"


def test_a_turn_has_a_tenth_of_a_second(side: Side) -> None:
    assert side.refused(COMMIT) == COMMIT_EMPTY
    for _ in range(4):
        side.turns.appended(20.0)
    assert side.refused(COMMIT) == COMMIT_EMPTY
    side.turns.appended(19.99)
    assert side.refused(COMMIT) == COMMIT_EMPTY
    side.turns.appended(0.01)
    assert side.say(COMMIT)
    assert side.refused(COMMIT) == COMMIT_EMPTY


def test_pieces_of_any_length_make_a_turn(side: Side) -> None:
    for _ in range(1_000):
        side.turns.appended(0.1)
    assert side.say(COMMIT)


def test_what_was_cleared_is_in_no_turn(side: Side) -> None:
    side.turns.appended(500.0)
    assert side.say(CLEAR)
    assert side.refused(COMMIT) == COMMIT_EMPTY


@pytest.mark.parametrize("kind", [COMMIT, CLEAR])
@pytest.mark.parametrize("told", [None, "mine"])
def test_what_a_refused_request_would_have_taken_is_still_there(side: Side, kind: str, told: str | None) -> None:
    side.turns.appended(500.0)
    assert side.say(kind, event_id="mine")
    side.fail("server_error", told)
    assert side.say(COMMIT)


def test_the_upstreams_own_turn_leaves_what_came_after_it(side: Side) -> None:
    side.turns.appended(1_000.0)
    side.hear("input_audio_buffer.speech_stopped", audio_end_ms=950, item_id="u")
    side.hear("input_audio_buffer.committed", item_id="u")
    assert side.refused(COMMIT) == COMMIT_EMPTY
    side.turns.appended(50.0)
    assert side.say(COMMIT)


@pytest.mark.parametrize(
    "end_ms", [None, "x", -5, -HUGE, HUGE], ids=["null", "text", "below", "far below", "far above"]
)
def test_a_turn_of_the_upstreams_that_names_no_end_leaves_a_doubt(side: Side, end_ms: Any) -> None:
    side.turns.appended(1_000.0)
    side.hear("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id="u")
    side.hear("input_audio_buffer.committed", item_id="u")
    assert side.say(COMMIT)


def test_the_answer_to_a_commit_takes_nothing_from_the_next_turn(side: Side) -> None:
    side.turns.appended(500.0)
    assert side.say(COMMIT)
    side.turns.appended(500.0)
    side.hear("input_audio_buffer.committed", item_id="u")
    side.fail()
    assert side.say(COMMIT)
    assert side.refused(COMMIT) == COMMIT_EMPTY


def test_the_upstreams_own_turn_is_no_answer_to_a_commit(side: Side) -> None:
    side.turns.appended(500.0)
    assert side.say(COMMIT, event_id="mine")
    side.hear("input_audio_buffer.speech_stopped", audio_end_ms=300, item_id="u")
    side.hear("input_audio_buffer.committed", item_id="u")
    side.fail("server_error", "mine")
    assert side.say(COMMIT)


def test_a_refused_commit_gives_nothing_back_that_the_upstream_took_itself(side: Side) -> None:
    side.turns.appended(500.0)
    assert side.say(COMMIT, event_id="mine")
    side.hear("input_audio_buffer.speech_stopped", audio_end_ms=450, item_id="u")
    side.hear("input_audio_buffer.committed", item_id="u")
    side.fail(COMMIT_EMPTY, "mine")
    assert side.refused(COMMIT) == COMMIT_EMPTY


# --- anything ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["session.update", "output_audio_buffer.clear", "tomorrow.event"])
def test_what_has_no_turn_passes(side: Side, kind: str) -> None:
    assert side.say(kind)


STRANGE: list[Any] = [None, 7, HUGE, -HUGE, "", [], {}, True, {"type": 7}, {"type": "message", "id": 7}, "x" * 600]
STRANGE += [{"type": "function_call_output"}, {"type": "function_call_output", "call_id": []}, {"conversation": []}]
FIELDS = ("item", "item_id", "previous_item_id", "response", "response_id", "audio_end_ms", "event_id")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", [*ABOUT_KINDS, "input_audio_buffer.clear"])
def test_whatever_a_trusted_client_leaves_out_or_mistakes_is_admitted_or_refused(
    side: Side, kind: str, field: str
) -> None:
    side.answer()
    for value in STRANGE:
        for whole in ({}, {"item": USER, "item_id": "item_a", "audio_end_ms": 5}):
            with suppress(BadRequest):
                side.say(kind, **{**whole, field: value})


def test_no_flood_makes_more_than_a_bounded_memory(side: Side) -> None:
    for number in range(3_000):
        side.say("response.create", event_id=f"a{number}", response={"conversation": "none"})
        side.begin(f"resp_{number}", conversation_id=None)
        side.turns.appended(100.0)
        side.say(COMMIT, event_id=f"b{number}")
        side.say("conversation.item.create", event_id=f"c{number}", item={**USER, "id": f"item_{number}"})
        side.hear("response.function_call_arguments.done", call_id=f"call_{number}" + "x" * 600 * (number % 2))
    turns = side.turns
    assert len(turns._event_ids) == MAX_EVENT_IDS
    assert len(turns._responses._known) == turns_responses.MAX_RESPONSES
    assert len(turns._responses._outside) <= turns_responses.MAX_OUTSIDE
    assert len(turns._items._items) == turns_items.MAX_ITEMS
    assert len(turns._items._calls) == turns_items.MAX_CALLS
    assert len(turns._items._waiting) == turns_items.MAX_WAITING
    assert len(turns._buffer._waiting) == turns_buffer.MAX_WAITING


@pytest.mark.parametrize("code", [*ABOUT, "server_error"])
def test_after_any_error_whatever_was_allowed_is(side: Side, code: str) -> None:
    side.answer()
    side.add(**CALL)
    side.turns.appended(200.0)
    side.fail(code)
    assert side.truncate(500)
    assert side.output("call_1")
    assert side.say(COMMIT)
    assert side.say("response.create")
    assert side.say("response.cancel")
    assert side.say("conversation.item.delete", item_id="item_a")
