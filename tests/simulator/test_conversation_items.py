"""conversation.item.create, retrieve, delete and truncate."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from relay.simulator import conversation
from relay.simulator.conversation import Conversation, Item
from tests.simulator import sounds
from tests.simulator.client import Client, audio_of, base64_of, error_of, kinds

TEXTS: dict[str, dict[str, Any]] = {
    "user": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    "system": {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be nice"}]},
    "assistant": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
    "call": {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_1"},
    "output": {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    "image": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}],
    },
    "approval": {"type": "mcp_approval_response", "id": "mcpr_1", "approval_request_id": "mcpr_0", "approve": True},
}


def created(client: Client, item: dict[str, Any], **fields: Any) -> str:
    return str(client.send("conversation.item.create", item=item, **fields)[0]["item"]["id"])


def order(client: Client) -> list[str]:
    return [item.id for item in client.session._conversation.items]


@pytest.mark.parametrize("name", TEXTS)
def test_an_item_is_added_and_done_at_once(name: str) -> None:
    events = Client().send("conversation.item.create", item=TEXTS[name])
    assert kinds(events) == ["conversation.item.added", "conversation.item.done"]
    assert events[0]["item"].items() >= TEXTS[name].items()
    assert events[0]["item"] == events[1]["item"]


def test_items_follow_each_other_unless_told_otherwise() -> None:
    client = Client()
    first, second = created(client, TEXTS["user"]), created(client, TEXTS["user"])
    root = created(client, TEXTS["user"], previous_item_id="root")
    middle = created(client, TEXTS["user"], previous_item_id=first)
    assert order(client) == [root, first, middle, second]
    previous = [event["previous_item_id"] for event in client.of("conversation.item.added")]
    assert previous == [None, first, None, first]


def test_an_unknown_previous_item_is_an_error_and_adds_nothing() -> None:
    client = Client()
    error = error_of(client.send("conversation.item.create", item=TEXTS["user"], previous_item_id="item_no"))
    assert error["param"] == "previous_item_id"
    assert order(client) == []


def test_an_item_keeps_the_id_it_came_with_and_no_two_share_one() -> None:
    client = Client()
    assert created(client, TEXTS["user"] | {"id": "mine"}) == "mine"
    assert (
        "already exists"
        in error_of(client.send("conversation.item.create", item=TEXTS["user"] | {"id": "mine"}))["message"]
    )


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({}, "missing_required_parameter", "item.type"),
        ({"type": "poem"}, "invalid_value", "item.type"),
        ({"type": "message", "role": "robot", "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        (
            {"type": "message", "role": "user", "content": [{"type": "text", "text": "x"}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "audio"}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "?"}]},
            "invalid_value",
            "item.content[0].audio",
        ),
        ({"type": "function_call_output", "call_id": "c"}, "missing_required_parameter", "item.output"),
        ({"type": "message", "role": "user", "content": [], "formatted": {}}, "unknown_parameter", "item.formatted"),
    ],
)
def test_a_malformed_item_is_refused_by_name(item: dict[str, Any], code: str, param: str) -> None:
    error = error_of(Client().send("conversation.item.create", item=item))
    assert (error["code"], error["param"]) == (code, param)


def test_retrieve_returns_an_item_with_its_audio() -> None:
    client = Client()
    sound = base64_of(sounds.pcm(sounds.tone(0.1, 300, -10)))
    content = [{"type": "input_audio", "audio": sound}]
    item_id = created(client, {"type": "message", "role": "user", "content": content})
    assert "audio" not in client.of("conversation.item.added")[0]["item"]["content"][0]
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"][0]["audio"] == sound


def test_a_deleted_item_is_gone() -> None:
    client = Client()
    item_id = created(client, TEXTS["user"])
    assert kinds(client.send("conversation.item.delete", item_id=item_id)) == ["conversation.item.deleted"]
    assert error_of(client.send("conversation.item.retrieve", item_id=item_id))["param"] == "item_id"
    assert error_of(client.send("conversation.item.delete", item_id=item_id))["param"] == "item_id"


def spoken(client: Client) -> tuple[str, int]:
    """Have the model say something; the item's id and its length in ms."""
    client.type("some words to speak")
    events = client.answer()
    return client.of("response.output_item.added")[-1]["item"]["id"], len(audio_of(events)) // 48


