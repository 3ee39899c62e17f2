"""How long `relay serve` takes from exec to its first answer, beside what its web framework takes to be imported:

    python -m benchmarks.start               # prints the table
    python -m benchmarks.start --record      # ... and writes results/start.json

Every round starts each program once, in a random order. `import quart_trio` counts until the import has returned;
`relay serve` until `/healthz` answers 200.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results" / "start.json"
FRAMEWORK = "import quart_trio"
SERVE = (sys.executable, "-m", "relay", "serve", "--port", "0", "--log-level", "error", "--upstream")
PROGRAMS: Mapping[str, Sequence[str]] = {
    FRAMEWORK: (sys.executable, "-c", "import quart_trio; print(flush=True)"),
    "relay serve": (*SERVE, "ws://127.0.0.1:9/v1/realtime"),
    "relay serve, simulator": (*SERVE, "simulator"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds until a program was ready, in each round; and how that compares with the framework's import."""

    median_s: float
    ratio: float
    rounds_s: list[float]


def ready_s(command: Sequence[str]) -> float:
    """Start a program; return how long it took until it was ready."""
    began_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment(), text=True) as process:
        assert process.stdout is not None
        try:
            address = _address(process.stdout)
            if address:
                _ask_health(address)
            return time.monotonic() - began_s
        finally:
            process.terminate()


def _environment() -> dict[str, str]:
    """This one, without the settings and keys of whoever measures; an installed relay has its bytecode beside it."""
    mine = ("RELAY_", "OPENAI_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


def _address(output: IO[str]) -> str:
    """Return the address that a program reports when it listens; "" if it is no server and says that it is ready."""
    for line in output:
        if not line.strip() or line.startswith("http"):
            return line.strip()
    raise RuntimeError("the program did not start")


def _ask_health(address: str) -> None:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise RuntimeError(f"/healthz answered {status}")


def measure(rounds: int) -> dict[str, Row]:
    """Start every program so often, in turn; a first round, which fills the caches, does not count."""
    taken_s: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds + 1):
        for name in random.sample(list(PROGRAMS), len(PROGRAMS)):
            taken_s[name].append(ready_s(PROGRAMS[name]))
    counted = {name: each[1:] for name, each in taken_s.items()}
    return {name: _row(each, counted[FRAMEWORK]) for name, each in counted.items()}


def _row(rounds_s: list[float], framework_s: list[float]) -> Row:
    """The ratio is the median of those inside one round: what else the machine did hit both."""
    ratios = [one / other for one, other in zip(rounds_s, framework_s, strict=True)]
    return Row(statistics.median(rounds_s), statistics.median(ratios), rounds_s)


def main() -> None:
    """Measure, print, and write results/start.json if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.rounds)
    for name, row in rows.items():
        print(f"{name:24} {row.median_s:6.3f} s   {row.ratio:5.2f} times the import")
    if arguments.record:
        libraries = ["quart", "quart-trio", "hypercorn", "trio"]
        results = {"machine": machine(libraries), "rows": {name: asdict(row) for name, row in rows.items()}}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
