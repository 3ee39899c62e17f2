"""A bell for one waiter.

A session waits in several places for something to do, and mostly for nothing. A `trio.Event` for each wait would cost
half a KiB, and making one anew for every wait costs time; a bell is made once and holds nothing while it is silent.
"""

from __future__ import annotations

import trio


class Wakeup:
    """Rung before or during the wait, it ends it; several rings before a wait are one. One task waits at a time."""

    __slots__ = ("_is_rung", "_waiter")

    def __init__(self) -> None:
        self._is_rung = False
        self._waiter: trio.lowlevel.Task | None = None

    @property
    def is_rung(self) -> bool:
        """Whether a wait would end at once."""
        return self._is_rung

    def ring(self) -> None:
        """Wake the waiter, or the next one."""
        self._is_rung = True
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    def hush(self) -> None:
        """Forget a ring that nobody has waited for."""
        self._is_rung = False

    async def wait(self) -> None:
        """Wait for a ring. Always a checkpoint."""
        if self._is_rung:
            await trio.lowlevel.checkpoint()
        else:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        self._is_rung = False

    def _leave(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """The wait is cancelled."""
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
