"""Whole conversations in the words of each service: the events in order, their fields, and what a service refuses.

What the beta looks like is written down here from recordings of 2024 (CAPTURED), and in beta_facts.json from the
published types; every event of a beta service is compared with both.
"""

from __future__ import annotations

import json
import wave
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from relay.simulator.faces import FACES
from relay.simulator.ids import Ids
from relay.simulator.pcm import Intake, duration_ms
from tests.simulator import facts, sounds
from tests.simulator.client import Client, Event, base64_of, error_of, kinds

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
BETA = ["qwen", "speaches"]
SILENCE = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}


class Caller(Client):
    """A client of one of the services, in its dialect."""

    def __init__(self, profile: str) -> None:
        face = FACES[profile]
        self.profile = profile
        super().__init__("model", edge=face.edge(Ids(1)), terms=face.terms)

    def check(self, event: Event) -> None:
        if self.profile in BETA and event["type"] != "session.finished":
            assert facts.complaints_about_event(event, facts.BETA_FACTS) == []
        if event["type"] != "error":
            assert event["event_id"].startswith("event_")

    def configure(self, **session: Any) -> list[Event]:
        return self.send("session.update", session=session)

    def speak(self, rate_hz: int) -> None:
        """Say the sentence and be silent for a second, as PCM of this rate."""
        sound = speech_16k() if rate_hz == 16_000 else sounds.pcm(sounds.speech())
        self.append(sound + bytes(2 * rate_hz))


def speech_16k() -> bytes:
    with wave.open(str(sounds.SPEECH)) as file:
        return bytes(file.readframes(file.getnframes()))


def in_order(events: list[Event]) -> list[str]:
    """Types in the order of their first appearance, but items each time: deltas come mixed."""
    names = kinds(events)
    return [name for at, name in enumerate(names) if not name.endswith(".delta") or name not in names[:at]]


def input_rate(profile: str) -> int:
    return 16_000 if profile == "qwen" else 24_000


# --- beta -------------------------------------------------------------------------------------------------------------
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


# --- rates ------------------------------------------------------------------------------------------------------------
def heard_ms(profile: str, rate_hz: int) -> tuple[int, str]:
    """How long the turn was that the service heard, and its transcript."""
    client = Caller(profile)
    transcription = {"model": "whisper-1"}
    if profile in BETA:
        client.configure(**SILENCE, input_audio_transcription=transcription)
    else:
        client.update(audio={"input": {**SILENCE, "transcription": transcription}})
    client.speak(rate_hz)
    client.wait(30)
    started, stopped = (
        client.of("input_audio_buffer.speech_started")[0],
        client.of("input_audio_buffer.speech_stopped")[-1],
    )
    transcript = client.of("conversation.item.input_audio_transcription.completed")[-1]["transcript"]
    return stopped["audio_end_ms"] - started["audio_start_ms"], transcript


def test_speech_at_the_right_rate_is_heard_alike_by_all() -> None:
    expected_ms, transcript = heard_ms("openai", 24_000)
    assert expected_ms == pytest.approx(sounds.SPEECH_TO_MS - sounds.SPEECH_FROM_MS + 800, abs=250)
    for profile in ("qwen", "speaches", "azure", "localai"):
        got_ms, said = heard_ms(profile, input_rate(profile))
        assert got_ms == pytest.approx(expected_ms, abs=64)
        assert said == transcript


@pytest.mark.parametrize(("profile", "sent_hz", "stretch"), [("qwen", 24_000, 3 / 2), ("openai", 16_000, 2 / 3)])
def test_speech_at_the_wrong_rate_is_heard_as_wrong(profile: str, sent_hz: int, stretch: float) -> None:
    right_ms, transcript = heard_ms(profile, input_rate(profile))
    wrong_ms, said = heard_ms(profile, sent_hz)
    # Of what was heard, 800 ms are padding and closing silence, which do not stretch.
    assert wrong_ms - 800 == pytest.approx((right_ms - 800) * stretch, rel=0.15)
    assert said != transcript


