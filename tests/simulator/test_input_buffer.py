"""input_audio_buffer.append, commit and clear: sizes, encodings, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from relay.simulator import session as session_module
from relay.simulator.ear import Ear
from relay.simulator.pcm import from_wire, to_wire
from tests.simulator import sounds
from tests.simulator.client import PUSH_TO_TALK, Client, audio_of, base64_of, error_of, kinds


@pytest.fixture
def client() -> Client:
    client = Client()
    client.update(**PUSH_TO_TALK)
    client.forget()
    return client


def test_append_is_not_acknowledged(client: Client) -> None:
    assert client.append(bytes(4_800)) == []


@pytest.mark.parametrize("audio", ["", "AAA=", "AAAAAAAA"])
def test_append_takes_base64_of_whole_samples(client: Client, audio: str) -> None:
    assert client.send("input_audio_buffer.append", audio=audio) == []


@pytest.mark.parametrize("audio", ["AA", "AA=", "AAA", "AAA=AAA=", "A AA=", "AA-_", "ÄÄÄÄ", "AAA=\n", "=AAA", "A"])
def test_append_refuses_what_is_not_strict_base64(client: Client, audio: str) -> None:
    error = error_of(client.send("input_audio_buffer.append", audio=audio))
    assert (error["code"], error["param"]) == ("invalid_value", "audio")


def test_append_refuses_half_a_sample(client: Client) -> None:
    error = error_of(client.send("input_audio_buffer.append", audio=base64_of(bytes(3))))
    assert (error["code"], error["param"]) == ("invalid_value", "audio")


def test_append_takes_15_mib_and_not_more(client: Client) -> None:
    limit = session_module.APPEND_BYTES_MAX
    assert limit == 15 * 1024 * 1024
    assert client.send("input_audio_buffer.append", audio=base64_of(bytes(limit))) == []
    client.send("input_audio_buffer.clear")
    error = error_of(client.send("input_audio_buffer.append", audio=base64_of(bytes(limit + 2))))
    assert (error["code"], error["param"]) == ("invalid_value", "audio")
    assert f"at most {limit} bytes" in error["message"]


def test_the_buffer_is_bounded() -> None:
    client = Client()
    client.update(**PUSH_TO_TALK)
    chunk = base64_of(bytes(10 * 1024 * 1024))
    errors = [client.send("input_audio_buffer.append", audio=chunk) for _ in range(3)]
    assert [bool(events) for events in errors] == [False, False, True]
    assert error_of(errors[2])["code"] == "invalid_value"
    assert kinds(client.send("input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"


def test_silence_with_turn_detection_is_not_kept() -> None:
    ear = Ear({"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500})
    for _ in range(60):
        ear.append(bytes(48_000))
    assert ear.written_ms == 60_000
    assert len(ear._held) < 48 * 1_000


@pytest.mark.parametrize("length_ms", [0, 20, 99])
def test_commit_needs_100_ms(client: Client, length_ms: int) -> None:
    client.append(bytes(48 * length_ms))
    error = error_of(client.send("input_audio_buffer.commit"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert f"buffer only has {length_ms}.00ms of audio" in error["message"]


def test_commit_of_100_ms_makes_a_user_item(client: Client) -> None:
    client.append(bytes(4_800))
    events = client.send("input_audio_buffer.commit")
    assert kinds(events) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]


def test_commit_empties_the_buffer(client: Client) -> None:
    client.append(bytes(4_800))
    client.send("input_audio_buffer.commit")
    assert error_of(client.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_clear_empties_the_buffer(client: Client) -> None:
    client.append(bytes(4_800))
    assert kinds(client.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(client.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_a_client_commit_between_turns_finds_nothing_with_turn_detection() -> None:
    client = Client()
    client.append(bytes(48_000))
    assert error_of(client.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_a_client_commit_ends_a_turn_that_has_begun() -> None:
    client = Client()
    client.hear(sounds.speech()[: 24 * 1_500])
    (started,) = client.of("input_audio_buffer.speech_started")
    events = client.send("input_audio_buffer.commit")
    assert events[0]["item_id"] == started["item_id"]
    client.hear(sounds.silence(1))
    assert not client.of("input_audio_buffer.speech_stopped")


def test_clear_forgets_a_turn_that_has_begun() -> None:
    client = Client()
    client.hear(sounds.speech()[: 24 * 1_500])
    client.send("input_audio_buffer.clear")
    client.forget()
    client.hear(sounds.silence(1))
    assert client.events == []


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_g711_comes_back_byte_for_byte(client: Client, kind: str) -> None:
    formats: dict[str, Any] = {"input": {"format": {"type": kind}}, "output": {"format": {"type": kind}}}
    client.update(audio=formats)
    every_code = bytes(code for code in range(256) if (kind, code) != ("audio/pcmu", 0x7F)) * 8
    client.send("input_audio_buffer.append", audio=base64.b64encode(every_code).decode())
    client.send("input_audio_buffer.commit")
    client.answer()
    assert audio_of(client.events) == every_code
    first = client.of("response.output_audio.delta")[0]
    assert len(base64.b64decode(first["delta"])) == 800


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_g711_is_as_near_to_the_sound_as_8_bits_can_be(kind: str) -> None:
    sound = sounds.pcm(sounds.tone(0.2, 300, -6))
    returned = np.frombuffer(from_wire(to_wire(sound, {"type": kind}), {"type": kind}), "<i2").astype(float)
    error = returned[:-3] - np.frombuffer(sound, "<i2")[:-3]
    assert np.std(error) < 0.02 * np.std(returned)


def test_speech_in_g711_is_heard() -> None:
    client = Client()
    client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    client.append(to_wire(sounds.pcm(sounds.speech()), {"type": "audio/pcmu"}))
    assert len(client.of("input_audio_buffer.speech_stopped")) == 1
