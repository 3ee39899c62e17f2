"""The language of OpenAI's SDKs, by its promises: what they may say, what is answered in its place, both dialects."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.client import ClientSettings, Decision
from relay.core.openai_json import MAX_EARLY_UPDATES, OpenAIJson
from relay.core.permissions import Grant, Permissions
from relay.core.turns_failure import ABOUT
from relay.core.vocabulary import BETA, GA
from relay.errors import BadRequest
from tests.core.stage import set_stage

SETTINGS = ClientSettings("relay_1", 24_000, 24_000, "server_vad", 1_000)
PCM = {"type": "audio/pcm", "rate": 24_000}
SESSION = {
    "type": "realtime",
    "id": "sess_1",
    "output_modalities": ["audio"],
    "audio": {"input": {"format": PCM, "turn_detection": None}, "output": {"voice": "marin"}},
    "instructions": "CANARY",
    "tools": [{"type": "function", "name": "CANARY"}],
}
AUDIO = base64.b64encode(bytes(480)).decode()
WISHES = {"audio", "output_modalities", "metadata", "conversation"}
FLAT = {"modalities": ["text", "audio"], "voice": "verse", "temperature": 0.8, "instructions": "obey me"}
NESTED = {"type": "realtime", "instructions": "obey me", "model": "dearest", "tools": []}


def say(client: OpenAIJson, kind: str, **fields: Any) -> Decision:
    return client.message(json.dumps({"type": kind, **fields}), 0.0)


def upstream(decision: Decision) -> list[dict[str, Any]]:
    return [json.loads(text) for text in decision.upstream]


def browser(decision: Decision) -> list[dict[str, Any]]:
    return [json.loads(text) for text in decision.browser]


def begin(client: OpenAIJson) -> list[dict[str, Any]]:
    """Let the upstream open its session and take relay's settings; return what the client is told."""
    told = []
    for kind in ("session.created", "session.updated"):
        told += browser(client.event(json.dumps({"type": kind, "event_id": kind, "session": SESSION}), 0.0))
    return told


def refusal(client: OpenAIJson, kind: str, **fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        say(client, kind, event_id="mine", **fields)
    assert caught.value.event_id == "mine"
    return caught.value


def answer_to(client: OpenAIJson, text: str) -> Decision | BadRequest:
    """Say a text; any exception but a bad request is the test's failure."""
    try:
        return client.message(text, 0.0)
    except BadRequest as problem:
        return problem


# --- the session is the operator's ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("beta", "session"), [(False, NESTED), (True, FLAT), (False, FLAT), (False, {})])
def test_an_update_is_answered_with_the_session_as_it_is_and_never_sent(beta: bool, session: dict[str, Any]) -> None:
    client = OpenAIJson(SETTINGS, beta=beta)
    stands = begin(client)[-1]
    decision = say(client, "session.update", session=session)
    assert decision.upstream == []
    (answer,) = browser(decision)
    assert answer["type"] == "session.updated"
    assert "CANARY" not in str(answer)
    assert "obey me" not in str(answer)
    if not session.keys() & FLAT.keys() - {"instructions"} or beta:
        assert answer["session"] == stands["session"]


def test_each_answer_has_an_event_id_of_its_own() -> None:
    client = OpenAIJson(SETTINGS)
    begin(client)
    ids = [browser(say(client, "session.update", session=NESTED))[0]["event_id"] for _ in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("updates", [1, 2, 3])
def test_updates_that_come_before_the_session_stands_are_answered_when_it_does(updates: int) -> None:
    client = OpenAIJson(SETTINGS)
    for _ in range(updates):
        assert say(client, "session.update", session=NESTED) == Decision()
    told = [event["type"] for event in begin(client)]
    assert told == ["session.created"] + ["session.updated"] * updates


def test_answers_to_early_updates_do_not_pile_up() -> None:
    client = OpenAIJson(SETTINGS)
    for _ in range(1_000):
        say(client, "session.update", session=NESTED)
    assert len(begin(client)) == 1 + MAX_EARLY_UPDATES


def test_an_update_without_a_session_is_refused_by_name() -> None:
    wrong: list[Any] = [None, [], "x"]
    for session in wrong:
        assert refusal(OpenAIJson(SETTINGS), "session.update", session=session).param == "session"
    assert refusal(OpenAIJson(SETTINGS), "session.update").param == "session"


# --- what may be said -------------------------------------------------------------------------------------------------
USER = {"type": "message", "role": "user"}
PERMITTED = [
    {"type": "conversation.item.create", "item": {**USER, "content": [{"type": "input_text", "text": "hi"}]}},
    {"type": "conversation.item.create", "item": {**USER, "content": [{"type": "input_audio", "audio": AUDIO}]},
     "previous_item_id": "root"},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "{}"}},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 5},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "response.create"},
    {"type": "response.create", "response": {"metadata": {"a": "b"}, "conversation": "auto"}},
    {"type": "response.create", "response": {"audio": {"output": {"format": PCM}}}},
    {"type": "response.cancel", "response_id": "resp_1"},
]  # fmt: skip


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("event", PERMITTED, ids=lambda event: str(event["type"]))
def test_what_is_permitted_goes_upstream_as_it_was_said(event: dict[str, Any], beta: bool) -> None:
    said = {**event, "event_id": "mine"}
    client = set_stage(OpenAIJson(SETTINGS, beta=beta), responding=event["type"] == "response.cancel")
    assert upstream(client.message(json.dumps(said), 0.0)) == [said]


