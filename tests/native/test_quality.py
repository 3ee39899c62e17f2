"""The figures of the audio promise, each measured on bytes that went through the real code path."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from relay.audio import Downlink, Uplink
from tests.native.signals import (
    FRAME_S,
    Samples,
    amplitude_at,
    db,
    decode,
    encode,
    pcm_of,
    receive,
    send,
    settled,
    snr_db,
    tone,
    without,
)

pytestmark = pytest.mark.usefixtures("simd")

PASS_HZ = [50, 300, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 9300, 9600, 9800, 9900, 9950, 9999]


def ripple_db(rate_hz: int) -> float:
    gains = [
        db(amplitude_at(settled(send(tone(hz, rate_hz, 0.15, 0.9), rate_hz), 24_000), hz, 24_000)) for hz in PASS_HZ
    ]
    return max(gains) - min(gains)


def worst_alias_db(rate_hz: int) -> float:
    """The loudest that any tone from 12.5 kHz comes through, relative to itself; finer steps where lobes are high."""
    tones = [*np.arange(12_500, 15_000, 77), *np.arange(15_000, rate_hz / 2 - 20, 611)]
    left = [settled(send(tone(hz, rate_hz, 0.06, 0.9), rate_hz), 24_000) for hz in tones]
    return max(db(float(np.sqrt(2 * np.mean(samples**2))) / 0.9) for samples in left)


@pytest.mark.parametrize(("rate_hz", "most_ms"), [(48_000, 0.99), (44_100, 0.99), (96_000, 1.12), (192_000, 1.12)])
def test_up_adds_about_a_millisecond(rate_hz: int, most_ms: float) -> None:
    click = np.zeros(rate_hz // 10)
    place = rate_hz // 20 + 1
    click[place] = 0.9
    heard = send(click, rate_hz)
    distance_ms = 1000 * (np.arange(len(heard)) / 24_000 - place / rate_hz)
    assert 0 <= heard @ distance_ms / heard.sum() <= most_ms


def test_every_20_ms_at_48_khz_gives_exactly_480_samples() -> None:
    uplink = Uplink("f32le", 48_000)
    frame = encode(tone(440, 48_000, FRAME_S), "f32le")
    assert [len(pcm_of(uplink.push(frame))) for _ in range(50)] == [960] * 50


@pytest.mark.parametrize("quantum", [128, 130, 882, 960, 961, 2])
def test_no_push_of_two_samples_or_more_is_empty(quantum: int) -> None:
    uplink = Uplink("f32le", 48_000)
    assert all(uplink.push(bytes(4 * quantum)) for _ in range(20))


@pytest.mark.parametrize("rate_hz", [44_100, 22_050, 16_000, 32_000, 8_000, 96_000, 192_000, 88_200])
def test_every_20_ms_at_other_rates_gives_exactly_480_samples(rate_hz: int) -> None:
    uplink = Uplink("f32le", rate_hz)
    frame = encode(tone(440, rate_hz, FRAME_S), "f32le")
    assert [len(pcm_of(uplink.push(frame))) for _ in range(20)] == [960] * 20


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 96_000, 37_000, 44_101])
def test_up_is_flat_within_0_03_db_to_10_khz(rate_hz: int) -> None:
    assert ripple_db(rate_hz) <= 0.03


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 96_000, 192_000, 37_000, 44_101])
def test_up_stops_everything_from_12_5_khz_by_80_db(rate_hz: int) -> None:
    assert worst_alias_db(rate_hz) <= -80


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_up_keeps_the_snr_of_pcm16(rate_hz: int) -> None:
    assert snr_db(settled(send(tone(997, rate_hz, 1.0), rate_hz), 24_000), 997, 24_000) >= 96.9


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 37_000, 44_101, 96_000, 191_999])
def test_up_from_any_rate_stays_within_1_db_of_it(rate_hz: int) -> None:
    assert snr_db(settled(send(tone(997, rate_hz, 1.0), rate_hz), 24_000), 997, 24_000) >= 96.1


def test_equal_rates_change_no_sample() -> None:
    pcm = np.random.default_rng(1).integers(-32768, 32768, 24_000).astype("<i2").tobytes()
    assert pcm_of(Uplink("s16le", 24_000).push(pcm)) == pcm
    assert Downlink("s16le", 24_000).push(base64.b64encode(pcm)) == pcm


# ---- the way back, 24 to 48 kHz ----


def impulse_response(rate_hz: int) -> Samples:
    """What one sample of half scale becomes, tail included: the taps, exactly."""
    downlink = Downlink("f32le", rate_hz)
    out = downlink.push(base64.b64encode(encode(np.array([0.5]), "s16le"))) + downlink.finish()
    return decode(out, "f32le") / 0.5


def gain(response: Samples, hz: float, rate_hz: int) -> float:
    return float(abs(response @ np.exp(-2j * np.pi * hz / rate_hz * np.arange(len(response))))) * 24_000 / rate_hz


def test_down_is_flat_within_0_001_db_to_10_khz() -> None:
    """Either way from the gain at 0 Hz, by tones through the path and by the taps themselves."""
    gains = [
        db(amplitude_at(settled(receive(tone(hz, 24_000, 0.2, 0.9), 48_000), 48_000), hz, 48_000) / 0.9)
        for hz in PASS_HZ
    ]
    assert max(map(abs, gains)) <= 0.0015  # the tones are rounded to PCM16
    taps = impulse_response(48_000)
    assert max(abs(db(gain(taps, hz, 48_000))) for hz in range(0, 10_001, 50)) <= 0.001


def test_down_leaves_images_of_up_to_10_khz_80_db_below() -> None:
    for hz in PASS_HZ:
        heard = settled(receive(tone(hz, 24_000, 0.2, 0.9), 48_000), 48_000)
        assert db(amplitude_at(without(heard, hz, 48_000), 24_000 - hz, 48_000) / 0.9) <= -80


def test_down_has_119_db_snr_before_pcm16_limits_it() -> None:
    """The input is PCM16, so the filter's own noise is computed from its taps: the image is all that it adds."""
    taps = impulse_response(48_000)
    assert db(gain(taps, 997, 48_000) / gain(taps, 24_000 - 997, 48_000)) >= 119


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 96_000, 192_000, 32_000, 22_050, 44_101])
def test_down_keeps_the_snr_of_pcm16_at_any_rate(rate_hz: int) -> None:
    assert snr_db(settled(receive(tone(997, 24_000, 1.0), rate_hz), rate_hz), 997, rate_hz) >= 96.9


def test_down_adds_at_most_0_65_ms_and_doubles_every_delta() -> None:
    taps = impulse_response(48_000)
    assert float(taps @ np.arange(len(taps)) / taps.sum()) / 48_000 <= 0.00065
    assert len(receive(np.zeros(4800), 48_000)) == 9600
