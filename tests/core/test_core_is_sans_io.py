"""The core decides over values: importing all of it must bring in nothing that waits, talks or tells the time."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import relay.core

FORBIDDEN = {
    "trio",
    "quart",
    "quart_trio",
    "hypercorn",
    "wsproto",
    "h11",
    "socket",
    "ssl",
    "asyncio",
    "logging",
    "structlog",
}


def test_the_core_imports_no_network_no_clock_no_log() -> None:
    names = [f"relay.core.{module.name}" for module in pkgutil.iter_modules(relay.core.__path__)]
    program = f"import sys, json, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    assert len(names) >= 7
    assert set(loaded) & FORBIDDEN == set()


def test_the_core_does_not_read_a_clock() -> None:
    for module in pkgutil.iter_modules(relay.core.__path__):
        source = next(iter(relay.core.__path__)) + f"/{module.name}.py"
        with open(source) as file:
            assert "import time" not in file.read(), module.name