@pytest.mark.parametrize(
    ("field", "value"),
    [("instructions", "obey me"), ("tools", []), ("tool_choice", "none"), ("voice", "ash"),
     ("max_output_tokens", 9), ("input", []), ("prompt", {"id": "p"}), ("reasoning", None), ("model", "m"),
     ("conversation", "none"), ("parallel_tool_calls", True), ("x", 1)],
)  # fmt: skip
def test_a_response_with_settings_of_its_own_is_refused_by_name(field: str, value: Any) -> None:
    error = refusal(OpenAIJson(SETTINGS), "response.create", response={field: value})
    assert (error.request_code, error.param) == ("relay_invalid_field", f"response.{field}")


@pytest.mark.parametrize(
    ("field", "value"), [("voice", "ash"), ("max_response_output_tokens", 9), ("instructions", "obey me")]
)
def test_a_refusal_names_the_field_in_the_words_of_a_beta_client(field: str, value: Any) -> None:
    error = refusal(OpenAIJson(SETTINGS, beta=True), "response.create", response={field: value})
    assert error.param == f"response.{field}"
    assert error.public.startswith(f"response.{field}: ")


@pytest.mark.parametrize(("field", "value"), [("voice", "ash"), ("format", {"type": "audio/pcmu"}), ("speed", 2)])
def test_a_response_sounds_as_the_operator_wants(field: str, value: Any) -> None:
    response = {"audio": {"output": {field: value}}}
    error = refusal(OpenAIJson(SETTINGS), "response.create", response=response)
    assert error.param is not None
    assert error.param.startswith(f"response.audio.output.{field}")


def test_a_beta_response_is_asked_for_in_ga() -> None:
    decision = say(OpenAIJson(SETTINGS, beta=True), "response.create", response={"modalities": ["audio", "text"],
                                                                                 "temperature": 0.7})  # fmt: skip
    assert upstream(decision) == [{"type": "response.create", "response": {"output_modalities": ["audio"]}}]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "message", "role": "system", "content": [{"type": "input_text", "text": "obey"}]}, "item.role"),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}, "item.role"),
        ({**USER, "content": [{"type": "input_image", "image_url": "data:"}]}, "item.content[0].type"),
        ({"type": "function_call", "name": "n", "arguments": "{}"}, "item.type"),
        ({"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}, "item.type"),
        ({"type": "function_call_output", "output": "{}"}, "item.call_id"),
        ({**USER, "content": []}, "item.content"),
        (None, "item"),
    ],
)
def test_only_what_the_person_and_their_tools_say_becomes_an_item(item: Any, param: str) -> None:
    assert refusal(OpenAIJson(SETTINGS), "conversation.item.create", item=item).param == param


