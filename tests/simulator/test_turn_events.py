"""A spoken turn: what the session says, in which order, and what it means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.simulator import facts, sounds
from tests.simulator.client import PUSH_TO_TALK, Client, audio_of, base64_of, error_of, kinds

TURN = [
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
SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


def with_vad(**settings: object) -> Client:
    client = Client()
    client.update(audio={"input": {"turn_detection": SERVER_VAD | settings}})
    client.forget()
    return client


def a_turn(client: Client) -> None:
    client.hear(sounds.speech())
    client.wait(30)


def test_a_spoken_turn_has_all_events_in_the_live_services_order() -> None:
    client = with_vad()
    a_turn(client)
    seen = [name for at, name in enumerate(kinds(client.events)) if name not in kinds(client.events)[:at]]
    in_order = [name for at, name in enumerate(TURN) if name not in TURN[:at]]
    assert seen == in_order
    deltas = {"response.output_audio_transcript.delta", "response.output_audio.delta"}
    without_deltas = [event["type"] for event in client.events if event["type"] not in deltas]
    assert without_deltas == [name for name in TURN if name not in deltas]


def test_the_parrot_answers_with_exactly_the_samples_of_the_turn() -> None:
    client = with_vad()
    sound = sounds.pcm(sounds.speech())
    a_turn(client)
    (started,) = client.of("input_audio_buffer.speech_started")
    (stopped,) = client.of("input_audio_buffer.speech_stopped")
    assert audio_of(client.events) == sound[started["audio_start_ms"] * 48 : stopped["audio_end_ms"] * 48]


def test_the_turns_times_enclose_the_speech_with_padding_and_silence() -> None:
    client = with_vad()
    a_turn(client)
    (started,) = client.of("input_audio_buffer.speech_started")
    (stopped,) = client.of("input_audio_buffer.speech_stopped")
    assert 0 <= started["audio_start_ms"] <= sounds.SPEECH_FROM_MS
    assert 0 <= stopped["audio_end_ms"] - (sounds.SPEECH_TO_MS + 500) <= 64


def test_times_count_audio_written_since_the_session_began() -> None:
    client = with_vad()
    for _ in range(3):
        a_turn(client)
    starts = [event["audio_start_ms"] for event in client.of("input_audio_buffer.speech_started")]
    assert starts == sorted(starts)
    assert abs(starts[2] - starts[0] - 2 * sounds.SPEECH_LENGTH_MS) <= 320


@pytest.mark.parametrize("size", [2, 958, 960, 4_096, 200_000])
def test_any_split_of_the_audio_gives_the_same_turn(size: int) -> None:
    client, whole = with_vad(), with_vad()
    sound = sounds.pcm(np.concatenate([sounds.silence(0.1), sounds.speech()]))[: 48 * 4_000 if size > 2 else 48 * 900]
    for at in range(0, len(sound), size):
        client.send("input_audio_buffer.append", audio=base64_of(sound[at : at + size]))
    whole.send("input_audio_buffer.append", audio=base64_of(sound))
    assert [e | {"event_id": ""} for e in client.events] == [e | {"event_id": ""} for e in whole.events]
    assert client.of("input_audio_buffer.speech_started")


def test_deltas_have_the_live_services_sizes() -> None:
    client = with_vad()
    a_turn(client)
    sizes = [len(audio_of([event])) for event in client.of("response.output_audio.delta")]
    assert sizes[:3] == [4_800, 7_200, 12_000]
    assert set(sizes[3:-1]) == {12_000}
    assert 0 < sizes[-1] <= 28_800


def test_an_answer_comes_faster_than_real_time_and_not_at_once() -> None:
    client = with_vad()
    client.hear(sounds.speech())
    early = client.wait(0.25)
    late = client.wait(0.75)
    assert 0 < len(audio_of(early)) < len(audio_of(late))
    assert client.of("response.done")


def test_the_transcript_is_its_deltas_and_runs_beside_the_audio() -> None:
    client = with_vad()
    a_turn(client)
    said = "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))
    (done,) = client.of("response.output_audio_transcript.done")
    assert said == done["transcript"]
    assert said.startswith("(parrot) ")
    names = [event["type"] for event in client.events]
    first_audio = names.index("response.output_audio.delta")
    assert "response.output_audio_transcript.delta" in names[first_audio:]


def test_speech_during_an_answer_cancels_it() -> None:
    client = with_vad()
    client.hear(sounds.speech())
    heard = audio_of(client.wait(0.2))
    client.forget()
    client.hear(sounds.speech()[: 24 * 1_500])
    client.wait(5)
    names = [event["type"] for event in client.events]
    assert names[0] == "input_audio_buffer.speech_started"
    assert names.index("response.done") < 10
    (done,) = client.of("response.done")
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    (item,) = done["response"]["output"]
    assert item["status"] == "incomplete"
    assert done["response"]["usage"]["output_token_details"]["audio_tokens"] == len(heard) // 2_400
    assert not client.of("response.output_audio.delta")


def test_an_answer_cancelled_before_its_first_sound_costs_nothing() -> None:
    client = with_vad(silence_duration_ms=32)
    client.hear(sounds.speech())
    cancelled = [e["response"] for e in client.of("response.done") if e["response"]["status"] == "cancelled"]
    assert cancelled
    assert all(response["usage"]["total_tokens"] == 0 and response["output"] == [] for response in cancelled)


def test_without_interrupt_response_speech_leaves_the_answer_alone() -> None:
    client = with_vad(interrupt_response=False, create_response=False)
    client.hear(sounds.speech())
    client.send("response.create")
    client.wait(0.1)
    client.hear(sounds.speech())
    client.wait(10)
    (done,) = client.of("response.done")
    assert done["response"]["status"] == "completed"


def test_a_turn_that_ends_during_an_answer_that_may_not_be_interrupted_is_answered_with_an_error() -> None:
    client = with_vad(interrupt_response=False)
    client.hear(sounds.speech())
    client.wait(0.1)
    events = client.hear(sounds.speech())
    assert error_of(events)["code"] == "conversation_already_has_active_response"


def test_without_create_response_a_turn_is_committed_and_not_answered() -> None:
    client = with_vad(create_response=False)
    a_turn(client)
    assert kinds(client.events) == TURN[:5]


def test_semantic_vad_waits_longer_the_less_eager_it_is() -> None:
    ends = {}
    for eagerness in ("high", "auto", "medium", "low"):
        client = Client()
        client.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}})
        client.hear(np.concatenate([sounds.speech(), sounds.silence(9)]))
        (stopped,) = client.of("input_audio_buffer.speech_stopped")
        ends[eagerness] = (stopped["audio_end_ms"] - sounds.SPEECH_TO_MS) // 100 * 100
    assert ends == {"high": 2_000, "auto": 4_000, "medium": 4_000, "low": 8_000}


def test_a_user_item_is_added_complete_with_its_transcript_unknown() -> None:
    client = with_vad()
    a_turn(client)
    (committed,) = client.of("input_audio_buffer.committed")
    item = client.of("conversation.item.added")[0]["item"]
    assert item["id"] == committed["item_id"] == client.of("input_audio_buffer.speech_started")[0]["item_id"]
    assert item["status"] == "completed"
    assert item["content"] == [{"type": "input_audio", "transcript": None}]


def test_an_assistant_item_begins_empty_and_follows_the_users() -> None:
    client = with_vad()
    a_turn(client)
    user, assistant = client.of("conversation.item.added")
    assert assistant["item"]["content"] == []
    assert assistant["item"]["status"] == "in_progress"
    assert (user["previous_item_id"], assistant["previous_item_id"]) == (None, user["item"]["id"])


def test_transcription_says_how_much_speech_there_was() -> None:
    client = with_vad()
    client.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
    a_turn(client)
    (completed,) = client.of("conversation.item.input_audio_transcription.completed")
    deltas = client.of("conversation.item.input_audio_transcription.delta")
    assert completed["transcript"] == "(3.7 s of speech)" == "".join(event["delta"] for event in deltas)
    assert completed["usage"] == {"type": "duration", "seconds": 4}
    assert completed["item_id"] == client.of("input_audio_buffer.committed")[0]["item_id"]
    others = [event["type"] for event in client.events if "transcription" not in event["type"]]
    assert [others.count(kind) for kind in ("session.updated", "response.created", "error")] == [1, 1, 0]


@pytest.mark.parametrize(
    "model", facts.alternatives(facts.OBJECTS["audio_transcription.AudioTranscription"]["fields"]["model"])[1:-1]
)
def test_every_transcription_model_transcribes(model: str) -> None:
    client = Client()
    transcription = {"model": json.loads(model)}
    client.update(audio={"input": {"turn_detection": None, "transcription": transcription}})
    client.update(include=["item.input_audio_transcription.logprobs"])
    client.append(bytes(48 * 200))
    client.send("input_audio_buffer.commit")
    client.wait(5)
    (completed,) = client.of("conversation.item.input_audio_transcription.completed")
    assert completed["logprobs"]
    assert len(client.of("conversation.item.input_audio_transcription.delta")) == (1 if "whisper-1" in model else 4)
    assert len(client.of("conversation.item.input_audio_transcription.segment")) == ("diarize" in model)


def test_silence_after_an_answer_was_played_triggers_the_idle_timeout() -> None:
    client = with_vad(idle_timeout_ms=5_000)
    client.hear(sounds.speech())
    client.wait(2)
    played_s = len(audio_of(client.events)) / 48_000
    assert client.of("response.done")
    client.forget()
    client.hear(sounds.silence(4))
    client.wait(played_s + 5 - 2 - 0.5)
    assert not client.of("input_audio_buffer.timeout_triggered")
    client.wait(1)
    (timeout,) = client.of("input_audio_buffer.timeout_triggered")
    assert timeout["audio_end_ms"] - timeout["audio_start_ms"] == 4_000
    client.wait(5)
    (said,) = client.of("response.output_audio_transcript.done")
    assert said["transcript"] == "Are you still there?"


def test_push_to_talk_answers_only_when_asked() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK)
    client.hear(sounds.speech())
    client.forget()
    client.send("input_audio_buffer.commit")
    assert kinds(client.wait(5)) == []
    client.answer()
    assert audio_of(client.events) == sounds.pcm(sounds.speech())
    assert kinds(client.events)[:4] == ["input_audio_buffer.committed", *TURN[3:6]]


def test_after_an_interruption_a_soft_voice_is_heard_again() -> None:
    client = with_vad(create_response=False)
    client.append(bytes(48_000))
    client.type("a long sentence that is still being played when somebody interrupts it")
    client.answer(1.0)
    client.hear(sounds.speech(-22))
    assert not client.of("input_audio_buffer.speech_started"), "softer than an echo may be"
    client.hear(sounds.speech())
    client.hear(sounds.speech(-22))
    assert len(client.of("input_audio_buffer.speech_started")) == 2
