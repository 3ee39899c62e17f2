"""The audio path against what else there is: `python -m benchmarks.audio_path`, under three minutes.

    (nothing)   measures everything, prints tables, writes results/audio_path.json and results/audio_path.svg
    --gate      only what relay promises: an up-frame at most a quarter of soxr HQ's time, the C frame at most twice the
                floor; exit code 1 if one is broken

benchmarks/README.md says how to read the numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.peers import Direction, base64_coders, pipelines, soxr_float, up_through
from benchmarks.quality import Path as AudioPath
from benchmarks.quality import Quality, measure
from benchmarks.timing import Timing, compare
from relay.audio import Uplink

HERE = Path(__file__).parent
NATIVE = HERE.parent / "native"
GATE_RATIO = 4.0
GATE_ATTEMPTS = 6
FLOOR_RATIO = 2.0
LIBRARIES = ["soxr", "scipy", "samplerate", "av", "fastpybase64", "numpy", "cffi"]


@dataclass(frozen=True)
class Case:
    """One direction at one pair of rates."""

    title: str
    direction: Direction
    from_hz: int
    to_hz: int


CASES = [
    Case("up, 48 to 24 kHz", "up", 48_000, 24_000),
    Case("up, 44.1 to 24 kHz", "up", 44_100, 24_000),
    Case("down, 24 to 48 kHz", "down", 24_000, 48_000),
]


def speech_like(rate_hz: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Half a second of noise under a moving tone: nothing that a resampler could skip."""
    index = np.arange(rate_hz // 2)
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, len(index))
    return np.asarray(noise + 0.5 * np.sin(2 * np.pi * 300 / rate_hz * index), dtype=np.float64)


def frames_of(case: Case) -> list[bytes]:
    """What a pipeline of this direction is fed."""
    path = AudioPath(case.direction, case.from_hz, case.to_hz, lambda: bytes)
    return path.frames(speech_like(case.from_hz))


def run_case(case: Case, rounds: int) -> dict[str, tuple[Timing, Quality]]:
    """Speed of all, interleaved; then the quality of each."""
    timings = compare(dict(pipelines(case.direction, case.from_hz, case.to_hz)), frames_of(case), rounds)

    def quality(name: str) -> Quality:
        make = lambda: pipelines(case.direction, case.from_hz, case.to_hz)[name]  # noqa: E731  # a fresh one each time
        return measure(AudioPath(case.direction, case.from_hz, case.to_hz, make))

    return {name: (timing, quality(name)) for name, timing in timings.items()}


def print_case(title: str, rows: dict[str, tuple[Timing, Quality]]) -> None:
    """One table; ratios first, because only they survive a change of machine."""
    worst = "image" if title.startswith("down") else "alias"
    print(f"\n{title}\n{'':26}{'ratio':>7} {'median us':>10} {'p99 us':>8} {'delay ms':>9} {'samples':>9}", end="")
    print(f" {'ripple dB':>10} {worst + ' dB':>9} {'SNR dB':>7}")
    for name, (timing, quality) in sorted(rows.items(), key=lambda row: row[1][0].ratio):
        least, most = quality.samples_per_push
        samples = str(most) if least == most else f"{least}-{most}"
        print(f"{name:26}{timing.ratio:7.1f} {timing.median_us:10.2f} {timing.p99_us:8.1f}", end="")
        print(f" {quality.delay_ms:9.2f} {samples:>9} {quality.ripple_db:10.3f} {quality.worst_db:9.1f}", end="")
        print(f" {quality.snr_db:7.1f}")


def run_base64(rounds: int) -> dict[str, dict[str, Timing]]:
    """Encoding what one frame needs, and checking what comes back, each one Python call."""
    pcm = np.random.default_rng(2).integers(0, 256, 960, np.uint8).tobytes()
    coders = base64_coders()
    text = coders["encode 960 bytes"]["fastpybase64"](pcm)
    inputs = {"encode 960 bytes": pcm, "check 1,280 characters": text}
    return {title: compare(calls, [inputs[title]], rounds) for title, calls in coders.items()}


