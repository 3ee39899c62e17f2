"""Whether sessions in trouble are felt by the others: `python -m benchmarks.faults`, under five minutes.

    --record     also put the figures into results/faults.json

Of 75 sessions, 15 lead through the fault proxy of the tests, on both sides of relay. Once all talk, their browsers or
their upstreams stop reading, become slow or late, or lose packets. What is shown is the added delay of the other 60,
beside what it is while the 15 take the same way without a fault. Their frames alone count as lost.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.contenders import RELAY
from benchmarks.detour import Detour, open_detour
from benchmarks.measuring import Direct, Upstream, direct, open_upstream, prepared, standing
from benchmarks.records import Part, Table, put

RESULTS = Path(__file__).parent / "results" / "faults.json"
SESSIONS, ASIDE, ROUNDS, SPAN_S = 75, 15, 3, 4.0
SOUND = "no fault"
SLOW_BYTES_PER_S = 20_000.0  # a third of what the audio needs towards the upstream, a tenth towards the browser


def browsers_read_nothing(detour: Detour) -> None:
    """A tab that hangs: its window closes, and stays so."""
    detour.browsers.down.bytes_per_s = 1.0


def browsers_are_slow(detour: Detour) -> None:
    """A link that is too narrow for the audio, both ways."""
    detour.browsers.up.bytes_per_s = detour.browsers.down.bytes_per_s = SLOW_BYTES_PER_S


def browsers_are_late(detour: Detour) -> None:
    """A long way."""
    detour.browsers.up.delay_s = detour.browsers.down.delay_s = 0.1


def browsers_lose_packets(detour: Detour) -> None:
    """A bad radio link: one piece in fifty comes 200 ms late, with all behind it."""
    detour.browsers.up.loss = detour.browsers.down.loss = 0.02


def upstreams_read_nothing(detour: Detour) -> None:
    """An upstream that hangs."""
    detour.upstreams.up.bytes_per_s = 1.0


def upstreams_are_slow(detour: Detour) -> None:
    """An upstream that does not keep up, both ways."""
    detour.upstreams.up.bytes_per_s = detour.upstreams.down.bytes_per_s = SLOW_BYTES_PER_S


def upstreams_say_nothing(detour: Detour) -> None:
    """Half-open: what relay sends is taken, and nothing comes back."""
    detour.upstreams.down.swallows = True


FAULTS: dict[str, Callable[[Detour], None]] = {
    SOUND: lambda detour: None,
    "15 browsers read nothing": browsers_read_nothing,
    "15 browsers on 160 kbit/s": browsers_are_slow,
    "15 browsers 100 ms away": browsers_are_late,
    "15 browsers lose 2 %": browsers_lose_packets,
    "15 upstreams read nothing": upstreams_read_nothing,
    "15 upstreams on 160 kbit/s": upstreams_are_slow,
    "15 upstreams say nothing": upstreams_say_nothing,
}


@dataclass(frozen=True)
class Felt:
    """What the other sessions feel, in one round; and which part of the frames of those in trouble came back."""

    added_p50_ms: float
    added_p99_ms: float
    lost: int
    aside_back: float
    load_busy: float


def measure(fault: Callable[[Detour], None], upstream: Upstream, base: Direct) -> Felt:
    """One fault, in a fresh process."""
    with open_detour() as detour, standing(RELAY, upstream, SESSIONS, detours=[detour] * ASIDE) as relay:
        fault(detour)
        others, aside, _ = relay.run(SPAN_S)
    p50_ms, p99_ms = others.quantile_ms(0.5) - base.p50_ms, others.quantile_ms(0.99) - base.p99_ms
    share = aside.back / (aside.sent + aside.unsent)
    return Felt(p50_ms, p99_ms, others.lost + others.broken, share, others.busy)


def table(felt: dict[str, list[Felt]]) -> Table:
    """Medians, and by how much p99 is more than without a fault in the same round."""
    columns = ("p50 ms", "p99 ms", "p99 more", "lost", "of the 15 back", "load")
    found = Table(f"the other {SESSIONS - ASIDE} sessions", columns)
    for name, rounds in felt.items():
        more = median(one.added_p99_ms - sound.added_p99_ms for one, sound in zip(rounds, felt[SOUND], strict=True))
        delays = median(one.added_p50_ms for one in rounds), median(one.added_p99_ms for one in rounds)
        back, busy = median(one.aside_back for one in rounds), median(one.load_busy for one in rounds)
        lost = sum(one.lost for one in rounds)
        late = f"{delays[0]:.2f}", f"{delays[1]:.2f}", f"{more:+.2f}"
        found.add(name, *late, str(lost), f"{back:.0%}", f"{busy:.0%}")
    return found


def main() -> int:
    """Measure all faults in turn, print, record; exit code 1 if a frame of the others was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    felt: dict[str, list[Felt]] = {name: [] for name in FAULTS}
    shuffle, order = random.Random(1), list(FAULTS)
    with prepared(), open_upstream(tls=False) as upstream:
        for _ in range(ROUNDS):
            shuffle.shuffle(order)
            base = direct(SESSIONS)
            for name in order:
                felt[name].append(measure(FAULTS[name], upstream, base))
    found = table(felt)
    print("\n" + found.text())
    if given.record:
        values = {name: [asdict(one) for one in rounds] for name, rounds in felt.items()}
        put(RESULTS, Part("faults", found, values), ["trio"])
    return int(any(one.lost for rounds in felt.values() for one in rounds))


if __name__ == "__main__":
    sys.exit(main())
