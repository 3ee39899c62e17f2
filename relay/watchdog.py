"""Is the event loop on time? A task that sleeps, and looks how late it wakes up.

Theory of operation. Everything in relay shares one thread. Code that computes or blocks for long keeps all sessions
waiting, which people hear as gaps. Whoever sleeps for `PERIOD_S` and wakes later than that by more than `LATE_S` was
kept waiting by something: it is counted, and told in the log, at most once a minute. A block is seen if it is longer
than both together; what did it is for a profiler to find (`py-spy dump`).

Rules: it costs 20 wake-ups a second, and nothing else depends on it.
"""

from __future__ import annotations

from typing import NoReturn

import trio

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
