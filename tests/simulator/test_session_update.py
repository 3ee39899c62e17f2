"""session.created and session.update: what a session is, what may change, and how a wrong field is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.simulator import schema
from relay.simulator.checks import Check, Refusal
from tests.simulator import facts, sounds
from tests.simulator.client import PUSH_TO_TALK, Client, error_of

# Numbers with limits of their own; any other may be 1.
NUMBERS = {"idle_timeout_ms": 5_000}
BETA_FIELDS = {
    "modalities": ["text", "audio"],
    "voice": "verse",
    "input_audio_format": "pcm16",
    "output_audio_format": "pcm16",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": None,
    "turn_detection": None,
    "temperature": 0.8,
    "max_response_output_tokens": 4096,
    "speed": 1.0,
    "client_secret": {},
    "id": "sess_1",
    "object": "realtime.session",
    "expires_at": 1,
}


def samples(written: str, home: str, name: str = "") -> list[Any]:
    """Values of a type of the reference: every alternative, every field, every word at least once."""
    found: list[Any] = []
    for one in facts.alternatives(written):
        if one.startswith('"') or one.isdigit():
            found.append(json.loads(one))
        elif one.startswith("array<"):
            found += [[inner] for inner in samples(one[6:-1], home, name)]
        elif one.startswith("map<string,"):
            found += [{"key": inner} for inner in samples(one[11:-1], home, name)]
        elif one in ("integer", "number"):
            found.append(NUMBERS.get(name, 1))
        elif one in ("string", "boolean", "any", "null"):
            found.append({"string": "text", "boolean": True, "any": {}, "null": None}[one])
        else:
            found += [value for candidate in facts.candidates(one, home) for value in objects(candidate)]
    return found


def objects(name: str) -> list[dict[str, Any]]:
    """Instances of an object of the reference: its required fields, and each optional one in turn."""
    table = facts.OBJECTS[name]
    required = {field: samples(table["fields"][field], name, field)[0] for field in table["required"]}
    # The simulator, as the live service, wants to know the type of a format, a tool and the like.
    required |= {"type": samples(table["fields"]["type"], name)[0]} if "type" in table["fields"] else {}
    if name.endswith("RealtimeFunctionTool"):
        required["name"] = "tool"
    fields = [(field, value) for field in table["fields"] for value in samples(table["fields"][field], name, field)]
    return [required] + [required | {field: value} for field, value in fields if not _is_known_exception(field, value)]


def _is_known_exception(field: str, value: Any) -> bool:
    """Words that the types list and this simulator, as the live service, does not take."""
    is_old_model = field in ("model", "voice") and value == "text"
    no_model = field == "model" and isinstance(value, str) and value.startswith(("gpt-4o-realtime", "gpt-audio"))
    no_type = field == "type" and value is None
    bare_name = field in ("name", "call_id", "id") and value is None
    half_content = isinstance(value, list) and any(
        isinstance(one, dict) and one.get("type") in CONTENT for one in value
    )
    no_conversation = field == "conversation" and value == "text"
    is_item_list = field == "input" and isinstance(value, list)
    return is_old_model or no_model or no_type or bare_name or half_content or no_conversation or is_item_list


CONTENT = ("input_text", "input_audio", "input_image", "output_text", "output_audio")
SESSION = "realtime_session_create_request.RealtimeSessionCreateRequest"
RESPONSE = "realtime_response_create_params.RealtimeResponseCreateParams"


@pytest.mark.parametrize(
    ("name", "check"), [(SESSION, schema.session(schema.Values())), (RESPONSE, schema.response(schema.Values()))]
)
def test_every_field_and_word_of_the_reference_is_accepted(name: str, check: Check) -> None:
    values = objects(name)
    assert len(values) > 100
    for value in values:
        check(value, "")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where objects with known fields stand in a value."""
    if isinstance(value, list):
        return [path for n, one in enumerate(value) for path in paths(one, (*at, n))]
    if not isinstance(value, dict) or at[-1:] in (("parameters",), ("headers",), ("metadata",), ("variables",)):
        return []
    return [at, *(path for name, one in value.items() for path in paths(one, (*at, name)))]


