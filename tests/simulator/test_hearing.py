"""What counts as speech: a voice does, in a noisy room as well; noises do not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from relay.simulator.pcm import samples_of
from relay.simulator.turns import HOP_MS, Started, Stopped, TurnDetector
from relay.simulator.voices import speak
from tests.simulator import sounds

SETTINGS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


def turns_in(sound: sounds.Floats, *, echo: bool = False, **settings: Any) -> list[tuple[int, int]]:
    """Begin and end of every turn, ms."""
    detector = TurnDetector(SETTINGS | settings)
    moments = detector.feed(sounds.pcm(sound), echo=echo)
    starts = [moment.sample // 24 for moment in moments if isinstance(moment, Started)]
    stops = [moment.sample // 24 for moment in moments if isinstance(moment, Stopped)]
    assert len(starts) - len(stops) in (0, 1)
    return list(zip(starts, stops, strict=False))


@pytest.mark.parametrize("gain_db", [6, 0, -10, -20])
def test_a_sentence_is_one_turn_loud_or_soft(gain_db: float) -> None:
    ((start, stop),) = turns_in(sounds.speech(gain_db))
    assert start <= sounds.SPEECH_FROM_MS
    assert stop >= sounds.SPEECH_TO_MS + 500 - 64


@pytest.mark.parametrize("level_db", [-60, -50, -40, -35])
@pytest.mark.parametrize("slope", [0, 1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sentence_is_one_turn_in_a_noisy_room(level_db: float, slope: float, seed: int) -> None:
    quiet = np.concatenate([sounds.silence(1.5), sounds.speech(), sounds.silence(1)])
    ((start, stop),) = turns_in(quiet + sounds.noise(len(quiet) / 24_000, level_db, slope=slope, seed=seed))
    assert 1_500 <= start <= 1_500 + sounds.SPEECH_FROM_MS
    assert abs(stop - (1_500 + sounds.SPEECH_TO_MS + 500)) < 500


@pytest.mark.parametrize("level_db", [-50, -40, -30, -20])
@pytest.mark.parametrize("slope", [0, 1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_alone_is_no_speech(level_db: float, slope: float, seed: int) -> None:
    assert not turns_in(np.concatenate([sounds.silence(1), sounds.noise(10, level_db, slope=slope, seed=seed)]))


@pytest.mark.parametrize("hz", [50, 100, 150, 220, 440, 1_000, 3_000])
def test_a_tone_is_no_speech(hz: float) -> None:
    assert not turns_in(np.concatenate([sounds.silence(1), sounds.tone(5, hz, -12), sounds.silence(1)]))


def test_mains_hum_is_no_speech() -> None:
    hum = sum((sounds.tone(8, 50 * order, -30 - 3 * order) for order in range(2, 8)), sounds.tone(8, 50, -33))
    assert not turns_in(np.concatenate([sounds.silence(1), hum]))


def test_knocks_are_no_speech() -> None:
    knock = sounds.noise(0.12, -6) * np.exp(-np.arange(2_880) / 700)
    assert not turns_in(np.concatenate([sounds.silence(0.5), *[knock, sounds.silence(0.7)] * 6]))


def test_a_sound_that_stays_becomes_background_though_it_began_like_a_voice() -> None:
    buzz = sum((sounds.tone(12, 130 * order, -26 - order) for order in range(2, 12)), sounds.tone(12, 130, -26))
    ((start, stop),) = turns_in(np.concatenate([sounds.silence(1), buzz]))
    assert 600 <= start <= 1_000
    assert stop < 1_000 + 4_000 + 1_000


def test_the_simulators_own_voice_is_speech() -> None:
    voice = samples_of(speak("this is a sentence with several words")) / 32_768
    assert len(turns_in(np.concatenate([sounds.silence(0.5), voice, sounds.silence(1)]))) == 1


def test_somebody_who_speaks_from_the_first_sample_is_heard() -> None:
    from_the_middle_of_a_word = sounds.speech()[24 * 550 :]
    ((start, _),) = turns_in(from_the_middle_of_a_word, prefix_padding_ms=0)
    assert start <= 64


def test_the_echo_of_an_answer_must_be_louder_to_be_a_person() -> None:
    assert len(turns_in(sounds.speech(-10), echo=True)) == 1
    assert len(turns_in(sounds.speech(-22), echo=False)) == 1
    assert turns_in(sounds.speech(-22), echo=True) == []


def test_the_threshold_decides_how_loud_speech_must_be() -> None:
    assert len(turns_in(sounds.speech(-20), threshold=0.2)) == 1
    assert turns_in(sounds.speech(-20), threshold=1.0) == []


@pytest.mark.parametrize("silence_ms", [200, 320, 500, 800])
def test_a_turn_ends_after_exactly_the_silence_asked_for(silence_ms: int) -> None:
    longer = np.concatenate([sounds.speech(), sounds.silence(1)])
    ((_, first),) = turns_in(longer, silence_duration_ms=silence_ms)
    ((_, reference),) = turns_in(longer, silence_duration_ms=HOP_MS * 10)
    assert first - reference == -(-silence_ms // HOP_MS) * HOP_MS - 320


def test_the_end_of_a_turn_is_where_the_silence_was_long_enough() -> None:
    hops = 50
    cut_in_a_vowel = sounds.speech()[: hops * HOP_MS * 24]
    ((_, stop),) = turns_in(np.concatenate([cut_in_a_vowel, sounds.silence(2)]), silence_duration_ms=320)
    # The hop after the last sound still sees it, because hops are heard in pairs.
    assert stop == (hops + 1 + 10) * HOP_MS


@pytest.mark.parametrize("padding_ms", [0, 100, 300])
def test_a_turn_begins_the_padding_before_the_speech(padding_ms: int) -> None:
    late = np.concatenate([sounds.silence(2), sounds.speech()])
    ((start, _),) = turns_in(late, prefix_padding_ms=padding_ms)
    ((onset, _),) = turns_in(late, prefix_padding_ms=0)
    assert onset - start == padding_ms


def test_turns_do_not_overlap_however_long_the_padding() -> None:
    turns = turns_in(np.concatenate([sounds.speech()] * 3), prefix_padding_ms=5_000)
    assert len(turns) == 3
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(turns))
