"""Speech for a fake microphone, and how alike two recordings are.

Rules:
- All signals are float64 in the range -1 to 1, mono, with their rate beside them.
- Resampling is exact (FFT): the measure must not blur what it measures.
- Pauses hold noise of -66 dBFS, because a microphone is never digitally silent, and so that the end of a sound that was
  cut off can be found to the sample.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "speech_16k.wav"
MICROPHONE_RATE_HZ = 48_000
NOISE_RMS = 0.0005


def speech(rate_hz: int) -> Signal:
    """Give the spoken sentence (2.9 s) without the silence around it."""
    with wave.open(str(FIXTURE)) as file:
        fixture_rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return resample(samples[loud[0] : loud[-1] + 1], fixture_rate_hz, rate_hz)


def resample(signal: Signal, from_hz: int, to_hz: int) -> Signal:
    """Bring a signal to another rate, exactly."""
    if from_hz == to_hz or not len(signal):
        return signal
    count = round(len(signal) * to_hz / from_hz)
    spectrum = np.fft.rfft(signal)
    kept = np.zeros(count // 2 + 1, complex)
    size = min(len(spectrum), len(kept))
    kept[:size] = spectrum[:size]
    return np.fft.irfft(kept, count) * (count / len(signal))


def microphone_file(path: Path, *parts: float | Signal, noise: bool = True) -> Path:
    """Write a WAV for Chromium's fake microphone: seconds of pause, and signals at MICROPHONE_RATE_HZ, in turn."""
    pieces = [np.zeros(round(part * MICROPHONE_RATE_HZ)) if isinstance(part, int | float) else part for part in parts]
    signal = np.concatenate(pieces)
    if noise:
        signal = signal + np.random.default_rng(1).normal(0, NOISE_RMS, len(signal))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE_HZ)
        file.writeframes(np.clip(signal * 32768, -32768, 32767).round().astype("<i2").tobytes())
    return path


@dataclass(frozen=True)
class Match:
    """Where a reference was found in a recording, and how alike the two are there (1.0 = the same but for level)."""

    start: int
    correlation: float
    gain: float


def find(reference: Signal, recording: Signal) -> Match:
    """Find the best place of `reference` in `recording`. AssertionError if the recording is shorter."""
    assert len(recording) >= len(reference), f"only {len(recording)} samples were recorded"
    size = 1 << (len(recording) + len(reference)).bit_length()
    product = np.fft.irfft(np.fft.rfft(recording, size) * np.conj(np.fft.rfft(reference, size)), size)
    start = int(np.argmax(product[: len(recording) - len(reference) + 1]))
    there = recording[start : start + len(reference)]
    energy = float(np.dot(reference, reference))
    correlation = float(np.dot(reference, there) / np.sqrt(energy * np.dot(there, there) + 1e-30))
    return Match(start, correlation, float(np.dot(reference, there)) / energy)


def rms_dbfs(signal: Signal) -> float:
    """Give the level of a signal; full scale is 0."""
    return float(10 * np.log10(np.mean(signal**2) + 1e-12))
