"""What is peculiar to each service, and what each does not have and says so."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.simulator import facts, sounds
from tests.simulator.caller import SILENCE, Caller, in_order
from tests.simulator.client import base64_of, error_of, kinds

GA_TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


# --- qwen -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("detection", "is_accepted"),
    [
        ({"threshold": -1}, True),
        ({"threshold": 1}, True),
        ({"threshold": -1.1}, False),
        ({"silence_duration_ms": 200}, True),
        ({"silence_duration_ms": 6_000}, True),
        ({"silence_duration_ms": 199}, False),
        ({"silence_duration_ms": 6_001}, False),
    ],
)
def test_qwen_has_its_own_limits_of_turn_detection(detection: dict[str, Any], is_accepted: bool) -> None:
    client = Caller("qwen")
    events = client.configure(turn_detection={"type": "server_vad", **detection})
    (name,) = detection
    if is_accepted:
        assert events[0]["session"]["turn_detection"][name] == detection[name]
    else:
        assert error_of(events)["param"] == f"session.turn_detection.{name}"


def test_qwen_ends_a_session_when_it_is_asked_to() -> None:
    assert kinds(Caller("qwen").send("session.finish")) == ["session.finished"]
    assert error_of(Caller("speaches").send("session.finish"))["param"] == "type"


def test_qwen_takes_images_and_formats_written_out() -> None:
    client = Caller("qwen")
    assert client.send("input_image_buffer.append", image=base64_of(b"JPEG")) == []
    assert error_of(client.send("input_image_buffer.append", image="?"))["param"] == "image"
    heard = {"format": {"type": "pcm", "sample_rate": 16_000}}
    assert kinds(client.configure(audio={"input": heard})) == ["session.updated"]
    heard["format"]["sample_rate"] = 24_000
    assert error_of(client.configure(audio={"input": heard}))["param"] == "session.audio.input.format.sample_rate"


# --- speaches ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.cancel", {}),
        ("conversation.item.truncate", {"item_id": "item_1", "content_index": 0, "audio_end_ms": 0}),
    ],
)
def test_speaches_says_which_events_it_does_not_have(kind: str, fields: dict[str, Any]) -> None:
    error = error_of(Caller("speaches").send(kind, **fields))
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert f"'{kind}'" not in error["message"].partition("Supported")[2]
    assert error_of(Caller("qwen").send(kind, **fields))["param"] != "type"


def test_speaches_takes_no_recordings() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": base64_of(bytes(9600))}]}
    error = error_of(Caller("speaches").send("conversation.item.create", item=item))
    assert (error["code"], error["param"]) == ("invalid_value", "item.content[0].type")
    assert kinds(Caller("qwen").send("conversation.item.create", item=item)) == ["conversation.item.created"]


def test_speaches_complains_of_formats_and_takes_the_rest() -> None:
    client = Caller("speaches")
    events = client.send(
        "session.update", event_id="mine", session={"input_audio_format": "pcm16", "instructions": "be brief"}
    )
    assert kinds(events) == ["error", "session.updated"]
    assert error_of(events)["param"] == "session.input_audio_format"
    assert error_of(events)["event_id"] == "mine"
    assert events[-1]["session"]["instructions"] == "be brief"


# --- xai --------------------------------------------------------------------------------------------------------------
def test_xai_begins_with_the_conversation_and_pings() -> None:
    client = Caller("xai")
    assert kinds(client.events) == ["conversation.created", "session.created", "ping"]
    session = client.of("session.created")[0]["session"]
    assert session["voice"] == "eve"
    assert session["turn_detection"]["type"] == "server_vad"
    assert set(session["audio"]["input"]) == {"format", "transcription"}
    assert "voice" not in session["audio"]["output"]
    client.wait(60)
    assert len(client.of("ping")) > 3


def test_a_spoken_turn_at_xai_has_gas_names_and_some_fields_less() -> None:
    client = Caller("xai")
    client.configure(**SILENCE)
    client.forget()
    client.speak(24_000)
    client.wait(30)
    events = [event for event in client.events if event["type"] != "ping"]
    assert in_order(events) == GA_TURN
    assert not any({"output_index", "part"} & set(event) for event in events)
    assert client.of("response.done")[0]["response"]["usage"] == {}


def test_xai_tells_a_transcript_from_its_beginning_each_time() -> None:
    client = Caller("xai")
    client.configure(**SILENCE, audio={"input": {"transcription": {"model": "grok-transcribe"}}})
    client.speak(24_000)
    client.wait(30)
    texts = [event["transcript"] for event in client.of("conversation.item.input_audio_transcription.updated")]
    (done,) = client.of("conversation.item.input_audio_transcription.completed")
    assert len(texts) > 1
    assert all(later.startswith(sooner) for sooner, later in pairwise(texts))
    assert texts[-1] == done["transcript"]
    assert client.of("conversation.item.input_audio_transcription.delta") == []


def test_xai_keeps_voice_and_turn_detection_at_the_top() -> None:
    client = Caller("xai")
    audio = {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "transport": "json"}}
    (updated,) = client.configure(voice="ara", turn_detection=None, audio=audio, resumption={"enabled": True})
    session = updated["session"]
    assert (session["voice"], session["turn_detection"]) == ("ara", None)
    assert session["audio"]["input"]["format"] == audio["input"]["format"]
    assert session["resumption"] == {"enabled": True}
    assert error_of(client.configure(audio={"output": {"voice": "ara"}}))["param"] == "session.audio.output.voice"
    below = {"input": {"turn_detection": None}}
    assert error_of(client.configure(audio=below))["param"] == "session.audio.input.turn_detection"
    slow = {"input": {"format": {"type": "audio/pcm", "rate": 4_000}}}
    assert error_of(client.configure(audio=slow))["param"] == "session.audio.input.format.rate"


def test_xai_has_tools_of_its_own_beside_functions() -> None:
    client = Caller("xai")
    tools = [{"type": "function", "name": "get_weather"}, {"type": "web_search"}]
    (updated,) = client.configure(tools=tools)
    assert updated["session"]["tools"] == tools
    client.type("get weather")
    client.answer()
    assert client.of("response.function_call_arguments.done")[0]["name"] == "get_weather"
    client.type("hello")
    client.answer()
    assert error_of(client.configure(voice="rex", tools=[]))["param"] == "session.voice"
    assert client.configure(instructions="")[0]["session"]["tools"] == tools


# --- localai and azure ------------------------------------------------------------------------------------------------
def test_localai_takes_any_rate_and_modalities_by_their_old_name() -> None:
    client = Caller("localai")
    audio = {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}, "output": {"voice": "amy"}}
    (updated,) = client.update(audio=audio, modalities=["text", "audio"])
    assert updated["session"]["audio"]["input"]["format"]["rate"] == 16_000
    assert updated["session"]["output_modalities"] == ["audio"]
    assert error_of(Caller("azure").update(modalities=["text"]))["param"] == "session.modalities"


def test_localai_speaks_at_the_rate_that_was_asked_for() -> None:
    client = Caller("localai")
    client.update(audio={"output": {"format": {"type": "audio/pcm", "rate": 8_000}}})
    client.type("hello there my friend")
    client.answer()
    sent = sum(len(event["delta"]) for event in client.of("response.output_audio.delta")) * 3 // 4
    other = Caller("localai")
    other.type("hello there my friend")
    other.answer()
    usual = sum(len(event["delta"]) for event in other.of("response.output_audio.delta")) * 3 // 4
    assert sent == pytest.approx(usual / 3, rel=0.01)


@pytest.mark.parametrize("profile", ["xai", "localai"])
def test_a_rate_that_was_agreed_later_is_heard_rightly(profile: str) -> None:
    client = Caller(profile)
    session: dict[str, Any] = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    if profile == "xai":
        client.configure(**session, **SILENCE)
    else:
        session["audio"]["input"] |= SILENCE
        client.update(**session)
    client.speak(16_000)
    (started,) = client.of("input_audio_buffer.speech_started")
    (stopped,) = client.of("input_audio_buffer.speech_stopped")
    spoken_ms = stopped["audio_end_ms"] - started["audio_start_ms"]
    assert spoken_ms == pytest.approx(sounds.SPEECH_TO_MS - sounds.SPEECH_FROM_MS + 800, abs=250)


@pytest.mark.parametrize("profile", ["openai", "azure", "localai"])
def test_a_spoken_turn_elsewhere_is_gas(profile: str) -> None:
    client = Caller(profile)
    client.update(audio={"input": SILENCE})
    client.forget()
    client.speak(24_000)
    client.wait(30)
    turn = [*GA_TURN[:5], "conversation.item.speaker", *GA_TURN[5:]] if profile == "localai" else GA_TURN
    assert in_order(client.events) == turn
    for event in client.events:
        assert event["type"] == "conversation.item.speaker" or facts.complaints_about_event(event) == []


def test_localai_names_the_speaker_of_every_spoken_turn() -> None:
    client = Caller("localai")
    client.update(audio={"input": SILENCE})
    client.speak(24_000)
    client.type("and in writing")
    (speaker,) = client.of("conversation.item.speaker")
    (committed,) = client.of("input_audio_buffer.committed")
    assert speaker["item_id"] == committed["item_id"]
    assert set(speaker["speaker"]) == {"name", "id", "labels", "confidence", "distance", "matched"}


def test_azures_errors_have_no_id_of_their_own() -> None:
    (error,) = Caller("azure").send("response.cancel", event_id="mine")
    assert error["event_id"] is None
    assert error["error"]["event_id"] == "mine"
