"""What relay promises of a frame's whole way, judged from one run: `python -m benchmarks.relay_path --bars`.

Each bar is a median over rounds in which everybody took turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.contenders import AIOHTTP, ENVOY, RELAY
from benchmarks.measuring import Case, Comparison, Cost, Costs, compare, ratio
from benchmarks.records import Table

TITLE = "what relay promises"
SESSIONS, ROUNDS = 75, 5
MANY_SESSIONS, MANY_ROUNDS = 300, 3
TLS, BOTH = "relay with TLS", "relay with TLS on both sides"
CASES = (
    Case(RELAY),
    Case(RELAY, tls=True, label=TLS),
    Case(RELAY, tls=True, https=True, label=BOTH),
    Case(AIOHTTP),
    Case(ENVOY),
)


@dataclass(frozen=True)
class Bar:
    """One promise: the value must not be above the limit."""

    name: str
    value: float
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is kept; what could not be measured is not."""
        return self.value <= self.limit


def added_p50_ms(cost: Cost) -> float:
    """The figure that delays are compared by."""
    return cost.added_p50_ms


def judge(usual: Costs, many: Costs) -> list[Bar]:
    """The bars, from costs at SESSIONS of all CASES and at MANY_SESSIONS of relay."""
    relay, aiohttp, envoy = RELAY.name, AIOHTTP.name, ENVOY.name
    ours = (relay, TLS, BOTH)
    lost = sum(one.lost for costs in (usual, many) for name in costs if name in ours for one in costs[name])
    return [
        Bar(f"CPU a frame, {SESSIONS} sessions, to aiohttp's", ratio(usual, relay, aiohttp), 0.8),
        Bar(f"CPU a frame, {SESSIONS} sessions, to Envoy's", ratio(usual, relay, envoy), 1.5),
        Bar(f"added p50, {SESSIONS} sessions, to Envoy's", ratio(usual, relay, envoy, added_p50_ms), 1.5),
        Bar(f"added p99, {SESSIONS} sessions", median(one.added_p99_ms for one in usual[relay]), 2.0, " ms"),
        Bar(f"added p99, {MANY_SESSIONS} sessions", median(one.added_p99_ms for one in many[relay]), 10.0, " ms"),
        Bar("frames lost, all sessions and rounds", lost, 0),
        Bar(f"CPU a frame with TLS upstream to plain, {SESSIONS} sessions", ratio(usual, TLS, relay), 1.35),
        Bar(f"CPU a frame with TLS on both sides to plain, {SESSIONS} sessions", ratio(usual, BOTH, relay), 1.75),
    ]


def table(bars: Iterable[Bar]) -> Table:
    """Each with its value and its limit."""
    found = Table(TITLE, ("value", "at most", ""))
    for bar in bars:
        value, limit = f"{bar.value:.2f}{bar.unit}", f"{bar.limit:g}{bar.unit}"
        found.add(bar.name, value, limit, "holds" if bar.holds else "MISSED")
    return found


def measure_bars() -> tuple[Comparison, Comparison]:
    """What the bars are judged from, in under four minutes."""
    return compare(CASES, SESSIONS, ROUNDS), compare((Case(RELAY),), MANY_SESSIONS, MANY_ROUNDS)
