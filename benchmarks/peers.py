"""What relay is compared with: each peer does the same job, bytes to bytes, with the best parts that PyPI has for it.

    up     float32 frame of 20 ms -> resampled -> PCM16 -> base64 -> a finished append event
    down   base64 delta of 20 ms of PCM16 -> resampled -> float32 for the browser

Around the resampler everybody gets the same surroundings: fastpybase64 (the fastest base64 found), four numpy calls
into kept arrays for float to PCM16, and string concatenation for the event. All keep their state from frame to frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, Protocol

import av
import fastpybase64
import numpy as np
import samplerate
import soxr
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from scipy import signal

from relay.audio import Downlink, Uplink

Floats = NDArray[np.float32]
Direction = Literal["up", "down"]

PREFIX, SUFFIX = b'{"type":"input_audio_buffer.append","audio":"', b'"}'
FRAME_S = 0.02


class Resampler(Protocol):
    """Mono float32 in, mono float32 out, state kept."""

    def __call__(self, samples: Floats) -> Floats:
        """Take 20 ms, return what is ready."""


Push = Callable[[bytes], bytes]


class Pcm16:
    """Float to PCM16 through arrays that are kept; they grow when a peer returns a burst."""

    def __init__(self) -> None:
        self._scaled = np.empty(4096, np.float32)
        self._pcm = np.empty(4096, np.int16)

    def __call__(self, samples: Floats) -> bytes:
        """Scale, round, clip, convert."""
        if len(samples) > len(self._scaled):
            self._scaled, self._pcm = np.empty(2 * len(samples), np.float32), np.empty(2 * len(samples), np.int16)
        scaled, pcm = self._scaled[: len(samples)], self._pcm[: len(samples)]
        np.multiply(samples, 32768, out=scaled)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -32768, 32767, out=scaled)
        np.copyto(pcm, scaled, casting="unsafe")
        return pcm.tobytes()


def append_event(pcm: bytes) -> bytes:
    """Empty for empty, as relay does it."""
    return PREFIX + fastpybase64.b64encode(pcm) + SUFFIX if pcm else b""


def up_through(resample: Resampler) -> Push:
    """Put the way up around a resampler."""
    to_pcm = Pcm16()

    def push(frame: bytes) -> bytes:
        return append_event(to_pcm(resample(np.frombuffer(frame, np.float32))))

    return push


def down_through(resample: Resampler) -> Push:
    """Put the way down around a resampler."""

    def push(delta: bytes) -> bytes:
        pcm = np.frombuffer(fastpybase64.b64decode(delta), np.int16)
        return resample(pcm * np.float32(1 / 32768)).tobytes()

    return push


def soxr_float(quality: str, *, variable: bool = False) -> Callable[[int, int], Resampler]:
    """`variable` is soxr's only mode with little delay."""
    return lambda from_hz, to_hz: soxr.ResampleStream(from_hz, to_hz, 1, "float32", quality, vr=variable).resample_chunk


def libsamplerate(converter: str) -> Callable[[int, int], Resampler]:
    """Secret Rabbit Code, through the samplerate package."""

    def make(from_hz: int, to_hz: int) -> Resampler:
        process, ratio = samplerate.Resampler(converter, 1).process, to_hz / from_hz
        return lambda samples: process(samples, ratio)

    return make


def swresample(from_hz: int, to_hz: int) -> Resampler:
    """PyAV; float to float, so that the quality is the filter's."""
    resampler = AudioResampler(format="flt", layout="mono", rate=to_hz)
    frame = av.AudioFrame(format="flt", layout="mono", samples=round(from_hz * FRAME_S))
    frame.sample_rate = from_hz
    plane: Any = frame.planes[0]  # typed for bytes only, takes any buffer

    def resample(samples: Floats) -> Floats:
        plane.update(samples)
        frame.pts = None
        outs: list[Any] = resampler.resample(frame)
        pieces = [np.frombuffer(out.planes[0], np.float32, out.samples) for out in outs]
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.float32), *pieces])

    return resample


def upfirdn(from_hz: int, to_hz: int) -> Resampler:
    """The taps of scipy.signal.resample_poly, with the state that resample_poly itself does not keep."""
    ratio = Fraction(to_hz, from_hz)
    up, down = ratio.numerator, ratio.denominator
    largest = max(up, down)
    taps = (signal.firwin(20 * largest + 1, 1 / largest, window=("kaiser", 5.0)) * up).astype(np.float32)
    held = math.ceil(len(taps) / up / down) * down  # whole steps, so that every frame starts at phase 0
    skip = held // down * up
    history = np.zeros(held, np.float32)

    def resample(samples: Floats) -> Floats:
        nonlocal history
        window = np.concatenate([history, samples])
        history = window[-held:]
        out: Floats = signal.upfirdn(taps, window, up, down)[skip : skip + len(samples) * up // down]
        return out

    return resample


def pipecat(from_hz: int, to_hz: int) -> Push:
    """soxr VHQ on int16, as Pipecat uses it; its input is PCM16, so float is converted first."""
    stream, to_pcm = soxr.ResampleStream(from_hz, to_hz, 1, "int16", "VHQ"), Pcm16()

    def push(frame: bytes) -> bytes:
        pcm = np.frombuffer(to_pcm(np.frombuffer(frame, np.float32)), np.int16)
        return append_event(stream.resample_chunk(pcm).tobytes())

    return push


RESAMPLERS: dict[str, Callable[[int, int], Resampler]] = {
    "soxr HQ": soxr_float("HQ"),
    "soxr HQ, variable rate": soxr_float("HQ", variable=True),
    "PyAV (swresample)": swresample,
    "libsamplerate fastest": libsamplerate("sinc_fastest"),
    "scipy upfirdn": upfirdn,
}


def pipelines(direction: Direction, from_hz: int, to_hz: int) -> dict[str, Push]:
    """Relay first, then its peers, each fresh."""
    made: dict[str, Push]
    if direction == "up":
        made = {"relay": Uplink("f32le", from_hz, to_hz).push}
        made |= {name: up_through(make(from_hz, to_hz)) for name, make in RESAMPLERS.items()}
        made["soxr VHQ int16 (Pipecat)"] = pipecat(from_hz, to_hz)
    else:
        made = {"relay": Downlink("f32le", to_hz, from_hz).push}
        made |= {name: down_through(make(from_hz, to_hz)) for name, make in RESAMPLERS.items()}
    return made


def base64_coders() -> dict[str, dict[str, Callable[[bytes], Any]]]:
    """Encode and strict decode of one 20 ms chunk, by itself."""
    import base64

    from relay._native import ffi, lib

    out = ffi.new("char[]", 2048)
    text = ffi.buffer(out)

    def encode(data: bytes) -> bytes:
        return text[: lib.relay_base64_encode(data, len(data), out)]  # type: ignore[no-any-return]  # cffi is untyped

    def check(data: bytes) -> int:
        return lib.relay_base64_check(data, len(data))  # type: ignore[no-any-return]  # cffi is untyped

    return {
        "encode 960 bytes": {"relay": encode, "fastpybase64": fastpybase64.b64encode, "base64": base64.b64encode},
        "check 1,280 characters": {
            "relay": check,
            "fastpybase64": fastpybase64.b64decode,
            "base64": lambda data: base64.b64decode(data, validate=True),
        },
    }