def test_qwen_says_at_24_khz_what_it_heard_at_16() -> None:
    client = Caller("qwen")
    client.configure(turn_detection=None)
    client.append(speech_16k())
    client.send("input_audio_buffer.commit")
    client.answer()
    deltas = [event["delta"] for event in client.of("response.audio.delta")]
    assert sum(len(delta) for delta in deltas) * 3 / 4 / 48 == pytest.approx(sounds.SPEECH_LENGTH_MS, abs=1)


@pytest.mark.parametrize("piece", [1, 7, 160, 321, 10_000])
def test_another_rate_is_heard_without_seams(piece: int) -> None:
    tone = np.round(np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000) * 16_000).astype("<i2")
    intake = Intake({"type": "audio/pcm", "rate": 16_000})
    whole = b"".join(intake.feed(tone[at : at + piece].tobytes()) for at in range(0, len(tone), piece))
    expected = np.sin(2 * np.pi * 200 * np.arange(24_000) / 24_000) * 16_000
    got = np.frombuffer(whole, "<i2")
    assert duration_ms(whole) == pytest.approx(1_000, abs=0.1)
    assert np.abs(got - expected[: len(got)]).max() < 30


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


# --- bad input --------------------------------------------------------------------------------------------------------
PART = {"type": "input_text", "text": "hello"}
MESSAGE = {"type": "message", "role": "user", "content": [PART]}
FUNCTION = {"type": "function", "name": "tool", "parameters": {"type": "object"}}
DETECTION = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 300}
FLAT = {"modalities": ["text"], "voice": "a", "tools": [FUNCTION], "tool_choice": {"type": "function", "name": "tool"}}
HYBRID = {
    "type": "realtime",
    "voice": "eve",
    "turn_detection": DETECTION,
    "tools": [FUNCTION, {"type": "web_search"}],
    "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"model": "m"}}},
    "resumption": {"enabled": True},
    "replace": {"a": "b"},
}
GOOD: dict[str, list[dict[str, Any]]] = {
    "qwen": [
        {"type": "session.update", "session": FLAT | {"turn_detection": DETECTION, "input_audio_format": "pcm"}},
        {"type": "response.create", "response": FLAT | {"input": [MESSAGE], "output_audio_format": "pcm24"}},
        {"type": "conversation.item.create", "item": MESSAGE},
        {"type": "input_image_buffer.append", "image": ""},
    ],
    "speaches": [{"type": "session.update", "session": FLAT | {"input_audio_format": "pcm16"}}],
    "xai": [{"type": "session.update", "session": HYBRID}],
    "localai": [{"type": "session.update", "session": {"type": "realtime", "modalities": ["text", "audio"]}}],
}
BAD: tuple[Any, ...] = (
    None,
    True,
    7,
    -1e308,
    "",
    "x" * 4_000,
    [],
    [None],
    [[]],
    {},
    {"type": []},
    {"content": [None, {"type": {}}]},
)


def broken(value: Any) -> list[Any]:
    """The value with one place in it, at any depth, exchanged for each bad one."""
    if isinstance(value, dict):
        inner: list[Any] = [value | {name: bad} for name, each in value.items() for bad in broken(each)]
    elif isinstance(value, list):
        inner = [[*value[:at], bad, *value[at + 1 :]] for at, each in enumerate(value) for bad in broken(each)]
    else:
        inner = []
    return [*inner, *BAD]


@pytest.mark.parametrize("profile", GOOD)
def test_no_broken_event_ends_a_session(profile: str) -> None:
    for good in GOOD[profile]:
        client = Caller(profile)
        assert "error" not in kinds(client.send_raw(json.dumps(good))[-1:])
        for bad in broken(good):
            client.send_raw(json.dumps(bad))
            client.forget()
        client.wait(10)
        client.send("input_audio_buffer.clear")
        assert client.events[-1]["type"] == "input_audio_buffer.cleared"