def print_base64(tables: dict[str, dict[str, Timing]]) -> None:
    """The same, without quality: base64 is exact."""
    for title, rows in tables.items():
        print(f"\nbase64 alone, {title}\n{'':26}{'ratio':>7} {'median us':>10} {'p99 us':>8}")
        for name, timing in sorted(rows.items(), key=lambda row: row[1].ratio):
            print(f"{name:26}{timing.ratio:7.1f} {timing.median_us:10.2f} {timing.p99_us:8.1f}")


def run_floor() -> dict[str, float]:
    """Build floor.c with the same flags as the extension and run it."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "floor"
        sources = [str(HERE / "floor.c"), *(str(path) for path in sorted(NATIVE.glob("*.c")))]
        flags = ["-O3", "-std=gnu11", "-fno-math-errno", "-pthread", f"-I{NATIVE}"]
        subprocess.run(["cc", *flags, *sources, "-o", str(program), "-lm"], check=True)
        measured: dict[str, float] = json.loads(subprocess.run([program], check=True, capture_output=True).stdout)
    return measured


def print_floor(floor: dict[str, float]) -> None:
    """How close the C frame comes to what the processor could do at best."""
    if not floor:
        print("\nC frame against the FMA floor: not measured, this processor has no AVX2")
        return
    print(f"\nC frame, 48 to 24 kHz, against its 46,080 multiply-adds: {floor['frame_ns'] / 1000:.2f} us", end="")
    print(
        f" against {floor['floor_ns'] / 1000:.2f} us, {floor['ratio']:.2f} times the floor (promised: {FLOOR_RATIO:g})"
    )


def full_run(rounds: int) -> None:
    """Measure, print, and write results/."""
    from benchmarks.chart import draw

    results: dict[str, Any] = {"machine": machine(LIBRARIES), "rounds": rounds, "cases": {}}
    for case in CASES:
        rows = run_case(case, rounds)
        print_case(case.title, rows)
        results["cases"][case.title] = {
            name: {"timing": asdict(timing), "quality": quality.as_json()} for name, (timing, quality) in rows.items()
        }
    tables = run_base64(rounds)
    print_base64(tables)
    results["base64"] = {title: {name: asdict(t) for name, t in rows.items()} for title, rows in tables.items()}
    results["floor"] = run_floor()
    print_floor(results["floor"])
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "audio_path.json").write_text(json.dumps(results, indent=2, default=str) + "\n")
    draw(results, HERE / "results" / "audio_path.svg")
    print("\nwritten: benchmarks/results/audio_path.json, benchmarks/results/audio_path.svg")


def soxr_ratio(rounds: int) -> float:
    """How many times as long soxr HQ takes for an up-frame. Neighbours in time are compared, the median counts."""
    case = CASES[0]
    soxr_push = up_through(soxr_float("HQ")(case.from_hz, case.to_hz))
    timing = compare({"relay": Uplink("f32le", case.from_hz).push, "soxr HQ": soxr_push}, frames_of(case), rounds)
    return timing["soxr HQ"].ratio


def holds(promise: str, measure_once: Callable[[], float], within: Callable[[float], bool]) -> bool:
    """Measure up to GATE_ATTEMPTS times: a machine disturbed most of the time may miss, slower code misses always."""
    for _ in range(GATE_ATTEMPTS):
        value = measure_once()
        passed = within(value)
        print(f"gate: {promise}: {value:.2f}, {'ok' if passed else 'MISSED'}")
        if passed:
            return True
    return False


def gate(rounds: int) -> bool:
    """Whether both promises on speed hold."""
    through_python = holds(
        f"soxr HQ takes at least {GATE_RATIO:g} times as long as relay",
        lambda: soxr_ratio(rounds),
        lambda r: r >= GATE_RATIO,
    )
    in_c = holds(
        f"the C frame takes at most {FLOOR_RATIO:g} times the FMA floor",
        lambda: run_floor().get("ratio", 0.0),  # 0: no floor known for this processor
        lambda ratio: ratio <= FLOOR_RATIO,
    )
    return through_python and in_c


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio_path", description=__doc__.splitlines()[0])
    parser.add_argument("--gate", action="store_true", help="compare ratios only; exit code 1 if the promise is broken")
    parser.add_argument("--rounds", type=int, default=120, help="rounds of 40 pushes each (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.gate:
        return 0 if gate(arguments.rounds) else 1
    full_run(arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
