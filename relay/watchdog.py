"""Is the event loop on time? A task that sleeps, and looks how late it wakes up.

Theory of operation. Everything in relay shares one thread. Code that computes or blocks for long keeps all sessions
waiting, which people hear as gaps. Whoever sleeps for `PERIOD_S` and wakes later than that by more than `LATE_S` was
kept waiting by something: it is counted, and told in the log, at most once a minute. A block is seen if it is longer
than both together; what did it is for a profiler to find (`py-spy dump`).

Beside that it can say what the process holds (SIGUSR1 writes it to the log): what has come and gone must have given
all of it back. A signal is no door: only whoever may stop the process may send one.

Rules: it costs 20 wake-ups a second, and nothing else depends on it.
"""

from __future__ import annotations

import os
from typing import NoReturn

import trio

from relay.audio import native_info
from relay.log import Sparingly, get_logger

log = get_logger(__name__)

PERIOD_S = 0.05
LATE_S = 0.1
"""Five frames of a microphone. The browser has more than that in hand, a person does not wait longer unnoticed."""


class Watchdog:
    """How often the loop was late since the process began, and by how much at most."""

    def __init__(self) -> None:
        self._complaints = Sparingly()
        self.late_count = 0
        self.worst_ms = 0

    def state(self) -> dict[str, int | None]:
        """Return what the process holds at this moment (None: it cannot be told), and how late it was."""
        return {
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "files": _open_files(),
            "native_handles": native_info().live_handles,
            "late_count": self.late_count,
            "worst_late_ms": self.worst_ms,
        }

    async def run(self) -> NoReturn:
        """Watch for ever."""
        while True:
            due_s = trio.current_time() + PERIOD_S
            await trio.sleep_until(due_s)
            self.woke(due_s, trio.current_time())

    def woke(self, due_s: float, now_s: float) -> None:
        """Judge a wake-up at `now_s` that was due at `due_s`."""
        if now_s - due_s <= LATE_S:
            return
        late_ms = round((now_s - due_s) * 1000)
        self.late_count += 1
        self.worst_ms = max(self.worst_ms, late_ms)
        if count := self._complaints.count(now_s):
            log.warning("loop.late", late_ms=late_ms, times=count, worst_ms=self.worst_ms)


def _open_files() -> int | None:
    """Count them; None where they are not listed, or the last one is taken."""
    try:
        return len(os.listdir("/dev/fd")) - 1  # the listing itself has one open
    except OSError:
        return None
