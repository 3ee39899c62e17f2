"""server_vad: where a person begins to speak, and where they have stopped.

Theory of operation
    Audio is looked at in hops of 32 ms, as the live service does (its times are multiples of 32 ms), each together
    with the one before. A hop is loud when it lies above a gate: an absolute level, or the noise floor plus a margin,
    whichever is higher; `threshold` moves both. The floor is the lowest level of the last 4 s, so a fan or a hum
    becomes floor however loud it is, while speech, which dips between syllables, never does.
    To begin a turn loudness is not enough: three of the last six hops must be voiced as well. A voiced hop repeats
    itself at the pitch of a voice (autocorrelation, 70 to 400 Hz) and is more than one single tone. Hiss, clicks,
    knocks and beeps are not. Whispering is not either; the live service's model is better than this.
    To go on, loudness is enough. The turn ends after `silence_duration_ms` without a loud hop.
    While an answer is being played (`echo`) the gate is 6 dB higher and four voiced hops are needed: what comes back
    from a loudspeaker is fainter than a person.

Positions are samples at 24 kHz since the session began. No clock: time is the audio itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relay.simulator.pcm import BYTES_PER_SAMPLE, RATE_HZ, SAMPLES_PER_MS, samples_of

HOP_MS = 32
HOP_SAMPLES = HOP_MS * SAMPLES_PER_MS
HOP_BYTES = HOP_SAMPLES * BYTES_PER_SAMPLE
FLOOR_HOPS = 4_000 // HOP_MS
FLOOR_RANGE_DB = (-75.0, -20.0)
# Until half a second has been heard, the room is taken to be no louder than this: somebody may speak at once.
UNKNOWN_ROOM_DB, UNKNOWN_ROOM_HOPS = -55.0, 16
ONSET_HOPS = 6
ONSET_VOICED, ONSET_VOICED_ECHO = 3, 4
ECHO_DB = 6.0
HYSTERESIS_DB = 3.0
PITCH_HZ = (70, 400)
BAND_HZ = (90, 4_000)
PERIODICITY_MIN = 0.45
SINGLE_TONE_SHARE = 0.93
FFT = 4_096
EAGERNESS_SILENCE_MS = {"low": 8_000, "medium": 4_000, "high": 2_000, "auto": 4_000}
SEMANTIC_PREFIX_MS, SEMANTIC_THRESHOLD = 300, 0.5


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody speaks. `sample` is where the turn's audio begins: prefix padding included."""

    sample: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """They have stopped. `sample` is where the turn's audio ends: the silence that proved it included."""

    sample: int


Moment = Started | Stopped


