"""Tones in, measurements out: everything goes through Uplink.push and Downlink.push, as bytes, as a session does it."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.audio import Downlink, Encoding, Uplink

Samples = NDArray[np.float64]

FRAME_S = 0.02
MINUS_1_DBFS = 10 ** (-1 / 20)


def tone(hz: float, rate_hz: int, seconds: float, amplitude: float = MINUS_1_DBFS) -> Samples:
    index = np.arange(round(rate_hz * seconds), dtype=np.float64)
    return np.asarray(amplitude * np.sin(2 * np.pi * hz / rate_hz * index), dtype=np.float64)


def encode(samples: Samples, encoding: Encoding) -> bytes:
    if encoding == "f32le":
        return samples.astype("<f4").tobytes()
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def decode(data: bytes, encoding: Encoding) -> Samples:
    if encoding == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float64)
    return np.frombuffer(data, "<i2") / 32768


def pcm_of(event: bytes) -> bytes:
    """The PCM16 in an append event, decoded by libraries that share nothing with relay."""
    if not event:
        return b""
    fields: dict[str, Any] = json.loads(event)
    assert fields.keys() == {"type", "audio"}
    assert fields["type"] == "input_audio_buffer.append"
    return base64.b64decode(fields["audio"], validate=True)


def send(samples: Samples, rate_hz: int, *, upstream_rate_hz: int = 24_000) -> Samples:
    """Send float32 samples up in 20 ms frames; return what upstream hears."""
    uplink = Uplink("f32le", rate_hz, upstream_rate_hz)
    data, step = encode(samples, "f32le"), 4 * round(rate_hz * FRAME_S)
    pcm = b"".join(pcm_of(uplink.push(data[at : at + step])) for at in range(0, len(data), step))
    uplink.close()
    return decode(pcm, "s16le")


def receive(samples: Samples, rate_hz: int, *, encoding: Encoding = "f32le", upstream_rate_hz: int = 24_000) -> Samples:
    """Take samples down as PCM16 deltas of 20 ms; return what the browser plays, without the tail."""
    downlink = Downlink(encoding, rate_hz, upstream_rate_hz)
    data, step = encode(samples, "s16le"), 2 * round(upstream_rate_hz * FRAME_S)
    out = b"".join(downlink.push(base64.b64encode(data[at : at + step])) for at in range(0, len(data), step))
    downlink.close()
    return decode(out, encoding)


def _fit(samples: Samples, hz: float, rate_hz: int) -> tuple[Samples, Samples]:
    """The least-squares sine of that frequency, plus a constant, and its coefficients."""
    angle = 2 * np.pi * hz / rate_hz * np.arange(len(samples))
    basis = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    coefficients = np.linalg.lstsq(basis, samples, rcond=None)[0]
    return basis @ coefficients, coefficients


def amplitude_at(samples: Samples, hz: float, rate_hz: int) -> float:
    return float(np.hypot(*_fit(samples, hz, rate_hz)[1][:2]))


def without(samples: Samples, hz: float, rate_hz: int) -> Samples:
    """What is left when the tone is taken out; else its leakage hides everything 60 dB below it."""
    return samples - _fit(samples, hz, rate_hz)[0]


def snr_db(samples: Samples, hz: float, rate_hz: int) -> float:
    """Everything that is not the tone counts as noise."""
    noise = without(samples, hz, rate_hz)
    fitted = samples - noise
    return float(10 * np.log10(fitted @ fitted / (noise @ noise)))


def db(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-12)))


def settled(samples: Samples, rate_hz: int) -> Samples:
    """Without the first 10 ms, in which a tone that starts at once is still ringing in."""
    return samples[rate_hz // 100 :]
