"""A client at 24 kHz and an upstream at another rate: what is said is heard, nothing is lost at the ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from relay.audio import native_info
from relay.core.client import ClientSettings
from relay.core.client_audio import ClientAudio
from relay.core.openai_json import OpenAIJson
from relay.core.permissions import Permissions
from relay.errors import BadRequest, UpstreamProtocolError

IDS = {"response_id": "resp_1", "output_index": 0, "content_index": 0}
CLIENT_PCM = {"type": "audio/pcm", "rate": 24_000}


@pytest.fixture(autouse=True)
def all_handles_are_given_back() -> Iterator[None]:
    handles = native_info().live_handles
    yield
    assert native_info().live_handles == handles


def tone(rate_hz: int, ms: int) -> np.ndarray:
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 / rate_hz * np.arange(rate_hz * ms // 1000)))


def encoded(samples: np.ndarray) -> str:
    return base64.b64encode((samples * 32767).astype("<i2").tobytes()).decode()


def decoded(text: str) -> np.ndarray:
    return np.asarray(np.frombuffer(base64.b64decode(text), "<i2") / 32767)


def same(heard: np.ndarray, said: np.ndarray) -> bool:
    """Whether two tones are the same, but for the filter's delay."""
    length = min(len(heard), len(said))
    steady = slice(length // 4, 3 * length // 4)
    spectra = [np.abs(np.fft.rfft(one[steady])) for one in (heard, said)]
    return bool(np.allclose(spectra[0], spectra[1], atol=0.02 * spectra[1].max()))


def client(input_rate_hz: int, output_rate_hz: int, preset: Any = "locked") -> OpenAIJson:
    rates = {"input": input_rate_hz, "output": output_rate_hz}
    session = {"audio": {side: {"format": {"type": "audio/pcm", "rate": rate_hz}} for side, rate_hz in rates.items()}}
    settings = ClientSettings("relay_1", input_rate_hz, output_rate_hz, "server_vad", 1_000)
    return OpenAIJson(replace(settings, permissions=Permissions(preset, session=session)))


def say(to: OpenAIJson, **event: Any) -> Any:
    return to.message(json.dumps(event), 0.0)


def hear(to: OpenAIJson, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [json.loads(text) for text in to.event(json.dumps({"type": kind, "event_id": "e1", **fields}), 0.0).browser]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("event_ms", [1, 20, 500])
def test_speech_goes_up_at_the_rate_of_the_upstream_and_counts_with_its_length(rate_hz: int, event_ms: int) -> None:
    one = client(rate_hz, 24_000)
    said, step, audio = tone(24_000, 1_000), 24 * event_ms, []
    for start in range(0, len(said), step):
        audio += say(one, type="input_audio_buffer.append", audio=encoded(said[start : start + step])).audio
    heard = np.concatenate([decoded(json.loads(event)["audio"]) for event, _ in audio])
    assert abs(len(heard) - rate_hz) <= rate_hz // 500
    assert same(heard, tone(rate_hz, 1_000))
    assert sum(ms for _, ms in audio) == pytest.approx(1_000, abs=1)
    one.close()


def test_an_append_that_is_larger_than_a_frame_is_converted_whole() -> None:
    one = client(16_000, 24_000)
    audio = say(one, type="input_audio_buffer.append", audio=encoded(tone(24_000, 5_000))).audio
    assert len(audio) == 4
    assert sum(ms for _, ms in audio) == pytest.approx(5_000)
    one.close()


def test_appends_of_one_sample_count_although_not_each_completes_one() -> None:
    one = client(8_000, 24_000)
    audio = [part for _ in range(2_400) for part in say(one, type="input_audio_buffer.append", audio="AAA=").audio]
    assert sum(ms for _, ms in audio) == pytest.approx(100, abs=1)
    one.close()


def test_a_recording_is_converted_by_itself() -> None:
    one = client(16_000, 24_000)
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": encoded(tone(24_000, 500))}],
    }
    decision = say(one, type="conversation.item.create", item=item)
    (text,) = decision.upstream
    assert same(decoded(json.loads(text)["item"]["content"][0]["audio"]), tone(16_000, 500))
    assert decision.recorded_ms == pytest.approx(500)
    one.close()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_an_answer_comes_down_at_the_rate_of_the_client_to_its_last_sample(rate_hz: int) -> None:
    one = client(24_000, rate_hz)
    said, step, told = tone(rate_hz, 1_000), rate_hz // 10, []
    for start in range(0, len(said), step):
        delta = encoded(said[start : start + step])
        told += hear(one, "response.output_audio.delta", item_id="i1", delta=delta, **IDS)
    told += hear(one, "response.output_audio.done", item_id="i1", **IDS)
    *deltas, done = told
    assert done["type"] == "response.output_audio.done"
    assert {delta["type"] for delta in deltas} == {"response.output_audio.delta"}
    assert all(delta.items() >= {"item_id": "i1", **IDS}.items() for delta in deltas)
    assert deltas[-1]["event_id"] == "e1_end"
    heard = np.concatenate([decoded(delta["delta"]) for delta in deltas])
    assert 0 <= len(heard) - 24_000 <= 120, "5 ms: the delay of the longest filter"
    assert same(heard, tone(24_000, 1_000))
    one.close()


def test_an_item_that_is_interrupted_leaves_nothing_in_the_next() -> None:
    one, fresh = client(24_000, 16_000), client(24_000, 16_000)
    loud, quiet = encoded(tone(16_000, 100)), encoded(np.zeros(1_600))
    hear(one, "response.output_audio.delta", item_id="i1", delta=loud, **IDS)
    after, alone = (
        hear(each, "response.output_audio.delta", item_id="i2", delta=quiet, **IDS) for each in (one, fresh)
    )
    assert after == alone
    assert hear(one, "response.output_audio.done", item_id="i1", **IDS)[0]["type"] == "response.output_audio.done"
    one.close()
    fresh.close()


def test_audio_that_cannot_be_converted_is_the_upstreams_fault() -> None:
    one = client(24_000, 16_000)
    with pytest.raises(UpstreamProtocolError):
        hear(one, "response.output_audio.delta", item_id="i1", delta="!!!!", **IDS)
    one.close()


def test_the_session_shows_the_client_the_format_that_it_speaks() -> None:
    one = client(16_000, 8_000)
    audio = {
        side: {"format": {"type": "audio/pcm", "rate": rate}} for side, rate in (("input", 16_000), ("output", 8_000))
    }
    (told,) = hear(one, "session.updated", session={"type": "realtime", "audio": audio})
    assert [told["session"]["audio"][side]["format"] for side in ("input", "output")] == [CLIENT_PCM, CLIENT_PCM]
    (done,) = hear(
        one,
        "response.done",
        response={"id": "r", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 8_000}}}},
    )
    assert done["response"]["audio"]["output"]["format"] == CLIENT_PCM
    one.close()


@pytest.mark.parametrize("preset", ["locked", "open"])
def test_a_format_that_the_client_names_for_one_response_is_told_as_the_upstreams(preset: str) -> None:
    one = client(16_000, 8_000, preset)
    (text,) = say(one, type="response.create", response={"audio": {"output": {"format": CLIENT_PCM}}}).upstream
    assert json.loads(text)["response"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 8_000}
    one.close()


def test_a_trusted_client_cannot_choose_a_format_that_nobody_converts() -> None:
    one = client(16_000, 24_000, "open")
    session = {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}
    with pytest.raises(BadRequest) as refused:
        say(one, type="session.update", session=session, event_id="mine")
    assert (refused.value.request_code, refused.value.param) == ("relay_unsupported", "session.audio.input.format")
    one.close()


def test_at_24_khz_both_ways_nothing_is_converted_and_nothing_is_held() -> None:
    handles = native_info().live_handles
    one = ClientAudio(24_000, 24_000)
    text = '{"type":"response.output_audio.delta" , "delta":"AAAA"}'
    assert one.to_client("response.output_audio.delta", text)[0] is text
    event = {"type": "response.create", "response": {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}}
    assert one.to_upstream(event) is event
    assert native_info().live_handles == handles
