"""Whether the event loop is on time, and who hears of it if it is not."""

from __future__ import annotations

import io
import os
import resource
import signal
import time
import urllib.request
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from relay import log
from relay.watchdog import PERIOD_S, Watchdog, _open_files
from tests.processes import relay_process


@pytest.fixture
def lines() -> io.StringIO:
    """Return what is logged."""
    stream = io.StringIO()
    log.configure("info", "text", stream=stream)
    return stream


async def test_a_loop_that_is_blocked_for_longer_than_100_ms_is_counted_and_told(
    lines: io.StringIO, mock_clock: MockClock
) -> None:
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(PERIOD_S + 0.25)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (watchdog.late_count, watchdog.worst_ms) == (1, 250)
    assert "loop.late late_ms=250 times=1 worst_ms=250" in lines.getvalue()


async def test_a_loop_on_time_is_not_worth_a_word(lines: io.StringIO, autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    with trio.move_on_after(600):
        await watchdog.run()
    assert watchdog.late_count == 0
    assert lines.getvalue() == ""


def test_a_loop_that_is_late_all_the_time_is_told_once_a_minute_with_a_count(lines: io.StringIO) -> None:
    watchdog = Watchdog()
    for n in range(120):
        watchdog.woke(float(n), n + 0.5)
    assert watchdog.late_count == 120
    assert [line.split("loop.late ")[1] for line in lines.getvalue().splitlines()] == [
        "late_ms=500 times=1 worst_ms=500",
        "late_ms=500 times=60 worst_ms=500",
    ]


def test_a_real_server_that_stood_still_says_so() -> None:
    with relay_process("--upstream", "simulator") as relay:
        urllib.request.urlopen(f"{relay.url}healthz", timeout=10).close()  # its tasks run
        relay.process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        relay.process.send_signal(signal.SIGCONT)
        deadline_s = time.monotonic() + 10
        while "loop.late late_ms=" not in relay.stderr and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert "loop.late late_ms=" in relay.stderr


def test_asked_by_a_signal_a_server_says_what_it_holds() -> None:
    with relay_process("--upstream", "simulator") as relay:
        urllib.request.urlopen(f"{relay.url}healthz", timeout=10).close()
        relay.process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + 10
        while "server.state" not in relay.stderr and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert "sessions=0 tasks=" in relay.stderr
        assert "native_handles=0" in relay.stderr


def test_the_state_is_told_when_the_last_descriptor_is_taken() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        assert _open_files() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)
    assert (_open_files() or 0) > 3
