"""How relay's cost grows with its sessions, up to what a core carries: `python -m benchmarks.scale`, four minutes.

    --record     also put the figures into results/scale.json and .svg

Binary float32 at 48 kHz, plain and TLS upstream; each number of sessions in a process of its own. It ends where p99 of
the added delay reaches 10 ms or a frame is lost. Memory per session is that of the process, less what it had before
the first one came.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.chart_cost import draw_scale
from benchmarks.contenders import RELAY
from benchmarks.load import FRAME_S
from benchmarks.measuring import FEW_SESSIONS, FEW_SPAN_S, SPAN_S, direct, open_upstream, prepared, standing
from benchmarks.records import Part, Table, put

RESULTS = Path(__file__).parent / "results" / "scale.json"
STEPS = (1, 10, 25, 50, 75, 100, 150, 200, 250, 300, 350, 400, 500, 600, 700, 800, 900, 1000)
MOST_ADDED_P99_MS = 10.0


@dataclass(frozen=True)
class Point:
    """Relay with so many sessions."""

    sessions: int
    cpu_us: float
    added_p50_ms: float
    added_p99_ms: float
    rss_mib: float
    session_kib: float
    lost: int
    load_busy: float

    @property
    def session_ms(self) -> float:
        """Processor time of one session in a second."""
        return self.cpu_us / FRAME_S / 1000

    @property
    def core(self) -> float:
        """The share of a core that all sessions take."""
        return self.sessions * self.session_ms / 1000

    @property
    def is_last(self) -> bool:
        """Whether more sessions need not be tried."""
        return self.lost > 0 or self.added_p99_ms >= MOST_ADDED_P99_MS


def point(sessions: int, *, tls: bool) -> Point:
    """Measure one number of sessions."""
    base = direct(sessions)
    with open_upstream(tls=tls) as upstream, standing(RELAY, upstream, sessions) as relay:
        result, _, cpu_us = relay.run(FEW_SPAN_S if sessions < FEW_SESSIONS else SPAN_S)
        rss_mib = relay.process.rss_bytes() / 2**20
        session_kib = (rss_mib - relay.empty_mib) * 1024 / sessions
    p50_ms, p99_ms = result.quantile_ms(0.5) - base.p50_ms, result.quantile_ms(0.99) - base.p99_ms
    return Point(sessions, cpu_us, p50_ms, p99_ms, rss_mib, session_kib, result.lost + result.broken, result.busy)


def points(*, tls: bool) -> Iterator[Point]:
    """More and more sessions. What looks like the end is measured again: it may have been somebody else."""
    for sessions in STEPS:
        one = point(sessions, tls=tls)
        if one.is_last:
            one = min(one, point(sessions, tls=tls), key=lambda each: (each.lost, each.added_p99_ms))
        yield one
        if one.is_last:
            return


def table(title: str, rows: list[Point]) -> Table:
    """A line for each number of sessions."""
    columns = ("CPU us a frame", "ms a session and second", "core", "p50 ms", "p99 ms", "RSS MiB", "KiB a session")
    found = Table(title, (*columns, "lost", "load"))
    for one in rows:
        cpu = f"{one.cpu_us:.1f}", f"{one.session_ms:.2f}", f"{one.core:.0%}"
        delays = f"{one.added_p50_ms:.2f}", f"{one.added_p99_ms:.2f}"
        memory = f"{one.rss_mib:.0f}", f"{one.session_kib:.0f}"
        found.add(str(one.sessions), *cpu, *delays, *memory, str(one.lost), f"{one.load_busy:.0%}")
    return found


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    with prepared():
        for tls, title in ((False, "plain upstream"), (True, "TLS 1.3 upstream")):
            rows = list(points(tls=tls))
            found = table(title, rows)
            print("\n" + found.text())
            if given.record:
                values = [asdict(one) | {"core": one.core} for one in rows]
                draw_scale(put(RESULTS, Part("upstreams", found, values), ["trio"]), RESULTS.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
