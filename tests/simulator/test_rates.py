"""Rates: what is agreed is believed, so audio at another rate is heard as wrong."""

from __future__ import annotations

import numpy as np
import pytest

from relay.simulator.pcm import Intake, duration_ms
from tests.simulator import sounds
from tests.simulator.caller import BETA, SILENCE, Caller, input_rate, speech_16k


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
