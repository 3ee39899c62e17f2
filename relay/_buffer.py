"""Memory for what C or the kernel writes and Python takes: one piece for each thread, whoever calls.

A call fills it and the caller copies out what was written, before anything else runs in that thread. So nothing in it
outlives a call, and a thousand connections need no more of it than one; a piece for each was a quarter of what a
session costs. C works without the GIL, so what has a thread's piece is used by that thread alone.
"""

from __future__ import annotations

import threading
from typing import Final

from relay._native import ffi

SHARED_BYTES: Final = 65_536
"""What one read of a socket brings fits in. What is larger gets memory of its own for that one call."""

_new: Final = ffi.new_allocator(should_clear_after_alloc=False)


class Buffer:
    """`chars` for the call, `bytes` to slice what was written."""

    __slots__ = ("bytes", "chars", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.chars = _new("char[]", room)
        self.bytes = ffi.buffer(self.chars)


class _Mine(threading.local):
    def __init__(self) -> None:
        self.buffer = Buffer(SHARED_BYTES)


_mine: Final = _Mine()


def shared_buffer() -> Buffer:
    """Return the piece of the thread that asks."""
    return _mine.buffer
