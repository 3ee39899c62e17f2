"""Where log lines go: a stream whose reader may stall, be full or go away, and relay goes on.

Theory of operation. Whoever logs is mostly the event loop's thread, so a write that waits keeps all sessions waiting:
for a collector that hangs, or a full disk behind a pipe. So it is asked first whether there is room, which poll(2)
answers for pieces of PIPE_BUF: a pipe that is writable takes one whole. A reader that has fallen behind has PATIENCE_MS
in a second; beyond that lines are lost, and counted, until there is room again. The first that is written then is told
how many were lost. (A terminal promises less than a pipe: one that is full can still keep its writer waiting.)

Rules: nothing here raises, and threads write one after the other.
"""

from __future__ import annotations

import select
from contextlib import suppress
from os import write
from threading import Lock
from time import monotonic
from typing import TextIO

PATIENCE_MS = 100


class LogOutput:
    """One stream, for all loggers of the process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._room = select.poll()
        if self._descriptor is not None:
            self._room.register(self._descriptor, select.POLLOUT)
        self._lock = Lock()
        self._patient_from_s = 0.0
        self._is_torn = False
        self._lost = 0

    def write(self, line: str) -> int:
        """Write a line, or lose it. Return how many were lost just before one that was written."""
        if not self._lock.acquire(timeout=PATIENCE_MS / 1000):
            self._lost += 1
            return 0
        try:
            self._lost += 1
            if not self._write(line):
                return 0
            lost, self._lost = self._lost - 1, 0
            return lost
        except (OSError, ValueError):  # the disk is full, the stream closed
            return 0
        finally:
            self._lock.release()

    def _write(self, line: str) -> bool:
        if self._descriptor is None:
            self._stream.write(line + "\n")
            self._stream.flush()
            return True
        rest = memoryview(("\n" * self._is_torn + line + "\n").encode(errors="backslashreplace"))
        while rest:
            if not self._has_room():
                return False
            rest = rest[write(self._descriptor, rest[: select.PIPE_BUF]) :]
            self._is_torn = len(rest) > 0
        return True

    def _has_room(self) -> bool:
        if self._room.poll(0):
            return True
        now_s = monotonic()
        if now_s < self._patient_from_s:
            return False
        self._patient_from_s = now_s + 1
        return bool(self._room.poll(PATIENCE_MS))


def _descriptor(stream: TextIO) -> int | None:
    with suppress(OSError, ValueError):  # it has none, or is closed
        stream.flush()
        return stream.fileno()
    return None
