"""Bad input: every mistake gets an error that names it, and none ends the session."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from relay.simulator.checks import listing, quote
from relay.simulator.messages import Ending
from tests.simulator import facts
from tests.simulator.client import Client, base64_of, error_of, kinds


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("{'type':'response.create'}", "invalid_json"),
        ('{"type":"response.create"} x', "invalid_json"),
        ('{"type":NaN}', "invalid_json"),
        ('{"type":"\\ud800"}', "invalid_json"),
        ('{"type":' + "1" * 5_000 + "}", "invalid_json"),
        ("[" * 10_000, "invalid_json"),
        ("null", "invalid_event"),
        ('"response.create"', "invalid_event"),
        ("[]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type":null}', "invalid_event"),
        ('{"type":7}', "invalid_event"),
        (b"\x00\x01", "invalid_event"),
        (b"", "invalid_event"),
        (b'{"type":"response.create"}', "invalid_event"),
    ],
)
def test_what_is_no_event_is_an_error_and_the_session_goes_on(message: str | bytes, code: str) -> None:
    client = Client()
    error = error_of(client.send_raw(message))
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert kinds(client.update()) == ["session.updated"]


def test_a_binary_frame_is_refused_in_the_live_services_words() -> None:
    assert "binary frames are not supported" in error_of(Client().send_raw(b"\0\0"))["message"]


def test_an_unknown_event_type_is_refused_with_the_known_ones() -> None:
    error = error_of(Client().send("input_audio_buffer.end_of_turn"))
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert error["message"] == (
        "Invalid value: 'inp...urn'. Supported values are: 'session.update', 'input_audio_buffer.append', "
        "'input_audio_buffer.commit', 'input_audio_buffer.clear', 'conversation.item.create', "
        "'conversation.item.truncate', 'conversation.item.delete', 'conversation.item.retrieve', "
        "'response.create', and 'response.cancel'."
    )


def test_output_audio_buffer_clear_is_not_for_websockets() -> None:
    assert error_of(Client().send("output_audio_buffer.clear"))["param"] == "type"


@pytest.mark.parametrize("kind", list(facts.FACTS["client"]))
def test_an_unknown_parameter_of_any_event_is_refused(kind: str) -> None:
    samples = {"string": "x", "integer": 0, "RealtimeResponseCreateParams | null": {}}
    table = facts.FACTS["client"][kind]
    fields: dict[str, Any] = {
        name: samples.get(table["fields"][name], {}) for name in table["required"] if name != "type"
    }
    error = error_of(Client().send(**fields | {"kind": kind, "no_such_field": 1, "event_id": "mine"}))
    assert error["code"] == "unknown_parameter"
    assert (error["param"], error["event_id"]) == ("no_such_field", "mine")


@pytest.mark.parametrize("kind", [kind for kind, table in facts.FACTS["client"].items() if len(table["required"]) > 1])
def test_a_missing_parameter_of_any_event_is_named(kind: str) -> None:
    error = error_of(Client().send(kind))
    assert error["code"] == "missing_required_parameter"
    assert error["message"] == f"Missing required parameter: '{error['param']}'."


def test_an_error_repeats_the_clients_event_id() -> None:
    client = Client()
    assert error_of(client.send("no.such.event", event_id="mine"))["event_id"] == "mine"
    assert error_of(client.send("no.such.event"))["event_id"] is None
    assert client.of("error")[0]["event_id"] != client.of("error")[1]["event_id"]


@pytest.mark.parametrize(("event_id", "code"), [("x" * 513, "invalid_value"), (7, "invalid_type")])
def test_an_event_id_is_a_string_of_at_most_512_characters(event_id: Any, code: str) -> None:
    error = error_of(Client().send("response.cancel", event_id=event_id))
    assert (error["code"], error["param"]) == (code, "event_id")
    assert error_of(Client().send("response.cancel", event_id="x" * 512))["code"] == "response_cancel_not_active"


def test_a_session_expires_with_an_error_and_close_1001() -> None:
    client = Client()
    client.wait(3_599)
    assert client.session.ended is None
    client.wait(2)
    error = error_of(client.events)
    assert error["code"] == "session_expired"
    assert error["message"] == "Your session hit the maximum duration of 60 minutes."
    assert client.session.ended is not None
    assert client.session.ended == Ending(1_001, "invalid_request_error.session_expired")


def test_expires_at_says_when() -> None:
    client = Client(max_session_s=90.0)
    assert client.of("session.created")[0]["session"]["expires_at"] == 1_800_000_090
    client.wait(91)
    assert "1.5 minutes" in error_of(client.events)["message"]


def test_whatever_arrives_is_answered_or_refused_and_nothing_else() -> None:
    random_ = random.Random(5)
    words: list[Any] = [
        None,
        True,
        -1,
        0,
        1,
        10**30,
        0.5,
        "",
        "x",
        "realtime",
        "root",
        [],
        {},
        [[]],
        base64_of(bytes(4)),
    ]
    names = sorted({name for table in facts.FACTS["client"].values() for name in table["fields"]} | {"audio", "tools"})

    def anything(depth: int) -> Any:
        if depth and random_.random() < 0.6:
            return {random_.choice([*names, "type", "input", "output"]): anything(depth - 1) for _ in range(3)}
        if depth and random_.random() < 0.3:
            return [anything(depth - 1)]
        return random_.choice([*words, *facts.FACTS["client"]])

    client = Client()
    for _ in range(3_000):
        sent = {"type": random_.choice(list(facts.FACTS["client"]))} | {
            random_.choice(names): anything(3) for _ in range(2)
        }
        client.send_raw(json.dumps(sent))
        client.wait(0.01)
    assert client.session.ended is None
    assert not math.isinf(client.session.next_due_s)


def test_the_same_seed_gives_the_same_session() -> None:
    first, second = Client(), Client()
    for client in (first, second):
        client.type("hello")
        client.answer()
    assert first.events == second.events


def test_ids_are_unique_and_look_like_the_live_services() -> None:
    client = Client()
    client.type("hello")
    client.answer()
    ids = [event["event_id"] for event in client.events]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("event_") and len(one) == 27 for one in ids)


@pytest.mark.parametrize(
    ("values", "text"), [(["a"], "'a'"), (["a", "b"], "'a' and 'b'"), (["a", "b", "c"], "'a', 'b', and 'c'")]
)
def test_supported_values_are_listed_as_a_sentence(values: list[str], text: str) -> None:
    assert listing(values) == text


@pytest.mark.parametrize(("value", "text"), [("short", "'short'"), ("x" * 30, "'xxx...xxx'"), (7, "7"), (None, "None")])
def test_values_are_quoted_in_little_room(value: Any, text: str) -> None:
    assert quote(value) == text
    assert len(quote("y" * 1_000_000)) < 30
