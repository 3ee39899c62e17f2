"""How good the result is and how late it comes, measured on each pipeline's own output, 20 ms at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import FRAME_S, Direction, Push

Samples = NDArray[np.float64]

PASS_HZ = [100, 1000, 3000, 5000, 7000, 8000, 9000, 9500, 9900, 10000]
ALIAS_HZ = [*range(12_500, 14_000, 100), *range(14_000, 22_000, 500)]
SETTLE_S = 0.12  # longer than any peer takes to ring in
AMPLITUDE = 10 ** (-1 / 20)


@dataclass(frozen=True)
class Quality:
    """`worst_db`: up, the loudest alias of tones from 12.5 kHz; down, the loudest image of tones to 10 kHz."""

    delay_ms: float
    samples_per_push: tuple[int, int]
    ripple_db: float
    worst_db: float
    snr_db: float

    def as_json(self) -> dict[str, object]:
        """Rounded to what the measurement can tell."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Path:
    """One direction at one pair of rates; `make` gives a fresh pipeline."""

    direction: Direction
    from_hz: int
    to_hz: int
    make: Callable[[], Push]

    def frames(self, samples: Samples) -> list[bytes]:
        """Input as this direction's pipelines take it."""
        step = round(self.from_hz * FRAME_S)
        parts = [samples[at : at + step] for at in range(0, len(samples) - step + 1, step)]
        if self.direction == "up":
            return [part.astype("<f4").tobytes() for part in parts]
        return [base64.b64encode(np.rint(part * 32768).astype("<i2").tobytes()) for part in parts]

    def decode(self, out: bytes) -> Samples:
        """Output as samples, by libraries that no pipeline uses."""
        if not out:
            return np.empty(0)
        if self.direction == "down":
            return np.frombuffer(out, "<f4").astype(np.float64)
        return np.frombuffer(base64.b64decode(json.loads(out)["audio"]), "<i2") / 32768

    def run(self, samples: Samples) -> list[Samples]:
        """What each push returned."""
        push = self.make()
        return [self.decode(push(frame)) for frame in self.frames(samples)]

    def tone(self, hz: float, seconds: float) -> Samples:
        """The answer to a tone, once settled."""
        index = np.arange(round((seconds + SETTLE_S) * self.from_hz), dtype=np.float64)
        heard = np.concatenate(self.run(AMPLITUDE * np.sin(2 * np.pi * hz / self.from_hz * index)))
        return heard[round(SETTLE_S * self.to_hz) :]


def fit(samples: Samples, hz: float, rate_hz: int) -> tuple[Samples, float]:
    """The least-squares sine, and its amplitude."""
    angle = 2 * np.pi * hz / rate_hz * np.arange(len(samples))
    basis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    coefficients = np.linalg.lstsq(basis, samples, rcond=None)[0]
    return basis @ coefficients, float(np.hypot(*coefficients))


def db(ratio: float) -> float:
    """Amplitude ratio in dB."""
    return float(20 * np.log10(max(ratio, 1e-9)))


def delay(path: Path) -> tuple[float, tuple[int, int]]:
    """Milliseconds from a sample's arrival to its being handed out, the 20 ms frame itself not counted.

    Two parts: how far behind a click lies in the output's own time, and how many samples the pipeline owes at worst
    after a push. A resampler that works in blocks compensates the first by the second.
    """
    samples = np.zeros(2 * path.from_hz)
    place = path.from_hz + 123
    samples[place] = 0.9
    pushes = path.run(samples)
    heard = np.concatenate(pushes)
    distance_s = np.arange(len(heard)) / path.to_hz - place / path.from_hz
    near = abs(distance_s) < 0.01  # what rounding and dither leave further away would weigh too much
    behind_s = float(heard[near] @ distance_s[near] / heard[near].sum())
    counts = np.array([len(push) for push in pushes])
    owed = np.arange(1, len(counts) + 1) * FRAME_S - np.cumsum(counts) / path.to_hz
    late = counts[len(counts) // 4 :]
    return 1000 * (behind_s + float(owed.max())), (int(late.min()), int(late.max()))


def worst(path: Path) -> float:
    """Up: what is left of tones that must go. Down: what comes with tones that must stay."""
    if path.direction == "up":
        return max(db(np.sqrt(2 * np.mean(path.tone(hz, 0.1) ** 2)) / AMPLITUDE) for hz in ALIAS_HZ)
    levels = []
    for hz in PASS_HZ:
        heard = path.tone(hz, 0.2)
        heard -= fit(heard, hz, path.to_hz)[0]
        levels.append(db(fit(heard, path.from_hz - hz, path.to_hz)[1] / AMPLITUDE))
    return max(levels)


def measure(path: Path) -> Quality:
    """All of it; about half a second for a fast pipeline."""
    delay_ms, counts = delay(path)
    gains = [db(fit(path.tone(hz, 0.2), hz, path.to_hz)[1] / AMPLITUDE) for hz in PASS_HZ]
    heard = path.tone(997, 1.0)
    fitted, _ = fit(heard, 997, path.to_hz)
    noise = heard - fitted
    snr = float(10 * np.log10(fitted @ fitted / (noise @ noise)))
    return Quality(delay_ms, counts, max(gains) - min(gains), worst(path), snr)