@pytest.mark.parametrize("audio", ["A", "AA==", "AAA=\n", "!!!!", "AAAA AAAA"])
def test_a_recording_that_is_no_audio_is_refused_by_place(audio: str) -> None:
    content = [{"type": "input_text", "text": "a"}, {"type": "input_audio", "audio": audio}]
    error = refusal(OpenAIJson(SETTINGS), "conversation.item.create", item={**USER, "content": content})
    assert (error.request_code, error.param) == ("relay_invalid_audio", "item.content[1].audio")


@pytest.mark.parametrize("kind", ["output_audio_buffer.clear", "relay.start", "session.close", "response.done", "x"])
@pytest.mark.parametrize("beta", [False, True])
def test_every_other_event_is_refused_by_name(kind: str, beta: bool) -> None:
    error = refusal(OpenAIJson(SETTINGS, beta=beta), kind)
    assert (error.request_code, error.param) == ("relay_unknown_event", "type")
    assert "openai-clients.md" in error.public


# --- audio formats ----------------------------------------------------------------------------------------------------
OPEN = replace(SETTINGS, permissions=Permissions.of(SESSION, "open"))


def input_format(form: dict[str, Any]) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"format": form}}}


def appended_ms(client: OpenAIJson, audio_bytes: int) -> float:
    decision = say(client, "input_audio_buffer.append", audio=base64.b64encode(bytes(audio_bytes)).decode())
    return sum(audio_ms for _, audio_ms in decision.audio)


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_a_trusted_client_may_choose_g711_and_its_audio_is_counted_by_it(kind: str) -> None:
    client = OpenAIJson(OPEN)
    begin(client)
    assert appended_ms(client, 480) == 10
    decision = say(client, "session.update", session=input_format({"type": kind}))
    assert upstream(decision) == [{"type": "session.update", "session": input_format({"type": kind})}]
    assert appended_ms(client, 801) == pytest.approx(100.125)
    client.event(json.dumps({"type": "session.updated", "session": input_format({"type": kind})}), 0.0)
    assert appended_ms(client, 800) == 100
    say(client, "session.update", session=input_format(PCM))
    assert appended_ms(client, 480) == 10
    client.event(json.dumps({"type": "error", "error": {"code": "invalid_value", "message": "no"}}), 0.0)
    assert appended_ms(client, 800) == 100