@pytest.mark.parametrize(
    ("name", "check"), [(SESSION, schema.session(schema.Values())), (RESPONSE, schema.response(schema.Values()))]
)
def test_a_field_that_does_not_exist_is_refused_wherever_it_stands(name: str, check: Check) -> None:
    for good, path in [(one, path) for one in objects(name) for path in paths(one)]:
        spoilt = json.loads(json.dumps(good))
        place = spoilt
        for step in path:
            place = place[step]
        place["no_such_field"] = 1
        with pytest.raises(Refusal) as refusal:
            check(spoilt, "session")
        assert refusal.value.code == "unknown_parameter"
        assert refusal.value.message == f"Unknown parameter: '{refusal.value.param}'."
        assert str(refusal.value.param).endswith(".no_such_field")


def test_a_session_begins_with_the_providers_defaults() -> None:
    (created,) = Client("gpt-realtime").of("session.created")
    session = created["session"]
    assert session["model"] == "gpt-realtime"
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert session["audio"]["input"]["transcription"] is None
    assert session["expires_at"] == 1_800_000_000 + 3_600
    assert session["id"].startswith("sess_")


def test_an_update_answers_with_the_whole_session_and_changes_only_what_it_names() -> None:
    client = Client()
    before = client.of("session.created")[0]["session"]
    (updated,) = client.update(instructions="Be brief.", audio={"output": {"voice": "cedar"}})
    expected = json.loads(json.dumps(before))
    expected["instructions"] = "Be brief."
    expected["audio"]["output"]["voice"] = "cedar"
    assert updated["type"] == "session.updated"
    assert updated["session"] == expected


def test_turn_detection_is_replaced_as_a_whole() -> None:
    client = Client()
    client.update(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}})
    (updated,) = client.update(audio={"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 100}}})
    detection = updated["session"]["audio"]["input"]["turn_detection"]
    assert (detection["threshold"], detection["prefix_padding_ms"]) == (0.5, 100)


def test_null_clears_what_can_be_cleared_and_leaves_the_rest() -> None:
    client = Client()
    client.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}}, instructions="Hello.")
    (updated,) = client.update(audio={"input": {"transcription": None, "turn_detection": None}}, instructions=None)
    assert updated["session"]["audio"]["input"]["transcription"] is None
    assert updated["session"]["audio"]["input"]["turn_detection"] is None
    assert updated["session"]["instructions"] == "Hello."


def test_session_type_is_required() -> None:
    client = Client()
    error = error_of(client.send("session.update", session={"instructions": "x"}))
    assert (error["code"], error["param"]) == ("missing_required_parameter", "session.type")
    assert error["message"] == "Missing required parameter: 'session.type'."


def test_a_realtime_session_does_not_become_a_transcription_session() -> None:
    error = error_of(Client().send("session.update", session={"type": "transcription"}))
    expected = "Passing a transcription session update event to a realtime session is not allowed."
    assert error["message"] == expected


@pytest.mark.parametrize("field", BETA_FIELDS)
def test_the_betas_fields_are_unknown(field: str) -> None:
    error = error_of(Client().update(**{field: BETA_FIELDS[field]}))
    assert error["code"] == "unknown_parameter"
    assert error["message"] == f"Unknown parameter: 'session.{field}'."
    assert error["param"] == f"session.{field}"


def test_a_refused_update_changes_nothing() -> None:
    client = Client()
    client.update(instructions="changed", no_such_field=1)
    (updated,) = client.update()
    assert updated["session"] == client.of("session.created")[0]["session"]


def test_a_wrong_word_is_refused_with_the_right_ones() -> None:
    error = error_of(Client().update(audio={"output": {"voice": "robot"}}))
    assert error["code"] == "invalid_value"
    assert error["param"] == "session.audio.output.voice"
    voices = "'alloy', 'ash', 'ballad', 'coral', 'echo', 'sage', 'shimmer', 'verse', 'marin', and 'cedar'"
    assert error["message"] == f"Invalid value: 'robot'. Supported values are: {voices}."


