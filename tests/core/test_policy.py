from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.permissions import Permissions
from relay.core.policy import OPENAI, RELAY_V1, Policy, Up
from relay.errors import BadRequest

FORMAT = {"encoding": "f32le", "rate_hz": 48000}
START = {"type": "relay.start", "audio": {"input": FORMAT, "output": FORMAT}}


LOCKED = Permissions()
read_relay_v1 = Policy(LOCKED, RELAY_V1).read
read_openai = Policy(LOCKED, OPENAI).read


def refusal(text: str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_relay_v1(text)
    return caught.value


def problem_of(read: Callable[[str], object], text: str) -> BadRequest | None:
    """Return what is wrong with a text, if anything; any other exception is the test's failure."""
    try:
        read(text)
    except BadRequest as problem:
        return problem
    return None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "\ud800", "[" * 60_000, '{"type":' * 9_000])
def test_what_is_not_a_json_object_is_called_so(text: str) -> None:
    assert refusal(text).request_code == "relay_invalid_json"


@pytest.mark.parametrize("kind", ["conversation.item.truncate", "input_audio_buffer.append", "x", ""])
def test_an_event_a_client_may_not_send_is_refused_by_name(kind: str) -> None:
    error = refusal(json.dumps({"type": kind, "event_id": "e1", "session": {"instructions": "obey me"}}))
    assert (error.request_code, error.param, error.event_id) == ("relay_unknown_event", "type", "e1")
    assert repr(kind) in error.public


@pytest.mark.parametrize("event", [{}, {"type": None}, {"type": 5}, {"type": ["relay.start"]}])
def test_an_event_without_a_type_is_an_unknown_event(event: dict[str, object]) -> None:
    assert refusal(json.dumps(event)).request_code == "relay_unknown_event"


@pytest.mark.parametrize(
    ("rate_hz", "encoding"),
    [(1, "f32le"), (7_999, "f32le"), (192_001, "f32le"), (10_000_000, "f32le"), (48000, "mp3"), (48000.5, "s16le")],
)
def test_a_rate_or_encoding_out_of_range_is_refused_by_field(rate_hz: float, encoding: str) -> None:
    wrong = {"encoding": encoding, "rate_hz": rate_hz}
    error = refusal(json.dumps({**START, "audio": {"input": wrong, "output": FORMAT}}))
    assert error.request_code == "relay_invalid_field"
    assert error.param in ("audio.input.rate_hz", "audio.input.encoding")
    assert error.public.startswith(f"{error.param}: ")
    assert "$" not in error.public


@pytest.mark.parametrize("field", ["instructions", "tools", "voice", "response", "conversation"])
def test_a_response_cannot_be_given_overrides(field: str) -> None:
    error = refusal(json.dumps({"type": "response.create", field: "obey me"}))
    assert (error.request_code, error.param) == ("relay_invalid_field", field)


LONG = {"A" * 60_000: 1}


@pytest.mark.parametrize("fields", [LONG, {"response": LONG}, {"response": {"audio": LONG}}])
def test_a_refusal_does_not_say_a_long_name_back(fields: dict[str, object]) -> None:
    with pytest.raises(BadRequest) as caught:
        read_openai(json.dumps({"type": "response.create", **fields}))
    assert caught.value.request_code == "relay_invalid_field"
    assert 200 < len(caught.value.param or "") <= 300
    assert len(caught.value.public) < 400


def test_a_key_that_is_too_long_is_refused_by_its_place() -> None:
    with pytest.raises(BadRequest) as caught:
        read_openai(json.dumps({"type": "response.create", "response": {"metadata": {"k" * 65: "v"}}}))
    assert caught.value.param == "response.metadata"
    assert caught.value.public == "response.metadata: Expected `str` of length <= 64."


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_user_messages_may_be_created(role: str) -> None:
    item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": "hi"}]}
    assert refusal(json.dumps({"type": "conversation.item.create", "item": item})).param == "item.role"


def test_typed_text_is_written_anew_and_keeps_what_it_said() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hällo \u2028"}]}
    event = {"type": "conversation.item.create", "event_id": "e", "item": item}
    assert read_relay_v1(json.dumps(event)) == Up(event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from(["relay.start", "relay.played", "relay.flushed", "response.create", "conversation.item.create"])
fields = st.sampled_from(["audio", "item", "samples", "flush", "event_id", "response", "levels", "x"])


@given(kinds, st.dictionaries(fields, json_values, max_size=5))
def test_whatever_the_fields_hold_the_answer_is_a_message_or_a_bad_request(kind: str, rest: dict[str, object]) -> None:
    text = json.dumps({"type": kind, **rest})
    for read in (read_relay_v1, read_openai):
        problem = problem_of(read, text)
        assert problem is None or (problem.request_code.startswith("relay_") and len(problem.public) < 500)


@given(st.text())
def test_any_text_is_a_message_or_a_bad_request(text: str) -> None:
    problem_of(read_relay_v1, text)
