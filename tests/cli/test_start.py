"""What `relay serve` does before it answers: it imports what it needs, no more, and is done with it."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.processes import MODULE, START_DEADLINE_S, clean_environment, relay_process

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


@contextmanager
def started(
    arguments: str = "", streams: str = "", stderr: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run relay from a shell, with the simulator; give the process and its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    line = f"exec {shlex.join(MODULE)} serve --upstream simulator --port {port} {arguments} {streams}"
    environment = clean_environment()
    with subprocess.Popen(["sh", "-c", line], env=environment, stdin=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            yield process, port
        finally:
            process.kill()


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    ends_at = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < ends_at:
        assert process.poll() is None, "it has ended"
        with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            return
        time.sleep(0.05)
    raise AssertionError("no answer in time")


@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/null"])
def test_it_serves_whether_or_not_anybody_can_read_what_it_prints(streams: str) -> None:
    with started(streams=streams) as (process, port):
        wait_until_it_answers(process, port)
        process.terminate()
        assert process.wait(10) == 0


def test_a_log_that_nobody_reads_stops_neither_answers_nor_the_end() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 8_192)
    try:
        with started(streams=">/dev/null", stderr=writing) as (process, port):
            wait_until_it_answers(process, port)
            for _ in range(100):  # lines in the log
                process.send_signal(signal.SIGUSR1)
                wait_until_it_answers(process, port)
            process.terminate()
            assert process.wait(10) == 0
        assert len(os.read(reading, 8_192)) > 3_000, "it was full"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("early", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_that_comes_before_it_listens_does_not_end_it(early: signal.Signals, tmp_path: Path) -> None:
    settings = tmp_path / "relay.toml"
    os.mkfifo(settings)
    with started(f"--config {settings}", ">/dev/null 2>&1") as (process, port):
        with settings.open("w") as file:  # waits until relay reads it
            process.send_signal(early)
            file.write("max_sessions = 1\n")
        wait_until_it_answers(process, port)
