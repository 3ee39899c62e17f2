"""The simulator's voice for text: deterministic, speech-like, and bounded."""

from __future__ import annotations

import numpy as np
import pytest

from relay.simulator.pcm import duration_ms, samples_of
from relay.simulator.voices import SPEAKING_PEAK, heard, parrot_transcript, speak


def test_the_same_words_sound_the_same_and_others_differ() -> None:
    assert speak("hello there") == speak("hello there") == speak("Hello, there!")
    assert speak("hello there") != speak("hello where")


def test_longer_text_takes_longer_about_five_syllables_a_second() -> None:
    lengths_ms = [duration_ms(speak("banana " * count)) for count in (1, 2, 4)]
    assert lengths_ms == [lengths_ms[0] * count for count in (1, 2, 4)]
    assert 3 * 130 <= lengths_ms[0] <= 3 * 250


@pytest.mark.parametrize("text", ["", " ", "...", "?!"])
def test_text_without_letters_is_silent(text: str) -> None:
    assert speak(text) == b""


@pytest.mark.parametrize("text", ["x", "zzz", "a", "Grüße", "日本語", "tst tst", "42", "i" * 5_000, "word " * 5_000])
def test_any_text_is_spoken_at_the_same_level_and_within_bounds(text: str) -> None:
    voice = samples_of(speak(text))
    assert abs(np.abs(voice.astype(int)).max() - SPEAKING_PEAK * 32_767) <= 1
    assert 0 < len(voice) <= 24_000 * 150


def test_it_has_the_spectrum_of_a_voice() -> None:
    voice = samples_of(speak("a e i o u")).astype(float)
    power = np.abs(np.fft.rfft(voice)) ** 2
    hz = np.fft.rfftfreq(len(voice), 1 / 24_000)
    assert power[(hz > 90) & (hz < 3_500)].sum() > 0.95 * power.sum()
    assert power[hz > 4_500].sum() < 0.01 * power.sum()


def test_transcripts_claim_no_words() -> None:
    assert heard(bytes(48 * 2_400)) == "(2.4 s of speech)"
    assert parrot_transcript(bytes(48 * 2_400)) == "(parrot) 2.4 s of speech"
