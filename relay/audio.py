"""The Python face of the C audio path: one call per frame and direction.

    Uplink     the browser's samples in, a finished `input_audio_buffer.append` event out
    Downlink   a base64 delta in, samples for the browser out

All audio is mono and little-endian. native/relay_native.h holds the rules, native/filter.c the filters; here is only
what Python adds: errors, lifetimes and the out-buffer. There is no pure-Python fallback: the C path is the product.

What makes a call cheap, each measured: samples go in as `bytes` straight into `const char *`; the out-buffer is kept,
with one `ffi.buffer` over it, and a slice of that is the result; C functions are bound once, as default arguments. The
out-buffer is one for all that a thread makes (relay/_buffer.py), so an object is used in the thread that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from relay._buffer import SHARED_BYTES, Buffer, shared_buffer
from relay._native import ffi, lib

Encoding = Literal["f32le", "s16le"]

MIN_RATE_HZ: Final[int] = lib.RELAY_MIN_RATE_HZ
MAX_RATE_HZ: Final[int] = lib.RELAY_MAX_RATE_HZ
MAX_FRAME_BYTES: Final[int] = lib.RELAY_MAX_FRAME_BYTES

_ENCODINGS: Final = {"f32le": lib.RELAY_F32LE, "s16le": lib.RELAY_S16LE}
_SIMD_NAMES: Final = {
    lib.RELAY_SIMD_C: "c",
    lib.RELAY_SIMD_SSE2: "sse2",
    lib.RELAY_SIMD_NEON: "neon",
    lib.RELAY_SIMD_AVX2: "avx2",
}
_SIMD: Final[int] = lib.relay_init(max(_SIMD_NAMES))


class AudioError(ValueError):
    """Audio that relay cannot carry; base of the two below."""


class AudioFormatError(AudioError):
    """An encoding or a sample rate that relay does not handle."""


class AudioDataError(AudioError):
    """Bytes that are no audio: odd length, empty, too long, or not strict base64."""


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness in dBFS. PCM16 full scale (32,768) is 0, so a full-scale sine has RMS -3.01; digital silence is -120."""

    rms_dbfs: float
    peak_dbfs: float


@dataclass(frozen=True, slots=True)
class NativeInfo:
    """What the C side is doing."""

    simd: Literal["avx2", "sse2", "neon", "c"]
    live_handles: int
    table_bytes: int


def native_info() -> NativeInfo:
    """Say which code path was chosen, and how many C handles and bytes of filter tables are alive."""
    return NativeInfo(_SIMD_NAMES[_SIMD], lib.relay_live_handles(), lib.relay_table_bytes())  # type: ignore[arg-type]  # the table's values are the literals


def check_append(audio: bytes | str, *, sample_bytes: int = 2, _check: Any = lib.relay_base64_check) -> int:
    """Return the byte count of whole samples (PCM16, or G.711 of one byte) in strict base64; else AudioDataError."""
    if isinstance(audio, str):
        audio = _ascii(audio)
    count: int = _check(audio, len(audio))
    if count < 0 or count % sample_bytes:
        _fail(count if count < 0 else lib.RELAY_E_LENGTH)
    return count


_APPEND_CHARS = len(b'{"type":"input_audio_buffer.append","audio":""}')
"""An event of `Uplink.push` without its audio."""


class Uplink:
    """Browser frame in, finished append event out. Not thread safe; one per session."""

    __slots__ = ("_bytes", "_chars", "_handle")

    def __init__(self, encoding: Encoding, rate_hz: int, upstream_rate_hz: int = 24_000) -> None:
        self._handle = _new_handle(lib.relay_uplink_new, lib.relay_uplink_free, encoding, rate_hz, upstream_rate_hz)
        out = shared_buffer()
        self._chars, self._bytes = out.chars, out.bytes

    def push(self, samples: bytes, *, _push: Any = lib.relay_uplink_push, _room: int = SHARED_BYTES) -> bytes:
        """Convert one frame of 1..MAX_FRAME_BYTES bytes; return the event, or b"" while there is no whole sample.

        NaN becomes silence, overload clips. AudioDataError leaves the state as it was.
        """
        written = _push(self._handle, samples, len(samples), self._chars, _room)
        if written >= 0:
            return self._bytes[:written]  # type: ignore[no-any-return]  # cffi is untyped
        return self._push_large(samples, written)

    def _push_large(self, samples: bytes, code: int) -> bytes:
        if code != lib.RELAY_E_ROOM:
            _fail(code)
        out = Buffer(lib.relay_uplink_room(self._handle, len(samples)))
        return _written(out, lib.relay_uplink_push(self._handle, samples, len(samples), out.chars, out.room))

    @property
    def handle(self) -> Any:
        """The C handle, for relay/short_way.py."""
        return self._handle

    @property
    def level(self) -> Level:
        """Level since the last take_level(), of the PCM16 that was sent."""
        return _read_level(lib.relay_uplink_level, self._handle, clear=False)[1]

    def take_level(self) -> Level | None:
        """Level since the last call, of the PCM16 that was sent; None when nothing was."""
        count, level = _read_level(lib.relay_uplink_level, self._handle, clear=True)
        return level if count else None

    @property
    def state_bytes(self) -> int:
        """Size of the C state, filter history included."""
        return _state_bytes(lib.relay_uplink_state_bytes, self._handle)

    def close(self) -> None:
        """Free the C state. Safe to call twice; push raises ValueError from here on."""
        self._handle = _released(self._handle)


