"""Whole conversations in the beta dialect: the events in order, their fields, and what such a service refuses.

What the beta looks like is written down here from recordings of 2024 (CAPTURED), and in beta_facts.json from the
published types; every event of a beta service is compared with both.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.caller import BETA, SILENCE, Caller, in_order, input_rate
from tests.simulator.client import error_of, kinds

# Fields of recorded events; those of a session and of a response are the whole object's.
CAPTURED = {
    "session.created": {"type", "event_id", "session"},
    "session.updated": {"type", "event_id", "session"},
    "input_audio_buffer.speech_started": {"type", "event_id", "audio_start_ms", "item_id"},
    "input_audio_buffer.speech_stopped": {"type", "event_id", "audio_end_ms", "item_id"},
    "input_audio_buffer.committed": {"type", "event_id", "previous_item_id", "item_id"},
    "conversation.item.created": {"type", "event_id", "previous_item_id", "item"},
    "response.created": {"type", "event_id", "response"},
    "response.done": {"type", "event_id", "response"},
    "error": {"type", "event_id", "error"},
}
CAPTURED_SESSION = {
    "id",
    "object",
    "model",
    "expires_at",
    "modalities",
    "instructions",
    "voice",
    "turn_detection",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "tool_choice",
    "temperature",
    "max_response_output_tokens",
    "tools",
}
CAPTURED_RESPONSE = {"object", "id", "status", "status_details", "output", "usage"}
CAPTURED_USER_ITEM = {"id", "object", "type", "status", "role", "content"}
BETA_TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.created",
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


@pytest.mark.parametrize("profile", BETA)
def test_a_beta_session_begins_as_it_was_recorded(profile: str) -> None:
    client = Caller(profile)
    assert kinds(client.events) == ["session.created", "conversation.created"]
    created, conversation = client.events
    assert set(created["session"]) == CAPTURED_SESSION
    assert conversation["conversation"]["object"] == "realtime.conversation"
    assert created["session"]["modalities"] == ["text", "audio"]
    assert created["session"]["temperature"] == 0.8
    assert created["session"]["input_audio_format"] == created["session"]["output_audio_format"] == "pcm16"
    assert set(created["session"]["turn_detection"]) >= {
        "type",
        "threshold",
        "prefix_padding_ms",
        "silence_duration_ms",
    }


@pytest.mark.parametrize("profile", BETA)
def test_a_spoken_turn_in_beta_has_the_events_and_fields_of_the_recordings(profile: str) -> None:
    client = Caller(profile)
    client.configure(**SILENCE)
    conversation_id = client.of("conversation.created")[0]["conversation"]["id"]
    client.forget()
    client.speak(input_rate(profile))
    client.wait(30)
    assert in_order(client.events) == BETA_TURN
    for event in client.events:
        assert set(event) == CAPTURED.get(event["type"], set(event))
    said, answered = client.of("conversation.item.created")
    assert set(said["item"]) == CAPTURED_USER_ITEM
    assert said["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert (answered["item"]["role"], answered["item"]["status"]) == ("assistant", "in_progress")
    (done,) = client.of("response.done")
    assert set(done["response"]) >= CAPTURED_RESPONSE
    assert done["response"]["output"][0]["content"][0]["type"] == "audio"
    assert done["response"]["conversation_id"] == conversation_id
    assert set(done["response"]["usage"]["input_token_details"]["cached_tokens_details"]) == {
        "text_tokens",
        "audio_tokens",
    }


@pytest.mark.parametrize("profile", BETA)
def test_a_typed_turn_in_beta_answers_in_text(profile: str) -> None:
    client = Caller(profile)
    client.type("hello there")
    events = client.send("response.create", response={"modalities": ["text"]}) + client.wait(10)
    assert "response.text.delta" in kinds(events)
    (done,) = client.of("response.text.done")
    assert done["text"] == "hello there"
    assert client.of("response.output_item.done")[0]["item"]["content"] == [{"type": "text", "text": "hello there"}]


@pytest.mark.parametrize("profile", BETA)
def test_a_tool_is_called_in_beta(profile: str) -> None:
    client = Caller(profile)
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    choice = {"type": "function", "function": {"name": "get_weather"}}
    (updated,) = client.configure(tools=[tool], tool_choice=choice)
    assert updated["session"]["tool_choice"] == choice
    client.type("What about it?")
    client.answer()
    (done,) = client.of("response.function_call_arguments.done")
    assert "name" not in done
    call = client.of("response.output_item.done")[-1]["item"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    assert kinds(client.send("conversation.item.create", item=output)) == ["conversation.item.created"]


@pytest.mark.parametrize("profile", BETA)
@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"output_modalities": ["audio"]}, "session.output_modalities"),
        ({"audio": {"output": {"voice": "alloy"}}}, "session.audio"),
        ({"max_output_tokens": 7}, "session.max_output_tokens"),
        ({"truncation": "auto"}, "session.truncation"),
        ({"modalities": ["audio"]}, "session.modalities"),
        ({"input_audio_format": {"type": "audio/pcm"}}, "session.input_audio_format"),
        ({"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}, "session.turn_detection.idle_timeout_ms"),
    ],
)
def test_an_update_in_gas_shape_is_refused_in_betas_words(profile: str, session: dict[str, Any], param: str) -> None:
    client = Caller(profile)
    before = client.configure(instructions="before")[0]["session"]
    error = error_of(client.configure(**session, instructions="after"))
    assert error["param"].startswith(param)
    assert client.configure(voice=before["voice"])[-1]["session"] == before


@pytest.mark.parametrize("profile", BETA)
def test_contents_and_events_of_ga_are_unknown_in_beta(profile: str) -> None:
    client = Caller(profile)
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    error = error_of(client.send("conversation.item.create", item=item))
    assert (error["code"], error["param"]) == ("invalid_value", "item.content[0].type")
    assert "'text' and 'audio'" in error["message"]
    item["content"] = [{"type": "text", "text": "hello"}]
    (created,) = client.send("conversation.item.create", item=item)
    assert created["item"]["content"] == item["content"]
    error = error_of(client.send("transcription_session.update", session={}))
    assert (error["code"], error["param"]) == ("invalid_value", "type")


def test_what_only_the_session_can_judge_is_refused_in_betas_words_too() -> None:
    client = Caller("qwen")
    client.type("hello")
    client.answer()
    error = error_of(client.configure(voice="another", temperature=0.1))
    assert (error["code"], error["param"]) == ("cannot_update_voice", "session.voice")
    (updated,) = client.configure(instructions="")
    assert updated["session"]["temperature"] == 0.8


def test_a_partial_update_in_beta_leaves_the_rest_alone() -> None:
    client = Caller("qwen")
    client.configure(instructions="before", temperature=0.6)
    (updated,) = client.configure(voice="Ethan")
    session = updated["session"]
    assert (session["instructions"], session["temperature"], session["voice"]) == ("before", 0.6, "Ethan")
    (updated,) = client.configure(turn_detection=None)
    assert updated["session"]["turn_detection"] is None
    (updated,) = client.configure(turn_detection={"silence_duration_ms": 300})
    assert updated["session"]["turn_detection"]["type"] == "server_vad"
