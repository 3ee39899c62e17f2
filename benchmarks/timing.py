"""Interleaved timing: everybody in turn, in every round, so that a slow phase of the machine hits all alike.

Ratios are taken inside a round and the median over rounds is what counts; absolute times are medians over all pushes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

WARM_UP = 8
PUSHES = 40


@dataclass(frozen=True)
class Timing:
    """Microseconds per push. `ratio`: this one's time over relay's; `ratio_spread`: its middle half over rounds."""

    median_us: float
    p99_us: float
    ratio: float
    ratio_spread: tuple[float, float]


def quantile(values: list[float], part: float) -> float:
    """The value below which `part` of them lie."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def once(push: Callable[[bytes], Any], frames: list[bytes]) -> list[float]:
    """Microseconds of each of PUSHES calls, after warming up; reading the clock (about 0.05) is included for all."""
    clock, n = time.perf_counter_ns, len(frames)
    for i in range(WARM_UP):
        push(frames[i % n])
    times = []
    for i in range(PUSHES):
        frame = frames[(WARM_UP + i) % n]
        start = clock()
        push(frame)
        times.append((clock() - start) / 1000)
    return times


def compare(pushes: dict[str, Callable[[bytes], Any]], frames: list[bytes], rounds: int) -> dict[str, Timing]:
    """Time all of them, in another order each round. "relay" must be among them."""
    shuffle = random.Random(1)
    names, every = list(pushes), {name: [] for name in pushes}  # type: tuple[list[str], dict[str, list[list[float]]]]
    for _ in range(rounds):
        shuffle.shuffle(names)
        for name in names:
            every[name].append(once(pushes[name], frames))
    base = [median(times) for times in every["relay"]]
    result = {}
    for name in pushes:
        ratios = [median(times) / ours for times, ours in zip(every[name], base, strict=True)]
        flat = [value for times in every[name] for value in times]
        spread = (quantile(ratios, 0.25), quantile(ratios, 0.75))
        result[name] = Timing(median(flat), quantile(flat, 0.99), median(ratios), spread)
    return result
