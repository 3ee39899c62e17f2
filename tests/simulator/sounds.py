"""Sounds for the simulator's ear: PCM16 at 24 kHz, as bytes."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ = 24_000
SPEECH = Path(__file__).parents[1] / "fixtures" / "speech_16k.wav"
# Where the sentence lies in the fixture.
SPEECH_FROM_MS, SPEECH_TO_MS, SPEECH_LENGTH_MS = 300, 3_200, 4_015

Floats = npt.NDArray[np.float64]


def pcm(samples: Floats) -> bytes:
    """Full scale is 1.0."""
    return np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2").tobytes()


@cache
def speech(gain_db: float = 0.0) -> Floats:
    """The spoken sentence, silence around it."""
    with wave.open(str(SPEECH)) as file:
        read: npt.NDArray[Any] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    wanted = len(read) * 3 // 2
    spectrum = np.zeros(wanted // 2 + 1, dtype=np.complex128)
    source = np.fft.rfft(read / 32768)
    spectrum[: len(source)] = source * (wanted / len(read))
    return np.asarray(np.fft.irfft(spectrum, wanted) * 10 ** (gain_db / 20))


def silence(seconds: float) -> Floats:
    return np.zeros(round(seconds * RATE_HZ))


def tone(seconds: float, hz: float, level_db: float) -> Floats:
    return np.asarray(np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ) * 10 ** (level_db / 20))


def noise(seconds: float, level_db: float, *, slope: float = 0.0, seed: int = 1) -> Floats:
    """Power falls with frequency**slope: 0 is hiss, 1 wind, 2 rumble. RMS level."""
    count = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 10.0 * seconds) ** (slope / 2)
    sound = np.fft.irfft(spectrum, count)
    return np.asarray(sound / np.std(sound) * 10 ** (level_db / 20))