class TurnDetector:
    """Audio in, moments out. One per connection; settings may change while it runs."""

    def __init__(self, settings: dict[str, Any], position: int = 0) -> None:
        self._position = position
        self._earliest = position
        self._pending = bytearray()
        self._previous = np.zeros(HOP_SAMPLES, dtype=np.float64)
        self._levels: deque[float] = deque(maxlen=FLOOR_HOPS)
        self._onset: deque[bool] = deque(maxlen=ONSET_HOPS)
        self._silent_hops = 0
        self.speaking = False
        self.configure(settings)

    def configure(self, settings: dict[str, Any]) -> None:
        """Take a `turn_detection` object (not null). What is known about the room stays."""
        if settings["type"] == "semantic_vad":
            silence_ms, prefix_ms = EAGERNESS_SILENCE_MS[settings["eagerness"]], SEMANTIC_PREFIX_MS
            threshold = SEMANTIC_THRESHOLD
        else:
            silence_ms, prefix_ms = settings["silence_duration_ms"], settings["prefix_padding_ms"]
            threshold = settings["threshold"]
        self._prefix_samples = prefix_ms * SAMPLES_PER_MS
        self._silence_hops = max(1, -(-silence_ms // HOP_MS))
        self._gate_db = -60.0 + 30.0 * threshold
        self._margin_db = 3.0 + 12.0 * threshold

    @property
    def oldest_needed(self) -> int:
        """No turn that begins from now on can reach back before this sample."""
        return max(self._earliest, self._position - ONSET_HOPS * HOP_SAMPLES - self._prefix_samples)

    def feed(self, pcm: bytes, *, echo: bool = False) -> list[Moment]:
        """PCM16 at 24 kHz, any length."""
        self._pending += pcm
        moments = []
        while len(self._pending) >= HOP_BYTES:
            hop = samples_of(bytes(self._pending[:HOP_BYTES])).astype(np.float64) / 32768.0
            del self._pending[:HOP_BYTES]
            self._position += HOP_SAMPLES
            moment = self._hear(hop, echo)
            if moment is not None:
                moments.append(moment)
        return moments

    def reset(self, position: int) -> None:
        """Forget the turn, not the room. The next one cannot begin before `position`."""
        self._pending.clear()
        self._position = self._earliest = position
        self._end_turn()

    def _hear(self, hop: npt.NDArray[np.float64], echo: bool) -> Moment | None:
        power = np.abs(np.fft.rfft(np.concatenate([self._previous, hop]) * _WINDOW, FFT)) ** 2
        self._previous = hop
        level_db = _level_db(power)
        self._levels.append(level_db)
        excess_db = level_db - max(self._gate_db, self._floor_db() + self._margin_db)
        if self.speaking:
            return self._hear_speech(excess_db > -HYSTERESIS_DB)
        heard = excess_db > (ECHO_DB if echo else 0.0) and _is_voiced(power)
        self._onset.append(heard)
        if sum(self._onset) < (ONSET_VOICED_ECHO if echo else ONSET_VOICED):
            return None
        return self._begin_turn()

    def _begin_turn(self) -> Started:
        first = len(self._onset) - list(self._onset).index(True)
        self.speaking = True
        self._silent_hops = 0
        start = self._position - first * HOP_SAMPLES - self._prefix_samples
        return Started(max(start, self._earliest))

    def _hear_speech(self, is_loud: bool) -> Stopped | None:
        self._silent_hops = 0 if is_loud else self._silent_hops + 1
        if self._silent_hops < self._silence_hops:
            return None
        self._end_turn()
        self._earliest = self._position
        return Stopped(self._position)

    def _end_turn(self) -> None:
        self.speaking = False
        self._silent_hops = 0
        self._onset.clear()

    def _floor_db(self) -> float:
        floor = min(self._levels)
        if len(self._levels) < UNKNOWN_ROOM_HOPS:
            floor = min(floor, UNKNOWN_ROOM_DB)
        return float(np.clip(floor, *FLOOR_RANGE_DB))


Power = npt.NDArray[np.float64]


def _level_db(power: Power) -> float:
    """Level in the band of speech, dBFS: rumble below it does not count."""
    mean = 2.0 * power[_BAND].sum() / FFT / np.sum(_WINDOW**2)
    return float(10.0 * np.log10(mean + 1e-12))


def _is_voiced(power: Power) -> bool:
    weighted = power * _EMPHASIS
    total = weighted.sum()
    if total <= 0.0:
        return False
    loudest = int(np.argmax(weighted))
    if weighted[max(0, loudest - _LOBE_BINS) : loudest + _LOBE_BINS + 1].sum() > SINGLE_TONE_SHARE * total:
        return False
    likeness = np.fft.irfft(weighted)
    best = np.max(likeness[_SHORTEST_LAG:_LONGEST_LAG] / _WINDOW_LIKENESS)
    return bool(best > PERIODICITY_MIN * likeness[0])


_bins_hz = np.fft.rfftfreq(FFT, 1 / RATE_HZ)
_BAND = (_bins_hz >= BAND_HZ[0]) & (_bins_hz <= BAND_HZ[1])
_WINDOW = np.hanning(2 * HOP_SAMPLES)
# Rumble falls with frequency and can look like a low voice; weighted like this it is noise like any other.
_EMPHASIS = np.where(_BAND, _bins_hz / 1000, 0.0)
_LOBE_BINS = FFT // HOP_SAMPLES
_SHORTEST_LAG = RATE_HZ // PITCH_HZ[1]
_LONGEST_LAG = RATE_HZ // PITCH_HZ[0]
# A window makes a later period look weaker than it is; dividing by its likeness to itself repairs that.
_WINDOW_LIKENESS = np.correlate(_WINDOW, _WINDOW, "full")[len(_WINDOW) - 1 :] / np.sum(_WINDOW**2)
_WINDOW_LIKENESS = _WINDOW_LIKENESS[_SHORTEST_LAG:_LONGEST_LAG]