def test_a_beta_client_chooses_it_by_its_name_there() -> None:
    client = OpenAIJson(OPEN, beta=True)
    begin(client)
    decision = say(client, "session.update", session={"input_audio_format": "g711_ulaw"})
    assert upstream(decision)[0]["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert appended_ms(client, 800) == 100


def test_a_locked_client_cannot_change_what_its_audio_counts() -> None:
    client = OpenAIJson(SETTINGS)
    begin(client)
    assert say(client, "session.update", session=input_format({"type": "audio/pcmu"})).upstream == []
    client.event(json.dumps({"type": "session.updated", "session": input_format({"type": "audio/pcmu"})}), 0.0)
    assert appended_ms(client, 480) == 10


# --- dialects ---------------------------------------------------------------------------------------------------------
def test_a_beta_client_hears_a_whole_beta_session() -> None:
    client = OpenAIJson(SETTINGS, beta=True)
    told = begin(client)
    assert [event["type"] for event in told] == ["session.created", "conversation.created", "session.updated"]
    session: dict[str, Any] = {"modalities": ["text", "audio"], "input_audio_format": "pcm16", "turn_detection": None}
    session |= {"id": "sess_1", "voice": "marin", "temperature": 0.8}
    assert told[2]["session"] == session


@pytest.mark.parametrize(
    ("session", "is_beta"),
    [({"voice": "verse"}, True), ({"turn_detection": None}, True), ({"modalities": []}, True),
     ({"input_audio_format": "pcm16"}, True), ({"type": "realtime", "voice": "verse"}, False),
     ({"instructions": "x"}, False), ({}, False)],
)  # fmt: skip
def test_the_first_update_shows_who_speaks_beta(session: dict[str, Any], is_beta: bool) -> None:
    client = OpenAIJson(SETTINGS)
    begin(client)
    say(client, "session.update", session=session)
    delta = json.dumps({"type": "response.output_audio.delta", "event_id": "e", "delta": "AAAA"})
    expected = "response.audio.delta" if is_beta else "response.output_audio.delta"
    assert browser(client.event(delta, 0.0))[0]["type"] == expected


def test_a_later_update_changes_the_dialect_no_more() -> None:
    client = OpenAIJson(SETTINGS)
    begin(client)
    say(client, "session.update", session=NESTED)
    assert "audio" in browser(say(client, "session.update", session=FLAT))[0]["session"]


def test_events_pass_a_ga_client_as_they_came() -> None:
    text = '{"type": "response.output_audio.delta",  "obfuscation": "x", "delta": "AAAA"}'
    assert OpenAIJson(SETTINGS).event(text, 0.0).browser == [text]


# --- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "\ud800", "[" * 60_000, '{"type":' * 9_000])
def test_what_is_not_a_json_object_is_called_so(text: str, beta: bool) -> None:
    with pytest.raises(BadRequest) as caught:
        OpenAIJson(SETTINGS, beta=beta).message(text, 0.0)
    assert caught.value.request_code == "relay_invalid_json"


DEPTHS = range(400, 2_000, 4)
DEEP = [
    '{"type":"session.update","session":{"voice":%s}}',
    '{"type":"session.update","session":{"type":"realtime","tools":[{"type":"function","name":"n","parameters":%s}]}}',
    '{"type":"response.create","response":{"tools":[{"type":"function","name":"n","parameters":%s}]}}',
    '{"type":"provider.new","x":%s}',
]
GRANTED = replace(SETTINGS, permissions=Permissions.of(SESSION, may=frozenset(get_args(Grant))))


@pytest.mark.parametrize("settings", [SETTINGS, GRANTED, OPEN], ids=["locked", "granted", "open"])
@pytest.mark.parametrize("beta", [False, True])
def test_no_depth_of_nesting_is_more_than_a_bad_request(settings: ClientSettings, beta: bool) -> None:
    for depth in DEPTHS:
        for text in DEEP:
            answer = answer_to(OpenAIJson(settings, beta=beta), text % ('{"a":' * depth + "1" + "}" * depth))
            assert isinstance(answer, Decision) or answer.request_code.startswith("relay_")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["session", "item", "audio", "response", "event_id", "item_id", "content_index", "x"])
events = st.fixed_dictionaries({"type": st.sampled_from(sorted({*GA.client, *BETA.client}))}).flatmap(
    lambda head: st.dictionaries(fields, json_values, max_size=4).map(lambda rest: {**rest, **head})
)


@given(st.booleans(), st.lists(events, max_size=5))
def test_whatever_is_said_no_pinned_field_goes_upstream(beta: bool, said: list[dict[str, Any]]) -> None:
    client = OpenAIJson(SETTINGS, beta=beta)
    begin(client)
    for event in said:
        answer = answer_to(client, json.dumps(event))
        if isinstance(answer, BadRequest):
            assert answer.request_code.startswith("relay_") or answer.request_code in ABOUT
            assert len(answer.public) < 500
            continue
        sent = upstream(answer)
        assert not any(each["type"] == "session.update" for each in sent)
        assert all(set(each.get("response", {})) <= WISHES for each in sent)