def test_truncate_cuts_the_audio_and_deletes_the_transcript() -> None:
    client = Client()
    item_id, length_ms = spoken(client)
    (truncated,) = client.send(
        "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=length_ms - 400
    )
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, length_ms - 400)
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item_id)
    (part,) = retrieved["item"]["content"]
    assert len(base64.b64decode(part["audio"])) == (length_ms - 400) * 48
    assert part["transcript"] is None


@pytest.mark.parametrize("end", ["whole", "nothing"])
def test_truncate_takes_all_and_nothing(end: str) -> None:
    client = Client()
    item_id, length_ms = spoken(client)
    audio_end_ms = length_ms if end == "whole" else 0
    events = client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms)
    assert kinds(events) == ["conversation.item.truncated"]


def test_truncate_refuses_more_than_there_is() -> None:
    client = Client()
    item_id, length_ms = spoken(client)
    error = error_of(
        client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=length_ms + 1)
    )
    assert error["code"] == "invalid_value"
    assert error["message"] == f"Audio content of {length_ms}ms is already shorter than {length_ms + 1}ms"


def test_a_truncated_item_cannot_grow_back() -> None:
    client = Client()
    item_id, _ = spoken(client)
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    error = error_of(client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=200))
    assert error["message"] == "Audio content of 100ms is already shorter than 200ms"


def test_an_answer_cut_off_by_speech_can_be_truncated_to_what_was_sent() -> None:
    client = Client()
    client.hear(sounds.speech())
    sent_ms = len(audio_of(client.wait(0.2))) // 48
    client.hear(sounds.speech()[: 24 * 1_500])
    item_id = client.of("response.output_item.added")[0]["item"]["id"]
    too_much = {"item_id": item_id, "content_index": 0, "audio_end_ms": sent_ms + 1}
    assert error_of(client.send("conversation.item.truncate", **too_much))["code"] == "invalid_value"
    assert (
        client.send("conversation.item.truncate", **too_much | {"audio_end_ms": sent_ms})[0]["audio_end_ms"] == sent_ms
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"item_id": "item_unknown"}, "item_truncate_invalid_item_id"),
        ({"audio_end_ms": -1}, "item_truncate_invalid_audio_end_ms"),
        ({"content_index": 1}, "invalid_value"),
        ({"audio_end_ms": 1.5}, "invalid_type"),
        ({"audio_end_ms": True}, "invalid_type"),
    ],
)
def test_truncate_refuses_what_does_not_fit(fields: dict[str, Any], code: str) -> None:
    client = Client()
    item_id, _ = spoken(client)
    good = {"item_id": item_id, "content_index": 0, "audio_end_ms": 100}
    assert error_of(client.send("conversation.item.truncate", **good | fields))["code"] == code


@pytest.mark.parametrize("name", ["user", "assistant", "call"])
def test_only_the_models_audio_can_be_truncated(name: str) -> None:
    client = Client()
    item_id = created(client, TEXTS[name])
    error = error_of(client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0))
    assert error["message"] == "Only model output audio messages can be truncated."


def test_a_conversation_is_bounded_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ITEMS_MAX", 100)
    kept = Conversation("conv_1")
    for number in range(conversation.ITEMS_MAX + 10):
        kept.add(Item({"id": str(number), "type": "message", "content": []}))
    assert len(kept.items) == conversation.ITEMS_MAX
    assert kept.items[0].id == "10"
    for number in range(4):
        kept.add(Item({"id": f"big{number}", "type": "message", "content": []}, bytes(conversation.BYTES_MAX // 3)))
    assert [item.id for item in kept.items if item.id.startswith("big")] == ["big2", "big3"]
