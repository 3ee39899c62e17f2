"""One relay, measured on its core: what a frame costs there, and how late it is.

The relay under test has core CORE for itself, with all its threads; load and upstream have the others. All cores are
kept from halting (awake.py). Cases that are compared take turns, in another order each round, and a ratio compares two
of them inside one round.
"""

from __future__ import annotations

import os
import random
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import trustme

from benchmarks.awake import cores_awake, urgent
from benchmarks.contenders import CORE, Contender, Route, Running, free_port, running
from benchmarks.load import Detour, Load, Result, Sessions

WARM_UP_S, SPAN_S = 0.7, 3.0
FEW_SESSIONS, FEW_SPAN_S = 10, 5.0


@dataclass(frozen=True)
class Case:
    """A contender with TLS to its upstream, and to its browsers; `label` is its name where kinds are compared."""

    contender: Contender
    tls: bool = False
    label: str = ""
    https: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.label or self.contender.name


@dataclass(frozen=True)
class Cost:
    """One case in one round. Delays in ms on top of the direct connection in the same round."""

    cpu_us: float
    added_p50_ms: float
    added_p99_ms: float
    rss_mib: float
    lost: int
    load_busy: float


@dataclass(frozen=True)
class Direct:
    """The load without a relay: its own delays, and the share of its core that it needs."""

    p50_ms: float
    p99_ms: float
    load_busy: float

    @classmethod
    def of(cls, result: Result) -> Direct:
        """What one run gave."""
        return cls(result.quantile_ms(0.5), result.quantile_ms(0.99), result.busy)


Costs = dict[str, list[Cost]]


@dataclass(frozen=True)
class Comparison:
    """All cases, by name, and the direct connection, in as many rounds."""

    costs: Costs
    direct: list[Direct]


@dataclass(frozen=True)
class Upstream:
    """The load with its upstream, who signed its certificate if it has TLS, and a folder for configurations.

    `identity` is certificate and key for who is measured, if browsers come with TLS.
    """

    load: Load
    authority: Path | None
    folder: Path
    identity: Path | None


@contextmanager
def prepared() -> Iterator[None]:
    """Enough descriptors, cores that do not halt, and this process on the cores of the load."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cores = os.sched_getaffinity(0)
    with urgent(), cores_awake():
        os.sched_setaffinity(0, cores - {CORE} or cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)


@contextmanager
def open_upstream(*, tls: bool, https: bool = False) -> Iterator[Upstream]:
    """Listen, plain or with TLS 1.3; with `https`, have browsers that speak it."""
    with tempfile.TemporaryDirectory() as name:
        authority, certificate = Path(name) / "authority.pem", Path(name) / "server.pem"
        signer = trustme.CA()
        signer.cert_pem.write_to_path(authority)
        signer.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        with Load.listen(certificate=certificate if tls else None, https=https) as load:
            yield Upstream(load, authority if tls else None, Path(name), certificate if https else None)


def direct(sessions: int, seconds: float = SPAN_S / 2) -> Direct:
    """The load without a relay, and without TLS: it writes and reads the same four times a frame."""
    with Load.listen() as load, load.open(sessions, None, "json") as talking:
        talking.run(WARM_UP_S / 2)
        return Direct.of(talking.run(seconds))


@dataclass(frozen=True)
class Standing:
    """A relay whose sessions stand and have warmed up; its memory from before they came."""

    process: Running
    sessions: Sessions
    empty_mib: float

    def run(self, seconds: float) -> tuple[Result, Result, float]:
        """Let them talk: what came of it, what came of those that go aside, and CPU us per frame."""
        before_ns = self.process.cpu_ns()
        result, aside = self.sessions.run_both(seconds)
        cpu_us = (self.process.cpu_ns() - before_ns) / 1000 / max(1, result.back + aside.back)
        return result, aside, cpu_us


@contextmanager
def standing(
    contender: Contender,
    upstream: Upstream,
    sessions: int,
    *,
    environ: Mapping[str, str] | None = None,
    detours: Sequence[Detour] = (),
) -> Iterator[Standing]:
    """Start a fresh process, open sessions through it and warm up."""
    load, identity = upstream.load, upstream.identity
    route = Route(free_port(), load.port, upstream.authority, upstream.folder, sessions, identity)
    with running(contender, route, environ) as process:
        empty_mib = process.rss_bytes() / 2**20
        with load.open(sessions, route.port, contender.language, detours) as talking:
            talking.run(WARM_UP_S)
            yield Standing(process, talking, empty_mib)


def measure(contender: Contender, upstream: Upstream, sessions: int, base: Direct, span_s: float) -> Cost:
    """One measurement in a fresh process."""
    with standing(contender, upstream, sessions) as relay:
        result, _, cpu_us = relay.run(span_s)
        rss_mib = relay.process.rss_bytes() / 2**20
    added = [result.quantile_ms(part) - less for part, less in ((0.5, base.p50_ms), (0.99, base.p99_ms))]
    return Cost(cpu_us, added[0], added[1], rss_mib, result.lost + result.broken, result.busy)


def compare(cases: Sequence[Case], sessions: int, rounds: int) -> Comparison:
    """Everybody in turn, in another order each round."""
    shuffle, order = random.Random(1), list(cases)
    comparison = Comparison({case.name: [] for case in cases}, [])
    span_s = FEW_SPAN_S if sessions < FEW_SESSIONS else SPAN_S
    with ExitStack() as stack:
        kinds = {(case.tls, case.https) for case in cases}
        upstreams = {kind: stack.enter_context(open_upstream(tls=kind[0], https=kind[1])) for kind in kinds}
        for _ in range(rounds):
            shuffle.shuffle(order)
            base = direct(sessions)
            comparison.direct.append(base)
            for case in order:
                cost = measure(case.contender, upstreams[case.tls, case.https], sessions, base, span_s)
                comparison.costs[case.name].append(cost)
    return comparison


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure; what was lost in any round stays visible."""
    rows = [asdict(one) for one in costs]
    return Cost(**{name: (sum if name == "lost" else median)([row[name] for row in rows]) for name in rows[0]})


def ratio(costs: Costs, name: str, base: str, figure: Callable[[Cost], float] = lambda one: one.cpu_us) -> float:
    """A figure of one over that of another, inside a round; the median counts. By itself: CPU."""
    pairs = zip(costs[name], costs[base], strict=True)
    return median(figure(one) / figure(other) for one, other in pairs)


def largest(holds: Callable[[int], bool], steps: Sequence[int]) -> int:
    """The last of ascending steps up to which `holds` does, 0 if none; it is asked for few of them."""
    good, bad = -1, len(steps)
    while bad - good > 1:
        between = (good + bad) // 2
        good, bad = (between, bad) if holds(steps[between]) else (good, between)
    return steps[good] if good >= 0 else 0