@pytest.mark.parametrize(
    "audio_input",
    [
        {"turn_detection": {"type": "server_vad", "threshold": 1.1}},
        {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 4_999}},
        {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 30_001}},
        {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}},
        {"turn_detection": {"type": "none"}},
        {"turn_detection": {"type": "semantic_vad", "eagerness": "very"}},
        {"format": {"type": "audio/pcm", "rate": 16_000}},
        {"format": {"type": "pcm16"}},
        {"noise_reduction": {"type": "wind"}},
        {"transcription": {"model": "no-such-model"}},
    ],
    ids=json.dumps,
)
def test_values_out_of_range_are_refused(audio_input: dict[str, Any]) -> None:
    assert error_of(Client().update(audio={"input": audio_input}))["code"] == "invalid_value"


@pytest.mark.parametrize(
    "update",
    [
        {"output_modalities": ["audio", "text"]},
        {"output_modalities": []},
        {"output_modalities": ["video"]},
        {"max_output_tokens": 0},
        {"max_output_tokens": "infinite"},
        {"tool_choice": "sometimes"},
        {"tools": [{"type": "function", "name": ""}]},
        {"tools": [{"type": "function", "name": "x" * 65}]},
        {"truncation": {"type": "retention_ratio", "retention_ratio": 1.5}},
        {"audio": {"output": {"speed": 2}}},
        {"include": ["everything"]},
        {"reasoning": {"effort": "maximal"}},
    ],
    ids=json.dumps,
)
def test_other_values_out_of_range_are_refused(update: dict[str, Any]) -> None:
    assert error_of(Client().update(**update))["code"] == "invalid_value"


@pytest.mark.parametrize(
    "update",
    [{"tools": "none"}, {"instructions": 7}, {"audio": []}, {"max_output_tokens": True}, {"parallel_tool_calls": 1}],
    ids=json.dumps,
)
def test_values_of_the_wrong_type_are_refused(update: dict[str, Any]) -> None:
    error = error_of(Client().update(**update))
    assert error["code"] == "invalid_type"
    assert error["param"] == f"session.{next(iter(update))}"


def test_the_model_cannot_be_changed_and_may_be_repeated() -> None:
    client = Client("gpt-realtime-2.1")
    assert client.update(model="gpt-realtime-2.1")[0]["type"] == "session.updated"
    assert error_of(client.update(model="gpt-realtime"))["param"] == "session.model"


def test_the_voice_cannot_be_changed_once_it_was_heard() -> None:
    client = Client()
    client.update(audio={"output": {"voice": "cedar"}})
    client.type("hello")
    client.send("response.create")
    client.wait(0.01)
    assert client.update(audio={"output": {"voice": "ash"}})[0]["type"] == "session.updated"
    client.wait(0.2)
    assert error_of(client.update(audio={"output": {"voice": "cedar"}}))["code"] == "cannot_update_voice"
    assert client.update(audio={"output": {"voice": "ash"}})[0]["type"] == "session.updated"


def test_tracing_cannot_be_changed_once_it_is_set() -> None:
    client = Client()
    client.update(tracing="auto")
    assert client.update(tracing="auto")[0]["type"] == "session.updated"
    assert error_of(client.update(tracing=None))["param"] == "session.tracing"


def test_gpt_realtime_whisper_needs_push_to_talk_and_takes_no_prompt() -> None:
    client = Client()
    whisper = {"model": "gpt-realtime-whisper", "delay": "low"}
    assert error_of(client.update(audio={"input": {"transcription": whisper}}))["code"] == "invalid_value"
    client.update(**PUSH_TO_TALK)
    assert client.update(audio={"input": {"transcription": whisper}})[0]["type"] == "session.updated"
    prompted = whisper | {"prompt": "names"}
    assert error_of(client.update(audio={"input": {"transcription": prompted}}))["code"] == "invalid_value"


def test_a_new_turn_detection_takes_effect_at_once() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK)
    client.hear(sounds.speech())
    assert not client.of("input_audio_buffer.speech_started")
    client.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
    client.hear(sounds.speech())
    assert client.of("input_audio_buffer.speech_started")[0]["audio_start_ms"] >= sounds.SPEECH_LENGTH_MS
