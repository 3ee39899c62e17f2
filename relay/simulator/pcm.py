"""The three wire formats of audio, and the one inside.

Inside the simulator all audio is PCM16, little-endian, mono, 24 kHz, as bytes. Formats are translated where it comes in
and goes out: `audio/pcm` is the same thing at OpenAI's 24 kHz, and straight lines between samples at any other rate;
G.711 runs at 8 kHz, so every sample becomes three and every third is kept on the way back, which returns the bytes that
came in.

A rate is believed. Audio that is sent at another rate than was agreed is heard too fast or too slow, as it would be by
a real server: it lasts too short or too long, and everything that is counted in milliseconds says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ = 24_000
BYTES_PER_SAMPLE = 2
SAMPLES_PER_MS = RATE_HZ // 1000
BYTES_PER_MS = SAMPLES_PER_MS * BYTES_PER_SAMPLE
G711_RATIO = 3

Samples = npt.NDArray[np.int16]
Format = dict[str, Any]

PCM: Format = {"type": "audio/pcm", "rate": RATE_HZ}


def duration_ms(pcm: bytes | bytearray) -> float:
    """How long PCM16 at 24 kHz lasts."""
    return len(pcm) / BYTES_PER_MS


def samples_of(pcm: bytes | bytearray | memoryview) -> Samples:
    """PCM16 as an array that shares its memory."""
    return np.frombuffer(pcm, dtype="<i2")


def bytes_of(samples: npt.NDArray[Any]) -> bytes:
    """Float samples (full scale 1.0) or int16 as PCM16; what is too loud clips."""
    if samples.dtype.kind == "f":
        samples = np.clip(np.round(samples * 32767.0), -32768, 32767)
    return samples.astype("<i2").tobytes()


def from_wire(data: bytes, audio_format: Format) -> bytes:
    """Wire bytes as PCM16 at 24 kHz. ValueError when `audio/pcm` is not a whole number of samples."""
    table = _DECODE.get(audio_format["type"])
    if table is not None:
        return _triple(table[np.frombuffer(data, dtype=np.uint8)])
    if len(data) % BYTES_PER_SAMPLE:
        raise ValueError("16-bit audio has an even number of bytes")
    rate_hz = audio_format.get("rate", RATE_HZ)
    return data if rate_hz == RATE_HZ else bytes_of(_RateChange(rate_hz, RATE_HZ).feed(samples_of(data)))


class Intake:
    """The ear canal: wire bytes in pieces of any length, as PCM16 at 24 kHz without seams between the pieces."""

    def __init__(self, audio_format: Format) -> None:
        self._format: Format = {}
        self.configure(audio_format)

    def configure(self, audio_format: Format) -> None:
        """What comes from now on has this format."""
        if audio_format != self._format:
            self._format = audio_format
            rate_hz = audio_format.get("rate", RATE_HZ)
            self._change = None if rate_hz == RATE_HZ else _RateChange(rate_hz, RATE_HZ)

    def feed(self, data: bytes) -> bytes:
        """One piece. ValueError as from_wire."""
        if self._change is None or len(data) % BYTES_PER_SAMPLE:
            return from_wire(data, self._format)
        return bytes_of(self._change.feed(samples_of(data)))


class _RateChange:
    """Straight lines between samples, from one rate to another, piece by piece; at most one sample is held back."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        # Where the next sample lies behind the first one held, in units of 1 / to_hz of a source sample: whole numbers
        # do not drift.
        self._next = 0
        self._held = np.zeros(0, dtype=np.int16)

    def feed(self, samples: Samples) -> Samples:
        source = np.concatenate([self._held, samples])
        reach = (len(source) - 1) * self._to_hz - self._next
        count = reach // self._from_hz + 1 if reach >= 0 else 0
        places = (self._next + np.arange(count) * self._from_hz) / self._to_hz
        made = np.round(np.interp(places, np.arange(len(source)), source)) if count else np.zeros(0)
        self._next += count * self._from_hz
        passed = max(0, min(self._next // self._to_hz, len(source) - 1))
        self._next -= passed * self._to_hz
        self._held = source[passed:]
        return made.astype(np.int16)


def to_wire(pcm: bytes, audio_format: Format) -> bytes:
    """PCM16 at 24 kHz in a wire format."""
    table = _ENCODE.get(audio_format["type"])
    if table is None:
        rate_hz = audio_format.get("rate", RATE_HZ)
        return pcm if rate_hz == RATE_HZ else _whole(pcm, rate_hz)
    return table[samples_of(pcm)[::G711_RATIO].astype(np.int32) + 32768].tobytes()


def _whole(pcm: bytes, rate_hz: int) -> bytes:
    """A piece of its own at another rate: as many samples as its length asks for."""
    samples = samples_of(pcm)
    places = np.arange(round(len(samples) * rate_hz / RATE_HZ)) * (RATE_HZ / rate_hz)
    return bytes_of(np.round(np.interp(places, np.arange(len(samples)), samples)).astype(np.int16)) if len(pcm) else b""


def _triple(samples: Samples) -> bytes:
    """Straight lines between samples; the given ones stay at every third place."""
    if not len(samples):
        return b""
    places = np.arange(len(samples) * G711_RATIO) / G711_RATIO
    return bytes_of(np.round(np.interp(places, np.arange(len(samples)), samples)).astype(np.int16))


def _mu_law() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return np.where(code & 0x80, 0x84 - size, size - 0x84).astype(np.int16)


def _a_law() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code & 0x70) >> 4
    size = ((code & 0x0F) << 4) + np.where(segment == 0, 8, 0x108)
    size = np.where(segment > 1, size << np.maximum(segment - 1, 0), size)
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _nearest(decode: Samples) -> npt.NDArray[np.uint8]:
    """For each of the 65,536 PCM16 values the code whose decoded value lies nearest."""
    order = np.argsort(decode, kind="stable")
    values = decode[order].astype(np.int32)
    middles = (values[:-1] + values[1:]) / 2
    return order[np.searchsorted(middles, np.arange(-32768, 32768), side="right")].astype(np.uint8)


_DECODE = {"audio/pcmu": _mu_law(), "audio/pcma": _a_law()}
_ENCODE = {name: _nearest(table) for name, table in _DECODE.items()}