def append_samples(event: bytes) -> int:
    """Return how many samples of PCM16 are in an event that `Uplink.push` made, read off its length."""
    return ((len(event) - _APPEND_CHARS) // 4 * 3 - event.count(b"=", -4)) // 2


class Downlink:
    """Base64 delta in, samples for the browser out. Not thread safe; one per session."""

    __slots__ = ("_bytes", "_chars", "_handle")

    def __init__(self, encoding: Encoding, rate_hz: int, upstream_rate_hz: int = 24_000) -> None:
        self._handle = _new_handle(lib.relay_downlink_new, lib.relay_downlink_free, encoding, rate_hz, upstream_rate_hz)
        out = shared_buffer()
        self._chars, self._bytes = out.chars, out.bytes

    def push(self, delta: bytes | str, *, _push: Any = lib.relay_downlink_push, _room: int = SHARED_BYTES) -> bytes:
        """Decode one delta of PCM16, of any length; return the samples that it completes.

        AudioDataError (not strict base64, an odd number of bytes) leaves the state as it was. An empty delta gives b"".
        """
        if isinstance(delta, str):
            delta = _ascii(delta)
        written = _push(self._handle, delta, len(delta), self._chars, _room)
        if written >= 0:
            return self._bytes[:written]  # type: ignore[no-any-return]  # cffi is untyped
        return self._push_large(delta, written)

    def _push_large(self, delta: bytes, code: int) -> bytes:
        if code != lib.RELAY_E_ROOM:
            _fail(code)
        out = Buffer(lib.relay_downlink_room(self._handle, len(delta)))
        return _written(out, lib.relay_downlink_push(self._handle, delta, len(delta), out.chars, out.room))

    @property
    def handle(self) -> Any:
        """The C handle, for relay/short_way.py."""
        return self._handle

    def finish(self) -> bytes:
        """End an item: return what is still inside the filter, about a millisecond, and start afresh.

        b"" when nothing was pushed since the start of the item.
        """
        room = lib.relay_downlink_room(self._handle, 0)
        if room < 0:
            _fail(room)
        out = Buffer(max(room, 1))
        return _written(out, lib.relay_downlink_finish(self._handle, out.chars, room))

    def reset(self) -> None:
        """Forget what is inside the filter: the next sample starts a new item."""
        _check_open(self._handle)
        lib.relay_downlink_reset(self._handle)

    def take_level(self) -> Level | None:
        """Level since the last call, of the samples handed out; None when there were none."""
        count, level = _read_level(lib.relay_downlink_level, self._handle, clear=True)
        return level if count else None

    @property
    def state_bytes(self) -> int:
        """Size of the C state, filter history included."""
        return _state_bytes(lib.relay_downlink_state_bytes, self._handle)

    def close(self) -> None:
        """Free the C state. Safe to call twice; push raises ValueError from here on."""
        self._handle = _released(self._handle)


def _new_handle(new: Any, free: Any, encoding: Encoding, rate_hz: int, upstream_rate_hz: int) -> Any:
    """Make a C handle that Python's garbage collector frees, should nobody call close()."""
    if encoding not in _ENCODINGS:
        raise AudioFormatError(f"encoding {encoding!r} is neither 'f32le' nor 's16le'")
    for rate in (rate_hz, upstream_rate_hz):
        if isinstance(rate, bool) or not isinstance(rate, int) or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            raise AudioFormatError(f"sample rate {rate!r} is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    error = ffi.new("int *")
    handle = new(_ENCODINGS[encoding], rate_hz, upstream_rate_hz, error)
    if not handle:
        raise MemoryError(f"no memory for the audio path ({error[0]})")
    return ffi.gc(handle, free)


def _written(out: Buffer, count: int) -> bytes:
    if count < 0:
        _fail(count)
    return out.bytes[:count]  # type: ignore[no-any-return]  # cffi is untyped


def _released(handle: Any) -> Any:
    if handle:
        ffi.release(handle)
    return ffi.NULL


def _check_open(handle: Any) -> None:
    if not handle:
        _fail(lib.RELAY_E_CLOSED)


def _state_bytes(read: Any, handle: Any) -> int:
    _check_open(handle)
    size: int = read(handle)
    return size


def _read_level(read: Any, handle: Any, *, clear: bool) -> tuple[int, Level]:
    level = ffi.new("double[2]")
    count = read(handle, level, clear)
    if count < 0:
        _fail(count)
    return count, Level(level[0], level[1])


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        _fail(lib.RELAY_E_BASE64)


def _fail(code: int) -> NoReturn:
    if code == lib.RELAY_E_CLOSED:
        raise ValueError("this end of the audio path is closed")
    if code == lib.RELAY_E_BASE64:
        raise AudioDataError("audio is not strict base64: standard alphabet, padded, no line breaks")
    raise AudioDataError(f"audio must be 1 to {MAX_FRAME_BYTES} bytes and a whole number of samples")
