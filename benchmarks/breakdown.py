"""Where the time of a frame goes, there and back: `python -m benchmarks.breakdown`, about a minute.

    --record     also put the figures into results/breakdown.json and .svg

Each row says how it is known: `total` is the process's bill with nothing else going on; `in place` is counted and timed
in the running relay (calls.c), in a run of its own, because counting costs something; `apart` is a loop over one thing
(apart.py), times how often it happens in a frame; the last row is what is left of the total, and so holds the errors of
all others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.apart import c_us, loopback_us, tls_us, trio_turn_us
from benchmarks.calls import CallCounter, Calls
from benchmarks.chart_cost import draw_breakdown
from benchmarks.contenders import AIOHTTP, FLOOR, RELAY
from benchmarks.load_peer import frame_down, frame_up
from benchmarks.measuring import Case, Upstream, open_upstream, prepared, standing
from benchmarks.records import Part, Table, put

RESULTS = Path(__file__).parent / "results" / "breakdown.json"
SESSIONS, SPAN_S = 75, 5.0
CASES = (Case(RELAY), Case(RELAY, tls=True, label="relay, float32, TLS"), Case(AIOHTTP), Case(FLOOR))
IN_PLACE = {
    "recv": ("recv",),
    "send": ("send",),
    "waiting": ("wait of the event loop", "other waits"),
    "other calls": ("epoll_ctl", "other calls"),
}


@dataclass(frozen=True)
class Row:
    """A piece of a frame. `count`: how often in a frame; None if it is not counted."""

    name: str
    us: float
    known: str
    count: float | None = None


@dataclass(frozen=True)
class Run:
    """One run: frames that came back, the process's time for each, its calls if they were counted."""

    frames: int
    cpu_us: float
    calls: Calls | None


@dataclass(frozen=True)
class Apart:
    """What was measured apart, in us: audio in C for a frame, a turn of Trio, encryption for a frame."""

    c_us: float
    turn_us: float
    tls_us: float


def run(case: Case, upstream: Upstream, counter: CallCounter | None) -> Run:
    """Let sessions talk through one contender."""
    with standing(case.contender, upstream, SESSIONS, environ=counter.environ if counter else None) as relay:
        before = counter.read() if counter else None
        result, _, cpu_us = relay.run(SPAN_S)
        spent = counter.read() - before if counter and before else None
        return Run(result.back, cpu_us, spent)


def split(case: Case, total_us: float, frames: int, calls: Calls, apart: Apart) -> list[Row]:
    """The pieces of one frame, the rest at the end."""
    rows = []
    for name, kinds in IN_PLACE.items():
        us = sum(calls.net_ns(kind) for kind in kinds) / 1000 / frames
        rows.append(Row(name, us, "in place", sum(calls.count(kind) for kind in kinds) / frames))
    if case.contender is RELAY:
        rows.append(Row("frames and audio in C", apart.c_us, "apart"))
        turns = calls.count("wait of the event loop") / frames
        rows.append(Row("turns of Trio's loop", turns * apart.turn_us, "apart", turns))
        if case.tls:
            rows.append(Row("TLS", apart.tls_us, "apart"))
    rest = "program" if case.contender is FLOOR else "Python and the rest"
    return [*rows, Row(rest, total_us - sum(row.us for row in rows), "difference")]


def table(title: str, rows: list[Row], total: Run, counted: Run) -> Table:
    """One contender's frame."""
    found = Table(title, ("us", "share", "how often", "known"))
    for row in rows:
        often = "" if row.count is None else f"{row.count:.2f}"
        found.add(row.name, f"{row.us:.1f}", f"{row.us / total.cpu_us:.0%}", often, row.known)
    found.add("all of it", f"{total.cpu_us:.1f}", "100%", "", "total")
    if counted.calls:
        less = counted.cpu_us - counted.calls.overhead_ns / 1000 / counted.frames
        found.add(
            "(while calls were counted, less the counting)", f"{less:.1f}", f"{less / total.cpu_us:.0%}", "", "total"
        )
    return found


def measure_apart() -> tuple[Apart, Table]:
    """What is measured apart, and a table of it with bare sockets beside."""
    in_c, sizes = c_us()
    sizes = {"from the browser": len(frame_up("relay.v1")), "from the upstream": len(frame_down())} | sizes
    encrypt_us, _ = tls_us(sizes["to the upstream"])
    _, decrypt_us = tls_us(sizes["from the upstream"])
    apart = Apart(sum(in_c.values()), trio_turn_us(), encrypt_us + decrypt_us)
    found = Table("measured apart", ("us",))
    found.add("samples to frame in C, 20 ms up", f"{in_c['up']:.2f}")
    found.add("delta to frame in C, 20 ms down", f"{in_c['down']:.2f}")
    found.add("a turn of Trio's loop, its system calls apart", f"{apart.turn_us:.2f}")
    found.add("TLS 1.3 in memory: encrypt up, decrypt down", f"{apart.tls_us:.2f}")
    for way, size in sizes.items():
        send_us, recv_us = loopback_us(size)
        known, us = ("recv", recv_us) if way.startswith("from") else ("send", send_us)
        found.add(f"{known} of {size} bytes {way}, nobody to be woken", f"{us:.2f}")
    return apart, found


def parts() -> Iterator[Part]:
    """Measure everything."""
    with prepared(), CallCounter.prepared() as counter:
        apart, found = measure_apart()
        yield Part("apart", found, asdict(apart))
        for case in CASES:
            with open_upstream(tls=case.tls) as upstream:
                total, counted = run(case, upstream, None), run(case, upstream, counter)
            assert counted.calls is not None
            rows = split(case, total.cpu_us, counted.frames, counted.calls, apart)
            values = {"cpu_us": total.cpu_us, "rows": [asdict(row) for row in rows]}
            yield Part("cases", table(case.name, rows, total, counted), values)


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breakdown", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    for part in parts():
        print("\n" + part.table.text())
        if given.record:
            results = put(RESULTS, part, ["trio", "aiohttp", "cffi"])
    if given.record:
        draw_breakdown(results, RESULTS.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
