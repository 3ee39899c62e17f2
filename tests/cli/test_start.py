"""What `relay serve` does before it answers: it imports what it needs, no more, and is done with it."""

from __future__ import annotations

import re
import sys
from http.client import HTTPConnection

from tests.processes import relay_process

IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
NOT_NEEDED = {"numpy", "trio_websocket", "relay.simulator", "unittest"}


def imported(*args: str) -> set[str]:
    """Serve until the health check answers; return what was imported for that."""
    with relay_process(*args, program=(sys.executable, "-X", "importtime", "-m", "relay")) as relay:
        connection = HTTPConnection("127.0.0.1", relay.port, timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        return set(IMPORTED.findall(relay.stderr))


def test_serving_with_an_upstream_imports_no_simulator_and_no_numbers() -> None:
    modules = imported("--upstream", "ws://127.0.0.1:9/v1/realtime")
    assert "relay.server" in modules
    assert modules & NOT_NEEDED == set()


def test_the_simulator_is_imported_where_it_answers() -> None:
    assert {"relay.simulator", "numpy"} <= imported("--upstream", "simulator")


COLLECTOR = """
import atexit, gc, sys
atexit.register(lambda: print(f"collects={gc.isenabled()} frozen={gc.get_freeze_count()}", file=sys.stderr))
from relay.cli import main
main()
"""


def test_garbage_is_looked_for_while_it_serves_but_not_in_what_was_imported() -> None:
    upstream = ("--upstream", "ws://127.0.0.1:9/v1/realtime")
    with relay_process(*upstream, program=(sys.executable, "-c", COLLECTOR)) as relay:
        assert relay.stop() == 0
        found = re.search(r"collects=(\w+) frozen=(\d+)", relay.stderr)
    assert found is not None
    assert found[1] == "True"
    assert int(found[2]) > 10_000
