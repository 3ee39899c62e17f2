from __future__ import annotations

import pytest

from relay.core.vitals import InputVitals


def play(vitals: InputVitals, *, real_hz: int, seconds: float, start_s: float = 0.0) -> list[str]:
    """Deliver 20 ms frames of a device whose clock runs at `real_hz`."""
    frame_samples = 960
    count = int(seconds * real_hz / frame_samples)
    told = []
    for n in range(count):
        told += vitals.arrived(frame_samples, start_s + n * frame_samples / real_hz)
    return [warning["code"] for warning in told]


def test_two_seconds_of_zeros_are_told_once() -> None:
    vitals = InputVitals(48_000)
    told = [vitals.heard(100, only_zeros=True) for _ in range(60)]
    assert [index for index, warnings in enumerate(told) if warnings] == [19]
    assert told[19][0]["code"] == "microphone_silent"


def test_a_sound_in_between_starts_the_count_again() -> None:
    vitals = InputVitals(48_000)
    assert not any(vitals.heard(100, only_zeros=True) for _ in range(19))
    vitals.heard(100, only_zeros=False)
    assert not any(vitals.heard(100, only_zeros=True) for _ in range(19))
    assert vitals.heard(100, only_zeros=True)


def test_a_device_that_runs_at_another_rate_than_declared_is_told_once() -> None:
    assert play(InputVitals(24_000), real_hz=48_000, seconds=20) == ["sample_rate_mismatch"]
    assert play(InputVitals(48_000), real_hz=44_100, seconds=20) == ["sample_rate_mismatch"]


def test_a_clock_within_five_percent_is_not_told() -> None:
    assert play(InputVitals(48_000), real_hz=49_500, seconds=30) == []
    assert play(InputVitals(48_000), real_hz=46_500, seconds=30) == []


@pytest.mark.parametrize("stall_s", [0.3, 0.45, 1.0, 2.0])
@pytest.mark.parametrize("at_s", [0.5, 4.0, 4.8, 4.97, 7.3])
def test_a_stall_in_the_network_is_not_taken_for_a_wrong_clock(stall_s: float, at_s: float) -> None:
    vitals, told = InputVitals(48_000), []
    for n in range(1_500):
        due_s = n * 0.02
        told += vitals.arrived(960, at_s + stall_s if at_s <= due_s < at_s + stall_s else due_s)
    assert told == []


def test_a_pause_is_not_taken_for_a_slow_clock() -> None:
    vitals = InputVitals(48_000)
    assert play(vitals, real_hz=48_000, seconds=4) == []
    assert play(vitals, real_hz=48_000, seconds=4, start_s=60) == []
    assert play(vitals, real_hz=48_000, seconds=20, start_s=120) == []


def test_dropped_audio_is_added_up_and_told_once_a_second() -> None:
    vitals = InputVitals(48_000)
    assert vitals.dropped(20, 10.0)[0]["dropped_ms"] == 20
    assert not any(vitals.dropped(20, 10.0 + n / 50) for n in range(1, 50))
    assert vitals.dropped(20, 11.0)[0]["dropped_ms"] == 20 * 50
